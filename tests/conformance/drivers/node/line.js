'use strict';

const { writeSync } = require('node:fs');
const { LibraftError } = require('../../../../bindings/node');

/** A request that makes no sense. */
class DriverError extends Error {}

/** One line of input. */
class Request {
  constructor(id, command, words) {
    this.id = id;
    this.command = command;
    this.words = words;
  }

  get(name) {
    return this.words.get(name);
  }

  text(name) {
    const value = this.words.get(name);
    if (value === undefined) throw new DriverError(`${this.command} needs ${name}=`);
    return value;
  }

  id64(name) {
    return BigInt(this.text(name));
  }

  bytes(name) {
    return unhex(this.text(name));
  }

  /** A text in hexadecimal, if it is there. */
  hexText(name) {
    const value = this.get(name);
    return value === undefined ? undefined : unhex(value).toString();
  }

  /** A number, if it is there. */
  number(name) {
    const value = this.get(name);
    return value === undefined ? undefined : Number(value);
  }

  /** The parts of a list; none of `-`. */
  list(name) {
    const list = this.text(name);
    return list === '-' ? [] : list.split(',');
  }
}

function parse(line) {
  const [id, command, ...words] = line.split(' ');
  const pairs = words.map((word) => {
    const at = word.indexOf('=');
    return [word.slice(0, at), word.slice(at + 1)];
  });
  return new Request(id, command, new Map(pairs));
}

function hex(value) {
  const text = Buffer.from(value).toString('hex');
  return text === '' ? '-' : text;
}

function unhex(text) {
  return text === '-' ? Buffer.alloc(0) : Buffer.from(text, 'hex');
}

/** Writes a line at once, so that it is out whatever happens next. */
function say(line) {
  let rest = Buffer.from(`${line}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (error.code === 'EPIPE') process.exit(0); // the suite is gone
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

/** Answers with named values (an array of pairs), or an error. */
function answer(id, result) {
  if (!(result instanceof Error)) {
    say([`${id} ok`, ...result.map(([name, value]) => `${name}=${value}`)].join(' '));
  } else if (result instanceof LibraftError) {
    say(
      `${id} error code=${result.code} number=${result.number} outcome=${result.outcome} ` +
        `retriable=${Number(result.retriable)} leader=${result.leader?.nodeId ?? 0} ` +
        `leader_address=${hex(result.leader?.address ?? '')} message=${hex(result.message)}`,
    );
  } else {
    say(
      `${id} error code=DRIVER number=0 outcome=0 retriable=0 leader=0 leader_address=- ` +
        `message=${hex(result.stack)}`,
    );
  }
}

module.exports = { DriverError, answer, hex, parse, say, unhex };
