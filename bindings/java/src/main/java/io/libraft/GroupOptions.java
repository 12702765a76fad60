package io.libraft;

import java.time.Duration;

/** How a group is started on a node. What is not set has the default that is said here. */
public final class GroupOptions {
    private final FlatWriter options = new FlatWriter(256);
    private final long groupId;

    /**
     * What every group needs.
     *
     * @param groupId the group's id within the cluster, not 0
     */
    public GroupOptions(long groupId) {
        this.groupId = groupId;
        number(1, groupId, "groupId");
    }

    /**
     * Adds one of the members that form the group, the same on all of them, in any order. Without
     * any, the group goes on with what the data directory holds, or waits to be added.
     *
     * @param nodeId the member's node
     * @param address the address that the node advertises
     * @return this
     */
    public GroupOptions initialMember(long nodeId, String address) {
        LibraftException.required(address, "the address of an initial member");
        number(2, nodeId, "the node id of an initial member");
        options.writeText(address, "the address of an initial member");
        return this;
    }

    /**
     * The largest proposal.
     *
     * @param bytes 8 MiB by default
     * @return this
     */
    public GroupOptions proposalBytesMax(long bytes) {
        return number(3, bytes, "proposalBytesMax");
    }

    /**
     * How many bytes of proposals of this node may be pending.
     *
     * @param bytes 256 MiB by default
     * @return this
     */
    public GroupOptions pendingBytesMax(long bytes) {
        return number(4, bytes, "pendingBytesMax");
    }

    /**
     * How many proposals and reads of this node may be pending, those included whose futures wait
     * to be completed.
     *
     * @param count 1,048,576 by default
     * @return this
     */
    public GroupOptions pendingCountMax(long count) {
        return number(5, count, "pendingCountMax");
    }

    /**
     * How many bytes may be committed but not applied before proposals are answered busy.
     *
     * @param bytes 256 MiB by default
     * @return this
     */
    public GroupOptions unappliedBytesMax(long bytes) {
        return number(6, bytes, "unappliedBytesMax");
    }

    /**
     * How many bytes of entries may be in flight to one peer.
     *
     * @param bytes 16 MiB by default
     * @return this
     */
    public GroupOptions inflightBytesMax(long bytes) {
        return number(7, bytes, "inflightBytesMax");
    }

    /**
     * How many bytes of entries are kept in memory.
     *
     * @param bytes 32 MiB by default
     * @return this
     */
    public GroupOptions entryCacheBytes(long bytes) {
        return number(8, bytes, "entryCacheBytes");
    }

    /**
     * How many entries lie between automatic snapshots.
     *
     * @param entries 100,000 by default; 0 for none by count
     * @return this
     */
    public GroupOptions snapshotEntries(long entries) {
        return number(9, entries, "snapshotEntries");
    }

    /**
     * How many bytes of log lie between automatic snapshots.
     *
     * @param bytes 128 MiB by default; 0 for none by size
     * @return this
     */
    public GroupOptions snapshotLogBytes(long bytes) {
        return number(10, bytes, "snapshotLogBytes");
    }

    /**
     * How many entries are kept behind a snapshot for followers that lag a little, but not more
     * than {@code snapshotLogBytes} of them.
     *
     * @param entries 10,000 by default
     * @return this
     */
    public GroupOptions retainedEntries(long entries) {
        return number(11, entries, "retainedEntries");
    }

    /**
     * How long a proposal or a read may be pending before it fails with a {@link TimeoutException}.
     *
     * @param timeout 10 s by default; of whole milliseconds
     * @return this
     */
    public GroupOptions proposalTimeout(Duration timeout) {
        return duration(12, timeout, "proposalTimeout");
    }

    /**
     * How long sending a snapshot may take.
     *
     * @param timeout 10 minutes by default
     * @return this
     */
    public GroupOptions snapshotTransferTimeout(Duration timeout) {
        return duration(13, timeout, "snapshotTransferTimeout");
    }

    /**
     * How long {@code restoreSnapshot} may take.
     *
     * @param timeout 10 minutes by default
     * @return this
     */
    public GroupOptions snapshotRestoreTimeout(Duration timeout) {
        return duration(14, timeout, "snapshotRestoreTimeout");
    }

    /**
     * Members with a higher priority campaign first.
     *
     * @param priority 0 by default
     * @return this
     */
    public GroupOptions priority(long priority) {
        options.writeByte(15).writeLong(priority);
        return this;
    }

    long groupId() {
        return groupId;
    }

    byte[] write() {
        return options.finish();
    }

    private GroupOptions duration(int number, Duration value, String name) {
        return number(number, LibraftException.millis(value, name), name);
    }

    private GroupOptions number(int number, long value, String name) {
        options.writeByte(number).writeLong(LibraftException.notNegative(value, name));
        return this;
    }
}
