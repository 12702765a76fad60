'use strict';

// Run by memory.test.js with `--expose-gc`: node memory.js DIRECTORY PROPOSALS. Prints the resident
// memory after 30% and 90% of the proposals, in bytes.

const { LibraftError, Node } = require('libraft');

const BATCH = 100;
const CALLS = 5;
const VALUE = Buffer.alloc(64, 'v');

async function main([directory, proposals]) {
  const node = await Node.open({ cluster: 'memory', nodeId: 1n, directory, tickMs: 20 });
  let count = 0n;
  const machine = {
    kind: 'concurrent',
    apply: (entries) => entries.map(() => String(++count)),
    prepareSnapshot: () => Buffer.alloc(1 << 16, 's'),
    saveSnapshot: (writable, prepared) => void writable.write(prepared),
    async restoreSnapshot() {},
  };
  const group = await node.startGroup(
    {
      groupId: 1n,
      initialMembers: [{ nodeId: 1n, address: '127.0.0.1:0' }],
      snapshotEntries: 20_000,
      retainedEntries: 1_000,
      entryCacheBytes: 1 << 20,
    },
    machine,
  );
  await group.waitReady(60_000);
  const events = group.events();
  void (async () => {
    for await (const event of events) void event;
  })();

  const total = Number(proposals);
  let made = 0;
  const work = async (until) => {
    while (made < until) {
      made += 2 * BATCH;
      // One by one, in a batch, and in vain: of each call, and each error, nothing must stay.
      const singles = Array.from({ length: BATCH }, () => group.propose(VALUE));
      const batch = group.proposeBatch(new Array(BATCH).fill(VALUE));
      const refused = group.propose('').catch((error) => error);
      if (!((await refused) instanceof LibraftError)) throw new Error('an empty one was accepted');
      await Promise.all([...singles, batch]);
      group.status();
    }
  };
  const workers = (until) => Promise.all(Array.from({ length: CALLS }, () => work(until)));
  for (const part of [0.3, 0.9]) {
    await workers(total * part);
    global.gc();
    console.log(process.memoryUsage.rss());
  }
  if (count < total * 0.9) throw new Error(`only ${count} entries were applied`);
  await node.close();
}

main(process.argv.slice(2));
