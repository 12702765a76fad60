package io.libraft;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Java programs as processes of their own. */
final class Programs {
    static final Path ROOT =
            Path.of(System.getProperty("io.libraft.test.root")).toAbsolutePath().normalize();

    /** What a program printed, and how it ended. */
    record Ended(int code, String out, String err) {
        List<String> lines() {
            return out.lines().toList();
        }
    }

    private Programs() {}

    /** The classes of the binding, with the native library. */
    static Path binding() {
        return ROOT.resolve("target/java/classes");
    }

    static ProcessBuilder java(Path folder, List<String> arguments) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(arguments);
        return new ProcessBuilder(command)
                .directory(folder.toFile())
                .redirectOutput(folder.resolve("out").toFile())
                .redirectError(folder.resolve("err").toFile());
    }

    /** Runs it to its end. */
    static Ended run(Path folder, String... arguments) throws Exception {
        Process process = java(folder, List.of(arguments)).start();
        return end(folder, process);
    }

    static Ended end(Path folder, Process process) throws Exception {
        try {
            assertTrue(
                    process.waitFor(OneNode.PATIENCE.toSeconds(), TimeUnit.SECONDS),
                    () -> "it hangs: " + read(folder, "err"));
        } finally {
            process.destroyForcibly();
        }
        return new Ended(process.exitValue(), read(folder, "out"), read(folder, "err"));
    }

    static String read(Path folder, String name) {
        try {
            return Files.readString(folder.resolve(name));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }
}
