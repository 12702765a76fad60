package io.libraft;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * A committed entry, as a state machine sees it. It may be kept: nothing ever overwrites it. But it
 * is a view into the bytes of its whole batch, and keeps all of them; what lives on should be a
 * copy, as from {@link #bytes()}.
 */
public final class Entry {
    private final Entries batch;
    private final long index;
    private final long term;
    private final int start;
    private final int size;

    Entry(Entries batch, long index, long term, int start, int size) {
        this.batch = batch;
        this.index = index;
        this.term = term;
        this.start = start;
        this.size = size;
    }

    /**
     * Its position in the group's log. Indexes ascend, but may leave gaps: the library has entries
     * of its own.
     *
     * @return the index
     */
    public long index() {
        return index;
    }

    /**
     * The term in which it was proposed.
     *
     * @return the term
     */
    public long term() {
        return term;
    }

    /**
     * The length of the payload.
     *
     * @return in bytes, never 0
     */
    public int size() {
        return size;
    }

    /**
     * The payload.
     *
     * @return a read-only view, without a copy
     */
    public ByteBuffer data() {
        return batch.view(start, size);
    }

    /**
     * The payload.
     *
     * @return a copy
     */
    public byte[] bytes() {
        return Arrays.copyOfRange(batch.flat(), start, start + size);
    }
}
