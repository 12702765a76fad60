'use strict';

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const test = require('node:test');
const { setImmediate: nextTurn } = require('node:timers/promises');
const {
  PATIENCE_MS,
  Recorder,
  STABLE,
  alone,
  errorOf,
  eventually,
  folder,
  leaderOf,
  libraryThreads,
  openNode,
  startAlone,
  three,
} = require('./support.js');

const MEBIBYTE = 1 << 20;

/** Its state is a large piece of bytes, which is streamed. */
class Large {
  constructor(bytes) {
    this.bytes = bytes;
  }

  apply() {}

  async saveSnapshot(writable) {
    // A pipeline ends the stream by itself, and waits for the disk.
    const pieces = function* (bytes) {
      for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
    };
    await pipeline(Readable.from(pieces(this.bytes)), writable);
  }

  async restoreSnapshot(readable) {
    const hash = createHash('sha256');
    this.restored = 0;
    for await (const chunk of readable) {
      hash.update(chunk);
      this.restored += chunk.length;
    }
    this.hash = hash.digest('hex');
  }
}

test('a large state is streamed into a snapshot and out of it again', async (t) => {
  const path = folder(t);
  const bytes = randomBytes(30 * MEBIBYTE);
  const node = await openNode(path);
  const group = await startAlone(node, new Large(bytes));
  const { index } = await group.propose('x');
  assert.equal(await group.takeSnapshot(), index);
  assert.equal(group.status().snapshotIndex, index);
  await node.close();

  const machine = new Large();
  await startAlone(await openNode(path), machine);
  assert.equal(machine.restored, bytes.length);
  assert.equal(machine.hash, createHash('sha256').update(bytes).digest('hex'));
});

test('what a machine only writes is in its snapshot: the stream is ended for it', async (t) => {
  const path = folder(t);
  const first = await openNode(path);
  const group = await startAlone(first, new Recorder());
  await group.propose('a');
  await group.takeSnapshot();
  await group.propose('b');
  await first.close();
  const machine = new Recorder();
  await startAlone(await openNode(path), machine);
  assert.deepEqual(machine.texts, ['a', 'b']);
});

test('a node that joins late gets a snapshot of another one', async (t) => {
  const machines = [new Recorder(), new Recorder(), new Recorder()];
  const options = { retainedEntries: 0 };
  const { path, groups } = await three(t, machines, options);
  const leader = groups[await leaderOf(groups)];
  await leader.proposeBatch(Array.from({ length: 100 }, (_, i) => `entry ${i}`));
  await leader.takeSnapshot();
  const machine = new Recorder();
  let restores = 0;
  machine.restoreSnapshot = function (readable) {
    restores++;
    return Recorder.prototype.restoreSnapshot.call(this, readable);
  };
  const fourth = await openNode(path, 4n, STABLE);
  const group = await fourth.startGroup({ groupId: 1n }, machine);
  const { address } = fourth.status();
  await leader.changeMembership([{ kind: 'add-learner', nodeId: 4n, address }]);
  await group.waitReady(PATIENCE_MS);
  assert.equal(machine.texts.length, 100);
  assert.ok(restores > 0);
});

/** Saves beside `apply`, when it is let. */
class Concurrent extends Recorder {
  kind = 'concurrent';
  released = [];

  constructor() {
    super();
    this.saving = new Promise((resolve) => (this.onSaving = resolve));
    this.let = new Promise((resolve) => (this.go = resolve));
  }

  prepareSnapshot() {
    return [...this.texts];
  }

  async saveSnapshot(writable, prepared) {
    this.onSaving();
    await this.let;
    writable.write(JSON.stringify(prepared));
  }

  releaseSnapshot(prepared) {
    this.released.push(prepared);
  }
}

test('a concurrent machine applies while it saves, and its view is released once', async (t) => {
  const path = folder(t);
  const machine = new Concurrent();
  const node = await openNode(path);
  const group = await startAlone(node, machine);
  await group.propose('in the view');
  const taken = group.takeSnapshot();
  await machine.saving;
  await group.propose('beside it');
  assert.deepEqual(machine.released, []);
  machine.go();
  await taken;
  await eventually('the view is released', () => machine.released.length === 1);
  assert.deepEqual(machine.released, [['in the view']]);
  await node.close();
  assert.equal(machine.destroyed, 1);
});

for (const kind of ['in-memory', 'concurrent']) {
  test(`closing does not wait for a save of an ${kind} machine that does not end`, async (t) => {
    const machine = new Concurrent();
    machine.kind = kind;
    if (kind === 'in-memory') {
      Object.assign(machine, { prepareSnapshot: undefined, releaseSnapshot: undefined });
    }
    const { node, group } = await alone(t, machine);
    await group.propose('x');
    const taken = errorOf(group.takeSnapshot());
    await machine.saving;
    await node.close();
    // The save of a view ends first, and may be heard of before the close is.
    const codes = kind === 'concurrent' ? ['CLOSED', 'SAVE_FAILED'] : ['CLOSED'];
    assert.ok(codes.includes((await taken).code));
    assert.equal(machine.destroyed, 0, 'its callback is still running');
    await eventually('no thread waits for it', () => libraryThreads() === 0);
    machine.go();
    await eventually('it is destroyed', () => machine.destroyed === 1);
  });
}

test('closing does not wait for a restore that does not end', async (t) => {
  const path = folder(t);
  const first = await openNode(path);
  const group = await startAlone(first, new Recorder());
  await group.propose('x');
  await group.takeSnapshot();
  await first.close();

  const node = await openNode(path);
  let asked;
  const restoring = new Promise((resolve) => (asked = resolve));
  const machine = Object.assign(new Recorder(), {
    restoreSnapshot() {
      asked();
      return new Promise(() => undefined);
    },
  });
  const again = await node.startGroup({ groupId: 1n }, machine);
  const ready = errorOf(again.waitReady());
  await restoring;
  await node.close();
  await eventually('no thread waits for it', () => libraryThreads() === 0);
  assert.equal((await ready).code, 'CLOSED');
});

test('a save that fails fails the snapshot, and the group goes on', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine);
  await group.propose('x');
  machine.saveSnapshot = async (writable) => {
    writable.write('half of it');
    await nextTurn();
    throw new RangeError('planned');
  };
  const error = await errorOf(group.takeSnapshot());
  assert.equal(error.code, 'SAVE_FAILED');
  assert.match(error.message, /RangeError: planned\n\s+at .*snapshot\.test\.js/);
  assert.equal(error.cause.constructor, RangeError);

  machine.saveSnapshot = (writable) => void writable.write(42);
  const wrongType = await errorOf(group.takeSnapshot());
  assert.match(wrongType.message, /ERR_INVALID_ARG_TYPE/);

  machine.saveSnapshot = (writable) => void writable.destroy(new Error('broken by its user'));
  assert.match((await errorOf(group.takeSnapshot())).message, /broken by its user/);

  delete machine.saveSnapshot;
  assert.equal((await group.propose('y')).result.toString(), '2');
  await group.takeSnapshot();
});

test('a restore that fails keeps the group out of service, with the stack', async (t) => {
  const path = folder(t);
  const first = await openNode(path);
  const group = await startAlone(first, new Recorder());
  await group.propose('x');
  await group.takeSnapshot();
  await first.close();

  const node = await openNode(path);
  const machine = Object.assign(new Recorder(), {
    async restoreSnapshot(readable) {
      await once(readable, 'readable');
      throw new RangeError('planned');
    },
  });
  const again = await node.startGroup({ groupId: 1n }, machine);
  const error = await errorOf(again.waitReady());
  assert.equal(error.code, 'RESTORE_FAILED');
  assert.match(error.message, /RangeError: planned\n\s+at .*snapshot\.test\.js/);
});

test('a stream that is used after the callback was answered says so, and harms nobody', async (t) => {
  const machine = new Recorder();
  let stream;
  machine.saveSnapshot = (writable) => {
    stream = writable;
    writable.write('all of it');
  };
  const { group } = await alone(t, machine);
  await group.propose('x');
  await group.takeSnapshot();
  const error = await new Promise((resolve) => stream.write('more', resolve));
  assert.equal(error.code, 'ERR_STREAM_WRITE_AFTER_END');
  await group.propose('y');
});
