/** State machines: what a user supplies. */
import type { Readable, Writable } from 'node:stream';
import type { Entry, EntryBatch } from './columns';
import { type Results } from './results';
/** A value, or a promise of it. */
export type Awaitable<T> = T | PromiseLike<T>;
interface Base {
    /**
     * Applies entries, in order, and returns a result for each, which is what the promise of its
     * proposal gets. It must depend on nothing but the state and the entries: all nodes apply the
     * same entries, and must come to the same state.
     *
     * If it throws, or rejects, the group stops on this node: to go on without an entry would make
     * this node differ from the others. So an entry that makes no sense must have a result that says
     * so.
     *
     * @param batch The same entries in one piece, for machines that are in a hurry.
     */
    apply(entries: Entry[], batch: EntryBatch): Awaitable<Results>;
    /**
     * Replaces the state by the saved one that `readable` yields. May be called again with the same
     * snapshot after a crash. An on-disk machine is done when the new state is durable.
     */
    restoreSnapshot(readable: Readable): Awaitable<void>;
    /**
     * Called before anything else. An on-disk machine says how far it is; what another one returns
     * does not count.
     */
    open?(): Awaitable<unknown>;
    /** Called once, when the group is stopped and no other callback is running any more. */
    destroy?(): void;
}
/** The state is in memory, and rebuilt from a snapshot and the log at every start. */
export interface InMemoryStateMachine extends Base {
    readonly kind?: 'in-memory';
    /**
     * Writes the state to `writable`; nothing is applied until it is done. The stream need not be
     * ended.
     */
    saveSnapshot(writable: Writable): Awaitable<void>;
}
/** As in memory, but a snapshot is saved while entries go on being applied. */
export interface ConcurrentStateMachine<Prepared = unknown> extends Base {
    readonly kind: 'concurrent';
    /**
     * Returns a view of the state that stays as it is. Must be quick: nothing is applied meanwhile.
     */
    prepareSnapshot(): Awaitable<Prepared>;
    /** Writes the view to `writable`, beside `apply`. The stream need not be ended. */
    saveSnapshot(writable: Writable, prepared: Prepared): Awaitable<void>;
    /** Called once for each view that is not needed any more, whether it was saved or not. */
    releaseSnapshot?(prepared: Prepared): void;
}
/**
 * The machine keeps its own state on disk. Its snapshots are streamed to the peers that need one.
 */
export interface OnDiskStateMachine<Prepared = unknown> extends Omit<ConcurrentStateMachine<Prepared>, 'kind' | 'open'> {
    readonly kind: 'on-disk';
    /**
     * Returns the index of the last entry whose effect is in the durable
     * state, 0 if there is none; and the `blob` that came with it.
     */
    open(): Awaitable<bigint | number | Opened>;
    /** Makes durable what was applied so far. */
    sync(): Awaitable<void>;
}
/** What an on-disk machine says when it opens. */
export interface Opened {
    appliedIndex: bigint | number;
    blob?: Uint8Array;
}
/**
 * A state machine of one of three kinds, told apart by `kind`. Any callback may be `async`.
 * Callbacks of one machine never overlap, but for `saveSnapshot` of a concurrent or an on-disk one,
 * which runs beside the others.
 */
export type StateMachine<Prepared = any> = InMemoryStateMachine | ConcurrentStateMachine<Prepared> | OnDiskStateMachine<Prepared>;
export {};
