//! What goes into a replica.

use bytes::Bytes;

use super::message::{Envelope, PeerIdentity};
use super::payload::Payload;
use crate::error::{Error, Result};
use crate::ids::{Index, NodeId, RaftId, Term, Uuid};
use crate::log::Admission;

/// Something that happened. `C` is whatever the caller wants back when a call completes.
pub enum Event<C> {
    /// The clock moved by one tick. `jitter` is a fresh random number, from which the next election
    /// timeout is drawn.
    Tick {
        jitter: u64,
    },
    /// A message arrived from a peer whose handshake was checked.
    Message {
        peer: PeerIdentity,
        envelope: Envelope,
    },
    /// Proposals of this node, each a payload and the caller's completion.
    Propose {
        proposals: Vec<(Payload, C)>,
        timeout_ticks: u64,
    },
    /// A linearizable read: completes with an index once the state machine has applied up to it.
    ReadIndex {
        completion: C,
        timeout_ticks: u64,
    },
    ChangeMembership {
        change: Vec<MemberChange>,
        completion: C,
        timeout_ticks: u64,
    },
    TransferLeadership {
        to: NodeId,
        completion: C,
        timeout_ticks: u64,
    },
    /// Every record of the effects numbered up to `number` is durable.
    Persisted {
        number: u64,
    },
    /// An `Effects::reads` request came back.
    EntriesRead {
        low: Index,
        entries: Result<Vec<raft::eraftpb::Entry>>,
    },
    /// The oldest outstanding `MachineWork::Apply` is done: one result for each of its entries, in
    /// order.
    Applied {
        results: Vec<Bytes>,
    },
    /// The state machine failed. The replica stops; its pending calls complete with this error's
    /// code.
    MachineFailed {
        error: Error,
    },
    /// The oldest outstanding `MachineWork::TakeSnapshot` is done.
    SnapshotTaken {
        result: Result<SnapshotTaken>,
    },
    TakeSnapshot {
        completion: C,
    },
    /// The oldest outstanding `MachineWork::Restore` is done.
    Restored {
        snapshot: Uuid,
    },
    /// The machine has made its state durable up to `index` (on-disk machines).
    MachineSynced {
        index: Index,
    },
    /// A snapshot sent by the leader is complete in the snapshot store and verified.
    SnapshotReceived {
        from: RaftId,
        peer: PeerIdentity,
        term: Term,
        snapshot: ReceivedSnapshot,
    },
    /// The transfer that `Effects::send_snapshots` asked for has ended.
    SnapshotSent {
        to: RaftId,
        succeeded: bool,
    },
    /// The connection to a node was lost or could not be made.
    Unreachable {
        node_id: NodeId,
    },
    /// A message was dropped before any of it left, because there is no connection or no room.
    NotSent {
        envelope: Envelope,
    },
    /// The log admits entries again, or no longer.
    Space {
        admission: Admission,
    },
    /// Storage failed for good: the replica neither votes nor acknowledges any more.
    StorageFailed {
        error: Error,
    },
    /// The group is stopped: every pending call completes (unknown or rejected) with `error`'s
    /// code.
    Stop {
        error: Error,
    },
}

/// One step of a membership change. All steps of one change take effect together, through joint
/// consensus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Adds a node as a learner. `incarnation` was learnt by connecting to it.
    AddLearner {
        node_id: NodeId,
        incarnation: Uuid,
        address: String,
    },
    /// Adds a node as a voter.
    AddVoter {
        node_id: NodeId,
        incarnation: Uuid,
        address: String,
    },
    Promote {
        node_id: NodeId,
    },
    Demote {
        node_id: NodeId,
    },
    Remove {
        node_id: NodeId,
    },
    SetAddress {
        node_id: NodeId,
        address: String,
    },
}

/// A snapshot that is complete in this node's snapshot store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotTaken {
    pub snapshot: Uuid,
    pub index: Index,
    pub bytes: u64,
}

/// What the manifest of a received snapshot says.
#[derive(Clone, Debug)]
pub struct ReceivedSnapshot {
    pub snapshot: Uuid,
    pub index: Index,
    pub term: Term,
    pub membership: Bytes,
}
