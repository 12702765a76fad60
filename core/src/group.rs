//! A group on a node: propose, read, change the membership.

use std::sync::{mpsc, Arc};
use std::time::Duration;

use crate::error::{Code, Error, Leader, Result};
use crate::ids::{GroupId, Index, NodeId, RaftId, Term, Uuid};
use crate::planted;
use crate::replica::Event;
pub use crate::replica::{Completion, Notice, Role};
use crate::runtime::{refuse_on_library_thread, Batch, Call, Command, GroupHandle, NodeHandle};
use crate::transport::check_dialable;

/// A group that was started on this node. Clones are the same group.
///
/// **Threads**: every method may be called from any thread; none but `wait_ready` and `stop` blocks. **Completions**:
/// if a method returns an error, the completion is not called; else it is called exactly once, never inside the call
/// itself but maybe before it returns, on the node's completion thread (or on the event loop, if it is quick).
#[derive(Clone)]
pub struct Group {
    node: Arc<NodeHandle>,
    handle: Arc<GroupHandle>,
}

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

impl Group {
    pub(crate) fn new(node: Arc<NodeHandle>, handle: Arc<GroupHandle>) -> Group {
        Group { node, handle }
    }

    pub fn group_id(&self) -> GroupId {
        self.handle.options.group_id
    }

    /// Blocks until the group has a leader and this replica has applied everything committed before: that is, until a
    /// linearizable read succeeds. Returns the group's failure if it has one, and `Timeout` when the time is over.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        refuse_on_library_thread("wait_ready")?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let completer = Completer::quick(move |result| {
            // Nobody listens any more when the time was over first.
            let _ = sender.try_send(result);
        });
        self.wait_ready_async(timeout, completer)?;
        // The replica keeps the deadline itself; the margin only guards against one that is gone.
        match receiver.recv_timeout(timeout.saturating_add(Duration::from_secs(5))) {
            Ok(result) => result.map(|_| ()),
            Err(_) => Err(Error::rejected(
                Code::Timeout,
                format!("group {} was not ready in time", self.group_id()),
            )),
        }
    }

    /// As [`Group::wait_ready`], but returns at once, and completes when the group is ready.
    pub fn wait_ready_async(&self, timeout: Duration, completer: Completer) -> Result<()> {
        self.read_index_within(timeout, completer)
    }

    /// Proposes one entry. Copies `data`.
    ///
    /// **Errors** (the completion is then not called): `EmptyProposal`, `TooLarge`, `Busy`, `Closed`, `Stopped`,
    /// `Forked`, or the failure of the group.
    pub fn propose(&self, data: &[u8], completer: Completer) -> Result<()> {
        self.check_proposal(data)?;
        self.check_in_service()?;
        assert!(!planted::asks_for(data, "panic"), "planted, as the proposal asked for");
        self.handle.reserve(1, data.len())?;
        let call = Call::One { completer, bytes: data.len() };
        let call = std::iter::once(call);
        let accepted = self.node.inbox.propose(&self.handle, data, &[0, data.len()], call);
        accepted.inspect_err(|_| self.handle.release(1, data.len()))
    }

    /// Proposes entries that lie one behind the other in `data`: entry i is `data[offsets[i]..offsets[i + 1]]`. All are
    /// accepted or none. `completer` is called once, when all are done, with their results in order.
    ///
    /// **Errors**: as [`Group::propose`], and `InvalidArgument` for offsets that do not ascend within `data`.
    pub fn propose_batch(
        &self,
        data: &[u8],
        offsets: &[usize],
        completer: BatchCompleter,
    ) -> Result<()> {
        self.check_batch(data, offsets)?;
        self.check_in_service()?;
        let count = offsets.len() - 1;
        let bytes = offsets[count] - offsets[0];
        self.handle.reserve(count, bytes)?;
        let batch = Batch::new(count, bytes, completer);
        let calls = (0..count).map(|position| Call::InBatch { batch: batch.clone(), position });
        let accepted = self.node.inbox.propose(&self.handle, data, offsets, calls);
        accepted.inspect_err(|_| self.handle.release(count, bytes))
    }

    /// Completes with an index once this replica has applied everything that was committed before the call:
    /// a read of the application's state is linearizable from then on.
    pub fn read_index(&self, completer: Completer) -> Result<()> {
        self.read_index_within(
            Duration::from_millis(self.handle.options.proposal_timeout_ms),
            completer,
        )
    }

    fn read_index_within(&self, timeout: Duration, completer: Completer) -> Result<()> {
        let timeout_ticks = self.ticks(timeout);
        self.call(completer, |completion| Event::ReadIndex { completion, timeout_ticks })
    }

    /// Only at the leader. Completes when the new configuration is in force (and no longer joint). Nodes to be added are
    /// first asked who they are, so they must be running.
    ///
    /// **Errors** (the completion is then not called): `InvalidArgument`, `AddressInvalid`, `Busy`, `Closed`, `Stopped`,
    /// `Forked`, or the failure of the group.
    pub fn change_membership(&self, changes: Vec<Change>, completer: Completer) -> Result<()> {
        if changes.is_empty() {
            return Err(Error::rejected(Code::InvalidArgument, "the membership change is empty"));
        }
        for change in &changes {
            if let Change::AddLearner { address, .. }
            | Change::AddVoter { address, .. }
            | Change::SetAddress { address, .. } = change
            {
                check_dialable(address)?;
            }
        }
        self.check_in_service()?;
        self.handle.reserve(1, 0)?;
        let timeout_ticks = self.handle.proposal_timeout_ticks;
        let call = Call::One { completer, bytes: 0 };
        let key = self.handle.key;
        self.command(Command::ChangeMembership { key, changes, timeout_ticks, call })
    }

    /// Only at the leader. Completes when another leader is known, or fails after an election timeout.
    pub fn transfer_leadership(&self, to: NodeId, completer: Completer) -> Result<()> {
        let timeout_ticks = self.node.options.election_ticks * 2;
        self.call(completer, |completion| Event::TransferLeadership {
            to,
            completion,
            timeout_ticks,
        })
    }

    /// Completes with the snapshot's index.
    pub fn take_snapshot(&self, completer: Completer) -> Result<()> {
        self.call(completer, |completion| Event::TakeSnapshot { completion })
    }

    pub fn status(&self) -> Result<GroupStatus> {
        self.node.check_process()?;
        Ok(self.handle.status())
    }

    pub fn members(&self) -> Result<Vec<Member>> {
        self.node.check_process()?;
        Ok(self.handle.members())
    }

    /// Replaces the listener; called on the completion thread, in order. Up to 1,024 notices wait for one that blocks; it
    /// misses what comes then. Dropped once the group has stopped and its last notice was told.
    pub fn set_listener(&self, listener: Option<Box<dyn FnMut(Notice) + Send>>) -> Result<()> {
        self.node.check_process()?;
        self.handle.set_listener(listener);
        Ok(())
    }

    /// Stops the group on this node (its data stays) and waits until the state machine is dropped. Idempotent. On one of
    /// the library's own threads it begins to stop and returns `WouldDeadlock`.
    pub fn stop(&self) -> Result<()> {
        self.node.check_process()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        self.stop_async(Box::new(move |result| {
            // Nobody waits if this is one of the library's threads.
            let _ = sender.try_send(result);
        }));
        refuse_on_library_thread("stop")?;
        // The sender is never dropped unused: every group is gone when its node is closed.
        receiver.recv().unwrap_or(Ok(()))
    }

    /// Begins to stop; `done` is called (on a thread of the library, or on this one if the group is stopped already) when
    /// the state machine is dropped. Never blocks.
    pub fn stop_async(&self, done: Box<dyn FnOnce(Result<()>) + Send>) {
        if let Err(error) = self.node.check_process() {
            return done(Err(error));
        }
        self.handle.when_gone(done);
        // Refused by a node that is closing, which takes its groups with it.
        let _ = self.node.command(Command::StopGroup { key: self.handle.key });
    }

    fn call(&self, completer: Completer, event: impl FnOnce(Call) -> Event<Call>) -> Result<()> {
        self.check_in_service()?;
        self.handle.reserve(1, 0)?;
        let event = event(Call::One { completer, bytes: 0 });
        self.command(Command::Event { key: self.handle.key, event })
    }

    /// Hands over a command with a call, for which room was reserved.
    fn command(&self, command: Command) -> Result<()> {
        self.node.command(command).inspect_err(|_| self.handle.release(1, 0))
    }

    fn check_in_service(&self) -> Result<()> {
        self.node.check_process()?;
        self.handle.check_in_service()
    }

    fn check_proposal(&self, data: &[u8]) -> Result<()> {
        let max = self.handle.options.proposal_bytes_max;
        if data.is_empty() {
            return Err(Error::rejected(
                Code::EmptyProposal,
                "a proposal needs at least one byte: the library's own entries are the empty ones",
            ));
        }
        if data.len() as u64 > max {
            return Err(Error::rejected(
                Code::TooLarge,
                format!(
                    "a proposal of {} bytes exceeds the limit of {max} (proposal_bytes_max)",
                    data.len()
                ),
            ));
        }
        Ok(())
    }

    fn check_batch(&self, data: &[u8], offsets: &[usize]) -> Result<()> {
        if offsets.len() < 2 {
            return Err(Error::rejected(Code::EmptyProposal, "the batch has no entries"));
        }
        for (position, bounds) in offsets.windows(2).enumerate() {
            let Some(entry) = data.get(bounds[0]..bounds[1]) else {
                return Err(Error::rejected(
                    Code::InvalidArgument,
                    format!(
                        "entry {position} of the batch runs from {} to {} of {} bytes",
                        bounds[0],
                        bounds[1],
                        data.len()
                    ),
                ));
            };
            self.check_proposal(entry)?;
        }
        Ok(())
    }

    fn ticks(&self, timeout: Duration) -> u64 {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        crate::runtime::ticks(milliseconds, self.node.options.tick_ms)
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
