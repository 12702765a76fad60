'use strict';

// The nodes and groups of this process, and what the commands do with them.

const { LibraftError, Node, setLogger, version } = require('../../../../bindings/node');
const { DriverError, hex, say, unhex } = require('./line.js');
const { LedgerMachine } = require('./machine.js');
const { misuse } = require('./misuse.js');
const status = require('./status.js');

class Host {
  /** Nodes by their number. */
  #nodes = new Map();
  /** `{ group, machine, events }` by node and group. */
  #started = new Map();
  #logged = 0;

  /** Does what a line asks for; resolves to the named values of the answer. */
  async serve(request) {
    if (!COMMANDS.has(request.command)) {
      throw new DriverError(`there is no command '${request.command}'`);
    }
    return (await this[request.command](request)) ?? [];
  }

  version() {
    return [['version', version]];
  }

  async open(request) {
    const nodeId = request.id64('node');
    const node = await Node.open({
      cluster: request.text('cluster'),
      nodeId,
      directory: request.hexText('directory') ?? '',
      listenAddress: request.hexText('listen'),
      advertisedAddress: request.hexText('advertise'),
      tickMs: request.number('tick_ms'),
      electionTicks: request.number('election_ticks'),
      heartbeatTicks: request.number('heartbeat_ticks'),
      segmentBytes: request.number('segment_bytes'),
      insecureTransport: request.get('insecure') === '1',
    });
    this.#nodes.set(request.text('node'), node);
    return [['address', hex(node.status().address)]];
  }

  async start_group(request) {
    const node = this.#node(request);
    const machine = new LedgerMachine({
      machine: request.text('machine'),
      style: request.get('style'),
      folder: request.hexText('state'),
    });
    machine.fail = request.get('fail') ?? 'none';
    const options = {
      groupId: request.id64('group'),
      initialMembers: request.list('members').map(nodeAt),
      proposalBytesMax: request.number('proposal_bytes_max'),
      pendingBytesMax: request.number('pending_bytes_max'),
      pendingCountMax: request.number('pending_count_max'),
      snapshotEntries: request.number('snapshot_entries'),
      snapshotLogBytes: request.number('snapshot_log_bytes'),
      retainedEntries: request.number('retained_entries'),
      proposalTimeoutMs: request.number('proposal_timeout_ms'),
      snapshotTransferTimeoutMs: request.number('snapshot_transfer_timeout_ms'),
      snapshotRestoreTimeoutMs: request.number('snapshot_restore_timeout_ms'),
    };
    const group = await node.startGroup(options, machine);
    this.#started.set(keyOf(request), { group, machine, events: undefined });
  }

  async wait_ready(request) {
    await this.#group(request).group.waitReady(request.number('timeout_ms'));
  }

  async propose(request) {
    const done = await this.#group(request).group.propose(request.bytes('data'));
    return [
      ['index', done.index],
      ['term', done.term],
      ['result', hex(done.result)],
    ];
  }

  async propose_batch(request) {
    const entries = request.list('data').map(unhex);
    const results = await this.#group(request).group.proposeBatch(entries);
    return results.map((result) => [
      'r',
      result instanceof LibraftError
        ? `${result.code}:${result.outcome}`
        : `${result.index}:${result.term}:${hex(result.result)}`,
    ]);
  }

  async read_index(request) {
    return [['index', await this.#group(request).group.readIndex()]];
  }

  async read(request) {
    const { group, machine } = this.#group(request);
    const index = await group.readIndex();
    const value = machine.ledger.value(request.bytes('key'));
    return [
      ['index', index],
      ['found', Number(value !== undefined)],
      ['value', hex(value ?? '')],
    ];
  }

  dump(request) {
    const { ledger } = this.#group(request).machine;
    return [
      ['applied', ledger.applied],
      ['count', ledger.count],
      ['hash', ledger.hash],
      ['keys', ledger.items.size],
    ];
  }

  node_status(request) {
    return status.nodeStatus(this.#node(request).status());
  }

  group_status(request) {
    return status.groupStatus(this.#group(request).group.status());
  }

  members(request) {
    return status.members(this.#group(request).group.members());
  }

  async change_membership(request) {
    const steps = request.list('steps').map((text) => {
      const [verb, operand] = split(text, ':');
      const kind = verb.replaceAll('_', '-');
      return operand.includes('@') ? { kind, ...nodeAt(operand) } : { kind, nodeId: BigInt(operand) };
    });
    await this.#group(request).group.changeMembership(steps);
  }

  async transfer_leadership(request) {
    await this.#group(request).group.transferLeadership(request.id64('to'));
  }

  async take_snapshot(request) {
    return [['index', await this.#group(request).group.takeSnapshot()]];
  }

  async events(request) {
    const started = this.#group(request);
    await started.events?.return();
    started.events = undefined;
    if (request.text('on') !== '1') return;
    const events = (started.events = started.group.events());
    const tell = async () => {
      for await (const event of events) {
        say(status.event(request.text('node'), request.text('group'), event));
      }
    };
    void tell();
  }

  machine(request) {
    const { machine } = this.#group(request);
    machine.blockMs = request.number('block_ms') ?? machine.blockMs;
    machine.fail = request.get('fail') ?? machine.fail;
    machine.pend = request.get('pend') ?? machine.pend;
    if (request.get('release') === '1') machine.release();
  }

  async stop(request) {
    await this.#group(request).group.stop();
  }

  async close(request) {
    const node = this.#node(request);
    if (request.get('how') !== 'forget') return node.close();
    // A node that nobody knows any more goes on until its process ends, as a server of Node.js does.
    this.#nodes.delete(request.text('node'));
    for (const key of this.#started.keys()) {
      if (key.startsWith(`${request.text('node')}/`)) this.#started.delete(key);
    }
  }

  close_in_callback(request) {
    const node = this.#node(request);
    const { machine } = this.#group(request);
    return new Promise((resolve) => {
      const tell = (code) => resolve([['code', code]]);
      machine.inApply = () => {
        node.close().then(
          () => tell('OK'),
          (error) => tell(error.code),
        );
      };
    });
  }

  async misuse(request) {
    await misuse(request.text('what'), this.#node(request), this.#group(request).group);
  }

  destroyed() {
    return [['count', LedgerMachine.destroyed]];
  }

  log(request) {
    const level = request.text('level');
    if (level === 'off') setLogger(null);
    else setLogger(() => this.#logged++, level);
  }

  logged() {
    return [['count', this.#logged]];
  }

  #node(request) {
    const node = this.#nodes.get(request.text('node'));
    if (node === undefined) throw new DriverError(`there is no node ${request.text('node')} here`);
    return node;
  }

  #group(request) {
    const started = this.#started.get(keyOf(request));
    if (started === undefined) throw new DriverError(`there is no group ${keyOf(request)} here`);
    return started;
  }
}

const COMMANDS = new Set(Object.getOwnPropertyNames(Host.prototype));
COMMANDS.delete('constructor');
COMMANDS.delete('serve');

function keyOf(request) {
  return `${request.text('node')}/${request.text('group')}`;
}

/** `ID@ADDRESS`. */
function nodeAt(text) {
  const [id, address] = split(text, '@');
  return { nodeId: BigInt(id), address };
}

function split(text, separator) {
  const at = text.indexOf(separator);
  if (at < 0) throw new DriverError(`'${text}' has no '${separator}'`);
  return [text.slice(0, at), text.slice(at + 1)];
}

module.exports = { Host };
