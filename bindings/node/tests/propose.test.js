'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { inspect } = require('node:util');
const { Completion, LibraftError, Node, version } = require('libraft');
const {
  PATIENCE_MS,
  Recorder,
  STABLE,
  alone,
  errorOf,
  folder,
  leaderOf,
  openNode,
  three,
} = require('./support.js');

test('a proposal resolves to its index, its term and the result of apply', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine);
  const first = await group.propose('one');
  const second = await group.propose(Buffer.from('two'));
  assert.ok(first instanceof Completion);
  assert.equal(typeof first.index, 'bigint');
  assert.equal(second.index, first.index + 1n);
  assert.equal(second.term, first.term);
  assert.deepEqual(second.result, Buffer.from('2'));
  assert.deepEqual(machine.texts, ['one', 'two']);
  assert.match(inspect(first), /index: \d+n, term: \d+n, result: <Buffer 31>/);
});

test('ten thousand proposals of one turn are applied in order, each with its own result', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine);
  const texts = Array.from({ length: 10_000 }, (_, i) => `entry ${i}`);
  const completions = await Promise.all(texts.map((text) => group.propose(text)));
  assert.deepEqual(machine.texts, texts);
  completions.forEach((done, i) => assert.equal(done.result.toString(), String(i + 1)));
});

test('what is proposed is copied: its buffer may be used again at once', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine);
  const buffer = Buffer.from('first');
  const one = group.propose(buffer);
  buffer.write('other');
  const batch = group.proposeBatch([buffer]);
  buffer.write('third');
  await Promise.all([one, batch]);
  assert.deepEqual(machine.texts, ['first', 'other']);
});

test('calls take effect in the order in which they were made, large or small', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine);
  const large = 'large '.repeat(50_000);
  await Promise.all([
    group.propose('a'),
    group.propose(large),
    group.propose('b'),
    group.proposeBatch(['c', 'd']),
    group.propose('e'),
  ]);
  assert.deepEqual(machine.texts, ['a', large, 'b', 'c', 'd', 'e']);
});

test('a batch resolves to the completions of its entries, in order', async (t) => {
  const { group } = await alone(t, new Recorder());
  const completions = await group.proposeBatch(['x', Buffer.from('y'), 'z']);
  assert.deepEqual(
    completions.map(({ result }) => result.toString()),
    ['1', '2', '3'],
  );
  assert.equal(completions[2].index, completions[0].index + 2n);
});

test('a batch with an impossible entry is refused as a whole', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine, { group: { proposalBytesMax: 10 } });
  assert.equal((await errorOf(group.proposeBatch(['good', ''])))?.code, 'EMPTY_PROPOSAL');
  const tooLarge = await errorOf(group.proposeBatch(['good', '12345678901']));
  assert.equal(tooLarge.code, 'TOO_LARGE');
  assert.match(tooLarge.message, /11 bytes exceeds the limit of 10/);
  assert.equal((await errorOf(group.proposeBatch([]))).code, 'EMPTY_PROPOSAL');
  await group.readIndex();
  assert.deepEqual(machine.texts, []);
});

test('an error says what became of the call, in a class of its own', async (t) => {
  const { group } = await alone(t, new Recorder());
  const error = await errorOf(group.propose(''));
  assert.ok(error instanceof LibraftError && error instanceof Error);
  assert.equal(error.name, 'LibraftError');
  assert.deepEqual(
    [error.code, error.number, error.outcome, error.retriable, error.leader],
    ['EMPTY_PROPOSAL', 105, 'rejected', false, undefined],
  );
});

test('more than may be pending is answered BUSY, which is retriable', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine, { group: { pendingCountMax: 2 } });
  // Two of them are held in `apply` until the others were answered.
  let release;
  const released = new Promise((resolve) => (release = resolve));
  machine.apply = async (entries) => {
    await released;
    return Recorder.prototype.apply.call(machine, entries);
  };
  const calls = ['a', 'b', 'c', 'd'].map((text) => group.propose(text));
  for (const refused of await Promise.all(calls.slice(2).map(errorOf))) {
    assert.deepEqual([refused.code, refused.retriable], ['BUSY', true]);
  }
  release();
  await Promise.all(calls.slice(0, 2));
  await group.propose('e');
});

test('a read index covers what was acknowledged before', async (t) => {
  const { group } = await alone(t, new Recorder());
  const { index } = await group.propose('x');
  const read = await group.readIndex();
  assert.equal(typeof read, 'bigint');
  assert.ok(read >= index);
});

test('waiting for a group that cannot become ready ends with TIMEOUT', async (t) => {
  const path = folder(t);
  const node = await openNode(path);
  const nobody = [1n, 2n].map((nodeId) => ({ nodeId, address: `127.0.0.1:${nodeId}` }));
  const group = await node.startGroup({ groupId: 1n, initialMembers: nobody }, new Recorder());
  const error = await errorOf(group.waitReady(20));
  assert.equal(error.code, 'TIMEOUT');
  assert.equal((await errorOf(group.transferLeadership(2n))).outcome, 'rejected');
});

test('three nodes agree, forward to their leader, and hand over leadership', async (t) => {
  const machines = [new Recorder(), new Recorder(), new Recorder()];
  const { groups } = await three(t, machines);
  const leader = await leaderOf(groups);
  const follower = (leader + 1) % 3;
  await groups[follower].propose('forwarded');
  await groups[leader].propose('direct');
  const refused = await errorOf(groups[follower].transferLeadership(1n));
  assert.equal(refused.code, 'NOT_LEADER');
  assert.equal(refused.leader.nodeId, BigInt(leader + 1));
  assert.match(refused.leader.address, /^127\.0\.0\.1:\d+$/);

  await groups[leader].transferLeadership(follower + 1);
  assert.equal(await leaderOf(groups), follower);
  for (const [i, group] of groups.entries()) {
    await group.readIndex();
    assert.deepEqual(machines[i].texts, ['forwarded', 'direct']);
  }
});

test('a member is added, promoted, told to have moved, and removed', async (t) => {
  const machines = [new Recorder(), new Recorder(), new Recorder()];
  const { path, groups } = await three(t, machines);
  const leader = groups[await leaderOf(groups)];
  const fourth = await openNode(path, 4n, STABLE);
  const joining = new Recorder();
  const group = await fourth.startGroup({ groupId: 1n }, joining);
  await leader.propose('before');
  const { address } = fourth.status();
  await leader.changeMembership([{ kind: 'add-learner', nodeId: 4n, address }]);
  await group.waitReady(PATIENCE_MS);
  assert.deepEqual(joining.texts, ['before']);
  await leader.changeMembership([{ kind: 'promote', nodeId: 4 }]);
  const roles = () => leader.members().map(({ nodeId, role }) => `${nodeId} ${role}`);
  assert.deepEqual(roles(), ['1 voter', '2 voter', '3 voter', '4 voter']);
  await leader.changeMembership([{ kind: 'set-address', nodeId: 4n, address: '127.0.0.1:9' }]);
  assert.equal(leader.members()[3].address, '127.0.0.1:9');
  await leader.changeMembership([{ kind: 'remove', nodeId: 4n }]);
  assert.deepEqual(roles(), ['1 voter', '2 voter', '3 voter']);
});

test('nodes and groups say how they are', async (t) => {
  const { node, group } = await alone(t, new Recorder());
  await group.propose('x');
  const ofNode = node.status();
  assert.equal(ofNode.cluster, 'tests');
  assert.equal(ofNode.nodeId, 1n);
  assert.equal(ofNode.groups, 1);
  assert.equal(ofNode.bootCounter, 1);
  assert.match(ofNode.incarnation, /^[0-9a-f]{8}-/);
  assert.ok(ofNode.journalBytes > 0);
  assert.equal(ofNode.failure, undefined);
  const ofGroup = group.status();
  assert.equal(ofGroup.role, 'leader');
  assert.equal(ofGroup.leader.nodeId, 1n);
  assert.equal(ofGroup.appliedIndex, 3n);
  assert.equal(ofGroup.pendingProposals, 0);
  const [member] = group.members();
  assert.deepEqual([member.nodeId, member.role, member.raftId], [1n, 'voter', 1n]);
});

test('the version is that of the package', () => {
  assert.equal(version, require('../package.json').version);
  assert.equal(typeof Node.open, 'function');
});
