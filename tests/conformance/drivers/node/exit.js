'use strict';

// The exit matrix: how a program with an open node may end. See tests/conformance/PROTOCOL.md.

const { once } = require('node:events');
const { isMainThread, Worker, workerData } = require('node:worker_threads');
const { Node } = require('../../../../bindings/node');
const { hex, say } = require('./line.js');
const { LedgerMachine } = require('./machine.js');

const GROUP = { groupId: 1n };
const MEMBERS = [{ nodeId: 1n, address: '127.0.0.1:0' }];
const PATIENCE_MS = 60_000;

/** A node with its group and machine, and the next value to propose. */
class Program {
  #next = 1;

  constructor(directory, style = 'sync') {
    this.directory = directory;
    this.machine = new LedgerMachine({ machine: 'memory', style });
  }

  static async start(directory, style) {
    const program = new Program(directory, style);
    await program.open();
    await program.group.waitReady(PATIENCE_MS);
    for (let i = 0; i < 100; i++) await program.propose();
    return program;
  }

  async open() {
    this.node = await Node.open({
      cluster: 'exit',
      nodeId: 1n,
      directory: this.directory,
      listenAddress: '127.0.0.1:0',
      tickMs: 20,
    });
    this.group = await this.node.startGroup({ ...GROUP, initialMembers: MEMBERS }, this.machine);
  }

  /** Proposes the next value, and says so when it is acknowledged. */
  async propose() {
    const value = String(this.#next++);
    const { result } = await this.group.propose(Buffer.concat([Buffer.from('s\x01k'), Buffer.from(value)]));
    say(`acknowledged ${result.readBigUInt64LE()}`);
  }

  /** Keeps proposals in flight; calls back when as many were acknowledged. */
  load(inFlight, count, enough) {
    let acknowledged = 0;
    const again = async () => {
      for (;;) {
        await this.propose();
        if (++acknowledged === count) enough();
      }
    };
    // What is in flight at the end of the process never comes back.
    for (let i = 0; i < inFlight; i++) again().catch(() => undefined);
  }

  /** Waits for a call to fail, closes, and says what came of both. */
  async failed(call) {
    const error = await call.then(
      () => ({ code: 'OK', message: '' }),
      (error) => error,
    );
    say(`failed ${error.code} ${hex(error.message)}`);
    await this.closed();
  }

  async closed() {
    const code = await this.node.close().then(
      () => 'OK',
      (error) => error.code,
    );
    say(`closed ${code}`);
  }
}

const CASES = {
  async close(directory) {
    const program = await Program.start(directory);
    say('ending');
    await program.node.close();
  },

  async forgot(directory) {
    globalThis.program = await Program.start(directory);
    say('ending');
  },

  async exception(directory) {
    await Program.start(directory);
    say('ending');
    throw new Error('an exception that nobody catches');
  },

  async apply_error(directory) {
    const program = await Program.start(directory);
    say('ending');
    await program.failed(program.group.propose('xplanned failure of apply'));
  },

  async save_error(directory) {
    const program = await Program.start(directory);
    program.machine.fail = 'save';
    say('ending');
    await program.failed(program.group.takeSnapshot());
  },

  async restore_error(directory) {
    const program = await Program.start(directory);
    await program.group.takeSnapshot();
    for (let i = 0; i < 10; i++) await program.propose();
    await program.node.close();
    program.machine = new LedgerMachine({ machine: 'memory', style: 'sync' });
    program.machine.fail = 'restore';
    say('ending');
    await program.open();
    await program.failed(program.group.waitReady(PATIENCE_MS));
  },

  async close_in_callback(directory) {
    const program = await Program.start(directory);
    say('ending');
    const closed = new Promise((resolve) => {
      program.machine.inApply = () => {
        program.node.close().then(
          () => resolve('OK'),
          (error) => resolve(error.code),
        );
      };
    });
    program.propose().catch(() => undefined);
    say(`failed ${await closed} -`);
    await program.closed();
  },

  async exit_under_load(directory) {
    const program = await Program.start(directory);
    program.load(64, 300, () => {
      say('ending');
      process.exit(3);
    });
  },

  async exit_in_thread(directory) {
    const program = await Program.start(directory);
    program.load(64, 300, () => {
      say('ending');
      // In a worker process.exit ends the worker only, with this status; so the main thread follows.
      const worker = new Worker('process.exit(3)', { eval: true });
      worker.on('exit', (code) => process.exit(code));
    });
  },

  async shutdown_in_callback(directory) {
    const program = await Program.start(directory);
    program.machine.blockMs = 1000;
    program.propose().catch(() => undefined);
    say('ending');
  },

  async shutdown_pending(directory) {
    const program = await Program.start(directory, 'async');
    program.machine.pend = 'apply';
    const asked = new Promise((resolve) => (program.machine.inApply = resolve));
    program.group.propose('sent, but never answered').catch(() => undefined);
    await asked;
    say('ending');
    // The promise that is pending would keep the process alive until its deadline.
    process.exit();
  },

  async shutdown_completions(directory) {
    const program = await Program.start(directory);
    for (let i = 0; i < 1000; i++) program.propose().catch(() => undefined);
    say('ending');
    process.exit(0);
  },

  async kill(directory) {
    const program = await Program.start(directory);
    say('ending');
    program.load(64, Infinity);
  },

  async worker_end(directory) {
    if (!isMainThread) {
      globalThis.program = await Program.start(directory);
      say('ending');
      return;
    }
    await once(inWorker('worker_end', directory), 'exit');
  },

  async worker_terminate(directory) {
    if (!isMainThread) {
      const { parentPort } = require('node:worker_threads');
      const program = await Program.start(directory);
      program.load(64, 300, () => parentPort.postMessage('loaded'));
      return;
    }
    const worker = inWorker('worker_terminate', directory);
    await once(worker, 'message');
    say('ending');
    await worker.terminate();
  },
};

function inWorker(name, directory) {
  return new Worker(__filename, { workerData: { name, directory } });
}

function exitCase(name, directory) {
  if (!Object.hasOwn(CASES, name)) {
    console.error(`there is no case '${name}'`);
    process.exit(2);
  }
  void CASES[name](directory);
}

if (!isMainThread) exitCase(workerData.name, workerData.directory);

module.exports = { exitCase };
