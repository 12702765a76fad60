// A program in TypeScript, strict: the compiler must take what is right and refuse what is not.

import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import {
  Completion,
  Entry,
  Group,
  GroupEvents,
  LibraftError,
  Node,
  setLogger,
  version,
  type Change,
  type Code,
  type ConcurrentStateMachine,
  type EntryBatch,
  type FlatResults,
  type GroupEvent,
  type GroupStatus,
  type InMemoryStateMachine,
  type LogRecord,
  type Member,
  type NodeStatus,
  type OnDiskStateMachine,
} from 'libraft';

class Counter implements InMemoryStateMachine {
  count = 0;

  async apply(entries: Entry[], batch: EntryBatch): Promise<string[]> {
    const first: bigint | undefined = batch.indexes[0];
    return entries.map((entry) => `${++this.count} ${entry.index === first} ${entry.data.length}`);
  }

  async saveSnapshot(writable: Writable): Promise<void> {
    if (!writable.write(String(this.count))) await once(writable, 'drain');
  }

  async restoreSnapshot(readable: Readable): Promise<void> {
    for await (const chunk of readable) this.count = Number(chunk);
  }
}

const concurrent: ConcurrentStateMachine<Map<string, string>> = {
  kind: 'concurrent',
  apply: (_entries, batch): FlatResults => ({ data: batch.data, offsets: batch.offsets }),
  prepareSnapshot: () => new Map(),
  saveSnapshot: (writable, prepared) => void writable.write(JSON.stringify([...prepared])),
  restoreSnapshot: () => undefined,
  releaseSnapshot: (prepared) => prepared.clear(),
};

const onDisk: OnDiskStateMachine<number> = {
  kind: 'on-disk',
  open: async () => ({ appliedIndex: 5n, blob: new Uint8Array() }),
  sync: () => undefined,
  apply: () => undefined,
  prepareSnapshot: () => 1,
  saveSnapshot: () => undefined,
  restoreSnapshot: () => undefined,
};

export async function program(): Promise<void> {
  setLogger((record: LogRecord) => console.log(record.level, record.message), 'warn');
  setLogger(null);
  const node = await Node.open({ cluster: version, nodeId: 1n, directory: 'data', tickMs: 20 });
  const members = [{ nodeId: 1, address: '127.0.0.1:0' }] as const;
  const group: Group = await node.startGroup({ groupId: 1n, initialMembers: members }, new Counter());
  await node.startGroup({ groupId: 2n }, concurrent);
  await node.startGroup({ groupId: 3n }, onDisk);
  await group.waitReady(1000);
  const { index, term, result }: Completion = await group.propose(Buffer.from('x'));
  const sum: bigint = index + term;
  for (const done of await group.proposeBatch(['a', result])) {
    if (done instanceof LibraftError) throw done;
    console.log(done.result.toString(), sum);
  }
  const step: Change = { kind: 'add-learner', nodeId: 4n, address: '127.0.0.1:7004' };
  await group.changeMembership([step, { kind: 'remove', nodeId: 2 }]);
  const events: GroupEvents = group.events();
  for await (const event of events) watch(event);
  const status: GroupStatus = group.status();
  const nodeStatus: NodeStatus = node.status();
  const voters: Member[] = group.members().filter(({ role }) => role === 'voter');
  console.log(status.leader?.address, nodeStatus.failure?.code, voters[0]?.nodeId);
  await node.ref().unref()[Symbol.asyncDispose]();
}

function watch(event: GroupEvent): void {
  if (event.kind === 'role') console.log(event.role, event.term);
  if (event.kind === 'snapshot-sending') console.log(event.nodeId, event.bytes);
}

export function isBusy(error: unknown): boolean {
  const busy: Code = 'BUSY';
  return error instanceof LibraftError && error.code === busy && error.retriable;
}

export async function mistakes(node: Node, group: Group): Promise<void> {
  // @ts-expect-error: neither bytes nor text
  await group.propose(5);
  // @ts-expect-error: an index is a bigint
  const index: number = await group.readIndex();
  // @ts-expect-error: there is no such code
  const code: Code = 'NOT_A_LEADER';
  // @ts-expect-error: an option that does not exist
  await Node.open({ cluster: 'c', nodeId: 1n, directory: 'd', tickMilliseconds: 5 });
  // @ts-expect-error: a step that needs an address
  await group.changeMembership([{ kind: 'add-voter', nodeId: 1n }]);
  // @ts-expect-error: a concurrent machine prepares its snapshots
  await node.startGroup({ groupId: 1n }, { ...new Counter(), kind: 'concurrent' });
  // @ts-expect-error: a node is opened, not made
  new Node();
  console.log(index, code);
}
