package io.libraft;

import java.nio.ByteBuffer;
import java.util.AbstractList;
import java.util.Objects;
import java.util.RandomAccess;

/**
 * The entries to apply, in order; never empty. All of them crossed the boundary of Java at once, in
 * one array that the {@link Entry} objects are views of.
 */
public final class Entries extends AbstractList<Entry> implements RandomAccess {
    /** Index, term and end of an entry: see {@code flatten} in {@code machine.rs}. */
    private static final int LINE_BYTES = 20;

    private static final int TABLE_START = 4;

    private final byte[] flat;
    private final ByteBuffer view;
    private final int count;
    private final int payloadStart;
    private final byte[] blob;

    Entries(byte[] flat) {
        this.flat = flat;
        view = ByteBuffer.wrap(flat).asReadOnlyBuffer();
        FlatReader reader = new FlatReader(flat);
        count = reader.readInt();
        reader.advance(count * LINE_BYTES);
        blob = reader.readBytes();
        payloadStart = reader.position();
    }

    @Override
    public int size() {
        return count;
    }

    @Override
    public Entry get(int position) {
        Objects.checkIndex(position, count);
        int line = TABLE_START + position * LINE_BYTES;
        int start = position == 0 ? 0 : FlatReader.intAt(flat, line - LINE_BYTES + 16);
        int end = FlatReader.intAt(flat, line + 16);
        return new Entry(
                this,
                FlatReader.longAt(flat, line),
                FlatReader.longAt(flat, line + 8),
                payloadStart + start,
                end - start);
    }

    /**
     * For an {@link OnDiskStateMachine}: a few opaque bytes of the library's, to be stored together
     * with the entries, and returned by the next {@code open}.
     *
     * @return the bytes, maybe none
     */
    public byte[] blob() {
        return blob;
    }

    byte[] flat() {
        return flat;
    }

    ByteBuffer view(int start, int size) {
        return view.slice(start, size);
    }
}
