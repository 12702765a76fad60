package io.libraft;

import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.function.IntFunction;

/**
 * The calls of a node that are pending. The native half knows each by its token, a place in this
 * table.
 */
final class PendingCalls {
    private PendingCall<?>[] calls = new PendingCall<?>[256];

    /** The places below {@code used} that are free again. */
    private int[] free = new int[256];

    private int freeCount;
    private int used;

    /**
     * Makes a native call that completes later. Never throws: whatever goes wrong is in the future.
     *
     * @param make makes the call with a token; an answer that is not null is its error
     */
    <T> CompletableFuture<T> begin(PendingCall<T> call, IntFunction<byte[]> make) {
        int token = add(call);
        try {
            byte[] answer = make.apply(token);
            if (answer != null) {
                FlatReader.answer(answer, call.machine());
            }
        } catch (Throwable error) {
            // The native half completes a call only if it accepted it.
            take(token);
            call.fail(error);
        }
        return call;
    }

    synchronized int add(PendingCall<?> call) {
        int token;
        if (freeCount > 0) {
            token = free[--freeCount];
        } else {
            if (used == calls.length) {
                calls = Arrays.copyOf(calls, 2 * used);
            }
            token = used++;
        }
        calls[token] = call;
        return token;
    }

    synchronized PendingCall<?> take(int token) {
        PendingCall<?> call = calls[token];
        calls[token] = null;
        if (freeCount == free.length) {
            free = Arrays.copyOf(free, 2 * freeCount);
        }
        free[freeCount++] = token;
        return call;
    }
}
