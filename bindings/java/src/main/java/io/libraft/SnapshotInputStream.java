package io.libraft;

import java.io.IOException;
import java.io.InputStream;
import java.util.Objects;

/** Where a snapshot is read from, for as long as the request lasts. */
final class SnapshotInputStream extends InputStream {
    private static final int BUFFER_BYTES = 32_768;

    private final byte[] buffer = new byte[BUFFER_BYTES];
    private int position;
    private int buffered;

    /** 0 when the request was answered. */
    private long pointer;

    SnapshotInputStream(long pointer) {
        this.pointer = pointer;
    }

    @Override
    public synchronized int read() throws IOException {
        return fill() ? buffer[position++] & 0xff : -1;
    }

    @Override
    public synchronized int read(byte[] bytes, int start, int length) throws IOException {
        Objects.checkFromIndexSize(start, length, bytes.length);
        if (length == 0) {
            return 0;
        }
        if (position == buffered && length >= BUFFER_BYTES) {
            check();
            int count = read(pointer, bytes, start, length);
            return count == 0 ? -1 : count;
        }
        if (!fill()) {
            return -1;
        }
        int count = Math.min(length, buffered - position);
        System.arraycopy(buffer, position, bytes, start, count);
        position += count;
        return count;
    }

    @Override
    public synchronized int available() {
        return buffered - position;
    }

    /** From here on there is nothing to read from. */
    synchronized void revoke() {
        pointer = 0;
        position = 0;
        buffered = 0;
    }

    /** Says whether there is something in the buffer, after trying. */
    private boolean fill() throws IOException {
        if (position < buffered) {
            return true;
        }
        check();
        position = 0;
        buffered = read(pointer, buffer, 0, BUFFER_BYTES);
        return buffered > 0;
    }

    private void check() throws IOException {
        if (pointer == 0) {
            throw new IOException(
                    "restoreSnapshot was answered already: read everything before answering");
        }
    }

    private static native int read(long pointer, byte[] bytes, int start, int length)
            throws IOException;
}
