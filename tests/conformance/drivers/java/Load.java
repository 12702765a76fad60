import io.libraft.Group;
import io.libraft.LibraftException;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Keeps a number of proposals in flight at the leader, and measures each: every completion makes
 * the next call.
 */
final class Load {
    private static final int LATENCIES_MAX = 1 << 22;

    private final Group group;
    private final byte[] payload;
    private final List<byte[]> batch;
    private final int calls;
    private final double seconds;
    private final long started = System.nanoTime();
    private final long warmUpNanos;
    private final long endNanos;
    private final AtomicInteger open = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private final CountDownLatch idle = new CountDownLatch(1);

    // Of completions only, which come on one thread.
    private final int[] latenciesUs = new int[LATENCIES_MAX];
    private int latencies;
    private long proposals;

    /** `run BYTES IN_FLIGHT MODE SECONDS` */
    Load(Group group, String[] words) {
        this.group = group;
        payload = new byte[Integer.parseInt(words[1])];
        Arrays.fill(payload, (byte) 0x5a);
        int inFlight = Integer.parseInt(words[2]);
        int size =
                words[3].equals("callback")
                        ? 1
                        : Integer.parseInt(words[3].substring("batch-".length()));
        batch = words[3].equals("callback") ? null : Collections.nCopies(size, payload);
        calls = Math.max(inFlight / size, 1);
        seconds = Double.parseDouble(words[4]);
        warmUpNanos = (long) (seconds / 4 * 1e9);
        endNanos = warmUpNanos + (long) (seconds * 1e9);
    }

    String run() throws Exception {
        open.set(calls);
        for (int i = 0; i < calls; i++) {
            propose();
        }
        if (!idle.await(60 + (long) seconds * 2, TimeUnit.SECONDS)) {
            throw new IllegalStateException("the proposals did not complete in time");
        }
        if (failure.get() != null) {
            throw new IllegalStateException(failure.get());
        }
        Arrays.sort(latenciesUs, 0, latencies);
        return proposals + " " + seconds + " " + quantile(0.5) + " " + quantile(0.99);
    }

    private void propose() {
        long begun = System.nanoTime();
        if (batch == null) {
            group.propose(payload).whenComplete((completion, error) -> completed(begun, 1, error));
        } else {
            group.proposeBatch(batch)
                    .whenComplete(
                            (done, error) -> {
                                LibraftException first = error == null ? done.firstFailure() : null;
                                completed(begun, batch.size(), first == null ? error : first);
                            });
        }
    }

    private void completed(long begun, int count, Throwable error) {
        long now = System.nanoTime();
        if (error != null) {
            failure.compareAndSet(null, error);
        } else if (now - started >= warmUpNanos && now - started < endNanos) {
            proposals += count;
            if (latencies < LATENCIES_MAX) {
                latenciesUs[latencies++] = (int) ((now - begun) / 1_000);
            }
        }
        if (now - started < endNanos && failure.get() == null) {
            propose();
        } else if (open.decrementAndGet() == 0) {
            idle.countDown();
        }
    }

    private int quantile(double part) {
        return latencies == 0 ? 0 : latenciesUs[(int) ((latencies - 1) * part)];
    }
}
