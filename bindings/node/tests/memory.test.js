'use strict';

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { join } = require('node:path');
const test = require('node:test');
const { promisify } = require('node:util');
const { folder } = require('./support.js');

const MEBIBYTE = 1 << 20;
/** `make soak-bindings` makes ten million. */
const PROPOSALS = process.env.LIBRAFT_MEMORY_PROPOSALS ?? '1000000';

test('no memory stays behind with proposals, callbacks, errors and snapshots', async (t) => {
  const directory = join(folder(t), 'data');
  const args = ['--expose-gc', join(__dirname, 'memory.js'), directory, PROPOSALS];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const [early, late] = stdout.trim().split('\n').map(Number);
  const limit = early * 1.05 + 2 * MEBIBYTE;
  const words = [early, late].map((bytes) => `${(bytes / MEBIBYTE).toFixed(1)} MiB`);
  t.diagnostic(`resident after 30% and 90% of ${PROPOSALS} proposals: ${words.join(', ')}`);
  assert.ok(late <= limit, `resident memory grew from ${words.join(' to ')}`);
});
