/**
 * Many entries, or completions, in one piece of memory: how they cross the boundary. See
 * `src/columns.rs`.
 */
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
/** A committed entry of the log. */
export declare class Entry {
    #private;
    /**
     * Its position in the log. Indexes ascend, but the library's own entries, which leave gaps, are
     * not shown.
     */
    get index(): bigint;
    get term(): bigint;
    /**
     * What was proposed. It may be kept; but it is a view of the bytes of all entries of this
     * `apply`, which then stay in memory with it: keep a copy of a small part.
     */
    get data(): Buffer;
}
/** A proposal that was committed, and applied on this node. */
export declare class Completion {
    #private;
    /** The position of the entry in the log. */
    get index(): bigint;
    get term(): bigint;
    /**
     * What `apply` returned for the entry on this node. Like {@link Entry.data}, a view of something
     * larger.
     */
    get result(): Buffer;
}
