package io.libraft;

import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntFunction;

/**
 * An open node: this process's membership in a cluster, with an identity, an address and a data
 * directory.
 *
 * <p>Close it. A node that the program does not refer to any more, neither directly nor by one of
 * its groups, begins to close when it is garbage-collected; when the virtual machine shuts down,
 * nodes that are open are closed, for which it waits at most two seconds.
 *
 * <p><b>Threads.</b> Every method may be called from any thread. {@link #open}, {@link #close},
 * {@link Group#waitReady} and {@link Group#stop} block; nothing else does, and interrupts do not
 * end them. In a callback of a state machine they throw a {@link WouldDeadlockException}, {@code
 * close} and {@code stop} after they have begun.
 */
public final class Node implements AutoCloseable {
    private final NativeNode handle;
    private final Deliveries deliveries;
    private final Map<Long, Group> groups = new ConcurrentHashMap<>();

    private Node(NativeNode handle, Deliveries deliveries) {
        this.handle = handle;
        this.deliveries = deliveries;
    }

    /**
     * Opens the data directory, recovers the log, and listens. No group runs yet.
     *
     * @param options how
     * @return the open node
     * @throws LibraftException if an option or an address is wrong, or the data directory cannot be
     *     used
     */
    public static Node open(NodeOptions options) {
        LibraftException.required(options, "options");
        LogThread.listen();
        FlatReader opened = FlatReader.answer(NativeNode.open(options.write()));
        NativeNode handle = new NativeNode(opened.readLong());
        Deliveries deliveries =
                new Deliveries(opened.readLong(), options.nodeId(), options.executor());
        Node node = new Node(handle, deliveries);
        OpenNodes.add(node);
        return node;
    }

    /**
     * Starts a group, or goes on with the one in the data directory. Returns at once: what goes
     * wrong later, in {@code open} of the machine, say, is what {@link Group#waitReady} and every
     * call then say.
     *
     * @param options how
     * @param machine what the group replicates; whatever comes of this call, its {@code destroy} is
     *     called once
     * @return the group
     * @throws LibraftException if an option is wrong, the group runs already, or the node is closed
     */
    public Group startGroup(GroupOptions options, StateMachine machine) {
        LibraftException.required(machine, "machine");
        MachineBridge bridge;
        try {
            LibraftException.required(options, "options");
            bridge = new MachineBridge(machine, options.groupId());
        } catch (Throwable error) {
            machine.destroy();
            throw error;
        }
        FlatReader started = FlatReader.answer(handle.startGroup(options.write(), bridge), bridge);
        NativeGroup group = new NativeGroup(started.readLong());
        CallLimit limit = new CallLimit(options.groupId(), started.readLong(), bridge);
        Group result = new Group(this, options.groupId(), group, limit, deliveries);
        groups.put(options.groupId(), result);
        return result;
    }

    /**
     * The group, if it was started and not stopped.
     *
     * @param groupId its id
     * @return the group
     */
    public Optional<Group> group(long groupId) {
        return Optional.ofNullable(groups.get(groupId));
    }

    /**
     * What the node says of itself, as of now.
     *
     * @return the status
     */
    public NodeStatus status() {
        return NodeStatus.read(FlatReader.answer(handle.status()));
    }

    /**
     * Stops all groups, completes what is pending with a {@link ClosedException}, and releases the
     * data directory, which can be opened again when this returns. Waits for callbacks that run,
     * and for futures to be completed, unless an executor does that. Closing a closed node does
     * nothing.
     *
     * @throws LibraftException the first time, what a callback of one of the groups had thrown that
     *     stopped it; or {@link StorageFailedException} or {@link IoException} if the last words
     *     could not be written. The node is closed all the same. A {@link WouldDeadlockException}
     *     says that the node has only begun to close, for this is a callback.
     */
    @Override
    public void close() {
        closeNative();
        deliveries.join();
        throwFailure();
    }

    /**
     * Begins to close the node.
     *
     * @return completes when the data directory can be opened again; fails as {@link #close} does
     */
    public CompletableFuture<Void> closeAsync() {
        PendingCall<Void> call =
                new PendingCall<>(
                        null,
                        0,
                        done -> {
                            throwFailure();
                            return null;
                        });
        return begin(call, handle::closeAsync, this::closeNative);
    }

    /**
     * Begins an end that is told later; or, if nobody is there any more to tell it, does what has
     * nothing to wait for.
     */
    CompletableFuture<Void> begin(PendingCall<Void> call, IntFunction<byte[]> make, Runnable now) {
        int token = deliveries.calls().add(call);
        byte[] answer = make.apply(token);
        if (answer != null) {
            deliveries.calls().take(token);
            try {
                FlatReader.answer(answer);
                now.run();
                call.complete(null);
            } catch (LibraftException error) {
                call.completeExceptionally(error);
            }
        }
        return call;
    }

    void beginClose() {
        closeAsync();
    }

    /** Closes without waiting for deliveries, and without a word of groups that failed. */
    void closeNative() {
        FlatReader.answer(handle.close());
    }

    void forget(Group group) {
        groups.remove(group.groupId(), group);
    }

    /** Throws what a callback had thrown, once. */
    private void throwFailure() {
        LibraftException failure = null;
        for (Group group : groups.values()) {
            forget(group);
            LibraftException next = group.machineFailure();
            if (failure == null) {
                failure = next;
            } else if (next != null) {
                failure.addSuppressed(next);
            }
        }
        if (failure != null) {
            throw failure;
        }
    }

    @Override
    public String toString() {
        return "Node[" + status().nodeId() + "]";
    }
}
