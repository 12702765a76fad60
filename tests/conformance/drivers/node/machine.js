'use strict';

// The ledger as a state machine of libraft: of every kind and style, failing when it is told to.

const { open, readFile, rename, writeFile } = require('node:fs/promises');
const { join } = require('node:path');
const { setImmediate: nextTurn, setTimeout: sleep } = require('node:timers/promises');
const { Ledger } = require('./ledger.js');

const KINDS = { memory: 'in-memory', concurrent: 'concurrent', disk: 'on-disk' };

class LedgerMachine {
  static destroyed = 0;

  ledger = new Ledger();
  blockMs = 0;
  fail = 'none';
  /** The callback that does not answer, and those that wait to be released. */
  pend = 'none';
  #waiting = [];
  /** Called by the next `apply`, from inside of it. */
  inApply = undefined;
  #asynchronous;
  #folder;

  /** What the library gets: the callbacks of this kind of machine. */
  constructor({ machine, style, folder }) {
    this.kind = KINDS[machine];
    this.#asynchronous = style === 'async';
    this.#folder = folder;
    if (this.kind !== 'in-memory') this.prepareSnapshot = this.#prepareSnapshot;
    if (this.kind === 'on-disk') this.sync = this.#sync;
  }

  async open() {
    this.#behave('open');
    if (this.kind !== 'on-disk') return 0n;
    try {
      this.ledger = Ledger.fromBytes(await readFile(join(this.#folder, 'state')));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    return this.ledger.applied;
  }

  apply(entries) {
    const hook = this.inApply;
    this.inApply = undefined;
    hook?.();
    if (this.#asynchronous || this.pend === 'apply') return this.#applyLater(entries);
    if (this.blockMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, this.blockMs);
    return this.#applyNow(entries);
  }

  async #applyLater(entries) {
    await nextTurn();
    if (this.blockMs > 0) await sleep(this.blockMs);
    await this.#released('apply');
    return this.#applyNow(entries);
  }

  #applyNow(entries) {
    this.#behave('apply');
    const results = entries.map((entry) => this.ledger.apply(entry.index, entry.data));
    if (this.fail === 'results') results.pop();
    if (this.fail === 'result_type') results[0] = 5;
    return results;
  }

  async #sync() {
    this.#behave('sync');
    await this.#write();
  }

  #prepareSnapshot() {
    this.#behave('prepare');
    return this.ledger.toBytes();
  }

  saveSnapshot(writable, prepared) {
    if (this.#asynchronous || this.pend === 'save') return this.#saveLater(writable, prepared);
    this.#behave('save');
    writable.write(prepared ?? this.ledger.toBytes());
  }

  async #saveLater(writable, prepared) {
    await nextTurn();
    await this.#released('save');
    this.#behave('save');
    writable.write(prepared ?? this.ledger.toBytes());
  }

  /** Always asynchronous: reading is. */
  async restoreSnapshot(readable) {
    await this.#released('restore');
    this.#behave('restore');
    const chunks = [];
    for await (const chunk of readable) chunks.push(chunk);
    this.ledger = Ledger.fromBytes(Buffer.concat(chunks));
    if (this.kind === 'on-disk') await this.#write();
  }

  destroy() {
    LedgerMachine.destroyed++;
  }

  release() {
    this.pend = 'none';
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #released(callback) {
    if (this.pend === callback) await new Promise((resolve) => this.#waiting.push(resolve));
  }

  #behave(callback) {
    if (this.fail === callback) throw new Error(`planned failure of ${callback}`);
  }

  /** Writes the state into its file, whole or not at all. */
  async #write() {
    const path = join(this.#folder, 'state');
    await writeFile(`${path}.new`, this.ledger.toBytes(), { flush: true });
    await rename(`${path}.new`, path);
    const folder = await open(this.#folder);
    await folder.sync();
    await folder.close();
  }
}

module.exports = { LedgerMachine };
