'use strict';

// The package as a user gets it: the tarball, installed into an empty directory, without this checkout.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const test = require('node:test');
const { promisify } = require('node:util');
const { ROOT, folder } = require('./support.js');

const run = promisify(execFile);

/** Made by run-tests. */
const PACKAGE = process.env.LIBRAFT_PACKAGE ?? join(ROOT, 'target/node/libraft-0.1.0.tgz');

test('npm installs the package, and a program uses it at once', async (t) => {
  const path = folder(t);
  // As `npm init` does: else npm looks for a project in the folders above.
  writeFileSync(join(path, 'package.json'), '{ "private": true }');
  const npm = ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', PACKAGE];
  await run('npm', npm, { cwd: path });
  const installed = join(path, 'node_modules/libraft');
  for (const name of ['README.md', 'LICENSE', 'THIRD-PARTY-LICENSES', 'types/index.d.ts']) {
    assert.ok(existsSync(join(installed, name)), `the package lacks ${name}`);
  }
  assert.match(readFileSync(join(installed, 'THIRD-PARTY-LICENSES'), 'utf8'), /^ +napi \d/m);
  const { dependencies, devDependencies } = require(join(installed, 'package.json'));
  assert.deepEqual([dependencies, devDependencies], [undefined, undefined]);

  const [, program] = /```js\n(import [^]*?)```/.exec(readFileSync(join(installed, 'README.md'), 'utf8'));
  writeFileSync(join(path, 'counter.mjs'), program);
  // An environment that knows nothing of this checkout.
  const env = { PATH: process.env.PATH, HOME: path };
  const { stdout } = await run(process.execPath, ['counter.mjs'], { cwd: path, env });
  assert.match(stdout, /^the counter is 1; /);
  const required = await run(process.execPath, ['-p', 'require("libraft").version'], { cwd: path, env });
  assert.equal(required.stdout, `${require('../package.json').version}\n`);
});

test('a machine without a binary is told so', async (t) => {
  const program = `
    Object.defineProperty(process, 'arch', { value: 'mips' });
    try { require(${JSON.stringify(join(ROOT, 'bindings/node'))}) } catch (error) { console.log(error.message) }`;
  const { stdout } = await run(process.execPath, ['-e', program], { cwd: folder(t) });
  assert.match(stdout, /no binary that works here \(linux on mips\)/);
});
