/** What `apply` returned, put into one piece for the native half. */
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
