package io.libraft;

import java.util.OptionalLong;

/**
 * Hears what happens to a group on this node. Override what is of interest.
 *
 * <p><b>Threads.</b> Calls come from the node's delivery thread, or its executor: for one group in
 * order, one at a time. Up to 1,024 events wait for listeners that block; what happens then they
 * never hear of. What a listener throws is logged.
 */
public interface GroupListener {

    /**
     * This replica's role changed.
     *
     * @param role the new one
     * @param term the term
     */
    default void onRole(Role role, long term) {}

    /**
     * Another leader is known, or none.
     *
     * @param nodeId the leader's node id; empty if there is none
     * @param term the term
     */
    default void onLeader(OptionalLong nodeId, long term) {}

    /**
     * Another membership is in force.
     *
     * @param index since this index
     */
    default void onMembership(long index) {}

    /**
     * A snapshot of this node's state was taken.
     *
     * @param index of the last entry in it
     * @param bytes its size
     */
    default void onSnapshotTaken(long index, long bytes) {}

    /**
     * A snapshot from the leader was installed.
     *
     * @param index of the last entry in it
     */
    default void onSnapshotInstalled(long index) {}

    /**
     * A snapshot is being sent to a peer: told at the beginning, then every 16 MiB.
     *
     * @param nodeId the peer
     * @param index of the last entry in it
     * @param bytes how much was sent so far
     */
    default void onSnapshotSending(long nodeId, long index, long bytes) {}

    /**
     * A snapshot arrives from a peer.
     *
     * @param nodeId the peer
     * @param index of the last entry in it
     * @param bytes how much arrived so far
     */
    default void onSnapshotReceiving(long nodeId, long index, long bytes) {}

    /** The group is out of service on this node: {@link GroupStatus#failure} says why. */
    default void onFailed() {}
}
