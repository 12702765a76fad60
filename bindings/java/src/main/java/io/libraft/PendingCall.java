package io.libraft;

import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/** The future of a call that the native half has not completed yet. */
final class PendingCall<T> extends CompletableFuture<T> {
    private final CallLimit limit;
    private final int count;
    private final Function<FlatReader, T> decode;

    /**
     * Counts against the limit from here on.
     *
     * @param limit of the group; null for a call that is not counted
     * @param count how many proposals it makes
     * @param decode makes the result of what the native half says
     */
    PendingCall(CallLimit limit, int count, Function<FlatReader, T> decode) {
        this.limit = limit;
        this.count = count;
        this.decode = decode;
        if (limit != null) {
            limit.enter(count);
        }
    }

    /** The call is done; the program's continuations run in here. */
    void succeed(FlatReader reader) {
        T result;
        try {
            result = decode.apply(reader);
        } catch (Throwable error) {
            fail(error);
            return;
        }
        leave();
        complete(result);
    }

    void fail(FlatReader reader) {
        fail(LibraftException.read(reader, machine()));
    }

    void fail(Throwable error) {
        leave();
        completeExceptionally(error);
    }

    MachineBridge machine() {
        return limit == null ? null : limit.machine();
    }

    private void leave() {
        if (limit != null) {
            limit.leave(count);
        }
    }
}
