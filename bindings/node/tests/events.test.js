'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { setLogger } = require('libraft');
const { PATIENCE_MS, Recorder, alone, errorOf, eventually, folder, openNode } = require('./support.js');

/** A group of two nodes, of which one does not run it yet: so nothing can have happened. */
async function unformed(t) {
  const path = folder(t);
  const nodes = [await openNode(path, 1n), await openNode(path, 2n)];
  const initialMembers = nodes.map((node) => {
    const { nodeId, address } = node.status();
    return { nodeId, address };
  });
  const start = (node) => node.startGroup({ groupId: 1n, initialMembers }, new Recorder());
  return { group: await start(nodes[0]), form: () => start(nodes[1]) };
}

/** Reads events from now on; `seen` has them, and `ended()` waits for the last. */
function read(events) {
  const seen = [];
  let isOver = false;
  void (async () => {
    for await (const event of events) seen.push(event);
    isOver = true;
  })();
  // To wait for an event does not keep the process alive; this does.
  return { seen, ended: () => eventually('the events end', () => isOver) };
}

const isLeader = ({ kind, nodeId }) => kind === 'leader' && nodeId !== undefined;

test('events are iterated over from the call on, until the group is stopped', async (t) => {
  const { group, form } = await unformed(t);
  const { seen, ended } = read(group.events());
  await form();
  await group.waitReady(PATIENCE_MS);
  await group.propose('x');
  const leader = await eventually('a leader is told', () => seen.find(isLeader));
  const role = await eventually('a role is told', () => seen.find(({ kind }) => kind === 'role'));
  for (const { term } of [leader, role]) assert.equal(typeof term, 'bigint');
  const index = await group.takeSnapshot();
  const taken = await eventually('a snapshot is told', () =>
    seen.find(({ kind }) => kind === 'snapshot-taken'),
  );
  assert.equal(taken.index, index);
  assert.ok(taken.bytes > 0);
  await group.stop();
  await ended();
  const { kind, role: last } = seen.at(-1);
  assert.deepEqual([kind, last], ['role', 'stopped']);
  assert.equal((await group.events().next()).done, true);
});

test('the last event of a group is told, however quickly its machine is gone', async (t) => {
  const { node, group } = await alone(t, new Recorder());
  let current = group;
  for (let i = 0; i < 100; i++) {
    const { seen, ended } = read(current.events());
    await current.stop();
    await ended();
    assert.equal(seen.at(-1)?.role, 'stopped');
    current = await node.startGroup({ groupId: 1n }, new Recorder());
    await current.waitReady(PATIENCE_MS);
  }
});

test('a failure is an event', async (t) => {
  const machine = new Recorder();
  const { node, group } = await alone(t, machine);
  const { seen, ended } = read(group.events());
  machine.apply = () => {
    throw new Error('planned');
  };
  await errorOf(group.propose('x'));
  await errorOf(node.close());
  await ended();
  assert.ok(seen.some(({ kind }) => kind === 'failed'), JSON.stringify(seen.map(({ kind }) => kind)));
});

test('each reader has all events, and one that leaves does not disturb the others', async (t) => {
  const { group, form } = await unformed(t);
  const leaving = group.events();
  const { seen, ended } = read(group.events());
  await form();
  await group.waitReady(PATIENCE_MS);
  await eventually('a leader is told', () => seen.some(isLeader));
  const before = [];
  for await (const event of leaving) {
    before.push(event);
    if (isLeader(event)) break;
  }
  await group.propose('x');
  await group.takeSnapshot();
  await eventually('a snapshot is told', () => seen.some(({ kind }) => kind === 'snapshot-taken'));
  assert.deepEqual(seen.slice(0, before.length), before);
  await group.stop();
  await ended();
});

test('a logger hears the library, until it is unset', async (t) => {
  const records = [];
  setLogger((record) => records.push(record), 'debug');
  t.after(() => setLogger(null));
  const { node, group } = await alone(t, Object.assign(new Recorder(), {
    apply() {
      throw new Error('to be logged');
    },
  }));
  await errorOf(group.propose('x'));
  const record = await eventually('the failure is logged', () =>
    records.find(({ level }) => level === 'error'),
  );
  assert.match(record.message, /to be logged/);
  assert.match(record.target, /^libraft::/);
  assert.equal(typeof record.line, 'number');
  setLogger(null);
  const count = records.length;
  await errorOf(node.close());
  assert.equal(records.length, count);
});

test('a logger that throws is warned about, and nothing else', async (t) => {
  const warned = new Promise((resolve) => process.once('warning', resolve));
  setLogger(() => {
    throw new Error('a bad logger');
  }, 'trace');
  t.after(() => setLogger(null));
  const { group } = await alone(t, Object.assign(new Recorder(), { apply: () => [] }));
  await errorOf(group.propose('x'));
  assert.match((await warned).message, /the logger threw: Error: a bad logger/);
});

test('what cannot be a logger is refused', () => {
  assert.throws(() => setLogger('loud'), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => setLogger(() => undefined, 'loud'), { code: 'INVALID_ARGUMENT' });
});
