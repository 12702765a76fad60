'use strict';

// The state of the suite's machine; see "The machine: a ledger" in tests/conformance/PROTOCOL.md.

const MAGIC = 'LEDGER01';
const SET = 's'.charCodeAt(0);
const DELETE = 'd'.charCodeAt(0);
const FAIL = 'x'.charCodeAt(0);

/** FNV-1a of 64 bits in two halves, for a bigint for each byte would be slow. */
class Fnv {
  high = 0xcbf29ce4;
  low = 0x84222325;

  update(bytes) {
    let { high, low } = this;
    for (const byte of bytes) {
      low = (low ^ byte) >>> 0;
      // Times 2^40 + 0x1b3: the first moves the low half, by eight bits, into the high one.
      const product = low * 0x1b3;
      high = (high * 0x1b3 + low * 0x100 + Math.floor(product / 2 ** 32)) % 2 ** 32;
      low = product % 2 ** 32;
    }
    this.high = high;
    this.low = low;
  }

  get value() {
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  set value(value) {
    this.high = Number(value >> 32n);
    this.low = Number(value & 0xffffffffn);
  }
}

class Ledger {
  applied = 0n;
  count = 0n;
  /** Keys as text of one character a byte: it sorts as bytes do. */
  items = new Map();
  #hash = new Fnv();

  get hash() {
    return this.#hash.value;
  }

  /** Applies an entry and returns its result; throws what an entry tells it to. */
  apply(index, payload) {
    if (payload[0] === FAIL) throw new Error(payload.toString('utf8', 1));
    const position = Buffer.alloc(8);
    position.writeBigUInt64LE(index);
    this.#hash.update(position);
    this.#hash.update(payload);
    this.count += 1n;
    this.applied = index;
    const keyEnd = 2 + payload[1];
    if (payload.length >= keyEnd) {
      const key = payload.toString('latin1', 2, keyEnd);
      if (payload[0] === SET) this.items.set(key, Buffer.from(payload.subarray(keyEnd)));
      if (payload[0] === DELETE) this.items.delete(key);
    }
    const result = Buffer.alloc(8);
    result.writeBigUInt64LE(this.count);
    return result;
  }

  value(key) {
    return this.items.get(key.toString('latin1'));
  }

  toBytes() {
    const head = Buffer.alloc(36);
    head.write(MAGIC, 'latin1');
    head.writeBigUInt64LE(this.applied, 8);
    head.writeBigUInt64LE(this.count, 16);
    head.writeBigUInt64LE(this.hash, 24);
    head.writeUInt32LE(this.items.size, 32);
    const parts = [head];
    for (const key of [...this.items.keys()].sort()) {
      const value = this.items.get(key);
      parts.push(length(key.length), Buffer.from(key, 'latin1'), length(value.length), value);
    }
    return Buffer.concat(parts);
  }

  /** Throws on anything else than what `toBytes` makes. */
  static fromBytes(bytes) {
    if (bytes.length < 36 || bytes.toString('latin1', 0, 8) !== MAGIC) {
      throw new Error('the snapshot is not a ledger');
    }
    const ledger = new Ledger();
    ledger.applied = bytes.readBigUInt64LE(8);
    ledger.count = bytes.readBigUInt64LE(16);
    ledger.#hash.value = bytes.readBigUInt64LE(24);
    let at = 36;
    const next = () => {
      const start = at + 4;
      at = start + bytes.readUInt32LE(at);
      if (at > bytes.length) throw new Error('the snapshot of the ledger is cut off');
      return bytes.subarray(start, at);
    };
    for (let left = bytes.readUInt32LE(32); left > 0; left--) {
      const key = next().toString('latin1');
      ledger.items.set(key, Buffer.from(next()));
    }
    if (at !== bytes.length) throw new Error('something follows the snapshot of the ledger');
    return ledger;
  }
}

function length(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

module.exports = { Ledger };
