package io.libraft;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Finds the native half of libraft in the jar, and loads it. */
final class NativeLibrary {
    /** Names a file to load in place of the one in the jar. */
    private static final String OVERRIDE = "io.libraft.library";

    private static final String FILE = "liblibraft_java.so";

    static {
        find();
    }

    private NativeLibrary() {}

    /** Loads it, unless that was done before. */
    static void load() {}

    private static void find() {
        String override = System.getProperty(OVERRIDE);
        if (override != null) {
            System.load(Path.of(override).toAbsolutePath().toString());
            return;
        }
        String platform = platform();
        try (InputStream library =
                NativeLibrary.class.getResourceAsStream("native/" + platform + "/" + FILE)) {
            if (library == null) {
                throw new UnsatisfiedLinkError(
                        "this jar of libraft has no native library for "
                                + platform
                                + "; build one"
                                + " there, and name it with -D"
                                + OVERRIDE
                                + "=FILE");
            }
            loadCopy(library);
        } catch (IOException e) {
            throw unusable("copied out of its jar; is there space in java.io.tmpdir?", e);
        }
    }

    /**
     * Only a file can be loaded. It has its own folder, which nobody else can write to, and goes at
     * once.
     */
    private static void loadCopy(InputStream library) throws IOException {
        Path folder = Files.createTempDirectory("libraft-" + ProcessHandle.current().pid() + "-");
        Path copy = folder.resolve(FILE);
        try {
            Files.copy(library, copy);
            System.load(copy.toString());
        } catch (UnsatisfiedLinkError e) {
            throw unusable("loaded; is java.io.tmpdir mounted without leave to execute?", e);
        } finally {
            Files.deleteIfExists(copy);
            Files.deleteIfExists(folder);
        }
    }

    private static UnsatisfiedLinkError unusable(String why, Throwable cause) {
        UnsatisfiedLinkError error =
                new UnsatisfiedLinkError(
                        "the native library of libraft could not be "
                                + why
                                + " Name another folder with -Djava.io.tmpdir=FOLDER, or a copy of"
                                + " the library with -D"
                                + OVERRIDE
                                + "=FILE");
        error.initCause(cause);
        return error;
    }

    private static String platform() {
        String system = System.getProperty("os.name").toLowerCase(Locale.ROOT).replace(' ', '_');
        String machine = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
        return system + "-" + (machine.equals("amd64") ? "x86_64" : machine);
    }
}
