#!/usr/bin/env node
'use strict';

/*
 * kv: a replicated key-value store, whole.
 *
 * Every process holds all keys in memory. Changes go through libraft, which hands them to each
 * process in the same order (apply) and keeps them, as long as most of the processes live. A client
 * may talk to any of them.
 *
 *     node kv.js --node 1 --directory data-1 --listen 127.0.0.1:7001 --clients 8001
 *        --member 1=127.0.0.1:7001 --member 2=127.0.0.1:7002 --member 3=127.0.0.1:7003
 *
 * and the same as node 2 and 3; or one alone, with itself as the only member. A process without
 * --member waits until the leader of those that are there is told to `add` it. The others may be
 * written in other languages: entries, snapshots and this protocol are those of examples/c/kv.c.
 *
 * The protocol, on a port of 127.0.0.1: a line for each request, and behind the line of a value
 * its bytes, whatever they are. Try it with `nc 127.0.0.1 8001`.
 *
 *     put LENGTH KEY, then the bytes   ok INDEX
 *     del KEY                          ok INDEX, or none
 *     get KEY                          value LENGTH, then the bytes; or none. Linearizable.
 *     keys                             keys COUNT, then a line for each. Linearizable.
 *     dump INDEX                       dump APPLIED COUNT, then for each LENGTH KEY and the bytes:
 *                                      this process's own state, once it has applied INDEX
 *     status                           status NAME=VALUE ...
 *     members                          members COUNT, then NODE ROLE ADDRESS for each
 *     add NODE ADDRESS, promote NODE,  ok. At the leader: a new node is a learner, and votes
 *     remove NODE, transfer NODE       once it is promoted
 *
 * or, to any: error CODE OUTCOME retriable|final MESSAGE. After the outcome `unknown` the change
 * may yet happen.
 */

const { EventEmitter, once } = require('node:events');
const { createServer } = require('node:net');
const { LibraftError, Node, setLogger, version } = require('libraft');

const KEY_BYTES_MAX = 4095;
const LINE_BYTES_MAX = KEY_BYTES_MAX + 64;
const VALUE_BYTES_MAX = (8 << 20) - 2 * KEY_BYTES_MAX; // an entry may have 8 MiB
const CLIENTS_MAX = 256;
const DUMP_TIMEOUT_MS = 30_000;

// ---------------------------------------------------------------- the state machine

/** The state. Keys are text with one character for each byte ('latin1'), so that any will do. */
class Store {
  kind = 'in-memory';
  items = new Map();
  /** Of the last entry that is in `items`. */
  appliedIndex = 0n;
  /** Says 'applied' after each change. */
  changes = new EventEmitter().setMaxListeners(CLIENTS_MAX);

  /** An entry is 'P' or 'D', the key, a zero byte, and for 'P' the value. */
  apply(entries) {
    const results = entries.map(({ index, data }) => {
      const zero = data.indexOf(0);
      const kind = data.toString('latin1', 0, 1);
      if (zero < 0 || (kind !== 'P' && kind !== 'D')) {
        // Better to stop than to differ from the others.
        throw new Error("an entry is not kv's: who else is here?");
      }
      const key = data.toString('latin1', 1, zero);
      let found = true;
      if (kind === 'P') this.items.set(key, Buffer.from(data.subarray(zero + 1)));
      else found = this.items.delete(key);
      this.appliedIndex = index;
      return found ? '1' : '0';
    });
    this.changes.emit('applied');
    return results;
  }

  /** A snapshot is what `dump` prints. Nothing is applied meanwhile. */
  async saveSnapshot(writable) {
    for (const bytes of this.print()) {
      if (!writable.write(bytes)) await once(writable, 'drain');
    }
  }

  /** The state is replaced when all of the snapshot is there, and not before. */
  async restoreSnapshot(readable) {
    const input = new Input(readable);
    const [name, index, count] = ((await input.line()) ?? '').split(' ');
    if (name !== 'dump') throw new Error('the snapshot does not begin with dump');
    const items = new Map();
    while (items.size < Number(count)) {
      const [, length, key] = /^(\d+) (.*)$/s.exec(await input.line()) ?? [];
      const value = await input.bytes(Number(length));
      if ((await input.line()) !== '') throw new Error('the snapshot is damaged');
      items.set(key, value);
    }
    this.items = items;
    this.appliedIndex = BigInt(index);
    this.changes.emit('applied');
  }

  *print() {
    yield `dump ${this.appliedIndex} ${this.items.size}\n`;
    for (const key of this.keys()) {
      const value = this.items.get(key);
      yield Buffer.from(`${value.length} ${key}\n`, 'latin1');
      yield value;
      yield '\n';
    }
  }

  /** In ascending order of their bytes. */
  keys() {
    return [...this.items.keys()].sort();
  }
}

// ---------------------------------------------------------------- lines and bytes

/** Reads lines, and bytes behind them, from a stream. */
class Input {
  #chunks;
  #rest = Buffer.alloc(0);

  constructor(stream) {
    // A socket can be written to when nothing more can be read.
    this.#chunks = stream.iterator({ destroyOnReturn: false });
  }

  /** Without its end; null at the end of the stream, or of what a line may be. */
  async line() {
    for (let from = 0; ; ) {
      const end = this.#rest.indexOf('\n', from);
      if (end > LINE_BYTES_MAX || (end < 0 && this.#rest.length > LINE_BYTES_MAX)) return null;
      if (end >= 0) {
        const line = this.#rest.toString('latin1', 0, end);
        this.#rest = this.#rest.subarray(end + 1);
        return line.endsWith('\r') ? line.slice(0, -1) : line;
      }
      from = this.#rest.length;
      if (!(await this.#more())) return null;
    }
  }

  async bytes(length) {
    const parts = [];
    let missing = length;
    while (missing > this.#rest.length) {
      parts.push(this.#rest);
      missing -= this.#rest.length;
      this.#rest = Buffer.alloc(0);
      if (!(await this.#more())) throw new Error('the bytes end early');
    }
    parts.push(this.#rest.subarray(0, missing));
    this.#rest = this.#rest.subarray(missing);
    return Buffer.concat(parts);
  }

  async #more() {
    const { value, done } = await this.#chunks.next();
    if (!done) this.#rest = this.#rest.length === 0 ? value : Buffer.concat([this.#rest, value]);
    return !done;
  }
}

// ---------------------------------------------------------------- the requests of clients

let group;
const store = new Store();
let snapshotBytes = 0;
let installedIndex = 0n;

/** Where the next request begins cannot be known: the connection ends. */
class Hopeless extends Error {}

/** Proposes a change and waits until it is applied here. */
async function propose(kind, key, value) {
  const entry = Buffer.concat([Buffer.from(`${kind}${key}\0`, 'latin1'), value]);
  const { index, result } = await group.propose(entry);
  return result.toString() === '0' ? 'none\n' : `ok ${index}\n`;
}

async function change(kind, argument) {
  const [, id, address] = /^(\d+)(?: (.*))?$/.exec(argument) ?? [null, '0'];
  const step = { kind, nodeId: BigInt(id) };
  await group.changeMembership([address === undefined ? step : { ...step, address }]);
  return 'ok\n';
}

/** Each returns the answer, or parts of it. */
const REQUESTS = {
  async put(argument, input) {
    const [, length, key] = /^(\d+) (.+)$/s.exec(argument) ?? [];
    if (key === undefined || Number(length) > VALUE_BYTES_MAX) {
      throw new Hopeless('usage: put LENGTH KEY, then the bytes (8 MiB at most)');
    }
    return propose('P', key, await input.bytes(Number(length)));
  },

  del: (key) => propose('D', key, Buffer.alloc(0)),

  async get(key) {
    // From here on, this process's own state has all that was acknowledged anywhere before.
    await group.readIndex();
    const value = store.items.get(key);
    return value === undefined ? 'none\n' : [`value ${value.length}\n`, value, '\n'];
  },

  async keys() {
    await group.readIndex();
    const lines = [`keys ${store.items.size}`, ...store.keys(), ''];
    return Buffer.from(lines.join('\n'), 'latin1');
  },

  async dump(argument) {
    const index = /^\d+$/.test(argument) ? BigInt(argument) : 0n;
    const signal = AbortSignal.timeout(DUMP_TIMEOUT_MS);
    while (store.appliedIndex < index) {
      await once(store.changes, 'applied', { signal }).catch(() => {
        throw new Error('this process has not applied that index');
      });
    }
    return [...store.print()];
  },

  status() {
    const now = group.status();
    return (
      `status role=${now.role} term=${now.term} leader=${now.leader?.nodeId ?? 0} ` +
      `first=${now.firstIndex} last=${now.lastIndex} commit=${now.commitIndex} ` +
      `applied=${store.appliedIndex} keys=${store.items.size} snapshot=${now.snapshotIndex} ` +
      `snapshot_bytes=${snapshotBytes} installed=${installedIndex}\n`
    );
  },

  members() {
    const all = group.members();
    const lines = all.map(({ nodeId, role, address }) => `${nodeId} ${role} ${address}\n`);
    return [`members ${all.length}\n`, ...lines];
  },

  add: (argument) => change('add-learner', argument),
  promote: (argument) => change('promote', argument),
  remove: (argument) => change('remove', argument),

  async transfer(argument) {
    await group.transferLeadership(/^\d+$/.test(argument) ? BigInt(argument) : 0n);
    return 'ok\n';
  },
};

const WITHOUT_ARGUMENT = ['keys', 'status', 'members'];

async function serveLine(line, input) {
  const space = line.indexOf(' ');
  const name = space < 0 ? line : line.slice(0, space);
  const argument = space < 0 ? '' : line.slice(space + 1);
  if (Object.hasOwn(REQUESTS, name) && (argument === '') === WITHOUT_ARGUMENT.includes(name)) {
    return REQUESTS[name](argument, input);
  }
  throw new Error(
    'there are get, put, del, keys, dump, status, members, add, promote, remove and transfer',
  );
}

function refusal(error) {
  const { code, outcome, retriable, message } =
    error instanceof LibraftError
      ? error
      : { code: 'INVALID_ARGUMENT', outcome: 'rejected', retriable: false, message: error.message };
  const words = message.replace(/\s*\n\s*/g, ' ');
  return `error ${code} ${outcome} ${retriable ? 'retriable' : 'final'} ${words}\n`;
}

async function serveClient(socket) {
  socket.setNoDelay();
  const input = new Input(socket);
  for (;;) {
    const line = await input.line();
    if (line === null) break; // the end, or longer than any request
    if (line === '') continue; // such as the line break that a person types behind a value
    let failure;
    const answer = await serveLine(line, input).catch((error) => {
      failure = error;
      return refusal(error);
    });
    socket.cork();
    for (const part of [answer].flat()) socket.write(part);
    socket.uncork();
    if (socket.writableNeedDrain) await once(socket, 'drain');
    if (failure instanceof Hopeless) break;
  }
  socket.end();
}

// ---------------------------------------------------------------- the program

/** What the library tells of itself. */
async function watch() {
  for await (const event of group.events()) {
    if (event.kind === 'snapshot-taken') snapshotBytes = event.bytes;
    if (event.kind === 'snapshot-installed') installedIndex = event.index;
    if (event.kind === 'role') console.log(`kv: ${event.role} in term ${event.term}`);
    if (event.kind === 'snapshot-installed') {
      console.log(`kv: installed a snapshot of index ${event.index}`);
    }
    if (event.kind === 'failed') console.log('kv: the group is out of service on this node');
  }
}

function readOptions(args) {
  const node = { cluster: 'kv' };
  const groupOptions = { groupId: 1n, initialMembers: [] };
  let port = 0;
  const known = {
    '--node': (value) => (node.nodeId = BigInt(value)),
    '--directory': (value) => (node.directory = value),
    '--listen': (value) => (node.listenAddress = value),
    '--clients': (value) => (port = Number(value)),
    '--cluster': (value) => (node.cluster = value),
    '--snapshot-entries': (value) => (groupOptions.snapshotEntries = Number(value)),
    '--retained-entries': (value) => (groupOptions.retainedEntries = Number(value)),
    '--member': (value) => {
      const [, id, address] = /^(\d+)=(.+)$/.exec(value);
      groupOptions.initialMembers.push({ nodeId: BigInt(id), address });
    },
  };
  try {
    for (let i = 0; i < args.length; i += 2) known[args[i]](args[i + 1]);
    if (args.length % 2 === 0 && node.directory !== undefined && port > 0 && port < 65536) {
      return { node, groupOptions, port };
    }
  } catch {
    // An unknown name, or not a number: says how it is used.
  }
  console.error(`usage: kv --node N --directory DIR --listen HOST:PORT --clients PORT
          [--member N=HOST:PORT ...] [--cluster NAME]
          [--snapshot-entries N] [--retained-entries N]`);
  process.exit(2);
}

async function main() {
  if (process.argv[2] === '--version') return console.log(`kv with libraft ${version}`);
  const { node: nodeOptions, groupOptions, port } = readOptions(process.argv.slice(2));
  setLogger(({ target, message }) => console.error(`kv: ${target}: ${message}`));
  const node = await Node.open(nodeOptions);
  group = await node.startGroup(groupOptions, store);
  void watch();

  // A client that has said all it has to say still wants its answers.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    // A client that is gone is its own business.
    serveClient(socket).catch(() => socket.destroy());
    socket.on('error', () => socket.destroy());
  });
  server.maxConnections = CLIENTS_MAX;
  await once(server.listen(port, '127.0.0.1'), 'listening');
  console.log(`kv: node ${nodeOptions.nodeId} serves clients on port ${port}`);

  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  await node.close();
  console.log('kv: closed');
  process.exit();
}

main().catch((error) => {
  console.error(`kv: ${error.message} (${error.code})`);
  process.exit(1);
});
