/** What happens to a group on this node, as an async iterator. */
import type { Role } from './status';
/** Something that happened to a group on this node. */
export type GroupEvent = {
    kind: 'role';
    role: Role;
    term: bigint;
}
/** Without `nodeId` there is no leader. */
 | {
    kind: 'leader';
    nodeId?: bigint;
    term: bigint;
} | {
    kind: 'membership';
    index: bigint;
} | {
    kind: 'snapshot-taken';
    index: bigint;
    bytes: number;
} | {
    kind: 'snapshot-installed';
    index: bigint;
}
/**
 * So many bytes of a snapshot went to a peer so far: told at the beginning, then every 16 MiB.
 */
 | {
    kind: 'snapshot-sending';
    nodeId: bigint;
    index: bigint;
    bytes: number;
} | {
    kind: 'snapshot-receiving';
    nodeId: bigint;
    index: bigint;
    bytes: number;
}
/** The group is out of service on this node; its status says why. */
 | {
    kind: 'failed';
};
/**
 * Events, from the call of `events()` on, until the group is stopped. Up to 1,024 wait for a slow
 * reader, which misses those that come then. Waiting for the next one does not keep the process
 * alive.
 */
export declare class GroupEvents implements AsyncIterableIterator<GroupEvent> {
    #private;
    next(): Promise<IteratorResult<GroupEvent, undefined>>;
    /** Ends it: `break` in a `for await` loop does. */
    return(): Promise<IteratorResult<GroupEvent, undefined>>;
    [Symbol.asyncIterator](): this;
}
