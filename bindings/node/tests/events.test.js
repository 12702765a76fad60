'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { setLogger } = require('libraft');
const { Recorder, alone, errorOf, eventually, folder, openNode } = require('./support.js');

async function start(t) {
  const node = await openNode(folder(t));
  const initialMembers = [{ nodeId: 1n, address: '127.0.0.1:0' }];
  return { node, group: await node.startGroup({ groupId: 1n, initialMembers }, new Recorder()) };
}

test('events are iterated over from the call on, until the group is stopped', async (t) => {
  const { node, group } = await start(t);
  const kinds = [];
  const reading = (async () => {
    for await (const event of group.events()) {
      kinds.push(event.kind);
      if (event.kind === 'role' && event.role === 'leader') assert.equal(typeof event.term, 'bigint');
      if (event.kind === 'snapshot-taken') assert.ok(event.bytes > 0 && event.index > 0n);
    }
  })();
  await group.waitReady();
  await group.propose('x');
  await group.takeSnapshot();
  await node.close();
  await reading;
  assert.deepEqual(new Set(kinds), new Set(['leader', 'role', 'snapshot-taken']));
  assert.equal((await group.events().next()).done, true);
});

test('a failure is an event, and the last one', async (t) => {
  const machine = new Recorder();
  const { node, group } = await alone(t, machine);
  const events = group.events();
  machine.apply = () => {
    throw new Error('planned');
  };
  await errorOf(group.propose('x'));
  await errorOf(node.close());
  const kinds = [];
  for await (const { kind } of events) kinds.push(kind);
  assert.equal(kinds.at(-1), 'failed');
});

test('each reader has all events, and one that leaves does not disturb the others', async (t) => {
  const { node, group } = await start(t);
  node.ref(); // waiting for an event does not keep the process alive
  const [one, other] = [group.events(), group.events()];
  await group.waitReady();
  for await (const event of one) {
    assert.equal(event.kind, 'leader');
    break;
  }
  assert.equal((await other.next()).value.kind, 'leader');
  await group.takeSnapshot();
  const kinds = [];
  for await (const event of other) {
    kinds.push(event.kind);
    if (event.kind === 'snapshot-taken') break;
  }
  assert.deepEqual(kinds, ['role', 'snapshot-taken']);
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
