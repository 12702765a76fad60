package io.libraft;

import java.io.IOException;
import java.io.OutputStream;
import java.util.Objects;

/** Where a snapshot is written to, for as long as the request lasts. */
final class SnapshotOutputStream extends OutputStream {
    private static final int BUFFER_BYTES = 32_768;

    private final byte[] buffer = new byte[BUFFER_BYTES];
    private int buffered;

    /** 0 when the request was answered. */
    private long pointer;

    SnapshotOutputStream(long pointer) {
        this.pointer = pointer;
    }

    @Override
    public synchronized void write(int value) throws IOException {
        if (buffered == BUFFER_BYTES) {
            flush();
        }
        buffer[buffered++] = (byte) value;
    }

    @Override
    public synchronized void write(byte[] bytes, int start, int length) throws IOException {
        Objects.checkFromIndexSize(start, length, bytes.length);
        if (length > BUFFER_BYTES - buffered) {
            flush();
        }
        if (length >= BUFFER_BYTES) {
            check();
            write(pointer, bytes, start, length);
        } else {
            System.arraycopy(bytes, start, buffer, buffered, length);
            buffered += length;
        }
    }

    /** Hands over what is buffered; the library writes it when it likes. */
    @Override
    public synchronized void flush() throws IOException {
        check();
        int length = buffered;
        buffered = 0;
        if (length > 0) {
            write(pointer, buffer, 0, length);
        }
    }

    /** The end of the callback: what it wrote is all. */
    synchronized void finish() throws IOException {
        try {
            flush();
        } finally {
            revoke();
        }
    }

    /** From here on there is nothing to write to. */
    synchronized void revoke() {
        pointer = 0;
    }

    private void check() throws IOException {
        if (pointer == 0) {
            throw new IOException(
                    "saveSnapshot was answered already: write everything before answering");
        }
    }

    private static native void write(long pointer, byte[] bytes, int start, int length)
            throws IOException;
}
