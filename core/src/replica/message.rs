//! What replicas of a group say to each other.

use bytes::Bytes;
use raft::eraftpb::Message;

use crate::error::Code;
use crate::ids::{GroupId, Index, NodeId, RaftId, Term, Uuid};

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
    /// The incarnation that `to` has in the sender's membership. A replica refuses what is meant
    /// for another life of its node, and one that waits to be added learns from it that `to` is
    /// itself. Nil while the group forms.
    pub to_incarnation: Uuid,
    pub body: PeerMessage,
}

#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// A message of raft-rs; never one of its local types, never `MsgPropose`, `MsgReadIndex` or
    /// `MsgSnapshot`.
    Raft(Message),
    /// A follower hands proposals to the leader of `term`. Each is an entry's data, id included
    /// (see `entry.rs`). They are appended in that term or never: so an entry of a later term
    /// settles that they were not.
    Propose {
        term: Term,
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
    /// An initial member tells another one who it is, and what it has stored durably (see
    /// `formation.rs`).
    Formation {
        members: Uuid,
        incarnation: Uuid,
        stored: Vec<(RaftId, Uuid)>,
        answer_wanted: bool,
    },
    /// The receiver can never be served as what it says it is: it was removed (`Removed`), or it is
    /// not the member that this group was formed with (`InitialMembersConflict`). The message is
    /// for people, at most 512 bytes.
    Refused {
        code: Code,
        message: String,
    },
}
