package io.libraft;

import java.util.Arrays;

/**
 * A proposal was committed, and applied on this node.
 *
 * @param index the entry's index
 * @param term the entry's term
 * @param result what this node's state machine returned for the entry; the receiver's own
 */
public record Completion(long index, long term, byte[] result) {

    static Completion read(FlatReader reader) {
        return new Completion(reader.readLong(), reader.readLong(), reader.readBytes());
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Completion that
                && index == that.index
                && term == that.term
                && Arrays.equals(result, that.result);
    }

    @Override
    public int hashCode() {
        return Long.hashCode(31 * index + term);
    }

    @Override
    public String toString() {
        return "Completion[index="
                + index
                + ", term="
                + term
                + ", result="
                + result.length
                + " bytes]";
    }
}
