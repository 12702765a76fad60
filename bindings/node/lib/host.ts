/**
 * A state machine at work: its callbacks are called when the native half asks, and their answers,
 * or what they threw, go back.
 *
 * @internal
 */

import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { inspect } from 'node:util';
import { addHost, bridge, removeHost } from './bridge';
import { Columns, Entry } from './columns';
import { invalidArgument, LibraftError } from './error';
import type { AnyMachine, Opened } from './machine';
import { Kind, type NativeError, type Request } from './native';
import { toId } from './options';
import { flatten, kindOf } from './results';
import { snapshotReadable, snapshotWritable } from './snapshot';
import { warn } from './warning';

/** Of what a callback threw, as much is kept for those who ask what stopped the group. */
const FAILURE_CHARACTERS_MAX = 16_384;
const NO_BYTES = new Uint8Array(0);

export class MachineHost {
  readonly id: number;
  readonly #machine: AnyMachine;
  /** Hears of what happens to the group. */
  onEvent: (event: object) => void = () => undefined;
  /** Called after the last event. */
  onEventsEnded: () => void = () => undefined;
  /** Called when the group is stopped. */
  onDropped: () => void = () => undefined;

  /** What a callback threw last. */
  #thrown: unknown;
  /** Callbacks that have not answered yet. */
  #running = 0;
  /** Nothing is asked of the machine any more. */
  #stopping = false;
  #dropped = false;
  #destroyed = false;
  /** The listener that the native half has, by its number; 0 if it has none. */
  #listener = 0;
  #lastListener = 0;
  /** What was asked while it was stopping. */
  readonly #refused: number[] = [];
  /** Views that the machine prepared, by their number. */
  readonly #prepared = new Map<number, unknown>();
  #lastPrepared = 0;
  /** The snapshots that are being saved or restored, by their request. */
  readonly #streams = new Map<number, Readable | Writable>();
  /** Those of them that save a view that was prepared. */
  readonly #saving = new Set<number>();

  constructor(machine: AnyMachine) {
    this.#machine = machine;
    this.id = addHost(this);
  }

  /** What a callback threw, for an error that says so. */
  causeOf(error: NativeError): unknown {
    return error.number >= 500 && error.number < 600 ? this.#thrown : undefined;
  }

  /** Calls the callback that a request is for. */
  answer(request: Request): void {
    if (this.#stopping) return this.#refuse(request);
    if (request.kind === Kind.Apply) return this.#apply(request.request, new Columns(request));
    void this.#run(request);
  }

  /** Only the save of a view is waited for; another failure would be taken for the group's own. */
  #refuse(request: Request): void {
    const saving = request.kind === Kind.Save && request.prepared !== null;
    if (saving || this.#dropped) bridge.fail(request.request, 'the group is stopping');
    else this.#refused.push(request.request);
  }

  /** As below, without a promise if `apply` returns none: this one is in a hurry. */
  #apply(request: number, columns: Columns): void {
    const entries: Entry[] = new Array(columns.count);
    for (let i = 0; i < columns.count; i++) entries[i] = new Entry(columns, i);
    let results;
    try {
      results = this.#machine.apply(entries, columns);
      if (!isPromise(results)) return this.#applied(request, results, columns.count);
    } catch (error) {
      return this.#fail(request, error);
    }
    this.#running++;
    results
      .then((settled) => this.#applied(request, settled, columns.count))
      .then(undefined, (error: unknown) => this.#fail(request, error))
      .then(() => this.#ran());
  }

  #applied(request: number, results: unknown, count: number): void {
    const { data, offsets } = flatten(results, count);
    bridge.applied(request, data, offsets);
  }

  async #run(request: Exclude<Request, { kind: Kind.Apply }>): Promise<void> {
    this.#running++;
    const id = request.request;
    try {
      switch (request.kind) {
        case Kind.Open:
          this.#opened(id, await this.#machine.open?.());
          break;
        case Kind.Sync:
          await this.#machine.sync!();
          bridge.done(id);
          break;
        case Kind.Prepare: {
          const view = await this.#machine.prepareSnapshot!();
          this.#prepared.set(++this.#lastPrepared, view);
          bridge.prepared(id, this.id, this.#lastPrepared);
          break;
        }
        case Kind.Save:
          await this.#save(id, request.prepared);
          break;
        case Kind.Restore:
          await this.#restore(id);
          break;
      }
    } catch (error) {
      this.#fail(id, error);
    }
    this.#ran();
  }

  #opened(request: number, answer: unknown): void {
    if (this.#machine.kind !== 'on-disk') return bridge.opened(request, 0n, NO_BYTES);
    const opened = (
      typeof answer === 'object' && answer !== null ? answer : { appliedIndex: answer }
    ) as Opened;
    const index = toId('the applied index that open returns', opened.appliedIndex);
    const blob = opened.blob ?? NO_BYTES;
    if (!(blob instanceof Uint8Array)) {
      throw invalidArgument(`the blob that open returns must be bytes, not ${kindOf(blob)}`);
    }
    bridge.opened(request, index, blob);
  }

  async #save(request: number, prepared: number | null): Promise<void> {
    const stream = snapshotWritable(request);
    if (prepared !== null) this.#saving.add(request);
    await this.#transfer(request, stream, async () => {
      const view = prepared === null ? undefined : this.#prepared.get(prepared);
      await this.#machine.saveSnapshot(stream, view);
      stream.end();
      await finished(stream);
    });
  }

  async #restore(request: number): Promise<void> {
    const stream = snapshotReadable(request);
    await this.#transfer(request, stream, async () => this.#machine.restoreSnapshot(stream));
    stream.destroy();
  }

  /** A stream that breaks fails the request, whatever the callback is waiting for. */
  async #transfer(
    request: number,
    stream: Readable | Writable,
    callback: () => Promise<void>,
  ): Promise<void> {
    this.#streams.set(request, stream);
    this.#running++;
    const called = callback().finally(() => this.#ran());
    try {
      const broken = new Promise<never>((_, reject) => stream.once('error', reject));
      await Promise.race([called, broken]);
      bridge.done(request);
    } finally {
      this.#streams.delete(request);
      this.#saving.delete(request);
    }
  }

  /** A view is not needed any more. */
  release(number: number): void {
    const view = this.#prepared.get(number);
    this.#prepared.delete(number);
    try {
      this.#machine.releaseSnapshot?.(view);
    } catch (error) {
      warn('releaseSnapshot', error);
    }
    this.#destroyIfDone();
  }

  /** The group, or its node, is about to stop. */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * It has begun to stop, which waits for views of the state that are being saved: so they are not,
   * any more.
   */
  abandonViews(): void {
    this.#abandon((request) => this.#saving.has(request));
  }

  /** It has stopped: whoever still saves or restores a snapshot is told. */
  stopped(): void {
    this.#abandon(() => true);
    for (const request of this.#refused.splice(0)) bridge.fail(request, 'the group is stopped');
  }

  #abandon(which: (request: number) => boolean): void {
    for (const [request, stream] of this.#streams) {
      if (!which(request)) continue;
      bridge.fail(request, 'the group is stopping');
      stream.destroy(new LibraftError('STOPPED', 'the group is stopping'));
    }
  }

  /** The native half has nothing to ask any more, but for `release`. */
  drop(): void {
    this.#stopping = true;
    this.#dropped = true;
    this.onDropped();
    this.#destroyIfDone();
  }

  get isListening(): boolean {
    return this.#listener !== 0;
  }

  /** The number for another listener of the native half; 0, if there is to be none. */
  listen(on: boolean): number {
    this.#listener = on ? ++this.#lastListener : 0;
    this.#forgetIfOver();
    return this.#listener;
  }

  /** The last event was told; also of a listener that was replaced long ago. */
  eventsEnded(listener: number): void {
    if (listener !== this.#listener) return;
    this.#listener = 0;
    this.onEventsEnded();
    this.#forgetIfOver();
  }

  #ran(): void {
    this.#running--;
    this.#destroyIfDone();
  }

  #destroyIfDone(): void {
    const isInUse = !this.#dropped || this.#running > 0 || this.#prepared.size > 0;
    if (isInUse || this.#destroyed) return;
    this.#destroyed = true;
    this.#forgetIfOver();
    try {
      this.#machine.destroy?.();
    } catch (error) {
      warn('destroy', error);
    }
  }

  /** Its last events may come after its machine is gone. */
  #forgetIfOver(): void {
    if (this.#destroyed && !this.isListening) removeHost(this.id);
  }

  #fail(request: number, error: unknown): void {
    this.#thrown = error;
    bridge.fail(request, inspect(error).slice(0, FAILURE_CHARACTERS_MAX));
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function';
}
