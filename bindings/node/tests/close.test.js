'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { Node } = require('libraft');
const {
  PATIENCE_MS,
  Recorder,
  alone,
  errorOf,
  eventually,
  folder,
  openNode,
  startAlone,
} = require('./support.js');

test('a directory can be opened again as soon as close has resolved', async (t) => {
  const path = folder(t);
  for (let round = 1; round <= 5; round++) {
    const node = await openNode(path);
    assert.equal(node.status().bootCounter, round);
    const machine = new Recorder();
    const group = await startAlone(node, machine);
    assert.equal((await group.propose('x')).result.toString(), String(round));
    await node.close();
  }
});

test('a directory that is open is refused, by name', async (t) => {
  const path = folder(t);
  await openNode(path);
  const error = await errorOf(openNode(path));
  assert.equal(error.code, 'DIRECTORY_IN_USE');
  assert.match(error.message, /node-1/);
});

test('closing settles what is pending, and everything afterwards says CLOSED', async (t) => {
  const machine = Object.assign(new Recorder(), { apply: () => new Promise(() => undefined) });
  const { node, group } = await alone(t, machine);
  const pending = errorOf(group.propose('x'));
  const waiting = errorOf(group.proposeBatch(['y']).then(([first]) => Promise.reject(first)));
  await node.close();
  assert.equal((await pending).code, 'CLOSED');
  assert.equal((await waiting).code, 'CLOSED');
  for (const call of [
    () => group.propose('x'),
    () => group.proposeBatch(['x']),
    () => group.readIndex(),
    () => group.takeSnapshot(),
    () => group.waitReady(),
    () => group.transferLeadership(1n),
    () => group.changeMembership([{ kind: 'remove', nodeId: 1n }]),
    () => node.startGroup({ groupId: 2n }, new Recorder()),
  ]) {
    assert.equal((await errorOf(call())).code, 'CLOSED', String(call));
  }
  await group.stop();
  await node.close();
});

test('many closes at once all resolve', async (t) => {
  const { node } = await alone(t, new Recorder());
  await Promise.all(Array.from({ length: 10 }, () => node.close()));
});

test('close inside of a callback can be awaited there, for it does not wait for the callback', async (t) => {
  const machine = new Recorder();
  const { node, group } = await alone(t, machine);
  let closed = false;
  machine.apply = async (entries) => {
    await node.close();
    closed = true;
    return entries.map(() => 'too late');
  };
  assert.equal((await errorOf(group.propose('x'))).code, 'CLOSED');
  await node.close();
  await eventually('the callback has ended, too', () => closed && machine.destroyed === 1);
});

test('stop inside of a callback can be awaited there, too', async (t) => {
  const machine = new Recorder();
  const { group } = await alone(t, machine);
  machine.apply = async () => group.stop();
  assert.equal((await errorOf(group.propose('x'))).code, 'STOPPED');
});

test('a node closes at the end of its scope', async (t) => {
  const path = folder(t);
  const node = await Node.open({ cluster: 'tests', nodeId: 1n, directory: `${path}/node-1` });
  await node[Symbol.asyncDispose]();
  await openNode(path);
});

test('nodes by the dozen live side by side in a process', async (t) => {
  const path = folder(t);
  const numbers = Array.from({ length: 12 }, (_, i) => BigInt(i + 1));
  const nodes = await Promise.all(numbers.map((nodeId) => openNode(path, nodeId)));
  const groups = nodes.map(async (node, i) => {
    const initialMembers = [{ nodeId: numbers[i], address: '127.0.0.1:0' }];
    const group = await node.startGroup({ groupId: 1n, initialMembers }, new Recorder());
    await group.waitReady(PATIENCE_MS);
    await group.propose(`node ${i}`);
  });
  await Promise.all(groups);
  await Promise.all(nodes.map((node) => node.close()));
});
