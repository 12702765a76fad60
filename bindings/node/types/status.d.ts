/** What nodes and groups say of themselves. */
import { type Leader, type LibraftError } from './error';
/** What a node says of itself. */
export interface NodeStatus {
    cluster: string;
    nodeId: bigint;
    /** Made anew with the data directory. */
    incarnation: string;
    /** How often the data directory was opened. */
    bootCounter: number;
    /** The address peers should connect to, with the actual port. */
    address: string;
    groups: number;
    connectedPeers: number;
    /** What was refused since the node was opened. */
    refusedFrames: number;
    refusedConnections: number;
    journalBytes: number;
    checkpointBytes: number;
    /** Files of the journal. */
    segments: number;
    /** Whether new entries are refused for want of space. */
    full: boolean;
    /** The error that put the whole node out of service. */
    failure: LibraftError | undefined;
}
/** What a replica is. */
export type Role = 
/** An initial member that has not met all others, or a replica that waits to be added. */
'forming' | 'follower' | 'pre-candidate' | 'candidate' | 'leader' | 'learner'
/** Out of service by a failure, or removed from the group. */
 | 'stopped';
/** What a group says of its replica on this node. */
export interface GroupStatus {
    groupId: bigint;
    raftId: bigint;
    /** Names the group's formation. */
    formation: string;
    role: Role;
    term: bigint;
    /** The leader, if it is known. */
    leader: Leader | undefined;
    firstIndex: bigint;
    lastIndex: bigint;
    commitIndex: bigint;
    /** What the state machine has applied. */
    appliedIndex: bigint;
    snapshotIndex: bigint;
    pendingProposals: number;
    pendingBytes: number;
    /** What put the group out of service on this node. */
    failure: LibraftError | undefined;
}
/** A member of a group. */
export interface Member {
    raftId: bigint;
    nodeId: bigint;
    incarnation: string;
    address: string;
    /** An outgoing member votes in the old half of a joint configuration only. */
    role: 'voter' | 'learner' | 'outgoing';
}
