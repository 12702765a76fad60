/**
 * Proposals on their way to the native half: those that are made one by one, in one turn of the
 * event loop, cross the boundary together.
 *
 * @internal
 */

import { expect } from './bridge';
import type { Completion } from './columns';
import { invalidArgument } from './error';
import type { MachineHost } from './host';
import type { NativeGroup } from './native';
import { kindOf } from './results';

/** Crossing at once is worth it until then. */
const BYTES_MAX = 1 << 16;
const COUNT_MAX = 1024;

const soon = Promise.resolve();

export class Proposals {
  readonly #group: NativeGroup;
  readonly #host: MachineHost;
  /** Payloads, one behind the other, up to `#offsets[#count]`. */
  readonly #data = Buffer.allocUnsafeSlow(BYTES_MAX);
  readonly #offsets = new Uint32Array(COUNT_MAX + 1);
  readonly #calls = new Uint32Array(COUNT_MAX);
  #count = 0;

  constructor(group: NativeGroup, host: MachineHost) {
    this.#group = group;
    this.#host = host;
  }

  /** `data` is copied. */
  propose(data: unknown): Promise<Completion> {
    return new Promise((resolve, reject) => {
      const bytes = toBytes('a proposal', data);
      const waiter = { resolve: resolve as (value: unknown) => void, reject, host: this.#host };
      const start = this.#offsets[this.#count]!;
      if (start + bytes.length > BYTES_MAX || this.#count === COUNT_MAX) {
        this.flush();
        if (bytes.length > BYTES_MAX) {
          const offsets = Uint32Array.of(0, bytes.length);
          return this.#group.propose(Uint32Array.of(expect(waiter)), bytes, offsets);
        }
      } else if (this.#count === 0) {
        void soon.then(() => this.flush());
      }
      this.#add(bytes, expect(waiter));
    });
  }

  #add(bytes: Uint8Array, call: number): void {
    const start = this.#offsets[this.#count]!;
    this.#data.set(bytes, start);
    this.#calls[this.#count++] = call;
    this.#offsets[this.#count] = start + bytes.length;
  }

  /** Hands over what waits: so every other call comes after the proposals before it. */
  flush(): void {
    if (this.#count === 0) return;
    const count = this.#count;
    this.#count = 0;
    this.#group.propose(
      this.#calls.subarray(0, count),
      this.#data,
      this.#offsets.subarray(0, count + 1),
    );
  }
}

/** Proposals that complete together, in one piece. */
export function toBatch(entries: unknown): { data: Uint8Array; offsets: Uint32Array } {
  if (!Array.isArray(entries)) {
    throw invalidArgument(`a batch must be an array of proposals, not ${kindOf(entries)}`);
  }
  const offsets = new Uint32Array(entries.length + 1);
  const all: Uint8Array[] = new Array(entries.length);
  let total = 0;
  for (let i = 0; i < entries.length; i++) {
    const bytes = (all[i] = toBytes(`entry ${i} of the batch`, entries[i]));
    total += bytes.length;
    offsets[i + 1] = total;
  }
  if (total > 0xffffffff) throw invalidArgument(`a batch of ${total} bytes is too large`);
  const data = Buffer.allocUnsafe(total);
  for (let i = 0; i < all.length; i++) data.set(all[i]!, offsets[i]);
  return { data, offsets };
}

function toBytes(name: string, data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === 'string') return Buffer.from(data);
  throw invalidArgument(`${name} must be a Uint8Array, a Buffer or a string, not ${kindOf(data)}`);
}
