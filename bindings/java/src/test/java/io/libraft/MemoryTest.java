package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

class MemoryTest {
    /** A soak asks for more. */
    private static final String PROPOSALS =
            System.getenv().getOrDefault("LIBRAFT_MEMORY_PROPOSALS", "1000000");

    @Test
    void memoryDoesNotGrowWithProposals() throws Exception {
        Path folder = OneNode.folder();
        // A heap that is there from the beginning, and compiled code that is done soon: what grows
        // then is a leak.
        List<String> arguments =
                new ArrayList<>(
                        List.of(
                                "-Xms32m",
                                "-Xmx32m",
                                "-XX:+AlwaysPreTouch",
                                "-XX:+UseSerialGC",
                                "-XX:TieredStopAtLevel=1",
                                "-cp",
                                Programs.binding()
                                        + ":"
                                        + Programs.ROOT.resolve("target/java/test-classes"),
                                "-Djava.util.logging.config.file="
                                        + Programs.ROOT.resolve(
                                                "bindings/java/src/test/logging.properties"),
                                "io.libraft.MemoryProgram",
                                PROPOSALS));
        ProcessBuilder program = Programs.java(folder, arguments);
        program.environment().put("MALLOC_ARENA_MAX", "2");
        Process process = program.start();
        process.waitFor(60 + Long.parseLong(PROPOSALS) / 2_000, TimeUnit.SECONDS);
        Programs.Ended ended = Programs.end(folder, process);
        assertEquals(0, ended.code(), ended.err());
        long after30 = Long.parseLong(ended.lines().get(0));
        long after90 = Long.parseLong(ended.lines().get(1));
        String both =
                after30 / 1024
                        + " KiB after 30% of "
                        + PROPOSALS
                        + " proposals, "
                        + after90 / 1024
                        + " after 90%";
        System.out.println("memory: " + both);
        assertTrue(after90 <= after30 * 1.05 + (2 << 20), both);
    }
}
