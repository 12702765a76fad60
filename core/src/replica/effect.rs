//! What comes out of a replica: orders to the world, in the order in which the fields stand.

use bytes::Bytes;

use super::message::{Envelope, PeerIdentity};
use crate::error::Result;
use crate::ids::{Index, NodeId, RaftId, Term, Uuid};
use crate::log::Record;

/// All that a replica wants done after a batch of events. The caller drains it and keeps it for the
/// next batch.
pub struct Effects<C> {
    /// Records for the journal, in order. If there are any, `number` is set, and the caller owes
    /// one [`super::Event::Persisted`] with it (or a later one) once they are durable.
    pub records: Vec<Record>,
    pub number: u64,
    /// Whether the records must be synced now, or may wait for the next that must.
    pub must_sync: bool,
    /// May be sent at once: what must wait for the disk was held back by the replica.
    pub messages: Vec<(NodeId, Envelope)>,
    /// For the state machine, strictly in order; each is answered by one event.
    pub work: Vec<MachineWork>,
    /// Calls that are done. Each call appears here exactly once in its life.
    pub completions: Vec<(C, Result<Completion>)>,
    /// Entries to be read from the disk: `(low, high, max_bytes)`, answered by `EntriesRead`.
    pub reads: Vec<(Index, Index, u64)>,
    /// Snapshots to be sent to a peer, answered by `SnapshotSent`.
    pub send_snapshots: Vec<SendSnapshot>,
    /// The peers' addresses changed: the complete list of the other members.
    pub peers: Option<Vec<(PeerIdentity, String)>>,
    /// What a listener may want to know.
    pub notices: Vec<Notice>,
}

impl<C> Effects<C> {
    pub fn new() -> Effects<C> {
        Effects {
            records: Vec::new(),
            number: 0,
            must_sync: false,
            messages: Vec::new(),
            work: Vec::new(),
            completions: Vec::new(),
            reads: Vec::new(),
            send_snapshots: Vec::new(),
            peers: None,
            notices: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.messages.is_empty()
            && self.work.is_empty()
            && self.completions.is_empty()
            && self.reads.is_empty()
            && self.send_snapshots.is_empty()
            && self.peers.is_none()
            && self.notices.is_empty()
    }

    /// Moves everything from `other` behind what is here. Buffers are swapped where they can be, so
    /// that a caller who keeps its effects for the next batch keeps the memory too.
    pub(super) fn take_from(&mut self, other: &mut Effects<C>) {
        if self.records.is_empty() {
            // What these say is about records that are gone, maybe those of another replica.
            self.number = 0;
            self.must_sync = false;
        }
        append(&mut self.records, &mut other.records);
        append(&mut self.messages, &mut other.messages);
        append(&mut self.work, &mut other.work);
        append(&mut self.completions, &mut other.completions);
        append(&mut self.reads, &mut other.reads);
        append(&mut self.send_snapshots, &mut other.send_snapshots);
        append(&mut self.notices, &mut other.notices);
        if other.peers.is_some() {
            self.peers = other.peers.take();
        }
        self.number = if self.records.is_empty() { 0 } else { self.number.max(other.number) };
        self.must_sync = !self.records.is_empty() && (self.must_sync || other.must_sync);
        other.number = 0;
        other.must_sync = false;
    }
}

impl<C> Default for Effects<C> {
    fn default() -> Effects<C> {
        Effects::new()
    }
}

fn append<T>(to: &mut Vec<T>, from: &mut Vec<T>) {
    if to.is_empty() {
        std::mem::swap(to, from);
    } else {
        to.append(from);
    }
}

/// What a call completes with when it succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Completion {
    /// The entry's index; for a read, the index up to which the state machine has applied at least.
    pub index: Index,
    /// The entry's term; 0 for a read.
    pub term: Term,
    /// What the state machine wrote for the entry.
    pub result: Bytes,
}

/// An entry as the state machine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedEntry {
    pub index: Index,
    pub term: Term,
    pub data: Bytes,
}

#[derive(Debug)]
pub enum MachineWork {
    /// Apply these; never empty.
    Apply { entries: Vec<AppliedEntry> },
    /// Save the state as it is after all work before this.
    TakeSnapshot { snapshot: Uuid, index: Index, term: Term, membership: Bytes },
    /// Replace the state by this snapshot of the store.
    Restore { snapshot: Uuid, index: Index, term: Term },
    /// Send the state as it is after all work before this to a peer, straight from the machine: an
    /// on-disk machine's snapshots hold no state. Answered by `SnapshotSent`, whenever the transfer
    /// has ended.
    Stream { send: SendSnapshot, index: Index, term: Term, membership: Bytes },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendSnapshot {
    pub to: RaftId,
    pub peer: PeerIdentity,
    pub snapshot: Uuid,
    pub term: Term,
}

/// Something a listener may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Role {
        role: Role,
        term: Term,
    },
    Leader {
        leader: Option<NodeId>,
        term: Term,
    },
    Membership {
        index: Index,
    },
    SnapshotTaken {
        index: Index,
        bytes: u64,
    },
    SnapshotInstalled {
        index: Index,
    },
    /// So many bytes of a snapshot were sent to a peer so far: told at the beginning, then every 16 MiB.
    SnapshotSending {
        to: NodeId,
        index: Index,
        bytes: u64,
    },
    /// So many bytes of a snapshot arrived from a peer so far.
    SnapshotReceiving {
        from: NodeId,
        index: Index,
        bytes: u64,
    },
    /// The group is out of service on this node; the error is in the status.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum Role {
    /// An initial member that has not met all others, or an empty replica that waits to be added.
    #[default]
    Forming = 0,
    Follower = 1,
    PreCandidate = 2,
    Candidate = 3,
    Leader = 4,
    Learner = 5,
    /// Stopped by a failure, or removed from the group.
    Stopped = 6,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::HardState;

    fn with_record(number: u64, must_sync: bool) -> Effects<()> {
        let records = vec![Record::HardState(HardState::default())];
        Effects { records, number, must_sync, ..Effects::new() }
    }

    #[test]
    fn a_buffer_that_served_one_replica_brings_nothing_of_it_to_the_next() {
        let mut buffer = Effects::new();
        buffer.take_from(&mut with_record(7, true));
        assert_eq!((buffer.number, buffer.must_sync), (7, true));
        // Its caller keeps what it does not want to carry out yet.
        buffer.take_from(&mut with_record(8, false));
        assert_eq!((buffer.number, buffer.must_sync, buffer.records.len()), (8, true, 2));
        buffer.records.clear();
        buffer.take_from(&mut with_record(3, false));
        assert_eq!((buffer.number, buffer.must_sync), (3, false));
        buffer.records.clear();
        buffer.take_from(&mut Effects::new());
        assert_eq!((buffer.number, buffer.must_sync), (0, false));
    }
}
