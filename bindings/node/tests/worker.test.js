'use strict';

// Worker threads: each has an environment of its own, which may end at any time.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { readdirSync } = require('node:fs');
const { join } = require('node:path');
const test = require('node:test');
const { setImmediate: nextTurn } = require('node:timers/promises');
const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');
const { Worker } = require('node:worker_threads');
const { Node, setLogger } = require('libraft');
const {
  PATIENCE_MS,
  Recorder,
  alone,
  errorOf,
  eventually,
  folder,
  libraryThreads,
  startAlone,
} = require('./support.js');

/** A worker that opens a node in `directory`, proposes, and goes on as `rest` says. */
function worker(directory, rest) {
  const program = `
    const { parentPort } = require('node:worker_threads');
    const { Node, setLogger } = require(${JSON.stringify(join(__dirname, '..'))});
    const options = { cluster: 'tests', nodeId: 1n, directory: ${JSON.stringify(directory)}, tickMs: 20 };
    const initialMembers = [{ nodeId: 1n, address: '127.0.0.1:0' }];
    let count = 0;
    const machine = {
      apply: (entries) => entries.map(() => String(++count)),
      saveSnapshot: (writable) => void writable.write(String(count)),
      async restoreSnapshot(readable) {
        for await (const chunk of readable) count = Number(chunk);
      },
    };
    (async () => {
      const node = await Node.open(options);
      const group = await node.startGroup({ groupId: 1n, initialMembers }, machine);
      await group.waitReady(${PATIENCE_MS});
      ${rest}
    })();`;
  return new Worker(program, { eval: true });
}

test('nodes in workers and in the main thread live beside each other, and end on their own', async (t) => {
  const path = folder(t);
  const { group } = await alone(t, new Recorder());
  const workers = [1, 2, 3].map((number) =>
    worker(join(path, `worker-${number}`), `
      for (let i = 0; i < 200; i++) await group.propose('x');
      parentPort.postMessage(count);
      await node.close();`),
  );
  const ends = workers.map(async (each) => {
    const ended = once(each, 'exit');
    const [count] = await once(each, 'message');
    return [count, ...(await ended)];
  });
  for (let i = 0; i < 100; i++) await group.propose('x');
  assert.deepEqual(await Promise.all(ends), Array(3).fill([200, 0]));
  assert.equal((await group.propose('x')).result.toString(), '101');
});

test('what a worker leaves open when it ends, or is terminated, can be opened at once', async (t) => {
  const directory = join(folder(t), 'data');
  for (const rest of [
    `parentPort.postMessage('ready');`,
    `parentPort.postMessage('ready'); node.ref(); for (;;) await group.propose('x');`,
    `parentPort.postMessage('ready'); process.exit(0);`,
    `machine.apply = () => new Promise(() => undefined);
     group.propose('x');
     parentPort.postMessage('ready');`,
    `machine.saveSnapshot = () => new Promise(() => undefined);
     group.takeSnapshot();
     await group.readIndex();
     parentPort.postMessage('ready'); node.ref();`,
    `machine.apply = () => { parentPort.postMessage('ready'); for (;;); };
     group.propose('x');`,
  ]) {
    const each = worker(directory, rest);
    await once(each, 'message');
    await each.terminate();
    const node = await Node.open({ cluster: 'tests', nodeId: 1n, directory });
    await node.close();
  }
});

test('a worker that hears the log does not take the ears of others with it', async (t) => {
  const directory = join(folder(t), 'data');
  const each = worker(directory, `setLogger(() => undefined); parentPort.postMessage('ready'); node.ref();`);
  await once(each, 'message');
  const records = [];
  setLogger((record) => records.push(record), 'error');
  t.after(() => setLogger(null));
  await each.terminate();
  const machine = Object.assign(new Recorder(), { apply: () => [] });
  const { group } = await alone(t, machine);
  await errorOf(group.propose('x'));
  await eventually('the failure is heard', () => records.length > 0);
});

test('nodes come and go by the hundred, and nothing of them stays', async (t) => {
  const path = folder(t);
  // What a closed node still holds goes with its JavaScript object.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  const files = async () => {
    collect();
    await nextTurn();
    return readdirSync('/proc/self/fd').length;
  };
  const cycle = async () => {
    const options = { cluster: 'tests', nodeId: 1n, directory: join(path, 'data'), tickMs: 20 };
    const node = await Node.open(options);
    const group = await startAlone(node, new Recorder(), { snapshotEntries: 10 });
    await group.propose('x');
    await node.close();
  };
  for (let i = 0; i < 5; i++) await cycle();
  const before = await files();
  for (let i = 0; i < 100; i++) await cycle();
  await eventually('no thread is left', () => libraryThreads() === 0);
  await eventually('no file is left', async () => (await files()) <= before);
});
