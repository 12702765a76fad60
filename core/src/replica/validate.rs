//! Which messages raft-rs may see. It trusts its peers: each of the checks here stands for a panic,
//! or worse, that a message could cause. A wiped disk does it without malice.

use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{RawNode, StateRole};

use super::conf_change::ConfChange;
use super::entry::ProposalId;
use super::storage::ReplicaStorage;
use crate::deliberate::{is_on, Bug};
use crate::ids::{RaftId, NUMBER_LIMIT};

type Check = Result<(), &'static str>;

/// Checks a message from the replica `from`, whose identity is known to be right.
pub fn check(raft: &RawNode<ReplicaStorage>, from: RaftId, message: &Message) -> Check {
    if message.from != from || message.to != raft.raft.id {
        return Err("its ids contradict its envelope");
    }
    check_numbers(message)?;
    let last_index = raft.raft.raft_log.last_index();
    let is_current = message.term == raft.raft.term;
    match message.get_msg_type() {
        MessageType::MsgAppend => check_append(message),
        MessageType::MsgHeartbeat => {
            // An old leader's heartbeat is answered without a look at its commit index.
            let is_beyond = message.term >= raft.raft.term && message.commit > last_index;
            if is_beyond && !is_on(Bug::TrustACommitBeyondTheLog) {
                return Err(
                    "a heartbeat commits what this log does not hold: has this node lost entries?",
                );
            }
            Ok(())
        }
        MessageType::MsgAppendResponse => {
            let leads = raft.raft.state == StateRole::Leader && is_current;
            if leads && !message.reject && message.index > last_index {
                return Err("it acknowledges entries that this leader does not have");
            }
            if message.request_snapshot > last_index {
                return Err("it asks for a snapshot beyond the log");
            }
            Ok(())
        }
        MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgTimeoutNow => Ok(()),
        // Snapshots come by another way; the rest is never sent from one replica to another.
        _ => Err("its type is not one that replicas send to each other"),
    }
}

fn check_numbers(message: &Message) -> Check {
    if message.term == 0 {
        return Err("it has no term");
    }
    let numbers = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.request_snapshot,
        message.reject_hint,
    ];
    if numbers.iter().any(|number| *number >= NUMBER_LIMIT) {
        return Err("a term or an index is out of range");
    }
    let is_append = message.get_msg_type() == MessageType::MsgAppend;
    if !message.entries.is_empty() && !is_append || message.snapshot.is_some() {
        return Err("it carries what its type does not");
    }
    Ok(())
}

fn check_append(message: &Message) -> Check {
    // A log begins with a snapshot, or behind the first index of its group.
    if message.index == 0 || message.log_term == 0 || message.log_term > message.term {
        return Err("an append begins at an impossible position");
    }
    let mut index = message.index;
    let mut term = message.log_term;
    for entry in message.entries.iter() {
        index += 1;
        if entry.index != index {
            return Err("the entries of an append do not follow each other");
        }
        if entry.term < term || entry.term > message.term {
            return Err("the terms of an append's entries go back, or beyond the leader's");
        }
        term = entry.term;
        check_entry(entry)?;
    }
    Ok(())
}

fn check_entry(entry: &Entry) -> Check {
    if !entry.context.is_empty() {
        return Err("an entry has a context");
    }
    match entry.entry_type {
        EntryType::EntryNormal if entry.data.is_empty() => Ok(()),
        EntryType::EntryNormal => match ProposalId::read(&entry.data) {
            Some(_) => Ok(()),
            None => Err("an entry does not begin with the id of its proposal"),
        },
        EntryType::EntryConfChangeV2 => match ConfChange::from_bytes(&entry.data) {
            Ok(_) => Ok(()),
            Err(_) => Err("a configuration entry cannot be read"),
        },
        EntryType::EntryConfChange => Err("a configuration entry is of the old kind"),
    }
}
