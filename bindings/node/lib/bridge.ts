/**
 * The one connection of this JavaScript environment with the native half: calls that wait for their
 * results, and the deliveries that bring them.
 *
 * @internal
 */

import { Columns, Completion } from './columns';
import { fromNative } from './error';
import type { MachineHost } from './host';
import { Kind, native, type Delivery, type NativeBridge, type NativeRecord } from './native';

/** Deliveries at a time, before the event loop may do something else. */
const DELIVERIES_MAX = 256;

/** A call that waits. */
interface Waiter {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  /** The machine that an error may come from. */
  host: MachineHost | undefined;
}

/** Calls by their number; numbers that are free are used again. */
const waiters: (Waiter | undefined)[] = [];
const free: number[] = [];
/** Reasons for the process to live on: calls that wait, and nodes with `ref()`. */
let reasons = 0;

const hosts = new Map<number, MachineHost>();
let lastHost = 0;

let onRecord: (record: NativeRecord) => void = () => undefined;

export const bridge: NativeBridge = new native.Bridge(wake);

// A worker that is terminated emits no event: there the native half notices.
process.on('exit', () => bridge.end());

/** Takes a number for a call, whose result a delivery will bring. */
export function expect(waiter: Waiter): number {
  const call = free.pop() ?? waiters.length;
  waiters[call] = waiter;
  keepAlive();
  return call;
}

/** Begins a call of the native half and waits for its result. */
export function ask<T>(begin: (call: number) => void, host?: MachineHost): Promise<T> {
  return new Promise((resolve, reject) => {
    begin(expect({ resolve: resolve as (value: unknown) => void, reject, host }));
  });
}

/** The process lives on until as many `letEnd` were called. */
export function keepAlive(): void {
  if (++reasons === 1) bridge.keepAlive(true);
}

export function letEnd(): void {
  if (--reasons === 0) bridge.keepAlive(false);
}

/** Gives a machine its number. */
export function addHost(host: MachineHost): number {
  lastHost = (lastHost % 0xffffffff) + 1;
  hosts.set(lastHost, host);
  return lastHost;
}

export function removeHost(id: number): void {
  hosts.delete(id);
}

export function setRecordListener(listener: (record: NativeRecord) => void): void {
  onRecord = listener;
}

function settle(call: number): Waiter {
  const waiter = waiters[call]!;
  waiters[call] = undefined;
  free.push(call);
  letEnd();
  return waiter;
}

/** Called by the native half when there is something to take. */
function wake(): void {
  for (let i = 0; i < DELIVERIES_MAX; i++) {
    const delivery = bridge.take();
    if (delivery === null) return;
    deliver(delivery);
  }
  setImmediate(wake);
}

function deliver(delivery: Delivery): void {
  switch (delivery.kind) {
    case Kind.Completed: {
      const columns = new Columns(delivery);
      for (let i = 0; i < columns.count; i++) {
        settle(columns.calls[i]!).resolve(new Completion(columns, i));
      }
      return;
    }
    case Kind.Failed: {
      const waiter = settle(delivery.call);
      waiter.reject(fromNative(delivery.error, waiter.host?.causeOf(delivery.error)));
      return;
    }
    case Kind.BatchCompleted: {
      const waiter = settle(delivery.call);
      const columns = new Columns(delivery);
      const results: unknown[] = new Array(columns.count);
      for (let i = 0; i < columns.count; i++) results[i] = new Completion(columns, i);
      for (const { position, error } of delivery.errors) {
        results[position] = fromNative(error, waiter.host?.causeOf(error));
      }
      waiter.resolve(results);
      return;
    }
    case Kind.Opened:
      return settle(delivery.call).resolve(delivery.node);
    case Kind.Done:
      return settle(delivery.call).resolve(undefined);
    case Kind.Chunk:
      return settle(delivery.call).resolve(delivery.data);
    case Kind.SnapshotReleased:
      return hosts.get(delivery.host)?.release(delivery.prepared);
    case Kind.MachineDropped:
      return hosts.get(delivery.host)?.drop();
    case Kind.Noticed:
      return hosts.get(delivery.host)?.onEvent(delivery.event);
    case Kind.NoticesEnded:
      return hosts.get(delivery.host)?.eventsEnded(delivery.listener);
    case Kind.Logged:
      return onRecord(delivery);
    default: {
      const host = hosts.get(delivery.host);
      if (host === undefined) return bridge.fail(delivery.request, 'the group is stopped');
      return host.answer(delivery);
    }
  }
}
