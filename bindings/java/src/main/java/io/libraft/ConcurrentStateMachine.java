package io.libraft;

import java.io.OutputStream;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/**
 * A state machine in memory that is saved beside {@code apply}: it prepares a view of its state,
 * quickly, and the view is saved on another thread while entries go on being applied.
 *
 * @param <V> the view: a copy, a persistent map, a transaction
 */
public interface ConcurrentStateMachine<V> extends StateMachine {

    /**
     * Makes a view of the state that stays as it is. Nothing is applied meanwhile, so it should be
     * quick.
     *
     * @return the view; null is allowed
     * @throws Exception fails this snapshot
     */
    V prepareSnapshot() throws Exception;

    /**
     * Makes a view of the state, and answers maybe later.
     *
     * @return the view
     * @throws Exception fails this snapshot
     */
    default CompletionStage<V> prepareSnapshotAsync() throws Exception {
        return CompletableFuture.completedFuture(prepareSnapshot());
    }

    /**
     * Writes a view to a snapshot. Called on a thread for snapshots, beside {@code apply}, at most
     * once for a view.
     *
     * @param view what {@link #prepareSnapshot} returned
     * @param out where to; buffered, need not be closed, and is of no use after the answer
     * @throws Exception fails this snapshot
     */
    void saveSnapshot(V view, OutputStream out) throws Exception;

    /**
     * Called once for each view, when it is not needed any more, on any thread.
     *
     * @param view what {@link #prepareSnapshot} returned
     */
    default void releaseSnapshot(V view) {}

    /**
     * Prepares a view, saves and releases it. The library does not call this; it does the three
     * beside {@code apply}.
     */
    @Override
    default void saveSnapshot(OutputStream out) throws Exception {
        V view = prepareSnapshot();
        try {
            saveSnapshot(view, out);
        } finally {
            releaseSnapshot(view);
        }
    }
}
