/**
 * Many entries, or completions, in one piece of memory: how they cross the boundary. See
 * `src/columns.rs`.
 */

import { inspect } from 'node:util';

/**
 * All entries of one `apply` in one piece: for machines that are in a hurry. Entry `i` has the
 * index `indexes[i]`, the term `terms[i]`, and the bytes of `data` from `offsets[i]` to `offsets[i
 * + 1]`.
 */
export interface EntryBatch {
  readonly count: number;
  readonly data: Buffer;
  /** One more than there are entries. */
  readonly offsets: Uint32Array;
  readonly indexes: BigUint64Array;
  readonly terms: BigUint64Array;
  /**
   * A few bytes of the library's that an on-disk machine stores together with these entries, and
   * returns from `open`.
   */
  readonly blob: Uint8Array;
}

const NO_BYTES = new Uint8Array(0);

/** @internal */
export class Columns implements EntryBatch {
  readonly count: number;
  readonly indexes: BigUint64Array;
  readonly terms: BigUint64Array;
  readonly offsets: Uint32Array;
  readonly calls: Uint32Array;
  readonly data: Buffer;
  readonly blob: Uint8Array;

  constructor(rows: { count: number; data: ArrayBuffer; blob?: ArrayBuffer }) {
    const { count, data } = rows;
    const offsetsAt = count * 16;
    const callsAt = offsetsAt + (count + 1) * 4;
    this.count = count;
    this.indexes = new BigUint64Array(data, 0, count);
    this.terms = new BigUint64Array(data, count * 8, count);
    this.offsets = new Uint32Array(data, offsetsAt, count + 1);
    this.calls = new Uint32Array(data, callsAt, count);
    this.data = Buffer.from(data, callsAt + count * 4);
    this.blob = rows.blob === undefined ? NO_BYTES : new Uint8Array(rows.blob);
  }

  bytes(position: number): Buffer {
    return this.data.subarray(this.offsets[position], this.offsets[position + 1]);
  }
}

/** A committed entry of the log. */
export class Entry {
  readonly #columns: Columns;
  readonly #position: number;

  /** @internal */
  constructor(columns: Columns, position: number) {
    this.#columns = columns;
    this.#position = position;
  }

  /**
   * Its position in the log. Indexes ascend, but the library's own entries, which leave gaps, are
   * not shown.
   */
  get index(): bigint {
    return this.#columns.indexes[this.#position]!;
  }

  get term(): bigint {
    return this.#columns.terms[this.#position]!;
  }

  /**
   * What was proposed. It may be kept; but it is a view of the bytes of all entries of this
   * `apply`, which then stay in memory with it: keep a copy of a small part.
   */
  get data(): Buffer {
    return this.#columns.bytes(this.#position);
  }

  /** @internal */
  [inspect.custom](): object {
    return { index: this.index, term: this.term, data: this.data };
  }
}

/** A proposal that was committed, and applied on this node. */
export class Completion {
  readonly #columns: Columns;
  readonly #position: number;

  /** @internal */
  constructor(columns: Columns, position: number) {
    this.#columns = columns;
    this.#position = position;
  }

  /** The position of the entry in the log. */
  get index(): bigint {
    return this.#columns.indexes[this.#position]!;
  }

  get term(): bigint {
    return this.#columns.terms[this.#position]!;
  }

  /**
   * What `apply` returned for the entry on this node. Like {@link Entry.data}, a view of something
   * larger.
   */
  get result(): Buffer {
    return this.#columns.bytes(this.#position);
  }

  /** @internal */
  [inspect.custom](): object {
    return { index: this.index, term: this.term, result: this.result };
  }
}
