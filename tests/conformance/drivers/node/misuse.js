'use strict';

// What can go wrong in JavaScript only.

const { Node } = require('../../../../bindings/node');
const { DriverError } = require('./line.js');

const OPTIONS = { cluster: 'misuse', nodeId: 1n, directory: 'never-made' };
const MACHINE = { apply() {}, saveSnapshot() {}, async restoreSnapshot() {} };

const MISTAKES = {
  wrong_type: (node, group) => group.propose(['a text']),
  null: (node, group) => group.propose(null),
  null_in_batch: (node, group) => group.proposeBatch([Buffer.from('good'), null]),
  null_option: () => Node.open({ ...OPTIONS, cluster: null }),
  wrong_option_type: () => Node.open({ ...OPTIONS, tickMs: '100' }),
  unknown_option: () => Node.open({ ...OPTIONS, tickMilliseconds: 100 }),
  not_utf8: () => Node.open({ ...OPTIONS, cluster: 'half \ud83d' }),
  negative: (node) => node.startGroup({ groupId: 99n, proposalBytesMax: -1 }, MACHINE),
  number_too_large: (node, group) => group.transferLeadership(2n ** 64n),
  no_machine: (node) => node.startGroup({ groupId: 99n }, null),
  wrong_machine: (node) => node.startGroup({ groupId: 99n }, { saveSnapshot() {} }),
  wrong_step: (node, group) => group.changeMembership([{ kind: 'double', nodeId: 1n }]),
};

async function misuse(what, node, group) {
  if (!Object.hasOwn(MISTAKES, what)) throw new DriverError(`there is no mistake '${what}'`);
  await MISTAKES[what](node, group);
}

module.exports = { misuse };
