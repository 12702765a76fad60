/**
 * Snapshots as streams. The disk is waited for by a thread of the native half, never by this one.
 *
 * @internal
 */

import { Readable, Writable } from 'node:stream';
import { ask, bridge } from './bridge';

/** What is written at a time, if the user writes as much; and what is read at a time. */
const CHUNK_BYTES = 1 << 18;

/** Writes to the snapshot that a request is about. */
export function snapshotWritable(request: number): Writable {
  const write = (bytes: Uint8Array): Promise<void> =>
    ask((call) => bridge.write(request, call, bytes));
  const stream = new Writable({
    highWaterMark: CHUNK_BYTES,
    write(chunk: Buffer, _encoding, callback) {
      write(chunk).then(() => callback(), callback);
    },
    writev(chunks, callback) {
      const bytes = Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer));
      write(bytes).then(() => callback(), callback);
    },
  });
  return watched(stream);
}

/** Reads the snapshot that a request is about. */
export function snapshotReadable(request: number): Readable {
  const stream = new Readable({
    highWaterMark: CHUNK_BYTES,
    read() {
      const chunk = ask<ArrayBuffer>((call) => bridge.read(request, call, CHUNK_BYTES));
      chunk.then(
        (data) => this.push(data.byteLength === 0 ? null : Buffer.from(data)),
        (error: Error) => this.destroy(error),
      );
    },
  });
  return watched(stream);
}

/** An error of the stream fails the callback it was given to; it must not also end the process. */
function watched<S extends Readable | Writable>(stream: S): S {
  stream.on('error', () => undefined);
  return stream;
}
