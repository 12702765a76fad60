'use strict';

// How a program with an open node may end: the cases are in tests/conformance/drivers/node/exit.js.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const test = require('node:test');
const { Node } = require('libraft');
const { PATIENCE_MS, ROOT, folder, startAlone } = require('./support.js');

const DRIVERS = join(ROOT, 'tests/conformance/drivers/node');
const { LedgerMachine } = require(join(DRIVERS, 'machine.js'));

const CODES = {
  close: 0,
  forgot: 0,
  exception: 1,
  apply_error: 0,
  save_error: 0,
  restore_error: 0,
  close_in_callback: 0,
  exit_under_load: 3,
  exit_in_thread: 3,
  shutdown_in_callback: 0,
  shutdown_pending: 0,
  shutdown_completions: 0,
  worker_end: 0,
  worker_terminate: 0,
};

/** Runs a case; resolves to its lines, and how it ended. */
async function run(name, directory, onLine = () => undefined) {
  const args = [join(DRIVERS, 'driver.js'), 'exit', name, directory];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGABRT'), PATIENCE_MS);
  const ended = once(child, 'close');
  const lines = [];
  let errors = '';
  child.stderr.on('data', (data) => (errors += data));
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    onLine(child, line);
  });
  const [code, signal] = await ended;
  clearTimeout(timer);
  return { lines, errors, code, signal };
}

/** Every count that was acknowledged must be there. */
async function assertKept(directory, lines) {
  const counts = lines.filter((line) => line.startsWith('acknowledged '));
  const acknowledged = counts.map((line) => Number(line.split(' ')[1]));
  acknowledged.forEach((count, i) => assert.equal(count, i + 1));
  const node = await Node.open({ cluster: 'exit', nodeId: 1n, directory, tickMs: 20 });
  const machine = new LedgerMachine({ machine: 'memory' });
  await startAlone(node, machine);
  assert.ok(Number(machine.ledger.count) >= acknowledged.length);
  await node.close();
  return acknowledged.length;
}

for (const [name, expected] of Object.entries(CODES)) {
  test(`a program ends as it should, and keeps what was acknowledged: ${name}`, async (t) => {
    const directory = join(folder(t), 'data');
    const { lines, errors, code, signal } = await run(name, directory);
    assert.deepEqual([code, signal], [expected, null], errors);
    assert.ok(lines.includes('ending'));
    const failed = lines.filter((line) => /^(failed|closed)/.test(line)).map((line) => line.split(' '));
    if (name.endsWith('_error')) {
      const [, failure, message] = failed[0];
      assert.equal(failure, name.replace('error', 'failed').toUpperCase());
      assert.match(Buffer.from(message, 'hex').toString(), /planned failure of \w+\n\s+at /);
      // The failure that stopped the group is told again; one of a snapshot stops nothing.
      assert.deepEqual(failed[1], ['closed', name === 'save_error' ? 'OK' : failure]);
    }
    // The entry that no ledger can apply would stop the next one, too.
    if (name !== 'apply_error') assert.ok((await assertKept(directory, lines)) >= 100);
  });
}

test('what was acknowledged outlives SIGKILL', async (t) => {
  const directory = join(folder(t), 'data');
  let heard = 0;
  const { lines, signal } = await run('kill', directory, (child, line) => {
    if (line.startsWith('acknowledged') && ++heard === 500) child.kill('SIGKILL');
  });
  assert.equal(signal, 'SIGKILL');
  assert.ok((await assertKept(directory, lines)) >= 500);
});
