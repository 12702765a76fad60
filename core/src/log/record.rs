//! What the journal records: plain data, shared by the replica (which makes it) and the log (which
//! keeps it).

use bytes::Bytes;
use raft::eraftpb::Entry;

use crate::ids::{GroupId, Index, Term, Uuid};

/// A node-local name of one life of a group in this log. Never reused, so that a re-created group
/// inherits nothing.
pub type LogId = u64;

/// What a replica must never forget: section 5.1 of the Raft paper, and the commit index as a hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    /// The raft id voted for in `term`, or 0.
    pub vote: u64,
    /// Committed up to here. May lag behind the truth: a change of it alone is never synced.
    pub commit: Index,
}

/// One durable change of one group. Records of a group take effect in the order in which they were
/// appended.
#[derive(Clone, Debug)]
pub enum Record {
    /// Entries with consecutive indexes. What the group had from the first index on is deleted by
    /// it.
    Entries(Vec<Entry>),
    HardState(HardState),
    /// The membership (encoded by the replica) as of `index`.
    Membership {
        index: Index,
        membership: Bytes,
    },
    /// Who this replica is and how far the group's formation got: raft id, the formation's UUID,
    /// the incarnations of the initial members (encoded by the replica).
    Meta(Bytes),
    /// Entries up to `index`, which has `term`, are no longer needed.
    Compact {
        index: Index,
        term: Term,
    },
    /// The log was replaced by a snapshot: it is empty and starts behind `index`. Until `Restored`
    /// with the same id follows, the state machine must be restored from that snapshot at every
    /// start.
    Reset {
        index: Index,
        term: Term,
        membership: Bytes,
        snapshot: Uuid,
        hard_state: HardState,
    },
    /// The state machine holds the snapshot of the last `Reset`.
    Restored {
        snapshot: Uuid,
    },
}

/// A group as the log holds it after recovery.
#[derive(Clone, Debug)]
pub struct RecoveredGroup {
    pub log_id: LogId,
    pub group_id: GroupId,
    pub hard_state: HardState,
    /// The newest membership record: the index it is valid at and its bytes. Index 0 if there was
    /// none.
    pub membership_index: Index,
    pub membership: Bytes,
    pub meta: Bytes,
    /// The entry before the first one held: (0, 0) for a log that was never compacted or reset.
    pub compacted_index: Index,
    pub compacted_term: Term,
    /// The last entry held; equal to the compacted index if there is none.
    pub last_index: Index,
    /// `(term, first index with it)`, ascending, for the entries held.
    pub terms: Vec<(Term, Index)>,
    /// A `Reset` that no `Restored` followed: (snapshot, index).
    pub unrestored: Option<(Uuid, Index)>,
}
