'use strict';

// The driver of Node.js: see tests/conformance/PROTOCOL.md.

const { createInterface } = require('node:readline');
const { setImmediate: nextTurn } = require('node:timers/promises');
const { Host } = require('./host.js');
const { benchMember } = require('./bench.js');
const { exitCase } = require('./exit.js');
const { answer, hex, parse, say } = require('./line.js');

/** Serves the lines of the input until it ends; then the process ends at once. */
async function serve() {
  say(`! driver language=node runtime=${hex(process.execPath)} protocol=1`);
  const host = new Host();
  for await (const line of createInterface({ input: process.stdin })) {
    const request = parse(line);
    // `serve` begins the call before its first `await`, so calls begin in the order of lines.
    host.serve(request).then(
      (words) => answer(request.id, words),
      (error) => answer(request.id, error),
    );
    // What needs no more than a turn of the event loop, as starting a group, is done then.
    await nextTurn();
  }
  process.exit(0);
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === undefined) {
  void serve();
} else if (mode === 'exit' && rest.length === 2) {
  exitCase(...rest);
} else if (mode === 'bench-member' && rest.length === 2) {
  void benchMember(...rest);
} else {
  console.error('usage: driver.js [exit CASE DIRECTORY | bench-member ID DIRECTORY]');
  process.exit(2);
}
