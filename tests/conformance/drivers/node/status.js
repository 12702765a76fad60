'use strict';

// What nodes, groups and members say of themselves, as words of the protocol.

const { hex } = require('./line.js');

function nodeStatus(status) {
  return [
    ['node_id', status.nodeId],
    ['incarnation', status.incarnation.replaceAll('-', '')],
    ['boot_counter', status.bootCounter],
    ['groups', status.groups],
    ['connected_peers', status.connectedPeers],
    ['refused_frames', status.refusedFrames],
    ['refused_connections', status.refusedConnections],
    ['journal_bytes', status.journalBytes],
    ['checkpoint_bytes', status.checkpointBytes],
    ['segments', status.segments],
    ['full', Number(status.full)],
    ['cluster', status.cluster],
    ['address', hex(status.address)],
    ...failure(status),
  ];
}

function groupStatus(status) {
  return [
    ['group_id', status.groupId],
    ['raft_id', status.raftId],
    ['role', snakeCase(status.role)],
    ['term', status.term],
    ['first_index', status.firstIndex],
    ['last_index', status.lastIndex],
    ['commit_index', status.commitIndex],
    ['applied_index', status.appliedIndex],
    ['snapshot_index', status.snapshotIndex],
    ['pending_proposals', status.pendingProposals],
    ['pending_bytes', status.pendingBytes],
    ['leader_node_id', status.leader?.nodeId ?? 0],
    ['leader_address', hex(status.leader?.address ?? '')],
    ...failure(status),
  ];
}

function members(list) {
  return list.map(({ nodeId, raftId, role, address }) => [
    'm',
    `${nodeId}:${raftId}:${role}:${hex(address)}`,
  ]);
}

/** The line of an event. */
function event(node, group, { kind, ...rest }) {
  const values = {
    ...(kind === 'leader' && { node_id: 0 }),
    ...Object.fromEntries(Object.entries(rest).map(([name, value]) => [words[name] ?? name, value])),
  };
  const text = Object.entries(values).map(([name, value]) => ` ${name}=${snakeCase(value)}`);
  return `! event node=${node} group=${group} kind=${snakeCase(kind)}${text.join('')}`;
}

const words = { nodeId: 'node_id' };

function failure({ failure }) {
  return [
    ['failure_code', failure?.code ?? 'OK'],
    ['failure', hex(failure?.message ?? '')],
  ];
}

function snakeCase(value) {
  return String(value).replaceAll('-', '_');
}

module.exports = { event, groupStatus, members, nodeStatus };
