/** What happens to a group on this node, as an async iterator. */

import type { Role } from './status';

/** Something that happened to a group on this node. */
export type GroupEvent =
  | { kind: 'role'; role: Role; term: bigint }
  /** Without `nodeId` there is no leader. */
  | { kind: 'leader'; nodeId?: bigint; term: bigint }
  | { kind: 'membership'; index: bigint }
  | { kind: 'snapshot-taken'; index: bigint; bytes: number }
  | { kind: 'snapshot-installed'; index: bigint }
  /**
   * So many bytes of a snapshot went to a peer so far: told at the beginning, then every 16 MiB.
   */
  | { kind: 'snapshot-sending'; nodeId: bigint; index: bigint; bytes: number }
  | { kind: 'snapshot-receiving'; nodeId: bigint; index: bigint; bytes: number }
  /** The group is out of service on this node; its status says why. */
  | { kind: 'failed' };

/** Events that may wait for their reader, which misses those that come then. */
const WAITING_MAX = 1024;

/**
 * Events, from the call of `events()` on, until the group is stopped. Up to 1,024 wait for a slow
 * reader, which misses those that come then. Waiting for the next one does not keep the process
 * alive.
 */
export class GroupEvents implements AsyncIterableIterator<GroupEvent> {
  readonly #waiting: GroupEvent[] = [];
  readonly #readers: ((result: IteratorResult<GroupEvent, undefined>) => void)[] = [];
  readonly #onReturn: (events: GroupEvents) => void;
  #ended = false;

  /** @internal */
  constructor(onReturn: (events: GroupEvents) => void) {
    this.#onReturn = onReturn;
  }

  next(): Promise<IteratorResult<GroupEvent, undefined>> {
    const value = this.#waiting.shift();
    if (value !== undefined) return Promise.resolve({ value, done: false });
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  /** Ends it: `break` in a `for await` loop does. */
  return(): Promise<IteratorResult<GroupEvent, undefined>> {
    this.#waiting.length = 0;
    this.end();
    this.#onReturn(this);
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @internal */
  push(value: GroupEvent): void {
    const reader = this.#readers.shift();
    if (reader !== undefined) reader({ value, done: false });
    else if (this.#waiting.length < WAITING_MAX) this.#waiting.push(value);
  }

  /** @internal What waits can still be read. */
  end(): void {
    this.#ended = true;
    for (const reader of this.#readers.splice(0)) reader({ value: undefined, done: true });
  }
}
