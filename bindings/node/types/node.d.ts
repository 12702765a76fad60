/** A node: this process's membership in a cluster. */
import { Group } from './group';
import { type StateMachine } from './machine';
import { type GroupOptions, type NodeOptions } from './options';
import { type NodeStatus } from './status';
/**
 * An open node.
 *
 * It does not keep the process alive by itself, only pending calls do; call {@link Node.ref} in a
 * program that is there to be a member. A program, or a worker thread, that ends with a node open
 * closes it on its way out.
 */
export declare class Node implements AsyncDisposable {
    #private;
    private constructor();
    /**
     * Opens the data directory, recovers the log, listens, and starts the node's threads.
     *
     * Rejects with `INVALID_ARGUMENT`; `DIRECTORY_IN_USE`, `WRONG_IDENTITY`, `NEWER_FORMAT`,
     * `CORRUPTED`, `PERMISSION_DENIED`, `NO_SPACE`, `IO`; `ADDRESS_IN_USE`, `ADDRESS_INVALID`,
     * `INSECURE_ADDRESS`.
     */
    static open(options: NodeOptions): Promise<Node>;
    /**
     * Starts a group, or goes on with the one in the data directory. What goes wrong later (`open` of
     * the machine, members that contradict the directory) is what `waitReady` and every other call of
     * the group then reject with.
     *
     * Rejects with `INVALID_ARGUMENT`, `GROUP_EXISTS`, `CLOSED`.
     */
    startGroup(options: GroupOptions, machine: StateMachine): Promise<Group>;
    status(): NodeStatus;
    /**
     * Stops all groups, settles what is pending (with `CLOSED`), and releases the directory, which
     * can be opened again when this settles. It does not wait for a callback that is still running,
     * whose answer does not count any more. Idempotent.
     *
     * If a callback failed and so stopped a group, the first `close` rejects with that failure; the
     * node is closed all the same.
     */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
    /** Has the process live on until `close` is called. */
    ref(): this;
    /** Undoes `ref`. */
    unref(): this;
}
