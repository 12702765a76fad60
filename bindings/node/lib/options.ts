/** Options: their types are checked here, by name, before the native half checks what they say. */

import { invalidArgument, LibraftError } from './error';
import { kindOf } from './results';

/** An id, an index or a term. Numbers are welcome as long as they are exact. */
export type Id = bigint | number;

/** How a node is opened. */
export interface NodeOptions {
  /** The cluster's name, 1 to 128 bytes; nodes of different clusters refuse each other. */
  cluster: string;
  /** This node's id, not 0. */
  nodeId: Id;
  /** The data directory; made if it is missing. Each node has its own. */
  directory: string;
  /** Where snapshots are kept, if not below `directory` (on another disk, say). */
  snapshotDirectory?: string | undefined;
  /**
   * Address to listen on, `host:port` or `[ipv6]:port`; port 0 takes a free one. Default
   * `127.0.0.1:0`.
   */
  listenAddress?: string | undefined;
  /** The address that peers connect to, if it is not the one that is listened on. */
  advertisedAddress?: string | undefined;
  /** Allows listening beyond loopback without transport security. */
  insecureTransport?: boolean | undefined;
  /** The length of a tick in milliseconds. Default 100. */
  tickMs?: number | undefined;
  /** Ticks without a heartbeat before a follower campaigns; up to twice as many. Default 10. */
  electionTicks?: number | undefined;
  /** Ticks between heartbeats. Default 1. */
  heartbeatTicks?: number | undefined;
  /** Threads that wait for state machines. Default 2. */
  applyThreads?: number | undefined;
  /** The size of a journal segment in bytes. Default 64 MiB. */
  segmentBytes?: number | undefined;
  /** Journal segments in use before the oldest is checkpointed. Default 8. */
  segmentsMax?: number | undefined;
  /** Bytes that must stay free on the disk. Default 64 MiB. */
  freeBytesMin?: number | undefined;
}

/** One of the initial members of a group. */
export interface InitialMember {
  nodeId: Id;
  address: string;
}

/** How a group is started on a node. */
export interface GroupOptions {
  /** The group's id, not 0. */
  groupId: Id;
  /**
   * The members that form the group, identical on all of them, in any order. None: wait to be
   * added; or, if the data directory holds the group, go on.
   */
  initialMembers?: readonly InitialMember[] | undefined;
  /** The largest proposal in bytes. Default 8 MiB. */
  proposalBytesMax?: number | undefined;
  /** Bytes of proposals of this node that may be pending. Default 256 MiB. */
  pendingBytesMax?: number | undefined;
  /** Proposals and reads of this node that may be pending. Default 1,048,576. */
  pendingCountMax?: number | undefined;
  /** Bytes committed but not applied above which proposals are answered `BUSY`. Default 256 MiB. */
  unappliedBytesMax?: number | undefined;
  /** Bytes of entries in flight to one peer. Default 16 MiB. */
  inflightBytesMax?: number | undefined;
  /** Bytes of entries kept in memory. Default 32 MiB. */
  entryCacheBytes?: number | undefined;
  /** Entries between automatic snapshots; 0 for none by count. Default 100,000. */
  snapshotEntries?: number | undefined;
  /** Bytes of log between automatic snapshots; 0 for none by size. Default 128 MiB. */
  snapshotLogBytes?: number | undefined;
  /** Entries kept behind a snapshot for followers that lag a little. Default 10,000. */
  retainedEntries?: number | undefined;
  /** Milliseconds after which a pending proposal or read fails with `TIMEOUT`. Default 10,000. */
  proposalTimeoutMs?: number | undefined;
  /** Default 600,000. */
  snapshotTransferTimeoutMs?: number | undefined;
  /** Default 600,000. */
  snapshotRestoreTimeoutMs?: number | undefined;
  /** Higher campaigns first. Default 0. */
  priority?: number | undefined;
}

/** One step of a membership change. */
export type Change =
  | { kind: 'add-learner' | 'add-voter' | 'set-address'; nodeId: Id; address: string }
  | { kind: 'promote' | 'demote' | 'remove'; nodeId: Id };

type Check = (name: string, value: unknown) => unknown;
type Checks<T> = { [Name in keyof Required<T>]: Check };

const NODE_CHECKS: Checks<NodeOptions> = {
  cluster: toText,
  nodeId: toId,
  directory: toText,
  snapshotDirectory: toText,
  listenAddress: toText,
  advertisedAddress: toText,
  insecureTransport: toBoolean,
  tickMs: toInteger,
  electionTicks: toInteger,
  heartbeatTicks: toInteger,
  applyThreads: toInteger,
  segmentBytes: toInteger,
  segmentsMax: toInteger,
  freeBytesMin: toInteger,
};

const MEMBER_CHECKS: Checks<InitialMember> = { nodeId: toId, address: toText };

const GROUP_CHECKS: Checks<GroupOptions> = {
  groupId: toId,
  initialMembers: (name, value) =>
    toArray(name, value).map((member, i) =>
      checked(`${name}[${i}]`, member, MEMBER_CHECKS, ['nodeId', 'address']),
    ),
  proposalBytesMax: toInteger,
  pendingBytesMax: toInteger,
  pendingCountMax: toInteger,
  unappliedBytesMax: toInteger,
  inflightBytesMax: toInteger,
  entryCacheBytes: toInteger,
  snapshotEntries: toInteger,
  snapshotLogBytes: toInteger,
  retainedEntries: toInteger,
  proposalTimeoutMs: toInteger,
  snapshotTransferTimeoutMs: toInteger,
  snapshotRestoreTimeoutMs: toInteger,
  priority: toInteger,
};

const CHANGE_CHECKS = { kind: toText, nodeId: toId, address: toText };
const WITH_ADDRESS = ['add-learner', 'add-voter', 'set-address'];

/** @internal */
export function checkNodeOptions(given: unknown): object {
  return checked('the options of a node', given, NODE_CHECKS, ['cluster', 'nodeId', 'directory']);
}

/** @internal */
export function checkGroupOptions(given: unknown): object {
  const options = checked('the options of a group', given, GROUP_CHECKS, ['groupId']);
  return { initialMembers: [], ...options };
}

/** @internal */
export function checkChanges(given: unknown): object[] {
  return toArray('the changes', given).map((change, i) => {
    const name = `changes[${i}]`;
    const step = checked(name, change, CHANGE_CHECKS, ['kind', 'nodeId']);
    if (WITH_ADDRESS.includes(step['kind'] as string) !== 'address' in step) {
      throw invalidArgument(`${name}: add-learner, add-voter and set-address need an address, ` +
        'the others have none');
    }
    return step;
  });
}

/**
 * The options that are there, each checked; unknown ones are refused, for a name is easily
 * misspelt.
 */
function checked(
  what: string,
  given: unknown,
  checks: Record<string, Check>,
  needed: string[],
): Record<string, unknown> {
  if (typeof given !== 'object' || given === null) {
    throw invalidArgument(`${what} must be an object, not ${kindOf(given)}`);
  }
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) {
      const known = Object.keys(checks).join(', ');
      throw invalidArgument(`${what}: there is no '${name}'; there are ${known}`);
    }
    if (value !== undefined) result[name] = check(name, value);
  }
  for (const name of needed) {
    if (!(name in result)) throw invalidArgument(`${what}: ${name} is missing`);
  }
  return result;
}

/** @internal */
export function toId(name: string, value: unknown): bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value)) value = BigInt(value);
  if (typeof value !== 'bigint') {
    throw invalidArgument(`${name} must be a bigint or a whole number, not ${kindOf(value)}`);
  }
  if (value < 0n || value >= 1n << 64n) {
    throw invalidArgument(`${name} is ${value}, but must be between 0 and 2^64 - 1`);
  }
  return value;
}

/** @internal */
export function toInteger(name: string, value: unknown): number {
  if (!Number.isSafeInteger(value)) {
    throw invalidArgument(`${name} must be a whole number, not ${kindOf(value)}`);
  }
  return value as number;
}

/** @internal */
export function toText(name: string, value: unknown): string {
  if (typeof value !== 'string') {
    throw invalidArgument(`${name} must be a string, not ${kindOf(value)}`);
  }
  // Half of a surrogate pair, which no UTF-8 can say. (`isWellFormed` would need a newer `lib`.)
  if (/\p{Surrogate}/u.test(value)) {
    throw new LibraftError('INVALID_UTF8', `${name} has half of a character: it is not Unicode`);
  }
  return value;
}

function toBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') {
    throw invalidArgument(`${name} must be true or false, not ${kindOf(value)}`);
  }
  return value;
}

function toArray(name: string, value: unknown): unknown[] {
  if (!Array.isArray(value)) {
    throw invalidArgument(`${name} must be an array, not ${kindOf(value)}`);
  }
  return value;
}
