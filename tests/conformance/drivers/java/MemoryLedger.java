import io.libraft.Entries;
import io.libraft.Entry;
import io.libraft.StateMachine;

import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/** The ledger as a machine in memory. */
class MemoryLedger implements StateMachine {
    static final AtomicLong DESTROYED = new AtomicLong();

    /** Where asynchronous answers come from. */
    private static final ExecutorService LATER =
            Executors.newCachedThreadPool(
                    body -> {
                        Thread thread = new Thread(body, "ledger");
                        thread.setDaemon(true);
                        return thread;
                    });

    final Behaviour behaviour;
    private final boolean quick;
    private final boolean async;
    protected LedgerState state = new LedgerState();

    MemoryLedger(Behaviour behaviour, boolean quick, boolean async) {
        this.behaviour = behaviour;
        this.quick = quick;
        this.async = async;
    }

    @Override
    public boolean quick() {
        return quick;
    }

    @Override
    public byte[][] apply(Entries entries) throws Exception {
        behaviour.closeIfAsked();
        if (behaviour.blockMs > 0) {
            Thread.sleep(behaviour.blockMs);
        }
        behaviour.failIf("apply");
        byte[][] results = new byte[entries.size()][];
        synchronized (this) {
            for (int i = 0; i < results.length; i++) {
                results[i] = applyOne(entries.get(i));
            }
        }
        if (behaviour.fail.equals("results")) {
            return java.util.Arrays.copyOf(results, results.length - 1);
        }
        return results;
    }

    private byte[] applyOne(Entry entry) {
        byte[] payload = entry.bytes();
        if (payload[0] == 'x') {
            throw new IllegalStateException(
                    new String(payload, 1, payload.length - 1, StandardCharsets.UTF_8));
        }
        state.apply(entry.index(), payload);
        return LedgerState.littleEndian(8).putLong(state.count).array();
    }

    @Override
    public CompletionStage<byte[][]> applyAsync(Entries entries) throws Exception {
        behaviour.enter();
        return answer("apply", () -> apply(entries));
    }

    @Override
    public void saveSnapshot(OutputStream out) throws Exception {
        behaviour.failIf("save");
        copy().write(out);
    }

    @Override
    public CompletionStage<?> saveSnapshotAsync(OutputStream out) throws Exception {
        return answer(
                "save",
                () -> {
                    saveSnapshot(out);
                    return null;
                });
    }

    @Override
    public void restoreSnapshot(InputStream in) throws Exception {
        behaviour.failIf("restore");
        LedgerState restored = LedgerState.read(in);
        synchronized (this) {
            state = restored;
        }
    }

    @Override
    public CompletionStage<?> restoreSnapshotAsync(InputStream in) throws Exception {
        return answer(
                "restore",
                () -> {
                    restoreSnapshot(in);
                    return null;
                });
    }

    @Override
    public void destroy() {
        DESTROYED.incrementAndGet();
    }

    synchronized LedgerState copy() {
        return state.copy();
    }

    synchronized byte[] value(byte[] key) {
        return state.values.get(key);
    }

    /** Answers at once, from another thread, or when it is released. */
    protected <T> CompletionStage<T> answer(String what, Callable<T> body) throws Exception {
        CompletableFuture<T> answer = new CompletableFuture<>();
        Runnable run =
                () ->
                        LATER.execute(
                                () -> {
                                    try {
                                        answer.complete(body.call());
                                    } catch (Exception e) {
                                        answer.completeExceptionally(e);
                                    }
                                });
        if (behaviour.hold(what, run)) {
            return answer;
        }
        if (!async) {
            return CompletableFuture.completedFuture(body.call());
        }
        run.run();
        return answer;
    }
}
