/** What the library says of itself. */

import { bridge, setRecordListener } from './bridge';
import { fromNative, invalidArgument } from './error';
import { kindOf } from './results';
import { warn } from './warning';

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

/** The native half knows levels by their place; 0 is nothing. */
const LEVELS: readonly (LogLevel | 'off')[] = ['off', 'error', 'warn', 'info', 'debug', 'trace'];

/**
 * Has `logger` called, on this thread, for every record of `level` and graver ones; `null` ends it.
 *
 * The library has one logger in the whole process: the one that was set last, in whatever thread.
 * Up to 1,024 records wait for a busy event loop; those that come then are lost.
 */
export function setLogger(
  logger: ((record: LogRecord) => void) | null,
  level: LogLevel = 'info',
): void {
  if (logger !== null && typeof logger !== 'function') {
    throw invalidArgument(`the logger must be a function or null, not ${kindOf(logger)}`);
  }
  const number = LEVELS.indexOf(level);
  if (number < 1) {
    throw invalidArgument(`the level must be one of ${LEVELS.slice(1).join(', ')}`);
  }
  const error = bridge.setLogLevel(logger === null ? 0 : number);
  if (error !== null) throw fromNative(error);
  setRecordListener(({ level, target, line, message }) => {
    try {
      logger?.({ level: LEVELS[level] as LogLevel, target, line, message });
    } catch (error) {
      warn('the logger', error);
    }
  });
}
