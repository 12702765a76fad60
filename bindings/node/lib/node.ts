/** A node: this process's membership in a cluster. */

import { ask, bridge, keepAlive, letEnd } from './bridge';
import { fromNative, isNativeError, type LibraftError } from './error';
import { Group } from './group';
import { MachineHost } from './host';
import { checkMachine, type StateMachine } from './machine';
import type { NativeNode } from './native';
import { checkGroupOptions, checkNodeOptions, type GroupOptions, type NodeOptions } from './options';
import { toStatus, type NodeStatus } from './status';

/** What an exception in a callback stops a group with. */
const OF_CALLBACKS = ['APPLY_FAILED', 'OPEN_FAILED', 'RESTORE_FAILED', 'SYNC_FAILED'];

/**
 * An open node.
 *
 * It does not keep the process alive by itself, only pending calls do; call {@link Node.ref} in a
 * program that is there to be a member. A program, or a worker thread, that ends with a node open
 * closes it on its way out.
 */
export class Node implements AsyncDisposable {
  readonly #native: NativeNode;
  readonly #groups = new Set<Group>();
  /** The first failure of a callback, which nobody was told by `close` yet. */
  #failure: LibraftError | undefined;
  #referenced = false;
  #closing = false;

  private constructor(native: NativeNode) {
    this.#native = native;
  }

  /**
   * Opens the data directory, recovers the log, listens, and starts the node's threads.
   *
   * Rejects with `INVALID_ARGUMENT`; `DIRECTORY_IN_USE`, `WRONG_IDENTITY`, `NEWER_FORMAT`,
   * `CORRUPTED`, `PERMISSION_DENIED`, `NO_SPACE`, `IO`; `ADDRESS_IN_USE`, `ADDRESS_INVALID`,
   * `INSECURE_ADDRESS`.
   */
  static async open(options: NodeOptions): Promise<Node> {
    const checked = checkNodeOptions(options);
    return new Node(await ask((call) => bridge.openNode(call, checked)));
  }

  /**
   * Starts a group, or goes on with the one in the data directory. What goes wrong later (`open` of
   * the machine, members that contradict the directory) is what `waitReady` and every other call of
   * the group then reject with.
   *
   * Rejects with `INVALID_ARGUMENT`, `GROUP_EXISTS`, `CLOSED`.
   */
  async startGroup(options: GroupOptions, machine: StateMachine): Promise<Group> {
    const checked = checkGroupOptions(options) as { groupId: bigint };
    const checkedMachine = checkMachine(machine);
    const host = new MachineHost(checkedMachine);
    const native = this.#native.startGroup(checked, host.id, checkedMachine.kind ?? 'in-memory');
    if (isNativeError(native)) throw fromNative(native);
    const group = new Group(checked.groupId, native, host, (stopped) => this.#onStopped(stopped));
    this.#groups.add(group);
    return group;
  }

  status(): NodeStatus {
    return toStatus(this.#native.status());
  }

  /**
   * Stops all groups, settles what is pending (with `CLOSED`), and releases the directory, which
   * can be opened again when this settles. It does not wait for a callback that is still running,
   * whose answer does not count any more. Idempotent.
   *
   * If a callback failed and so stopped a group, the first `close` rejects with that failure; the
   * node is closed all the same.
   */
  async close(): Promise<void> {
    this.unref();
    this.#closing = true;
    await Group.stopAll(this.#groups, (call) => this.#native.close(call));
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  #onStopped(group: Group): void {
    this.#groups.delete(group);
    const { failure } = group.status();
    if (failure !== undefined && OF_CALLBACKS.includes(failure.code)) this.#failure ??= failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Has the process live on until `close` is called. */
  ref(): this {
    if (this.#referenced || this.#closing) return this;
    this.#referenced = true;
    keepAlive();
    return this;
  }

  /** Undoes `ref`. */
  unref(): this {
    if (this.#referenced) letEnd();
    this.#referenced = false;
    return this;
  }
}
