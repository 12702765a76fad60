//! A group on a node: propose, read, change the membership.

use std::time::Duration;

use crate::error::{Error, Leader, Result};
use crate::ids::{GroupId, Index, NodeId, RaftId, Term, Uuid};
pub use crate::replica::{Completion, Notice, Role};

/// A group that was started on this node. Clones are the same group.
///
/// **Threads**: every method may be called from any thread; none but `wait_ready` and `stop` blocks. **Completions**:
/// if a method returns an error, the completion is not called; else it is called exactly once, never inside the call
/// itself but maybe before it returns, on the node's completion thread (or on the event loop, if it is quick).
#[derive(Clone)]
pub struct Group {}

/// Receives the result of a call.
pub struct Completer {
    pub(crate) deliver: Deliver,
    /// Called on the event loop, without a wake-up: must never block.
    pub(crate) quick: bool,
}

pub(crate) type Deliver = Box<dyn FnOnce(Result<Completion>) + Send>;

impl Completer {
    pub fn new(deliver: impl FnOnce(Result<Completion>) + Send + 'static) -> Completer {
        Completer { deliver: Box::new(deliver), quick: false }
    }

    /// For a closure that takes microseconds and never blocks.
    pub fn quick(deliver: impl FnOnce(Result<Completion>) + Send + 'static) -> Completer {
        Completer { deliver: Box::new(deliver), quick: true }
    }
}

/// What a group says of its replica on this node.
#[derive(Clone, Debug, Default)]
pub struct GroupStatus {
    pub group_id: GroupId,
    pub raft_id: RaftId,
    pub formation: Uuid,
    pub role: Role,
    pub term: Term,
    pub leader: Option<Leader>,
    pub first_index: Index,
    pub last_index: Index,
    pub commit_index: Index,
    /// What the state machine has applied.
    pub applied_index: Index,
    pub snapshot_index: Index,
    pub pending_proposals: u64,
    pub pending_bytes: u64,
    pub failure: Option<Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum MemberRole {
    Voter = 0,
    Learner = 1,
    /// Votes in the old half of a joint configuration only.
    Outgoing = 2,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub raft_id: RaftId,
    pub node_id: NodeId,
    pub incarnation: Uuid,
    pub address: String,
    pub role: MemberRole,
}

/// One step of a membership change, as the user asks for it. All steps of one call take effect together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    AddLearner { node_id: NodeId, address: String },
    AddVoter { node_id: NodeId, address: String },
    Promote { node_id: NodeId },
    Demote { node_id: NodeId },
    Remove { node_id: NodeId },
    SetAddress { node_id: NodeId, address: String },
}

#[allow(unused_variables)]
impl Group {
    pub fn group_id(&self) -> GroupId {
        unimplemented!()
    }

    /// Blocks until the group has a leader and this replica has applied what was committed when it learnt of it.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        unimplemented!()
    }

    /// Proposes one entry. Copies `data`.
    pub fn propose(&self, data: &[u8], completer: Completer) -> Result<()> {
        unimplemented!()
    }

    /// Proposes entries that lie one behind the other in `data`: entry i is `data[offsets[i]..offsets[i + 1]]`. All are
    /// accepted or none. `completer` is called once, when all are done, with their results in order.
    pub fn propose_batch(
        &self,
        data: &[u8],
        offsets: &[usize],
        completer: BatchCompleter,
    ) -> Result<()> {
        unimplemented!()
    }

    /// Completes with an index once this replica has applied everything that was committed before the call:
    /// a read of the application's state is linearizable from then on.
    pub fn read_index(&self, completer: Completer) -> Result<()> {
        unimplemented!()
    }

    /// Only at the leader. Completes when the new configuration is in force (and no longer joint).
    pub fn change_membership(&self, changes: Vec<Change>, completer: Completer) -> Result<()> {
        unimplemented!()
    }

    /// Only at the leader. Completes when another leader is known, or fails after an election timeout.
    pub fn transfer_leadership(&self, to: NodeId, completer: Completer) -> Result<()> {
        unimplemented!()
    }

    /// Completes with the snapshot's index.
    pub fn take_snapshot(&self, completer: Completer) -> Result<()> {
        unimplemented!()
    }

    pub fn status(&self) -> Result<GroupStatus> {
        unimplemented!()
    }

    pub fn members(&self) -> Result<Vec<Member>> {
        unimplemented!()
    }

    /// Replaces the listener; called on the completion thread, in order.
    pub fn set_listener(&self, listener: Option<Box<dyn FnMut(Notice) + Send>>) -> Result<()> {
        unimplemented!()
    }

    /// Stops the group on this node (its data stays) and waits until the state machine is dropped. Idempotent. On one of
    /// the library's own threads it begins to stop and returns `WouldDeadlock`.
    pub fn stop(&self) -> Result<()> {
        unimplemented!()
    }

    /// Begins to stop; `done` is called (on a thread of the library, or on this one if the group is stopped already) when
    /// the state machine is dropped. Never blocks.
    pub fn stop_async(&self, done: Box<dyn FnOnce(Result<()>) + Send>) {
        unimplemented!()
    }
}

/// Receives the results of a batch, in the order of its entries.
pub struct BatchCompleter {
    pub(crate) deliver: Box<dyn FnOnce(Vec<Result<Completion>>) + Send>,
    pub(crate) quick: bool,
}

impl BatchCompleter {
    pub fn new(deliver: impl FnOnce(Vec<Result<Completion>>) + Send + 'static) -> BatchCompleter {
        BatchCompleter { deliver: Box::new(deliver), quick: false }
    }

    pub fn quick(deliver: impl FnOnce(Vec<Result<Completion>>) + Send + 'static) -> BatchCompleter {
        BatchCompleter { deliver: Box::new(deliver), quick: true }
    }
}
