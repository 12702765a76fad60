//! What a world shows to those who judge it.
//!
//! The world knows nothing of what is right, and the checks know nothing of how a world is made: between them are these
//! observations, in the order in which they happened.

use libraft::ids::{GroupId, Index, NodeId, RaftId, Uuid};
use libraft::log::{Lsn, Record, RecoveredGroup};
use libraft::machine::{AppliedEntry, MachineKind};
use libraft::{Completion, GroupStatus};
use raft::eraftpb::Entry;

/// Milliseconds of the world's own time, which no node can see.
pub type WorldTime = u64;

/// Numbers the calls of all clients of a world, from 0.
pub type CallId = u64;

/// A node's data directory: a wiped node comes back with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub node_id: NodeId,
    pub incarnation: Uuid,
}

impl Place {
    /// The directory that a node has in the beginning.
    pub fn first(node_id: NodeId) -> Place {
        let mut incarnation = [0; 16];
        incarnation[0] = node_id as u8;
        Place { node_id, incarnation: Uuid(incarnation) }
    }
}

/// A group of entries and hard state as a log holds it.
#[derive(Clone, Debug)]
pub struct Held {
    pub group: RecoveredGroup,
    /// All entries behind `group.compacted_index`.
    pub entries: Vec<Entry>,
}

/// What a client asks of a group. The state machine is a map of registers, all 0 at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts a value, which no other swap of the world puts, into a register. The result is what was there before.
    Swap { key: u8, value: u64 },
    /// A read index, and then a look at the registers of the node that was asked.
    Read { key: u8 },
    /// A membership change, a transfer of leadership, a snapshot: nothing that a register would show.
    Other(&'static str),
}

/// How a call ended, as the client saw it.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The value that a swap replaced, or that a read saw.
    Value(u64, Completion),
    /// What [`Operation::Other`] gives.
    Done(Completion),
    Failed(libraft::Error),
}

/// See the module.
#[derive(Debug)]
pub enum Observation<'a> {
    /// A node has opened the log in its directory. `held` is all that it found there.
    Opened { place: Place, held: Vec<Held> },
    /// A node appends a record to its log, at a position. Nothing of it need be durable.
    Appended { place: Place, group_id: GroupId, lsn: Lsn, record: &'a Record },
    /// A barrier has ended: everything appended below this position is durable.
    Durable { place: Place, lsn: Lsn },
    /// The node's process is gone, or its machine lost power: what was not durable may be lost. Its calls may complete no more.
    Crashed { place: Place },
    /// The node was closed in peace. Every call made at it has completed.
    Closed { place: Place },
    /// The directory is lost for good, or an older image of it took its place: nothing that was durable need be there.
    Lost { place: Place },
    /// What a group says of itself after a turn of its node, and who votes in it there: the incoming and the outgoing half.
    Status { place: Place, group_id: GroupId, status: &'a GroupStatus, voters: [Vec<RaftId>; 2] },
    /// A group was stopped on a node, and its data deleted there if `removed`.
    Stopped { place: Place, group_id: GroupId, removed: bool },

    /// A state machine was opened and says that it has applied so far: always 0, but for one on disk.
    MachineOpened { place: Place, group_id: GroupId, kind: MachineKind, applied: Index },
    /// A state machine has applied an entry. `result` is what it answers; `hash` is that of its state, which covers every
    /// entry that was applied since the beginning of time, in order.
    Applied { place: Place, group_id: GroupId, entry: &'a AppliedEntry, result: u64, hash: u64 },
    /// A state machine was saved: `hash` is that of its state, `applied` the last entry that it was shown.
    Saved { place: Place, group_id: GroupId, applied: Index, hash: u64 },
    /// A state machine's state was replaced by a saved one.
    Restored { place: Place, group_id: GroupId, applied: Index, hash: u64 },

    /// A client makes a call. `client` makes one after the other.
    Called { call: CallId, client: u64, place: Place, group_id: GroupId, operation: Operation },
    /// The call was refused at once: no completion follows.
    Refused { call: CallId, error: &'a libraft::Error },
    /// The completion of a call was called.
    Completed { call: CallId, answer: Answer },
    /// A bound that something has, and how much of it is in use.
    Bound { place: Place, what: &'static str, used: u64, limit: u64 },
}

/// Something that must never happen has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule, in a word or two, always the same for the same rule: such as `leader completeness`.
    pub rule: &'static str,
    /// What happened: who, where, what was expected and what was there.
    pub what: String,
}

/// Those who judge a world.
pub trait Judge {
    /// **Errors**: the first rule that the observation breaks. The world ends then.
    fn observe(&mut self, now: WorldTime, observation: &Observation<'_>) -> Result<(), Violation>;

    /// The world has ended, healed and at rest: every call must have completed, and the histories of clients must be
    /// linearizable.
    fn finish(&mut self, now: WorldTime) -> Result<(), Violation>;
}
