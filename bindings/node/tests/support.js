'use strict';

// What the tests share: folders below target/, nodes of one process, and a machine that remembers.

const { mkdirSync, readFileSync, readdirSync, rmSync } = require('node:fs');
const { join, resolve } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { Node } = require('libraft');

const ROOT = resolve(__dirname, '../../..');
/** Generous, for the machine may be busy; a test ends as soon as it can. */
const PATIENCE_MS = 60_000;

/** Of a cluster whose leader must stay: nobody votes because the machine is busy for a moment. */
const STABLE = { tickMs: 100 };

/** What is to be done at the end of a test, the newest first: hooks of `t.after` run the other way. */
const cleanups = new WeakMap();

function cleanup(t, task) {
  let tasks = cleanups.get(t);
  if (tasks === undefined) {
    cleanups.set(t, (tasks = []));
    t.after(async () => {
      while (tasks.length > 0) await tasks.pop()();
    });
  }
  tasks.push(task);
}

let folders = 0;
/** The nodes that were opened in a folder. */
const opened = new Map();

/** A fresh folder; at the end of the test `t` its nodes are closed, and it is removed. */
function folder(t) {
  const path = join(ROOT, 'target/node/tests', `${process.pid}-${++folders}`);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  opened.set(path, []);
  cleanup(t, async () => {
    // What stopped a group is a test's own business.
    for (const node of opened.get(path)) await node.close().catch(() => undefined);
    opened.delete(path);
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

/** Opens a node in a folder of `folder`. */
async function openNode(path, nodeId = 1n, options = {}) {
  const node = await Node.open({
    cluster: 'tests',
    nodeId,
    directory: join(path, `node-${nodeId}`),
    tickMs: 20,
    segmentBytes: 1 << 20,
    ...options,
  });
  opened.get(path).push(node);
  return node;
}

/** A node with a group of which it is the only member, ready. */
async function alone(t, machine, options = {}) {
  const path = options.path ?? folder(t);
  const node = await openNode(path, 1n);
  const group = await startAlone(node, machine, options.group);
  return { path, node, group };
}

async function startAlone(node, machine, options = {}) {
  const initialMembers = [{ nodeId: 1n, address: '127.0.0.1:0' }];
  const group = await node.startGroup({ groupId: 1n, initialMembers, ...options }, machine);
  await group.waitReady(PATIENCE_MS);
  return group;
}

/** Three nodes with one group; `machines[i]` is that of node i + 1. */
async function three(t, machines, options = {}) {
  const path = folder(t);
  const nodes = [];
  for (const nodeId of [1n, 2n, 3n]) nodes.push(await openNode(path, nodeId, STABLE));
  const initialMembers = nodes.map((node) => {
    const { nodeId, address } = node.status();
    return { nodeId, address };
  });
  const starts = nodes.map((node, i) =>
    node.startGroup({ groupId: 1n, initialMembers, ...options }, machines[i]),
  );
  const groups = await Promise.all(starts);
  await Promise.all(groups.map((group) => group.waitReady(PATIENCE_MS)));
  return { path, nodes, groups };
}

/** Remembers the texts of all entries; the result of each is how many there are. */
class Recorder {
  texts = [];
  destroyed = 0;

  apply(entries) {
    return entries.map(({ data }) => String(this.texts.push(data.toString())));
  }

  saveSnapshot(writable) {
    writable.write(JSON.stringify(this.texts));
  }

  async restoreSnapshot(readable) {
    this.texts = JSON.parse(await textOf(readable));
  }

  destroy() {
    this.destroyed++;
  }
}

/** How many threads of the library there are in this process: sled's, which it keeps, apart. */
function libraryThreads() {
  const names = readdirSync('/proc/self/task').map((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8');
    } catch {
      return ''; // it has just ended
    }
  });
  return names.filter((name) => name.startsWith('libraft-')).length;
}

async function textOf(readable) {
  const chunks = [];
  for await (const chunk of readable) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** Waits until `attempt` returns something that is neither undefined nor false. */
async function eventually(what, attempt) {
  for (const deadline = Date.now() + PATIENCE_MS; ; ) {
    const result = await attempt();
    if (result !== undefined && result !== false) return result;
    if (Date.now() > deadline) throw new Error(`it did not happen in time: ${what}`);
    await sleep(5);
  }
}

/** The index, in `groups`, of the one that leads. */
function leaderOf(groups) {
  return eventually('one of them leads', () => {
    const at = groups.findIndex((group) => group.status().role === 'leader');
    return at >= 0 && at;
  });
}

/** The error that a promise rejects with. */
function errorOf(promise) {
  return promise.then(
    () => assertFails(),
    (error) => error,
  );
}

function assertFails() {
  throw new Error('this should have failed');
}

module.exports = {
  PATIENCE_MS,
  ROOT,
  Recorder,
  STABLE,
  alone,
  cleanup,
  errorOf,
  eventually,
  folder,
  leaderOf,
  libraryThreads,
  openNode,
  startAlone,
  textOf,
  three,
};
