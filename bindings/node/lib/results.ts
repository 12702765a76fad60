/** What `apply` returned, put into one piece for the native half. */

import { inspect } from 'node:util';
import { invalidArgument } from './error';

/** The result of one entry. Text is encoded as UTF-8. */
export type Result = Uint8Array | string | undefined;

/**
 * All results in one piece: that of entry `i` lies between `offsets[i]` and `offsets[i + 1]` of
 * `data`.
 */
export interface FlatResults {
  data: Uint8Array;
  /** One more than there are entries. */
  offsets: Uint32Array;
}

/** What `apply` returns: a result for each entry, in order; or nothing at all. */
export type Results = readonly Result[] | FlatResults | undefined;

const NO_BYTES = new Uint8Array(0);

/** @internal Throws if there is not one result for each of `count` entries. */
export function flatten(results: unknown, count: number): FlatResults {
  if (results === undefined || results === null) {
    return { data: NO_BYTES, offsets: new Uint32Array(count + 1) };
  }
  if (Array.isArray(results)) return fromList(results, count);
  const { data, offsets } = results as Partial<FlatResults>;
  if (data instanceof Uint8Array && offsets instanceof Uint32Array) {
    checkOffsets(data, offsets, count);
    return { data, offsets };
  }
  throw invalidArgument(
    `apply returned ${kindOf(results)}: return an array with a result for each entry, or nothing`,
  );
}

function fromList(results: unknown[], count: number): FlatResults {
  if (results.length !== count) {
    throw invalidArgument(
      `apply returned ${results.length} results for ${count} entries: return one for each`,
    );
  }
  const offsets = new Uint32Array(count + 1);
  let total = 0;
  for (let i = 0; i < count; i++) {
    let result = results[i];
    if (typeof result === 'string') {
      result = Buffer.from(result);
      results = results.slice();
      results[i] = result;
    }
    if (result instanceof Uint8Array) {
      total += result.length;
    } else if (result !== undefined && result !== null) {
      throw invalidArgument(
        `apply returned ${kindOf(result)} for entry ${i}: a result is a Uint8Array or a string`,
      );
    }
    offsets[i + 1] = total;
  }
  const data = Buffer.allocUnsafe(total);
  for (let i = 0; i < count; i++) copy(results[i] as Uint8Array | undefined, data, offsets[i]!);
  return { data, offsets };
}

/** A loop beats a call for what is as small as most results are. */
function copy(bytes: Uint8Array | undefined | null, into: Buffer, at: number): void {
  if (bytes === undefined || bytes === null) return;
  if (bytes.length > 32) return into.set(bytes, at);
  for (let i = 0; i < bytes.length; i++) into[at + i] = bytes[i]!;
}

function checkOffsets(data: Uint8Array, offsets: Uint32Array, count: number): void {
  let ascending = offsets.length === count + 1 && offsets[0] === 0;
  for (let i = 0; ascending && i < count; i++) ascending = offsets[i]! <= offsets[i + 1]!;
  if (!ascending || offsets[count]! > data.length) {
    throw invalidArgument(
      `apply returned offsets that do not ascend from 0 within data, or not ${count + 1} of them`,
    );
  }
}

/** @internal A value in a sentence about what it should have been. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'object') return `an object of class ${value.constructor?.name ?? 'null'}`;
  return `the ${typeof value} ${inspect(value, { maxStringLength: 40 })}`;
}
