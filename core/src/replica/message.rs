//! What replicas of a group say to each other.

use bytes::Bytes;
use raft::eraftpb::Message;

use crate::error::Code;
use crate::ids::{GroupId, Index, NodeId, RaftId, Uuid};

/// Who is at the other end of a connection, as its handshake proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    pub node_id: NodeId,
    /// The life of the peer's data directory.
    pub incarnation: Uuid,
}

/// A message between two replicas of one group.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub group_id: GroupId,
    /// The group's formation; nil while it forms.
    pub formation: Uuid,
    pub from: RaftId,
    pub to: RaftId,
    pub body: PeerMessage,
}

#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// A message of raft-rs; never one of its local types, never `MsgPropose`, `MsgReadIndex` or `MsgSnapshot`.
    Raft(Message),
    /// A follower hands proposals to the leader. Each is an entry's data, id included (see `entry.rs`).
    Propose {
        proposals: Vec<Bytes>,
    },
    /// The leader refused proposals of the follower: they were not and will not be appended.
    ProposeRefused {
        boot: u64,
        sequences: Vec<u64>,
        code: Code,
    },
    /// A follower asks for a read index, for all reads it holds up to `sequence`.
    Read {
        boot: u64,
        sequence: u64,
    },
    ReadIndex {
        boot: u64,
        sequence: u64,
        index: Index,
    },
    ReadRefused {
        boot: u64,
        sequence: u64,
        code: Code,
    },
    /// An initial member tells another one who it is, and what it has stored durably (see `formation.rs`).
    Formation {
        members: Uuid,
        incarnation: Uuid,
        stored: Vec<(RaftId, Uuid)>,
        answer_wanted: bool,
    },
}
