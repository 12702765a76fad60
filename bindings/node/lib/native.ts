/**
 * The native half of the package (`src/`), as TypeScript sees it. Nothing here is for users.
 *
 * @internal
 */

/** What the native half delivers; the numbers are those of `src/delivery.rs`. */
export const enum Kind {
  Completed = 1,
  Failed = 2,
  BatchCompleted = 3,
  Opened = 4,
  Done = 5,
  Chunk = 6,
  Open = 10,
  Apply = 11,
  Sync = 12,
  Prepare = 13,
  Save = 14,
  Restore = 15,
  SnapshotReleased = 20,
  MachineDropped = 21,
  Noticed = 22,
  Logged = 23,
  NoticesEnded = 24,
}

export interface NativeError {
  code: string;
  number: number;
  unknown: boolean;
  retriable: boolean;
  message: string;
  leader?: { nodeId: bigint; address: string };
}

/** Rows of `Columns`. */
interface Rows {
  count: number;
  data: ArrayBuffer;
}

export type Request =
  | { kind: Kind.Open | Kind.Sync | Kind.Prepare | Kind.Restore; host: number; request: number }
  | ({ kind: Kind.Apply; host: number; request: number; blob: ArrayBuffer } & Rows)
  | { kind: Kind.Save; host: number; request: number; prepared: number | null };

export interface NativeRecord {
  level: number;
  target: string;
  line: number;
  message: string;
}

export type Delivery =
  | Request
  | ({ kind: Kind.Completed } & Rows)
  | { kind: Kind.Failed; call: number; error: NativeError }
  | ({
      kind: Kind.BatchCompleted;
      call: number;
      errors: { position: number; error: NativeError }[];
    } & Rows)
  | { kind: Kind.Opened; call: number; node: NativeNode }
  | { kind: Kind.Done; call: number }
  | { kind: Kind.Chunk; call: number; data: ArrayBuffer }
  | { kind: Kind.SnapshotReleased; host: number; prepared: number }
  | { kind: Kind.MachineDropped; host: number }
  | { kind: Kind.Noticed; host: number; event: object }
  | { kind: Kind.NoticesEnded; host: number; listener: number }
  | ({ kind: Kind.Logged } & NativeRecord);

/** Every method with a `call` has that call completed by a delivery, once. */
export interface NativeBridge {
  take(): Delivery | null;
  keepAlive(on: boolean): void;
  end(): void;
  openNode(call: number, options: object): void;
  setLogLevel(level: number): NativeError | null;
  applied(request: number, data: Uint8Array, offsets: Uint32Array): void;
  opened(request: number, appliedIndex: bigint, blob: Uint8Array): void;
  prepared(request: number, host: number, prepared: number): void;
  done(request: number): void;
  fail(request: number, message: string): void;
  write(request: number, call: number, bytes: Uint8Array): void;
  read(request: number, call: number, bytesMax: number): void;
}

export interface NativeNode {
  startGroup(options: object, host: number, kind: string): NativeGroup | NativeError;
  status(): object | NativeError;
  close(call: number): void;
}

export interface NativeGroup {
  waitReady(call: number, timeoutMs: number): void;
  propose(calls: Uint32Array, data: Uint8Array, offsets: Uint32Array): void;
  proposeBatch(call: number, data: Uint8Array, offsets: Uint32Array): void;
  readIndex(call: number): void;
  changeMembership(call: number, changes: object[]): void;
  transferLeadership(call: number, to: bigint): void;
  takeSnapshot(call: number): void;
  status(): object | NativeError;
  members(): object[] | NativeError;
  listen(listener: number): NativeError | null;
  stop(call: number): void;
}

interface Native {
  Bridge: new (wake: () => void) => NativeBridge;
  version(): string;
}

function load(): Native {
  const file = `./libraft.${process.platform}-${process.arch}.node`;
  try {
    return require(file) as Native;
  } catch (error) {
    const machine = `${process.platform} on ${process.arch}`;
    const text =
      `this package of libraft has no binary that works here (${machine}): ` +
      'it is built for Linux with glibc; build one for this machine from the sources (bindings/node)';
    throw new Error(text, { cause: error });
  }
}

export const native = load();
