import io.libraft.Completion;
import io.libraft.Group;
import io.libraft.GroupOptions;
import io.libraft.LibraftException;
import io.libraft.Node;
import io.libraft.NodeOptions;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.logging.Level;
import java.util.logging.Logger;

/** One case of the exit matrix. */
final class ExitCase {
    private static final int FIRST = 100;
    private static final int UNDER_LOAD = 300;
    private static final int IN_FLIGHT = 64;
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final Logger LOGGER = Logger.getLogger("io.libraft");

    private final Path directory;
    private final Behaviour behaviour = new Behaviour();
    private Node node;
    private Group group;
    private long value;

    private ExitCase(Path directory) {
        this.directory = directory;
    }

    static void run(String name, Path directory) throws Exception {
        LOGGER.setLevel(Level.WARNING);
        ExitCase exit = new ExitCase(directory);
        exit.open(name.equals("shutdown_pending"));
        exit.group.waitReady(PATIENCE);
        for (int i = 0; i < FIRST; i++) {
            exit.proposeAndPrint();
        }
        exit.end(name);
    }

    private void open(boolean async) {
        node = Node.open(new NodeOptions("exit", 1, directory).tick(Duration.ofMillis(20)));
        group =
                node.startGroup(
                        new GroupOptions(1).initialMember(1, "127.0.0.1:0"),
                        new MemoryLedger(behaviour, false, async));
    }

    private void end(String name) throws Exception {
        switch (name) {
            case "close" -> {
                ending();
                node.close();
            }
            case "forgot" -> ending();
            case "exception" -> {
                ending();
                throw new IllegalStateException("an uncaught exception, as planned");
            }
            case "apply_error" -> {
                ending();
                failed(() -> group.propose(bytes("xplanned failure of apply")).join());
                closeAndPrint();
            }
            case "save_error" -> {
                behaviour.fail = "save";
                ending();
                failed(() -> group.takeSnapshot().join());
                closeAndPrint();
            }
            case "restore_error" -> restoreError();
            case "close_in_callback" -> {
                var closed = behaviour.closeInCallback(node);
                ending();
                group.propose(next());
                Throwable error = closed.get();
                Driver.print(
                        "failed "
                                + (error == null ? "OK" : ((LibraftException) error).code())
                                + " -");
                closeAndPrint();
            }
            case "exit_under_load" -> {
                load(UNDER_LOAD);
                ending();
                System.exit(3);
            }
            case "exit_in_thread" -> {
                load(UNDER_LOAD);
                new Thread(
                                () -> {
                                    ending();
                                    System.exit(3);
                                })
                        .start();
            }
            case "shutdown_in_callback" -> {
                behaviour.blockMs = 1_000;
                CountDownLatch inside = behaviour.inside();
                group.propose(next());
                inside.await();
                ending();
            }
            case "shutdown_pending" -> {
                behaviour.setPend("apply");
                CountDownLatch inside = behaviour.inside();
                group.propose(next());
                inside.await();
                ending();
            }
            case "shutdown_completions" -> {
                for (int i = 0; i < 1_000; i++) {
                    group.propose(next());
                }
                ending();
            }
            case "kill" -> load(Integer.MAX_VALUE);
            default -> throw new IllegalArgumentException("Java has no case " + name);
        }
    }

    private void restoreError() throws Exception {
        group.takeSnapshot().join();
        for (int i = 0; i < 10; i++) {
            proposeAndPrint();
        }
        node.close();
        behaviour.fail = "restore";
        open(false);
        ending();
        failed(
                () -> {
                    group.waitReady(PATIENCE);
                    return null;
                });
        closeAndPrint();
    }

    /** Keeps proposals in flight, and returns when so many are acknowledged; it goes on. */
    private void load(int acknowledgements) throws InterruptedException {
        Semaphore places = new Semaphore(IN_FLIGHT);
        CountDownLatch enough = new CountDownLatch(acknowledgements);
        Thread load =
                new Thread(
                        () -> {
                            while (true) {
                                places.acquireUninterruptibly();
                                group.propose(next())
                                        .whenComplete(
                                                (completion, error) -> {
                                                    if (error == null) {
                                                        acknowledged(completion);
                                                        enough.countDown();
                                                    }
                                                    places.release();
                                                });
                            }
                        });
        load.setDaemon(true);
        load.start();
        enough.await();
    }

    private interface Call {
        Object make() throws Exception;
    }

    private static void failed(Call call) throws Exception {
        try {
            call.make();
            throw new IllegalStateException("nothing failed");
        } catch (CompletionException e) {
            failed((LibraftException) e.getCause());
        } catch (LibraftException e) {
            failed(e);
        }
    }

    private static void failed(LibraftException error) {
        Driver.print("failed " + error.code() + " " + Words.hex(error.message()));
    }

    private void closeAndPrint() {
        String code = "OK";
        try {
            node.close();
        } catch (LibraftException e) {
            code = e.code().name();
        }
        Driver.print("closed " + code);
    }

    private void proposeAndPrint() {
        acknowledged(group.propose(next()).join());
    }

    private static void acknowledged(Completion completion) {
        long count = ByteBuffer.wrap(completion.result()).order(ByteOrder.LITTLE_ENDIAN).getLong();
        Driver.print("acknowledged " + count);
    }

    private static void ending() {
        Driver.print("ending");
    }

    private byte[] next() {
        value++;
        return bytes("s\u0001k" + value);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }
}
