package io.libraft;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/**
 * A state machine that keeps its own state on the disk, and says at {@code open} how far it had
 * applied. Its periodic snapshots hold no state; the state is streamed only to a peer that needs
 * it.
 *
 * <p>{@code apply} stores the index of the last entry together with its effects. {@code
 * restoreSnapshot} must answer only when the new state is durable.
 *
 * @param <V> the view that {@code prepareSnapshot} makes
 */
public interface OnDiskStateMachine<V> extends ConcurrentStateMachine<V> {

    /**
     * Opens the state. Called once, before everything else.
     *
     * @return how far it had applied: {@link Opened#fresh} for none
     * @throws Exception the group cannot start on this node
     */
    Opened open() throws Exception;

    /**
     * Opens the state, and answers maybe later.
     *
     * @return how far it had applied
     * @throws Exception the group cannot start on this node
     */
    default CompletionStage<Opened> openAsync() throws Exception {
        return CompletableFuture.completedFuture(open());
    }

    /**
     * Makes everything durable that was applied so far.
     *
     * @throws Exception stops the group on this node
     */
    void sync() throws Exception;

    /**
     * Makes everything durable, and answers maybe later.
     *
     * @return completes when it is
     * @throws Exception stops the group on this node
     */
    default CompletionStage<?> syncAsync() throws Exception {
        sync();
        return CompletableFuture.completedFuture(null);
    }
}
