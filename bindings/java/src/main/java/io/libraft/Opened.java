package io.libraft;

/**
 * How far an {@link OnDiskStateMachine} had applied.
 *
 * @param appliedIndex the index of the last entry whose effect is in its durable state; 0 for a
 *     fresh one. After a restore it is the one that came with the restored state.
 * @param blob what {@link Entries#blob} was with that entry; empty for a fresh one
 */
public record Opened(long appliedIndex, byte[] blob) {

    /**
     * A state machine without any state.
     *
     * @return index 0
     */
    public static Opened fresh() {
        return at(0);
    }

    /**
     * A state machine that stored no blob, for there was none.
     *
     * @param appliedIndex the index of the last entry in its durable state
     * @return that index
     */
    public static Opened at(long appliedIndex) {
        return new Opened(appliedIndex, new byte[0]);
    }
}
