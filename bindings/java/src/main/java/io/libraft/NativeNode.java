package io.libraft;

import java.lang.ref.Cleaner;

/**
 * A node of the native half. Its native methods are instance methods, so that the object, and with
 * it the pointer, outlives every call. When nobody refers to it any more, the node is given back,
 * which begins to close it.
 */
final class NativeNode {
    static final Cleaner CLEANER = Cleaner.create();

    static {
        NativeLibrary.load();
    }

    private final long pointer;

    NativeNode(long pointer) {
        this.pointer = pointer;
        CLEANER.register(this, () -> free(pointer));
    }

    byte[] close() {
        return close(pointer);
    }

    byte[] closeAsync(int token) {
        return closeAsync(pointer, token);
    }

    byte[] status() {
        return status(pointer);
    }

    byte[] startGroup(byte[] options, MachineBridge bridge) {
        return startGroup(pointer, options, bridge, bridge.kind(), bridge.quick());
    }

    static native byte[] open(byte[] options);

    static native byte[] version();

    private static native void free(long pointer);

    private native byte[] close(long pointer);

    private native byte[] closeAsync(long pointer, int token);

    private native byte[] status(long pointer);

    private native byte[] startGroup(
            long pointer, byte[] options, MachineBridge bridge, int kind, boolean quick);
}
