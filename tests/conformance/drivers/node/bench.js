'use strict';

// A member of the benchmark of languages. See "The benchmark" in tests/conformance/PROTOCOL.md.

const { createInterface } = require('node:readline');
const { crc32 } = require('node:zlib');
const { Node } = require('../../../../bindings/node');
const { say } = require('./line.js');

const PATIENCE_MS = 30_000;

/** Counts entries, and keeps a checksum of every byte of their payloads. */
class Counter {
  count = 0;
  checksum = 0;

  apply(entries) {
    const results = new Array(entries.length);
    const flat = Buffer.allocUnsafe(entries.length * 8);
    for (let i = 0; i < entries.length; i++) {
      this.checksum = crc32(entries[i].data, this.checksum);
      flat.writeUInt32LE(++this.count >>> 0, i * 8);
      flat.writeUInt32LE(this.checksum, i * 8 + 4);
      results[i] = flat.subarray(i * 8, i * 8 + 8);
    }
    return results;
  }

  saveSnapshot(writable) {
    const bytes = Buffer.alloc(12);
    bytes.writeBigUInt64LE(BigInt(this.count));
    bytes.writeUInt32LE(this.checksum, 8);
    writable.write(bytes);
  }

  async restoreSnapshot(readable) {
    const chunks = [];
    for await (const chunk of readable) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    this.count = Number(bytes.readBigUInt64LE());
    this.checksum = bytes.readUInt32LE(8);
  }
}

/** Keeps a number of proposals in flight for a while, and measures each. */
async function run(group, [bytes, inFlight, mode, seconds]) {
  const batch = mode.startsWith('batch-') ? Number(mode.slice(6)) : 1;
  const payload = Buffer.alloc(Number(bytes), 0x5a);
  const payloads = new Array(batch).fill(payload);
  const start = process.hrtime.bigint();
  const warmUp = start + BigInt(Math.round(Number(seconds) * 0.25e9));
  const end = warmUp + BigInt(Math.round(Number(seconds) * 1e9));
  const latencies = [];
  let now = start;

  const drive = async () => {
    while (now < end) {
      const begun = process.hrtime.bigint();
      if (mode === 'callback') {
        await group.propose(payload);
      } else {
        const failed = (await group.proposeBatch(payloads)).find((done) => done instanceof Error);
        if (failed !== undefined) throw failed;
      }
      now = process.hrtime.bigint();
      if (now >= warmUp && now < end) latencies.push(Number(now - begun) / 1000);
    }
  };
  const calls = Math.max(1, Math.floor(Number(inFlight) / batch));
  await Promise.all(Array.from({ length: calls }, drive));

  latencies.sort((one, other) => one - other);
  const quantile = (part) => latencies[Math.floor(part * (latencies.length - 1))] ?? 0;
  const times = [quantile(0.5), quantile(0.99)].map((microseconds) => microseconds.toFixed(1));
  return `${latencies.length * batch} ${seconds} ${times.join(' ')}`;
}

async function benchMember(id, directory) {
  const counter = new Counter();
  const node = await Node.open({ cluster: 'bench', nodeId: BigInt(id), directory });
  say(node.status().address);
  let group;
  const commands = {
    async start(...members) {
      const initialMembers = members.map((member) => {
        const at = member.indexOf('=');
        return { nodeId: BigInt(member.slice(0, at)), address: member.slice(at + 1) };
      });
      group = await node.startGroup({ groupId: 1n, initialMembers }, counter);
      await group.waitReady(PATIENCE_MS);
      return 'started';
    },
    role: () => group.status().role.replace(/^./, (letter) => letter.toUpperCase()),
    run: (...words) => run(group, words),
    state: () => `${counter.count} ${counter.checksum}`,
    cpu() {
      const { user, system } = process.cpuUsage();
      return String((user + system) / 1e6);
    },
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...words] = line.split(' ');
    say(await commands[name](...words));
  }
  await node.close();
}

module.exports = { benchMember };
