package io.libraft;

/** The log of the native half. */
final class NativeLog {
    static {
        NativeLibrary.load();
    }

    private NativeLog() {}

    static native byte[] listen(int level);

    static native byte[] take();
}
