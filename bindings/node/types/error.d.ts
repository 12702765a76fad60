/** Errors: one class, told apart by `code`. */
/** The cause of an error. The names, and their numbers, are the same in every language. */
export type Code = keyof typeof NUMBERS;
declare const NUMBERS: {
    readonly INVALID_ARGUMENT: 101;
    readonly INVALID_HANDLE: 102;
    readonly INVALID_SIZE: 103;
    readonly INVALID_UTF8: 104;
    readonly EMPTY_PROPOSAL: 105;
    readonly TOO_LARGE: 106;
    readonly WOULD_DEADLOCK: 107;
    readonly FORKED: 108;
    readonly INSECURE_ADDRESS: 109;
    readonly UNSUPPORTED: 110;
    readonly NOT_LEADER: 201;
    readonly NO_LEADER: 202;
    readonly BUSY: 203;
    readonly TIMEOUT: 204;
    readonly OVERWRITTEN: 205;
    readonly OUTCOME_LOST: 206;
    readonly FORMING: 207;
    readonly GROUP_NOT_FOUND: 301;
    readonly GROUP_EXISTS: 302;
    readonly MEMBERSHIP_INVALID: 303;
    readonly MEMBERSHIP_BUSY: 304;
    readonly UNKNOWN_MEMBER: 305;
    readonly INITIAL_MEMBERS_CONFLICT: 306;
    readonly REMOVED: 307;
    readonly IO: 401;
    readonly NO_SPACE: 402;
    readonly CORRUPTED: 403;
    readonly DIRECTORY_IN_USE: 404;
    readonly WRONG_IDENTITY: 405;
    readonly NEWER_FORMAT: 406;
    readonly PERMISSION_DENIED: 407;
    readonly STORAGE_FAILED: 408;
    readonly APPLY_FAILED: 501;
    readonly OPEN_FAILED: 502;
    readonly MACHINE_AHEAD: 503;
    readonly SAVE_FAILED: 504;
    readonly RESTORE_FAILED: 505;
    readonly SYNC_FAILED: 506;
    readonly ADDRESS_IN_USE: 601;
    readonly ADDRESS_INVALID: 602;
    readonly UNREACHABLE: 603;
    readonly HANDSHAKE_REFUSED: 604;
    readonly CLOSED: 701;
    readonly STOPPED: 702;
    readonly PANICKED: 901;
    readonly INTERNAL: 902;
};
/** Where a group's leader is, as far as this node knows. */
export interface Leader {
    nodeId: bigint;
    /** The address that it tells its peers. */
    address: string;
}
/** A failed call of this library. */
export declare class LibraftError extends Error {
    readonly name = "LibraftError";
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
}
export {};
