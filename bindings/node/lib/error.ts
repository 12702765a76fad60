/** Errors: one class, told apart by `code`. */

import type { NativeError } from './native';

/** The cause of an error. The names, and their numbers, are the same in every language. */
export type Code = keyof typeof NUMBERS;

const NUMBERS = {
  INVALID_ARGUMENT: 101,
  INVALID_HANDLE: 102,
  INVALID_SIZE: 103,
  INVALID_UTF8: 104,
  EMPTY_PROPOSAL: 105,
  TOO_LARGE: 106,
  WOULD_DEADLOCK: 107,
  FORKED: 108,
  INSECURE_ADDRESS: 109,
  UNSUPPORTED: 110,
  NOT_LEADER: 201,
  NO_LEADER: 202,
  BUSY: 203,
  TIMEOUT: 204,
  OVERWRITTEN: 205,
  OUTCOME_LOST: 206,
  FORMING: 207,
  GROUP_NOT_FOUND: 301,
  GROUP_EXISTS: 302,
  MEMBERSHIP_INVALID: 303,
  MEMBERSHIP_BUSY: 304,
  UNKNOWN_MEMBER: 305,
  INITIAL_MEMBERS_CONFLICT: 306,
  REMOVED: 307,
  IO: 401,
  NO_SPACE: 402,
  CORRUPTED: 403,
  DIRECTORY_IN_USE: 404,
  WRONG_IDENTITY: 405,
  NEWER_FORMAT: 406,
  PERMISSION_DENIED: 407,
  STORAGE_FAILED: 408,
  APPLY_FAILED: 501,
  OPEN_FAILED: 502,
  MACHINE_AHEAD: 503,
  SAVE_FAILED: 504,
  RESTORE_FAILED: 505,
  SYNC_FAILED: 506,
  ADDRESS_IN_USE: 601,
  ADDRESS_INVALID: 602,
  UNREACHABLE: 603,
  HANDSHAKE_REFUSED: 604,
  CLOSED: 701,
  STOPPED: 702,
  PANICKED: 901,
  INTERNAL: 902,
} as const;

/** Where a group's leader is, as far as this node knows. */
export interface Leader {
  nodeId: bigint;
  /** The address that it tells its peers. */
  address: string;
}

/** A failed call of this library. */
export class LibraftError extends Error {
  override readonly name = 'LibraftError';
  /** The cause, such as `'NOT_LEADER'`. */
  readonly code: Code;
  /** The number of the code; the same in every language. */
  readonly number: number;
  /**
   * What became of the call. `'rejected'`: it had no effect and never will. `'unknown'`: a proposal
   * may yet be applied, or was.
   */
  readonly outcome: 'rejected' | 'unknown';
  /** Whether the same call can succeed later, and cannot take effect twice. */
  readonly retriable: boolean;
  /** The leader, if the error is about leadership and the leader is known. */
  readonly leader: Leader | undefined;

  /** @internal */
  constructor(
    code: Code,
    message: string,
    details: { unknown?: boolean; retriable?: boolean; leader?: Leader; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.number = NUMBERS[code];
    this.outcome = details.unknown ? 'unknown' : 'rejected';
    this.retriable = details.retriable ?? false;
    this.leader = details.leader;
  }
}

/** @internal The error that the native half describes; `cause` is what a callback threw. */
export function fromNative(error: NativeError, cause?: unknown): LibraftError {
  return new LibraftError(error.code as Code, error.message, { ...error, cause });
}

/** @internal */
export function isNativeError(answer: object): answer is NativeError {
  return 'retriable' in answer;
}

/** @internal */
export function invalidArgument(message: string): LibraftError {
  return new LibraftError('INVALID_ARGUMENT', message);
}
