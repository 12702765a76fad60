/**
 * libraft: a program becomes a member of a Raft cluster.
 *
 * Open a {@link Node}, start a {@link Group} on it with a {@link StateMachine}, propose. The README
 * has a whole program.
 */
export { Completion, Entry, type EntryBatch } from './columns';
export { LibraftError, type Code, type Leader } from './error';
export { GroupEvents, type GroupEvent } from './events';
export { Group } from './group';
export { setLogger, type LogLevel, type LogRecord } from './logger';
export type { Awaitable, ConcurrentStateMachine, InMemoryStateMachine, OnDiskStateMachine, Opened, StateMachine, } from './machine';
export { Node } from './node';
export type { Change, GroupOptions, Id, InitialMember, NodeOptions } from './options';
export type { FlatResults, Result, Results } from './results';
export type { GroupStatus, Member, NodeStatus, Role } from './status';
/** The version of the library. */
export declare const version: string;
