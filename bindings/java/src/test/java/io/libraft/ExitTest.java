package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** How a virtual machine ends with a node in it: the exit cases of the conformance driver. */
class ExitTest {
    private static final String DRIVER = Programs.ROOT.resolve("target/java-driver").toString();

    private static List<String> driver(String name) {
        return List.of(
                "-Xmx128m",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                DRIVER,
                "Driver",
                "exit",
                name,
                "data");
    }

    @ParameterizedTest
    @CsvSource({
        "close, 0",
        "forgot, 0",
        "exception, 1",
        "apply_error, 0",
        "save_error, 0",
        "restore_error, 0",
        "close_in_callback, 0",
        "exit_under_load, 3",
        "exit_in_thread, 3",
        "shutdown_in_callback, 0",
        "shutdown_pending, 0",
        "shutdown_completions, 0"
    })
    void theVirtualMachineEndsAsItShould(String name, int code) throws Exception {
        Path folder = OneNode.folder();
        Programs.Ended ended = Programs.run(folder, driver(name).toArray(String[]::new));
        assertEquals(code, ended.code(), ended.err());
        assertTrue(ended.lines().contains("ending"), ended.out());
        if (name.endsWith("_error")) {
            String[] failed = words(ended, "failed");
            String message =
                    new String(
                            java.util.HexFormat.of().parseHex(failed[2]), StandardCharsets.UTF_8);
            assertEquals(name.replace("_error", "_failed").toUpperCase(), failed[1]);
            assertTrue(message.contains("planned failure of"), message);
            assertEquals(name.equals("save_error") ? "OK" : failed[1], words(ended, "closed")[1]);
        }
        if (name.equals("close_in_callback")) {
            assertEquals("WOULD_DEADLOCK", words(ended, "failed")[1]);
            assertEquals("OK", words(ended, "closed")[1]);
        }
        everythingAcknowledgedIsThere(folder, ended.out());
    }

    private static String[] words(Programs.Ended ended, String first) {
        return ended.lines().stream()
                .filter(line -> line.startsWith(first + " "))
                .findFirst()
                .orElseThrow(() -> new AssertionError(ended.out()))
                .split(" ");
    }

    @Test
    void whatWasAcknowledgedSurvivesAKill() throws Exception {
        Path folder = OneNode.folder();
        Process process = Programs.java(folder, driver("kill")).start();
        long deadline = System.nanoTime() + OneNode.PATIENCE.toNanos();
        while (Programs.read(folder, "out").lines().count() < 1_000) {
            assertTrue(
                    process.isAlive() && System.nanoTime() < deadline,
                    () -> Programs.read(folder, "err"));
        }
        process.destroyForcibly();
        Programs.Ended ended = Programs.end(folder, process);
        assertEquals(128 + 9, ended.code());
        // The last line may be cut off.
        everythingAcknowledgedIsThere(
                folder, ended.out().substring(0, ended.out().lastIndexOf('\n') + 1));
    }

    private static void everythingAcknowledgedIsThere(Path folder, String out) throws Exception {
        long acknowledged =
                out.lines()
                        .filter(line -> line.startsWith("acknowledged "))
                        .mapToLong(line -> Long.parseLong(line.substring("acknowledged ".length())))
                        .max()
                        .orElseThrow();
        assertTrue(acknowledged >= 100, "only " + acknowledged);
        Counter counter = new Counter();
        NodeOptions options = new NodeOptions("exit", 1, folder.resolve("data"));
        try (Node node = Node.open(options.tick(java.time.Duration.ofMillis(20)))) {
            node.startGroup(new GroupOptions(1), counter).waitReady(OneNode.PATIENCE);
            assertTrue(counter.count >= acknowledged, counter.count + " of " + acknowledged);
        }
        assertTrue(Files.exists(folder.resolve("data")));
    }

    /**
     * Counts the entries of a ledger; its snapshot has the number behind its name and the index.
     */
    private static final class Counter implements StateMachine {
        private volatile long count;

        @Override
        public byte[][] apply(Entries entries) {
            count += entries.size();
            return null;
        }

        @Override
        public void saveSnapshot(OutputStream out) throws IOException {
            throw new IOException("nobody asks for one");
        }

        @Override
        public void restoreSnapshot(InputStream in) throws IOException {
            ByteBuffer snapshot = ByteBuffer.wrap(in.readAllBytes()).order(ByteOrder.LITTLE_ENDIAN);
            count = snapshot.getLong(16);
        }
    }
}
