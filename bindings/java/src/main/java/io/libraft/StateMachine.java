package io.libraft;

import java.io.InputStream;
import java.io.OutputStream;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/**
 * What a group replicates: the program's state, in memory. It is rebuilt from a snapshot and the
 * log at every start. {@link ConcurrentStateMachine} and {@link OnDiskStateMachine} are the other
 * kinds.
 *
 * <p><b>Threads.</b> The library calls from threads of its own, one call at a time, in order. A
 * callback may block; only its own group waits. Blocking calls of libraft in a callback are refused
 * with a {@link WouldDeadlockException}.
 *
 * <p><b>Later answers.</b> Each callback has an {@code ...Async} form, which by default calls the
 * plain one. A machine that answers later, from any thread, overrides that instead; the next
 * callback comes after the answer.
 *
 * <p><b>Exceptions.</b> What a callback throws, or its stage fails with, stops this group on this
 * node (for a snapshot that is being saved, fails the snapshot only): going on would make replicas
 * differ. Pending calls, the status and {@link Node#close} then say so, with that exception as the
 * cause and its stack trace in the message.
 */
public interface StateMachine {

    /**
     * Applies entries. Must do the same on every node.
     *
     * @param entries what to apply, in order
     * @return a result for each entry, which the proposal's future gets on the node that proposed
     *     it. An element may be null for an empty result, and so may be the array, if all are
     *     empty.
     * @throws Exception stops the group on this node
     */
    byte[][] apply(Entries entries) throws Exception;

    /**
     * Applies entries, and answers maybe later.
     *
     * @param entries what to apply, in order
     * @return the results, as of {@link #apply}
     * @throws Exception stops the group on this node
     */
    default CompletionStage<byte[][]> applyAsync(Entries entries) throws Exception {
        return CompletableFuture.completedFuture(apply(entries));
    }

    /**
     * Writes the state to a snapshot. Nothing is applied meanwhile.
     *
     * @param out where to; buffered, need not be closed, and is of no use after the answer
     * @throws Exception fails this snapshot
     */
    void saveSnapshot(OutputStream out) throws Exception;

    /**
     * Writes the state to a snapshot, and answers maybe later.
     *
     * @param out where to
     * @return completes when all is written
     * @throws Exception fails this snapshot
     */
    default CompletionStage<?> saveSnapshotAsync(OutputStream out) throws Exception {
        saveSnapshot(out);
        return CompletableFuture.completedFuture(null);
    }

    /**
     * Replaces the state by one that was saved, maybe on another node. After a crash the same
     * snapshot may come again.
     *
     * @param in where from; buffered, and of no use after the answer
     * @throws Exception stops the group on this node
     */
    void restoreSnapshot(InputStream in) throws Exception;

    /**
     * Replaces the state, and answers maybe later.
     *
     * @param in where from
     * @return completes when the state is replaced
     * @throws Exception stops the group on this node
     */
    default CompletionStage<?> restoreSnapshotAsync(InputStream in) throws Exception {
        restoreSnapshot(in);
        return CompletableFuture.completedFuture(null);
    }

    /**
     * Whether {@code apply} takes microseconds and never blocks. It then runs on the node's event
     * loop, which saves two wake-ups of threads; one that blocks there delays heartbeats. Asked
     * once.
     *
     * @return false by default
     */
    default boolean quick() {
        return false;
    }

    /** Called once, after the last other callback: the group was stopped, or its node closed. */
    default void destroy() {}
}
