package io.libraft;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;

/** One node in a folder of its own, with one group of one member. */
final class OneNode implements AutoCloseable {
    /** Only how long a failing test takes depends on it. */
    static final Duration PATIENCE = Duration.ofSeconds(60);

    final Path directory;
    final Node node;
    Group group;

    OneNode(StateMachine machine) throws IOException {
        this(folder(), machine);
    }

    OneNode(Path directory, StateMachine machine) {
        this(directory, machine, groupOptions());
    }

    OneNode(Path directory, StateMachine machine, GroupOptions options) {
        this.directory = directory;
        node = Node.open(options(directory));
        group = node.startGroup(options, machine);
    }

    static Path folder() throws IOException {
        Path parent = Path.of(System.getProperty("io.libraft.test.root"), "target", "java-tests");
        return Files.createTempDirectory(Files.createDirectories(parent), "node-");
    }

    static NodeOptions options(Path directory) {
        return new NodeOptions("test", 1, directory)
                .tick(Duration.ofMillis(20))
                .segmentBytes(1 << 20);
    }

    static GroupOptions groupOptions() {
        return new GroupOptions(1).initialMember(1, "127.0.0.1:0").snapshotEntries(0);
    }

    OneNode ready() {
        group.waitReady(PATIENCE);
        return this;
    }

    String propose(String entry) {
        return text(await(group.propose(bytes(entry))).result());
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** The result of a future, or what it failed with. */
    static <T> T await(CompletableFuture<T> future) {
        try {
            return future.orTimeout(PATIENCE.toSeconds(), TimeUnit.SECONDS).join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            throw e;
        }
    }

    @Override
    public void close() {
        node.close();
    }
}
