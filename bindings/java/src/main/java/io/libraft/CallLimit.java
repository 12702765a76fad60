package io.libraft;

import java.util.concurrent.atomic.AtomicLong;

/**
 * How many calls of a group may be pending, those included whose completion waits for the delivery
 * thread: so what waits there is bounded, too, however slow the program's continuations are.
 */
final class CallLimit {
    private final long groupId;
    private final long callsMax;
    private final MachineBridge machine;
    private final AtomicLong calls = new AtomicLong();

    CallLimit(long groupId, long callsMax, MachineBridge machine) {
        this.groupId = groupId;
        this.callsMax = callsMax;
        this.machine = machine;
    }

    void enter(int count) {
        if (calls.addAndGet(count) > callsMax) {
            calls.addAndGet(-count);
            throw LibraftException.rejected(
                    ErrorCode.BUSY,
                    "group "
                            + groupId
                            + " has "
                            + callsMax
                            + " calls pending or waiting for their"
                            + " futures to be completed (pendingCountMax)");
        }
    }

    void leave(int count) {
        calls.addAndGet(-count);
    }

    MachineBridge machine() {
        return machine;
    }
}
