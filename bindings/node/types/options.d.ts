/** Options: their types are checked here, by name, before the native half checks what they say. */
/** An id, an index or a term. Numbers are welcome as long as they are exact. */
export type Id = bigint | number;
/** How a node is opened. */
export interface NodeOptions {
    /** The cluster's name, 1 to 128 bytes; nodes of different clusters refuse each other. */
    cluster: string;
    /** This node's id, not 0. */
    nodeId: Id;
    /** The data directory; made if it is missing. Each node has its own. */
    directory: string;
    /** Where snapshots are kept, if not below `directory` (on another disk, say). */
    snapshotDirectory?: string | undefined;
    /**
     * Address to listen on, `host:port` or `[ipv6]:port`; port 0 takes a free one. Default
     * `127.0.0.1:0`.
     */
    listenAddress?: string | undefined;
    /** The address that peers connect to, if it is not the one that is listened on. */
    advertisedAddress?: string | undefined;
    /** Allows listening beyond loopback without transport security. */
    insecureTransport?: boolean | undefined;
    /** The length of a tick in milliseconds. Default 100. */
    tickMs?: number | undefined;
    /** Ticks without a heartbeat before a follower campaigns; up to twice as many. Default 10. */
    electionTicks?: number | undefined;
    /** Ticks between heartbeats. Default 1. */
    heartbeatTicks?: number | undefined;
    /** Threads that wait for state machines. Default 2. */
    applyThreads?: number | undefined;
    /** The size of a journal segment in bytes. Default 64 MiB. */
    segmentBytes?: number | undefined;
    /** Journal segments in use before the oldest is checkpointed. Default 8. */
    segmentsMax?: number | undefined;
    /** Bytes that must stay free on the disk. Default 64 MiB. */
    freeBytesMin?: number | undefined;
}
/** One of the initial members of a group. */
export interface InitialMember {
    nodeId: Id;
    address: string;
}
/** How a group is started on a node. */
export interface GroupOptions {
    /** The group's id, not 0. */
    groupId: Id;
    /**
     * The members that form the group, identical on all of them, in any order. None: wait to be
     * added; or, if the data directory holds the group, go on.
     */
    initialMembers?: readonly InitialMember[] | undefined;
    /** The largest proposal in bytes. Default 8 MiB. */
    proposalBytesMax?: number | undefined;
    /** Bytes of proposals of this node that may be pending. Default 256 MiB. */
    pendingBytesMax?: number | undefined;
    /** Proposals and reads of this node that may be pending. Default 1,048,576. */
    pendingCountMax?: number | undefined;
    /** Bytes committed but not applied above which proposals are answered `BUSY`. Default 256 MiB. */
    unappliedBytesMax?: number | undefined;
    /** Bytes of entries in flight to one peer. Default 16 MiB. */
    inflightBytesMax?: number | undefined;
    /** Bytes of entries kept in memory. Default 32 MiB. */
    entryCacheBytes?: number | undefined;
    /** Entries between automatic snapshots; 0 for none by count. Default 100,000. */
    snapshotEntries?: number | undefined;
    /** Bytes of log between automatic snapshots; 0 for none by size. Default 128 MiB. */
    snapshotLogBytes?: number | undefined;
    /** Entries kept behind a snapshot for followers that lag a little. Default 10,000. */
    retainedEntries?: number | undefined;
    /** Milliseconds after which a pending proposal or read fails with `TIMEOUT`. Default 10,000. */
    proposalTimeoutMs?: number | undefined;
    /** Default 600,000. */
    snapshotTransferTimeoutMs?: number | undefined;
    /** Default 600,000. */
    snapshotRestoreTimeoutMs?: number | undefined;
    /** Higher campaigns first. Default 0. */
    priority?: number | undefined;
}
/** One step of a membership change. */
export type Change = {
    kind: 'add-learner' | 'add-voter' | 'set-address';
    nodeId: Id;
    address: string;
} | {
    kind: 'promote' | 'demote' | 'remove';
    nodeId: Id;
};
