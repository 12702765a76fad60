package io.libraft;

import java.lang.System.Logger.Level;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * The delivery thread of a node: takes completions and events from the native half, many at once,
 * and completes futures and calls listeners, or has the program's executor do that. It ends when
 * its node is closed. It does not refer to the {@link Node}, which can so be collected if the
 * program forgets it.
 */
final class Deliveries implements Runnable {
    // The kinds of deliveries, as in `deliveries.rs`.
    private static final byte APPLIED = 0;
    private static final byte FAILED = 1;
    private static final byte BATCH = 2;
    private static final byte DONE = 3;
    private static final byte EVENT = 4;

    /** What the thread waits for when there is no memory. */
    private static final long PAUSE_NANOS = TimeUnit.MILLISECONDS.toNanos(50);

    private final long pointer;
    private final Executor executor;
    private final PendingCalls calls = new PendingCalls();
    private final Map<Long, GroupEvents> events = new ConcurrentHashMap<>();
    private final Thread thread;

    /** Takes the pointer over. Without an executor, the thread does everything itself. */
    Deliveries(long pointer, long nodeId, Executor executor) {
        this.pointer = pointer;
        this.executor = executor;
        thread = new Thread(this, "libraft-delivery-" + nodeId);
        thread.setDaemon(true);
        thread.start();
    }

    PendingCalls calls() {
        return calls;
    }

    /** The events of a group, which is told to tell them, or of one that takes another's place. */
    void listen(long groupId, GroupEvents groupEvents) {
        events.put(groupId, groupEvents);
    }

    void forget(long groupId, GroupEvents groupEvents) {
        events.remove(groupId, groupEvents);
    }

    /**
     * Waits until everything was delivered; the node is closed. Not from the thread itself, which
     * would wait for ever.
     */
    void join() {
        boolean interrupted = false;
        while (thread != Thread.currentThread() && thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void run() {
        while (true) {
            byte[] chunk;
            try {
                chunk = take(pointer);
            } catch (OutOfMemoryError e) {
                // The native half keeps what it could not hand over.
                LockSupport.parkNanos(PAUSE_NANOS);
                continue;
            }
            if (chunk == null) {
                break;
            }
            handOver(chunk);
        }
        free(pointer);
    }

    private void handOver(byte[] chunk) {
        if (executor != null) {
            try {
                executor.execute(() -> deliver(chunk));
                return;
            } catch (Throwable e) {
                // Every call completes, whatever the executor thinks of it.
                LogThread.log(
                        Level.WARNING,
                        "the executor refused completions; this thread makes them",
                        e);
            }
        }
        deliver(chunk);
    }

    private void deliver(byte[] chunk) {
        try {
            FlatReader reader = new FlatReader(chunk);
            while (reader.hasMore()) {
                byte kind = reader.readByte();
                if (kind == EVENT) {
                    event(reader);
                } else {
                    complete(kind, reader);
                }
            }
        } catch (Throwable e) {
            // Futures keep what continuations throw, so this is a defect, or there is no memory.
            // The thread must go on.
            LogThread.log(Level.ERROR, "completions were lost", e);
        }
    }

    private void complete(byte kind, FlatReader reader) {
        PendingCall<?> call = calls.take(reader.readInt());
        switch (kind) {
            case APPLIED, DONE, BATCH -> call.succeed(reader);
            case FAILED -> call.fail(reader);
            default -> throw new AssertionError("there is no delivery of kind " + kind);
        }
    }

    private void event(FlatReader reader) {
        GroupEvents groupEvents = events.get(reader.readLong());
        GroupEvents.Event event = GroupEvents.Event.read(reader);
        if (groupEvents != null) {
            groupEvents.tell(event);
        }
    }

    private static native byte[] take(long pointer);

    private static native void free(long pointer);
}
