/** A group on a node: propose, read, change the membership. */
import type { Completion } from './columns';
import { type LibraftError } from './error';
import { GroupEvents } from './events';
import { type Change, type Id } from './options';
import { type GroupStatus, type Member } from './status';
/**
 * A group that was started on this node. No method blocks: promises are settled on this thread,
 * each exactly once. While one is pending, the process does not end by itself.
 */
export declare class Group {
    #private;
    /** The group's id. */
    readonly groupId: bigint;
    /**
     * Waits until the group has a leader and this replica has applied everything committed before:
     * that is, until a linearizable read succeeds. Rejects with the group's failure if it has one,
     * with `TIMEOUT` when the time is over.
     */
    waitReady(timeoutMs?: number): Promise<void>;
    /**
     * Proposes one entry, which is copied. Resolves once it is committed, and applied on this node.
     *
     * Rejects with `EMPTY_PROPOSAL`, `TOO_LARGE`, `BUSY`, `TIMEOUT`, `CLOSED`, `STOPPED`, or the
     * failure of the group. Look at `outcome` before proposing it again: after `'unknown'` it may yet
     * be applied.
     */
    propose(data: Uint8Array | string): Promise<Completion>;
    /**
     * Proposes entries in one call, in order: all are accepted, or none, and then this rejects.
     * Resolves when all are done, to a completion or an error for each.
     */
    proposeBatch(entries: readonly (Uint8Array | string)[]): Promise<(Completion | LibraftError)[]>;
    /**
     * Resolves, to an index, once this replica has applied everything that was committed anywhere
     * before the call: a read of the application's own state is linearizable from then on.
     */
    readIndex(): Promise<bigint>;
    /**
     * Changes the membership; all steps take effect together. Only at the leader. Resolves when the
     * new configuration is in force. Nodes to be added must be running.
     */
    changeMembership(changes: readonly Change[]): Promise<void>;
    /** Has another voter lead. Only at the leader. Resolves when another leader is known. */
    transferLeadership(to: Id): Promise<void>;
    /** Resolves to the snapshot's index. */
    takeSnapshot(): Promise<bigint>;
    status(): GroupStatus;
    members(): Member[];
    /** What happens to the group from now on: `for await (const event of group.events())`. */
    events(): GroupEvents;
    /**
     * Stops the group on this node; its data stays. Resolves when it has stopped; `destroy` of the
     * machine was called, unless another of its callbacks is still running. A callback that awaits
     * this does not wait for itself. Idempotent.
     */
    stop(): Promise<void>;
}
