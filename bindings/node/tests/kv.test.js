'use strict';

// The example, as a person would use it: see examples/node/kv/kv.js.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { connect, createServer } = require('node:net');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const test = require('node:test');
const { PATIENCE_MS, ROOT, cleanup, eventually, folder } = require('./support.js');

const PROGRAM = join(ROOT, 'examples/node/kv/kv.js');

/** A port that nobody listens on just now. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

class Kv {
  static async start(t, options) {
    const kv = new Kv();
    kv.port = await freePort();
    const args = Object.entries({ clients: kv.port, ...options }).flatMap(([name, values]) =>
      [values].flat().flatMap((value) => [`--${name}`, String(value)]),
    );
    kv.process = spawn(process.execPath, [PROGRAM, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      // `libraft`, by this name, is the package under test.
      env: { ...process.env, NODE_PATH: join(ROOT, 'target/node/modules') },
    });
    const exited = once(kv.process, 'exit');
    cleanup(t, async () => {
      kv.process.kill('SIGKILL');
      await exited;
    });
    kv.lines = [];
    createInterface({ input: kv.process.stdout }).on('line', (line) => kv.lines.push(line));
    await eventually('kv serves', () => kv.lines.some((line) => line.includes('serves clients')));
    return kv;
  }

  async ask(...requests) {
    const socket = connect(this.port, '127.0.0.1');
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('kv does not answer')));
    socket.end(Buffer.concat(requests.map((request) => Buffer.from(request))));
    const chunks = [];
    for await (const chunk of socket) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async stop() {
    this.process.kill('SIGTERM');
    const [code] = await once(this.process, 'exit');
    assert.equal(code, 0);
  }
}

test('kv keeps values of any bytes, answers mistakes, and outlives its process', async (t) => {
  const options = { node: 1, directory: join(folder(t), 'data'), member: '1=127.0.0.1:0' };
  const first = await Kv.start(t, options);
  const value = Buffer.from([0, 10, 13, 255, 10]);
  const answers = await first.ask('put 5 key\n', value, '\nput 0 empty\nget key\nget no\ndel no\n');
  assert.deepEqual(answers, Buffer.concat([Buffer.from('ok 3\nok 4\nvalue 5\n'), value, Buffer.from('\nnone\nnone\n')]));
  assert.match(String(await first.ask('sing\n')), /^error INVALID_ARGUMENT rejected final there are/);
  assert.match(String(await first.ask('put many\nget key\n')), /^error [^\n]* usage: put LENGTH[^\n]*\n$/);
  assert.match(String(await first.ask('promote 7\n')), /^error UNKNOWN_MEMBER rejected final/);
  assert.match(String(await first.ask('status\n')), /role=leader .* keys=2 /);
  assert.match(String(await first.ask('members\n')), /^members 1\n1 voter 127\.0\.0\.1:0\n$/);
  await first.stop();
  assert.equal(first.lines.at(-1), 'kv: closed');

  const again = await Kv.start(t, { ...options, member: [] });
  assert.deepEqual(await again.ask('get key\n'), Buffer.concat([Buffer.from('value 5\n'), value, Buffer.from('\n')]));
  assert.equal(String(await again.ask('keys\n')), 'keys 2\nempty\nkey\n');
  await again.stop();
});

test('three kvs are one store, and a fourth gets all of it by a snapshot', async (t) => {
  const path = folder(t);
  const ports = [await freePort(), await freePort(), await freePort()];
  const member = ports.map((port, i) => `${i + 1}=127.0.0.1:${port}`);
  const starts = ports.map((port, i) =>
    Kv.start(t, {
      node: i + 1,
      directory: join(path, `data-${i + 1}`),
      listen: `127.0.0.1:${port}`,
      member,
      'snapshot-entries': 20,
      'retained-entries': 1,
    }),
  );
  const kvs = await Promise.all(starts);
  for (let i = 0; i < 60; i++) {
    assert.match(String(await kvs[i % 3].ask(`put 3 key-${i}\nval`)), /^ok \d+\n$/);
  }
  const leader = await eventually('there is a leader', () =>
    kvs.find((kv) => kv.lines.findLast((line) => / in term /.test(line))?.includes('leader')),
  );
  const listen = `127.0.0.1:${await freePort()}`;
  const fourth = await Kv.start(t, { node: 4, directory: join(path, 'data-4'), listen });
  assert.equal(String(await leader.ask(`add 4 ${listen}\n`)), 'ok\n');
  await eventually('it has caught up', async () => String(await leader.ask('promote 4\n')) === 'ok\n');
  const dumps = await Promise.all(
    [...kvs, fourth].map(async (kv) => {
      assert.match(String(await kv.ask('keys\n')), /^keys 60\n/);
      return String(await kv.ask('dump 62\n')).replace(/^dump \d+/, 'dump');
    }),
  );
  dumps.forEach((dump) => assert.equal(dump, dumps[0]));
  assert.match(String(await fourth.ask('status\n')), /installed=[1-9]/);
  await Promise.all([...kvs, fourth].map((kv) => kv.stop()));
});
