'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { setImmediate: nextTurn } = require('node:timers/promises');
const { inspect } = require('node:util');
const { Recorder, alone, errorOf, eventually, folder, openNode, startAlone } = require('./support.js');

/** A recorder whose `apply` is another one. */
function applying(apply) {
  return Object.assign(new Recorder(), { apply });
}

test('apply may be asynchronous; its calls never overlap', async (t) => {
  let inside = 0;
  const seen = [];
  const machine = applying(async (entries) => {
    assert.equal(++inside, 1);
    for (let i = 0; i < 3; i++) await nextTurn();
    seen.push(...entries.map(({ data }) => data.toString()));
    inside--;
    return entries.map(() => 'later');
  });
  const { group } = await alone(t, machine);
  const calls = [];
  for (let i = 0; i < 50; i++) {
    calls.push(group.propose(`entry ${i}`));
    if (i % 7 === 0) await nextTurn();
  }
  const results = await Promise.all(calls);
  assert.ok(results.every(({ result }) => result.toString() === 'later'));
  assert.deepEqual(seen, Array.from({ length: 50 }, (_, i) => `entry ${i}`));
});

test('an entry knows its index, its term and its bytes, also long after apply', async (t) => {
  const kept = [];
  const { group } = await alone(t, applying((entries) => void kept.push(...entries)));
  const done = await Promise.all(['a', 'bc', 'def'].map((text) => group.propose(text)));
  assert.deepEqual(kept.map(({ index }) => index), done.map(({ index }) => index));
  assert.deepEqual(kept.map(({ data }) => data.toString()), ['a', 'bc', 'def']);
  assert.ok(kept.every(({ term }) => term === done[0].term));
  assert.match(inspect(kept[0]), /index: 3n, term: 2n, data: <Buffer 61>/);
  assert.equal(done[0].result.length, 0);
});

test('a machine in a hurry gets all entries in one piece, and returns its results in one', async (t) => {
  const machine = applying((entries, batch) => {
    assert.equal(batch.count, entries.length);
    assert.equal(batch.indexes[0], entries[0].index);
    assert.equal(batch.terms[batch.count - 1], entries.at(-1).term);
    return { data: batch.data, offsets: batch.offsets };
  });
  const { group } = await alone(t, machine);
  const texts = ['one', 'three', '', 'seventeen'].map((text) => text || 'x');
  const results = await group.proposeBatch(texts);
  assert.deepEqual(results.map(({ result }) => result.toString()), texts);
});

test('results may be bytes, text, or nothing', async (t) => {
  const all = [Buffer.from('bytes'), new Uint8Array([7]), 'täxt', undefined, Buffer.alloc(100, 'b')];
  let next = 0;
  const { group } = await alone(t, applying((entries) => entries.map(() => all[next++])));
  const done = await group.proposeBatch(['1', '2', '3', '4', '5']);
  assert.deepEqual(
    done.map(({ result }) => result.toString()),
    ['bytes', '\x07', 'täxt', '', 'b'.repeat(100)],
  );
});

for (const [what, results, message] of [
  ['too few results', () => [], /returned 0 results for 1 entries/],
  ['a result that is no bytes', () => [5], /returned the number 5 for entry 0/],
  ['something that is no array', () => 'text', /returned the string 'text'/],
  ['offsets that do not fit', () => ({ data: Buffer.alloc(1), offsets: Uint32Array.of(0, 9) }), /offsets/],
]) {
  test(`${what} from apply stops the group with a sentence`, async (t) => {
    const { group } = await alone(t, applying(results));
    const error = await errorOf(group.propose('x'));
    assert.equal(error.code, 'APPLY_FAILED');
    assert.match(error.message, message);
  });
}

async function assertFailure(node, group, call) {
  const error = await errorOf(call);
  assert.equal(error.code, 'APPLY_FAILED');
  assert.equal(error.outcome, 'unknown');
  assert.match(error.message, /RangeError: planned\n\s+at whereItHappened \(.*machine\.test\.js/);
  assert.equal(error.cause.constructor, RangeError);
  const { failure, role } = group.status();
  assert.equal(role, 'stopped');
  assert.deepEqual([failure.code, failure.message], [error.code, error.message]);
  assert.equal(failure.cause, error.cause);
  assert.equal((await errorOf(group.propose('after'))).message, error.message);
  assert.equal((await errorOf(group.readIndex())).message, error.message);

  const told = await errorOf(node.close());
  assert.deepEqual([told.code, told.message, told.cause], [error.code, error.message, error.cause]);
  await node.close();
}

function whereItHappened() {
  throw new RangeError('planned');
}

test('what apply throws stops the group, and is seen with its stack from everywhere', async (t) => {
  const { node, group } = await alone(t, applying(() => whereItHappened()));
  await assertFailure(node, group, group.propose('x'));
});

test('what an asynchronous apply throws is no different', async (t) => {
  const machine = applying(async () => {
    await nextTurn();
    whereItHappened();
  });
  const { node, group } = await alone(t, machine);
  await assertFailure(node, group, group.propose('x'));
});

test('a failure in one group leaves the others of the node alone', async (t) => {
  const { node, group } = await alone(t, applying(() => whereItHappened()));
  const other = await startAlone(node, new Recorder(), { groupId: 2n });
  await errorOf(group.propose('x'));
  assert.equal((await other.propose('y')).result.toString(), '1');
});

test('a machine is destroyed once: after stop, after close, and if its group cannot start', async (t) => {
  const [stopped, closed, refused] = [new Recorder(), new Recorder(), new Recorder()];
  const { node, group } = await alone(t, stopped);
  await startAlone(node, closed, { groupId: 2n });
  const error = await errorOf(node.startGroup({ groupId: 2n }, refused));
  assert.equal(error.code, 'GROUP_EXISTS');
  await group.stop();
  await group.stop();
  assert.deepEqual([stopped.destroyed, closed.destroyed], [1, 0]);
  await node.close();
  await node.close();
  await eventually('the refused machine is destroyed', () => refused.destroyed === 1);
  assert.deepEqual([stopped.destroyed, closed.destroyed], [1, 1]);
});

test('a group that was stopped goes on with its data when it is started again', async (t) => {
  const { node, group } = await alone(t, new Recorder());
  await group.propose('kept');
  await group.stop();
  assert.equal((await errorOf(group.propose('x'))).code, 'STOPPED');
  const machine = new Recorder();
  await startAlone(node, machine, { initialMembers: undefined });
  assert.deepEqual(machine.texts, ['kept']);
});

/** Keeps its state in a variable, as if that were a disk. */
class Disk extends Recorder {
  kind = 'on-disk';
  durable = { index: 0n, texts: [] };
  calls = [];

  open() {
    this.texts = [...this.durable.texts];
    return { appliedIndex: this.durable.index, blob: Buffer.alloc(0) };
  }

  apply(entries, batch) {
    assert.ok(batch.blob instanceof Uint8Array);
    this.index = entries.at(-1).index;
    return super.apply(entries);
  }

  async sync() {
    await nextTurn();
    this.calls.push('sync');
    this.durable = { index: this.index, texts: [...this.texts] };
  }

  prepareSnapshot() {
    return [...this.texts];
  }

  async saveSnapshot(writable, prepared) {
    writable.write(JSON.stringify(prepared));
  }
}

test('an on-disk machine says how far it is, and gets what is missing', async (t) => {
  const machine = new Disk();
  const path = folder(t);
  const first = await openNode(path);
  const group = await startAlone(first, machine);
  await group.propose('one');
  await group.takeSnapshot();
  assert.deepEqual(machine.calls, ['sync']);
  await group.propose('two');
  await first.close();

  const again = await openNode(path);
  const applied = [];
  const recording = Object.assign(new Disk(), {
    durable: machine.durable,
    apply(entries) {
      applied.push(...entries.map(({ data }) => data.toString()));
      return Disk.prototype.apply.apply(this, arguments);
    },
  });
  await startAlone(again, recording);
  assert.deepEqual(applied, ['two']);
  assert.deepEqual(recording.texts, ['one', 'two']);
});

test('an on-disk machine that fails to open, or is ahead of the log, keeps its group from starting', async (t) => {
  const node = await openNode(folder(t));
  const initialMembers = [{ nodeId: 1n, address: '127.0.0.1:0' }];
  const failing = Object.assign(new Disk(), { open: () => whereItHappened() });
  const group = await node.startGroup({ groupId: 1n, initialMembers }, failing);
  const error = await errorOf(group.waitReady());
  assert.equal(error.code, 'OPEN_FAILED');
  assert.match(error.message, /whereItHappened/);

  const ahead = Object.assign(new Disk(), { open: () => 1_000_000 });
  const other = await node.startGroup({ groupId: 2n, initialMembers }, ahead);
  assert.equal((await errorOf(other.waitReady())).code, 'MACHINE_AHEAD');

  const wrong = Object.assign(new Disk(), { open: () => 'zero' });
  const third = await node.startGroup({ groupId: 3n, initialMembers }, wrong);
  assert.match((await errorOf(third.waitReady())).message, /must be a bigint or a whole number/);
});

test('a sync that fails stops the group', async (t) => {
  const machine = Object.assign(new Disk(), { sync: async () => whereItHappened() });
  const { group } = await alone(t, machine);
  await group.propose('x');
  assert.equal((await errorOf(group.takeSnapshot())).code, 'SYNC_FAILED');
});
