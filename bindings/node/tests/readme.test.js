'use strict';

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { readFileSync, writeFileSync, mkdirSync, symlinkSync } = require('node:fs');
const { join } = require('node:path');
const test = require('node:test');
const { promisify } = require('node:util');
const { ROOT, folder } = require('./support.js');

const run = promisify(execFile);

test('the program in the README works when it is pasted, and counts on when it is run again', async (t) => {
  const text = readFileSync(join(__dirname, '../README.md'), 'utf8');
  const [, program] = /```js\n(import [^]*?)```/.exec(text);
  const path = folder(t);
  mkdirSync(join(path, 'node_modules'));
  symlinkSync(join(ROOT, 'bindings/node'), join(path, 'node_modules/libraft'));
  writeFileSync(join(path, 'counter.mjs'), program);
  for (const count of [1, 2]) {
    const { stdout, stderr } = await run(process.execPath, ['counter.mjs'], { cwd: path });
    assert.match(stdout, new RegExp(`^the counter is ${count}; this was entry \\d+\n$`));
    assert.equal(stderr, '');
  }
});
