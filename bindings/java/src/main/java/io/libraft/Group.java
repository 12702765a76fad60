package io.libraft;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import java.util.function.IntFunction;

/**
 * A group that was started on a node: propose, read, change its membership.
 *
 * <p><b>Futures.</b> The methods that return one never block and never throw. Each future completes
 * exactly once, on the node's delivery thread or its executor ({@link NodeOptions#executor}), and,
 * if it fails, with a {@link LibraftException} that says what became of the call.
 */
public final class Group {
    private final Node node;
    private final long groupId;
    private final NativeGroup handle;
    private final CallLimit limit;
    private final Deliveries deliveries;
    private final PendingCalls calls;
    private final GroupEvents events;

    Group(Node node, long groupId, NativeGroup handle, CallLimit limit, Deliveries deliveries) {
        this.node = node;
        this.groupId = groupId;
        this.handle = handle;
        this.limit = limit;
        this.deliveries = deliveries;
        calls = deliveries.calls();
        events = new GroupEvents(handle);
        deliveries.listen(groupId, events);
    }

    /**
     * The group's id.
     *
     * @return as it was started with
     */
    public long groupId() {
        return groupId;
    }

    /**
     * The node that the group runs on.
     *
     * @return the node
     */
    public Node node() {
        return node;
    }

    /**
     * Blocks until the group has a leader and this replica has applied all that was committed
     * before: until a linearizable read succeeds.
     *
     * @param timeout how long at most; of whole milliseconds
     * @throws LibraftException {@link TimeoutException}, or what stopped the group
     */
    public void waitReady(Duration timeout) {
        long timeoutMs = LibraftException.millis(timeout, "timeout");
        FlatReader.answer(handle.waitReady(timeoutMs), limit.machine());
    }

    /**
     * As {@link #waitReady}, without blocking.
     *
     * @param timeout how long at most; of whole milliseconds
     * @return completes when the group is ready
     */
    public CompletableFuture<Void> waitReadyAsync(Duration timeout) {
        long timeoutMs;
        try {
            timeoutMs = LibraftException.millis(timeout, "timeout");
        } catch (LibraftException error) {
            return CompletableFuture.failedFuture(error);
        }
        return call(1, Group::nothing, token -> handle.waitReadyAsync(token, timeoutMs));
    }

    /**
     * Proposes one entry.
     *
     * @param data its payload, at least one byte; copied
     * @return completes when the entry is applied on this node
     */
    public CompletableFuture<Completion> propose(byte[] data) {
        if (data == null) {
            return refused("data is null");
        }
        return propose(data, 0, data.length);
    }

    /**
     * Proposes one entry.
     *
     * @param data what remains in it is the payload; copied. Its position stays.
     * @return completes when the entry is applied on this node
     */
    public CompletableFuture<Completion> propose(ByteBuffer data) {
        if (data == null) {
            return refused("data is null");
        }
        if (data.hasArray()) {
            return propose(data.array(), data.arrayOffset() + data.position(), data.remaining());
        }
        byte[] copy = new byte[data.remaining()];
        data.duplicate().get(copy);
        return propose(copy, 0, copy.length);
    }

    private CompletableFuture<Completion> propose(byte[] array, int start, int length) {
        return call(1, Completion::read, token -> handle.propose(token, array, start, length));
    }

    /**
     * Proposes entries that are accepted together, or not at all. Each is then applied, or not, by
     * itself.
     *
     * @param batch their payloads, each at least one byte; copied
     * @return completes when all are done
     */
    public CompletableFuture<BatchCompletion> proposeBatch(List<byte[]> batch) {
        if (batch == null) {
            return refused("batch is null");
        }
        byte[][] entries;
        try {
            entries = batch.toArray(new byte[0][]);
        } catch (ArrayStoreException e) {
            return refused("an entry of the batch is no byte[]");
        }
        long bytes = 4;
        for (int i = 0; i < entries.length; i++) {
            if (entries[i] == null) {
                return refused("entry " + i + " of the batch is null");
            }
            bytes += 4L + entries[i].length;
        }
        if (bytes > Integer.MAX_VALUE - 8) {
            return CompletableFuture.failedFuture(
                    LibraftException.rejected(
                            ErrorCode.TOO_LARGE,
                            "a batch of " + bytes + " bytes is more than a Java array can hold"));
        }
        FlatWriter writer = new FlatWriter((int) bytes).writeInt(entries.length);
        for (byte[] entry : entries) {
            writer.writeInt(entry.length);
        }
        for (byte[] entry : entries) {
            writer.writeRaw(entry);
        }
        byte[] flat = writer.finish();
        return call(
                entries.length,
                reader -> BatchCompletion.read(reader, entries.length, limit.machine()),
                token -> handle.proposeBatch(token, flat));
    }

    /**
     * Waits until this replica has applied all that was committed before the call: a read of the
     * program's own state is linearizable from then on.
     *
     * @return completes with the index up to which it has applied
     */
    public CompletableFuture<Long> readIndex() {
        return call(1, Group::index, handle::readIndex);
    }

    /**
     * Changes who the members are; at the leader only. All steps take effect together.
     *
     * @param changes the steps
     * @return completes with the index since which the new membership is in force
     */
    public CompletableFuture<Long> changeMembership(Change... changes) {
        if (changes == null) {
            return refused("changes is null");
        }
        FlatWriter writer = new FlatWriter(64);
        for (Change change : changes) {
            if (change == null) {
                return refused("a change is null");
            }
            try {
                change.write(writer);
            } catch (LibraftException error) {
                return CompletableFuture.failedFuture(error);
            }
        }
        byte[] steps = writer.finish();
        return call(1, Group::index, token -> handle.changeMembership(token, steps));
    }

    /**
     * Hands leadership over; at the leader only.
     *
     * @param toNodeId the node that is to lead
     * @return completes when another leader is known
     */
    public CompletableFuture<Void> transferLeadership(long toNodeId) {
        if (toNodeId < 0) {
            return refused("toNodeId is " + toNodeId + ", but must not be negative");
        }
        return call(1, Group::nothing, token -> handle.transferLeadership(token, toNodeId));
    }

    /**
     * Takes a snapshot of this node's state now.
     *
     * @return completes with the snapshot's index
     */
    public CompletableFuture<Long> takeSnapshot() {
        return call(1, Group::index, handle::takeSnapshot);
    }

    /**
     * What the group says of its replica on this node, as of now.
     *
     * @return the status
     */
    public GroupStatus status() {
        return GroupStatus.read(FlatReader.answer(handle.status()), limit.machine());
    }

    /**
     * The members of the group, as far as this node knows.
     *
     * @return a list that is not changed any more
     */
    public List<Member> members() {
        FlatReader reader = FlatReader.answer(handle.members());
        int count = reader.readInt();
        List<Member> members = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            members.add(Member.read(reader));
        }
        return List.copyOf(members);
    }

    /**
     * Adds a listener.
     *
     * @param listener hears of everything from now on
     */
    public void addListener(GroupListener listener) {
        events.add(LibraftException.required(listener, "listener"));
    }

    /**
     * Removes a listener, which may still hear of one more event.
     *
     * @param listener that was added
     */
    public void removeListener(GroupListener listener) {
        events.remove(LibraftException.required(listener, "listener"));
    }

    /**
     * Stops the group on this node, completes what is pending with a {@link StoppedException}, and
     * returns when the state machine was destroyed. Its data stays: it can be started again.
     * Stopping a stopped group does nothing.
     *
     * @throws LibraftException a {@link WouldDeadlockException} if this is a callback: the group
     *     has only begun to stop
     */
    public void stop() {
        FlatReader.answer(handle.stop());
        forget();
    }

    /**
     * Begins to stop the group on this node.
     *
     * @return completes when the state machine was destroyed
     */
    public CompletableFuture<Void> stopAsync() {
        PendingCall<Void> call =
                new PendingCall<>(
                        null,
                        0,
                        done -> {
                            forget();
                            return null;
                        });
        return node.begin(call, handle::stopAsync, this::forget);
    }

    /** What stopped the group, if that was something a callback threw; or null. */
    LibraftException machineFailure() {
        return limit.machine().failure();
    }

    private void forget() {
        node.forget(this);
        deliveries.forget(groupId, events);
    }

    private <T> CompletableFuture<T> call(
            int count, Function<FlatReader, T> decode, IntFunction<byte[]> make) {
        PendingCall<T> call;
        try {
            call = new PendingCall<>(limit, count, decode);
        } catch (LibraftException error) {
            return CompletableFuture.failedFuture(error);
        }
        return calls.begin(call, make);
    }

    /** The index of a completion. */
    private static Long index(FlatReader reader) {
        long index = reader.readLong();
        reader.readLong();
        reader.readBytes();
        return index;
    }

    private static Void nothing(FlatReader reader) {
        index(reader);
        return null;
    }

    private static <T> CompletableFuture<T> refused(String message) {
        return CompletableFuture.failedFuture(LibraftException.invalid(message));
    }

    @Override
    public String toString() {
        return "Group[" + groupId + "]";
    }
}
