//! Observations as lines that a person reads: `make sim` prints them.

use std::fmt;

use libraft::ids::RaftId;
use libraft::log::Record;
use libraft::GroupStatus;
use raft::eraftpb::Entry;

use crate::observation::{Answer, Held, Observation, Operation, Place};

/// A node, and which directory of it if it is not the first.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { node_id, incarnation } = self;
        match *self == Place::first(*node_id) {
            true => write!(f, "node {node_id}"),
            false => write!(f, "node {node_id} ({})", &incarnation.to_string()[..8]),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, state) = (&self.group, self.group.hard_state);
        write!(
            f,
            "group {} with {}..={}, term {}, vote {}, commit {}",
            group.group_id,
            group.compacted_index + 1,
            group.last_index,
            state.term,
            state.vote,
            state.commit
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Swap { key, value } => write!(f, "swap {value} into register {key}"),
            Operation::Read { key } => write!(f, "read register {key}"),
            Operation::Other(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Value(value, done) => {
                write!(f, "{value} (index {}, term {})", done.index, done.term)
            }
            Answer::Done(done) => write!(f, "done (index {}, term {})", done.index, done.term),
            Answer::Failed(error) => write!(f, "{:?}, {:?}: {error}", error.code, error.outcome),
        }
    }
}

impl fmt::Display for Observation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observation::Opened { place, held } if held.is_empty() => {
                write!(f, "{place} opens an empty log")
            }
            Observation::Opened { place, held } => {
                let held: Vec<String> = held.iter().map(Held::to_string).collect();
                write!(f, "{place} opens: {}", held.join("; "))
            }
            Observation::Appended { place, group_id, lsn, record } => {
                write!(f, "{place} appends {lsn} for group {group_id}: ")?;
                show_record(f, record)
            }
            Observation::Durable { place, lsn } => write!(f, "{place} has synced up to {lsn}"),
            Observation::Crashed { place } => write!(f, "{place} has crashed"),
            Observation::Closed { place } => write!(f, "{place} is closed"),
            Observation::Lost { place } => write!(f, "{place} has lost its directory"),
            Observation::Status { place, status, voters, .. } => {
                write!(f, "{place} of group {}: ", status.group_id)?;
                show_status(f, status, voters)
            }
            Observation::Stopped { place, group_id, removed } => {
                let how = if *removed { "removes" } else { "stops" };
                write!(f, "{place} {how} group {group_id}")
            }
            Observation::MachineOpened { place, group_id, kind, applied } => {
                write!(f, "{place} opens a machine ({kind:?}) for group {group_id} at {applied}")
            }
            Observation::Applied { place, group_id, entry, result, hash } => write!(
                f,
                "{place} applies {} (term {}) of group {group_id}: {result}; state {hash:016x}",
                entry.index, entry.term
            ),
            Observation::Saved { place, group_id, applied, hash } => {
                write!(f, "{place} saves {applied} of group {group_id}: state {hash:016x}")
            }
            Observation::Restored { place, group_id, applied, hash } => {
                write!(f, "{place} restores {applied} of group {group_id}: state {hash:016x}")
            }
            Observation::Called { call, client, place, group_id, operation } => {
                write!(
                    f,
                    "call {call} of client {client} at {place}, group {group_id}: {operation}"
                )
            }
            Observation::Refused { call, error } => {
                write!(f, "call {call} is refused: {:?}: {error}", error.code)
            }
            Observation::Completed { call, answer } => write!(f, "call {call} completes: {answer}"),
            Observation::Bound { place, what, used, limit } => {
                write!(f, "{place} has {used} {what}, of {limit}")
            }
        }
    }
}

fn show_record(f: &mut fmt::Formatter<'_>, record: &Record) -> fmt::Result {
    match record {
        Record::Entries(entries) => {
            let mut terms: Vec<u64> = entries.iter().map(|entry| entry.term).collect();
            terms.dedup();
            let index = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.index);
            let (first, last) = (index(entries.first()), index(entries.last()));
            write!(f, "entries {first}..={last}, terms {terms:?}")
        }
        Record::HardState(state) => {
            write!(f, "term {}, vote {}, commit {}", state.term, state.vote, state.commit)
        }
        Record::Membership { index, .. } => write!(f, "the membership as of {index}"),
        Record::Meta(_) => f.write_str("who this replica is"),
        Record::Compact { index, term } => write!(f, "compact to {index} (term {term})"),
        Record::Reset { index, term, snapshot, .. } => {
            write!(f, "snapshot {snapshot} replaces the log up to {index} (term {term})")
        }
        Record::Restored { snapshot } => write!(f, "the machine holds snapshot {snapshot}"),
    }
}

fn show_status(
    f: &mut fmt::Formatter<'_>,
    status: &GroupStatus,
    [incoming, outgoing]: &[Vec<RaftId>; 2],
) -> fmt::Result {
    let GroupStatus { raft_id, role, term, first_index, last_index, .. } = status;
    write!(f, "raft id {raft_id}, {role:?} in term {term}")?;
    if let Some(leader) = &status.leader {
        write!(f, " of node {}", leader.node_id)?;
    }
    let (commit, applied) = (status.commit_index, status.applied_index);
    write!(f, ", log {first_index}..={last_index}, commit {commit}, applied {applied}")?;
    write!(f, ", voters {incoming:?}")?;
    if !outgoing.is_empty() {
        write!(f, " and {outgoing:?}")?;
    }
    match &status.failure {
        Some(error) => write!(f, ", failed: {error}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use libraft::ids::Uuid;

    use super::*;

    #[test]
    fn another_directory_of_a_node_is_told_from_its_first() {
        let first = Place::first(3);
        assert_eq!(first.to_string(), "node 3");
        let second = Place { incarnation: Uuid([0x7d; 16]), ..first };
        assert_eq!(second.to_string(), "node 3 (7d7d7d7d)");
    }
}
