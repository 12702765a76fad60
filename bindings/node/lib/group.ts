/** A group on a node: propose, read, change the membership. */

import { ask } from './bridge';
import type { Completion } from './columns';
import { fromNative, isNativeError, type LibraftError } from './error';
import { GroupEvents, type GroupEvent } from './events';
import type { MachineHost } from './host';
import type { NativeGroup } from './native';
import { checkChanges, toId, toInteger, type Change, type Id } from './options';
import { Proposals, toBatch } from './proposals';
import { toStatus, type GroupStatus, type Member } from './status';

/**
 * A group that was started on this node. No method blocks: promises are settled on this thread,
 * each exactly once. While one is pending, the process does not end by itself.
 */
export class Group {
  /** The group's id. */
  readonly groupId: bigint;
  readonly #native: NativeGroup;
  readonly #host: MachineHost;
  readonly #proposals: Proposals;
  readonly #listeners = new Set<GroupEvents>();
  #stopped = false;

  /** @internal */
  constructor(
    groupId: bigint,
    native: NativeGroup,
    host: MachineHost,
    onStopped: (group: Group) => void,
  ) {
    this.groupId = groupId;
    this.#native = native;
    this.#host = host;
    this.#proposals = new Proposals(native, host);
    host.onEvent = (event) => this.#onEvent(event as GroupEvent);
    host.onEventsEnded = () => this.#onEventsEnded();
    host.onDropped = () => {
      this.#stopped = true;
      onStopped(this);
    };
  }

  /**
   * Waits until the group has a leader and this replica has applied everything committed before:
   * that is, until a linearizable read succeeds. Rejects with the group's failure if it has one,
   * with `TIMEOUT` when the time is over.
   */
  async waitReady(timeoutMs = 30_000): Promise<void> {
    const milliseconds = Math.max(0, toInteger('timeoutMs', timeoutMs));
    await this.#ask((call) => this.#native.waitReady(call, milliseconds));
  }

  /**
   * Proposes one entry, which is copied. Resolves once it is committed, and applied on this node.
   *
   * Rejects with `EMPTY_PROPOSAL`, `TOO_LARGE`, `BUSY`, `TIMEOUT`, `CLOSED`, `STOPPED`, or the
   * failure of the group. Look at `outcome` before proposing it again: after `'unknown'` it may yet
   * be applied.
   */
  propose(data: Uint8Array | string): Promise<Completion> {
    return this.#proposals.propose(data);
  }

  /**
   * Proposes entries in one call, in order: all are accepted, or none, and then this rejects.
   * Resolves when all are done, to a completion or an error for each.
   */
  async proposeBatch(
    entries: readonly (Uint8Array | string)[],
  ): Promise<(Completion | LibraftError)[]> {
    const { data, offsets } = toBatch(entries);
    return this.#ask((call) => this.#native.proposeBatch(call, data, offsets));
  }

  /**
   * Resolves, to an index, once this replica has applied everything that was committed anywhere
   * before the call: a read of the application's own state is linearizable from then on.
   */
  async readIndex(): Promise<bigint> {
    return (await this.#ask<Completion>((call) => this.#native.readIndex(call))).index;
  }

  /**
   * Changes the membership; all steps take effect together. Only at the leader. Resolves when the
   * new configuration is in force. Nodes to be added must be running.
   */
  async changeMembership(changes: readonly Change[]): Promise<void> {
    const steps = checkChanges(changes);
    await this.#ask((call) => this.#native.changeMembership(call, steps));
  }

  /** Has another voter lead. Only at the leader. Resolves when another leader is known. */
  async transferLeadership(to: Id): Promise<void> {
    const nodeId = toId('to', to);
    await this.#ask((call) => this.#native.transferLeadership(call, nodeId));
  }

  /** Resolves to the snapshot's index. */
  async takeSnapshot(): Promise<bigint> {
    return (await this.#ask<Completion>((call) => this.#native.takeSnapshot(call))).index;
  }

  status(): GroupStatus {
    return toStatus(this.#native.status(), (error) => this.#host.causeOf(error));
  }

  members(): Member[] {
    const members = this.#native.members();
    if (!Array.isArray(members)) throw fromNative(members);
    return members as Member[];
  }

  /** What happens to the group from now on: `for await (const event of group.events())`. */
  events(): GroupEvents {
    const events = new GroupEvents((ended) => this.#forget(ended));
    if (this.#stopped) {
      events.end();
      return events;
    }
    if (!this.#host.isListening) this.#listen(true);
    this.#listeners.add(events);
    return events;
  }

  /**
   * Stops the group on this node; its data stays. Resolves when it has stopped; `destroy` of the
   * machine was called, unless another of its callbacks is still running. A callback that awaits
   * this does not wait for itself. Idempotent.
   */
  async stop(): Promise<void> {
    await Group.stopAll([this], (call) => this.#native.stop(call));
  }

  /** @internal Stops groups by one call of the native half. */
  static async stopAll(all: Iterable<Group>, begin: (call: number) => void): Promise<void> {
    const groups = [...all];
    for (const group of groups) {
      group.#proposals.flush();
      group.#host.stop();
    }
    const stopped = ask<void>(begin);
    for (const group of groups) group.#host.abandonViews();
    await stopped;
    for (const group of groups) group.#host.stopped();
  }

  #ask<T>(begin: (call: number) => void): Promise<T> {
    this.#proposals.flush();
    return ask(begin, this.#host);
  }

  #listen(on: boolean): void {
    const error = this.#native.listen(this.#host.listen(on));
    if (error !== null && isNativeError(error)) throw fromNative(error);
  }

  #forget(events: GroupEvents): void {
    if (this.#listeners.delete(events) && this.#listeners.size === 0) this.#listen(false);
  }

  #onEvent(event: GroupEvent): void {
    for (const listener of this.#listeners) listener.push(event);
  }

  #onEventsEnded(): void {
    for (const listener of this.#listeners) listener.end();
    this.#listeners.clear();
  }
}
