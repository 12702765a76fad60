package io.libraft;

/** A group of the native half; what {@link NativeNode} says holds here, too. */
final class NativeGroup {
    private final long pointer;

    NativeGroup(long pointer) {
        this.pointer = pointer;
        NativeNode.CLEANER.register(this, () -> free(pointer));
    }

    byte[] waitReady(long timeoutMs) {
        return waitReady(pointer, timeoutMs);
    }

    byte[] waitReadyAsync(int token, long timeoutMs) {
        return waitReadyAsync(pointer, token, timeoutMs);
    }

    byte[] propose(int token, byte[] array, int start, int length) {
        return propose(pointer, token, array, start, length);
    }

    byte[] proposeBatch(int token, byte[] batch) {
        return proposeBatch(pointer, token, batch);
    }

    byte[] readIndex(int token) {
        return readIndex(pointer, token);
    }

    byte[] changeMembership(int token, byte[] changes) {
        return changeMembership(pointer, token, changes);
    }

    byte[] transferLeadership(int token, long to) {
        return transferLeadership(pointer, token, to);
    }

    byte[] takeSnapshot(int token) {
        return takeSnapshot(pointer, token);
    }

    byte[] stop() {
        return stop(pointer);
    }

    byte[] stopAsync(int token) {
        return stopAsync(pointer, token);
    }

    byte[] listen(boolean on) {
        return listen(pointer, on);
    }

    void eventTold() {
        eventTold(pointer);
    }

    byte[] status() {
        return status(pointer);
    }

    byte[] members() {
        return members(pointer);
    }

    private static native void free(long pointer);

    private native byte[] waitReady(long pointer, long timeoutMs);

    private native byte[] waitReadyAsync(long pointer, int token, long timeoutMs);

    private native byte[] propose(long pointer, int token, byte[] array, int start, int length);

    private native byte[] proposeBatch(long pointer, int token, byte[] batch);

    private native byte[] readIndex(long pointer, int token);

    private native byte[] changeMembership(long pointer, int token, byte[] changes);

    private native byte[] transferLeadership(long pointer, int token, long to);

    private native byte[] takeSnapshot(long pointer, int token);

    private native byte[] stop(long pointer);

    private native byte[] stopAsync(long pointer, int token);

    private native byte[] listen(long pointer, boolean on);

    private native void eventTold(long pointer);

    private native byte[] status(long pointer);

    private native byte[] members(long pointer);
}
