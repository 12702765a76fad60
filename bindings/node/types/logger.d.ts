/** What the library says of itself. */
/** How grave a record is, the gravest first. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';
/** Something the library says. */
export interface LogRecord {
    level: LogLevel;
    /** The part of the library. */
    target: string;
    /** The line in the library's source; 0 if it is not known. */
    line: number;
    /** What happened, and to what, as `message key=value ...`. */
    message: string;
}
/**
 * Has `logger` called, on this thread, for every record of `level` and graver ones; `null` ends it.
 *
 * The library has one logger in the whole process: the one that was set last, in whatever thread.
 * Up to 1,024 records wait for a busy event loop; those that come then are lost.
 */
export declare function setLogger(logger: ((record: LogRecord) => void) | null, level?: LogLevel): void;
