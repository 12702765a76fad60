package io.libraft;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Writes what the native half reads: see {@code flat.rs}. */
final class FlatWriter {
    private static final VarHandle INT =
            MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle LONG =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private byte[] bytes;
    private int length;

    FlatWriter(int capacity) {
        bytes = new byte[Math.max(capacity, 16)];
    }

    FlatWriter writeByte(int value) {
        reserve(1);
        bytes[length++] = (byte) value;
        return this;
    }

    FlatWriter writeInt(int value) {
        reserve(4);
        INT.set(bytes, length, value);
        length += 4;
        return this;
    }

    FlatWriter writeLong(long value) {
        reserve(8);
        LONG.set(bytes, length, value);
        length += 8;
        return this;
    }

    /** Writes the bytes without their length. */
    FlatWriter writeRaw(byte[] value) {
        reserve(value.length);
        System.arraycopy(value, 0, bytes, length, value.length);
        length += value.length;
        return this;
    }

    FlatWriter writeBytes(byte[] value) {
        return writeInt(value.length).writeRaw(value);
    }

    /** Refuses a text that cannot be written in UTF-8: one with half a character in it. */
    FlatWriter writeText(String value, String name) {
        try {
            ByteBuffer encoded = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(value));
            byte[] text = new byte[encoded.remaining()];
            encoded.get(text);
            return writeBytes(text);
        } catch (CharacterCodingException e) {
            throw LibraftException.rejected(
                    ErrorCode.INVALID_UTF8,
                    name + " has half of a surrogate pair, which UTF-8 cannot express");
        }
    }

    byte[] finish() {
        return length == bytes.length ? bytes : Arrays.copyOf(bytes, length);
    }

    private void reserve(int count) {
        if (count > bytes.length - length) {
            long wanted = Math.max((long) length + count, 2L * bytes.length);
            if ((long) length + count > Integer.MAX_VALUE - 8) {
                throw LibraftException.rejected(
                        ErrorCode.TOO_LARGE, "all together is more than a Java array can hold");
            }
            bytes = Arrays.copyOf(bytes, (int) Math.min(wanted, Integer.MAX_VALUE - 8));
        }
    }
}
