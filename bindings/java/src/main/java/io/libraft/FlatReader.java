package io.libraft;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Reads what the native half wrote: see {@code flat.rs}. */
final class FlatReader {
    private static final VarHandle INT =
            MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle LONG =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final byte[] EMPTY = new byte[0];
    private static final int FAILED = 1;

    private final byte[] bytes;
    private int position;

    FlatReader(byte[] bytes) {
        this.bytes = bytes;
    }

    /** Looks at the answer of a native method: null if there is no data in it; throws its error. */
    static FlatReader answer(byte[] answer, MachineBridge machine) {
        if (answer == null) {
            return null;
        }
        FlatReader reader = new FlatReader(answer);
        if (reader.readByte() == FAILED) {
            throw LibraftException.read(reader, machine);
        }
        return reader;
    }

    static FlatReader answer(byte[] answer) {
        return answer(answer, null);
    }

    static int intAt(byte[] bytes, int position) {
        return (int) INT.get(bytes, position);
    }

    static long longAt(byte[] bytes, int position) {
        return (long) LONG.get(bytes, position);
    }

    boolean hasMore() {
        return position < bytes.length;
    }

    int position() {
        return position;
    }

    void advance(int count) {
        position += count;
    }

    byte readByte() {
        return bytes[position++];
    }

    boolean readBoolean() {
        return readByte() != 0;
    }

    int readInt() {
        int value = intAt(bytes, position);
        position += 4;
        return value;
    }

    long readLong() {
        long value = longAt(bytes, position);
        position += 8;
        return value;
    }

    byte[] readBytes() {
        return readRaw(readInt());
    }

    /** Reads bytes whose length is known. */
    byte[] readRaw(int length) {
        int start = position;
        position += length;
        return length == 0 ? EMPTY : Arrays.copyOfRange(bytes, start, position);
    }

    String readText() {
        int length = readInt();
        int start = position;
        position += length;
        return new String(bytes, start, length, StandardCharsets.UTF_8);
    }

    /** An error, or null. */
    LibraftException readOptionalError(MachineBridge machine) {
        return readBoolean() ? LibraftException.read(this, machine) : null;
    }
}
