//! What other threads hand to the event loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use raft::eraftpb::Entry;

use super::call::Call;
use super::group_handle::GroupHandle;
use super::seat::Seat;
use super::system::Wake;
use crate::error::{Code, Error, Result};
use crate::group::Change;
use crate::ids::{Index, RaftId, Uuid};
use crate::machine::{MachineResult, Opened};
use crate::replica::{Event, MemberChange, Payload, SnapshotTaken};

/// Names one start of a group on this node; never used twice while the node is open.
pub(crate) type GroupKey = u64;

/// Something that is not a proposal.
pub(crate) enum Command {
    StartGroup {
        group: Arc<GroupHandle>,
        seat: Arc<Seat>,
    },
    StopGroup {
        key: GroupKey,
    },
    ChangeMembership {
        key: GroupKey,
        changes: Vec<Change>,
        timeout_ticks: u64,
        call: Call,
    },
    /// The nodes that a membership change is to add have been asked who they are.
    Introduced {
        key: GroupKey,
        number: u64,
        change: Result<Vec<MemberChange>>,
    },
    /// An event for a replica, made outside of the loop.
    Event {
        key: GroupKey,
        event: Event<Call>,
    },
    /// The state machine of a group answered the request in hand.
    Answered {
        key: GroupKey,
        answer: MachineAnswer,
    },
    /// A thread that works for a state machine has something to say.
    Machine {
        key: GroupKey,
        answer: MachineAnswer,
    },
    EntriesRead {
        key: GroupKey,
        low: Index,
        entries: Result<Vec<Entry>>,
    },
    /// Begins to close the node.
    Close,
}

/// What a state machine, or a thread that works for it, says.
pub(crate) enum MachineAnswer {
    Opened(MachineResult<Opened>),
    Applied(MachineResult<Vec<Bytes>>),
    /// The machine's state is durable up to this index.
    Synced(Index),
    SyncFailed(Error),
    SnapshotTaken(Result<SnapshotTaken>),
    Restored {
        snapshot: Uuid,
        index: Index,
        result: Result<()>,
    },
    SnapshotSent {
        to: RaftId,
        succeeded: bool,
    },
}

impl MachineAnswer {
    /// Whether the machine cannot go on: its group is out of service on this node with this.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            MachineAnswer::Opened(result) => result.is_err(),
            MachineAnswer::Applied(result) => result.is_err(),
            MachineAnswer::Restored { result, .. } => result.is_err(),
            MachineAnswer::SyncFailed(_) => true,
            MachineAnswer::Synced(_)
            | MachineAnswer::SnapshotTaken(_)
            | MachineAnswer::SnapshotSent { .. } => false,
        }
    }
}

/// A proposal.
struct Submission {
    key: GroupKey,
    timeout_ticks: u64,
    payload: Submitted,
    call: Call,
}

enum Submitted {
    /// Short, in the arena of the inbox.
    At {
        start: usize,
        end: usize,
    },
    Long(Payload),
}

/// Everything that waits for the loop. Bounded by the groups' limits on pending calls, and by what the loop itself has
/// asked for.
#[derive(Default)]
struct Waiting {
    /// All short payloads, one behind the other: one allocation for a batch of proposals.
    arena: BytesMut,
    submissions: Vec<Submission>,
    commands: Vec<Command>,
    /// Set once the loop takes nothing any more.
    closed: bool,
}

impl Waiting {
    fn put(&mut self, payload: &[u8]) -> Submitted {
        let start = self.arena.len();
        self.arena.extend_from_slice(payload);
        Submitted::At { start, end: self.arena.len() }
    }
}

/// Proposals of one group with one timeout in ticks.
pub(crate) type Proposals = (GroupKey, u64, Vec<(Payload, Call)>);

/// What waited, taken out: proposals in order, and commands.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) proposals: Vec<Proposals>,
    pub(crate) commands: Vec<Command>,
    submissions: Vec<Submission>,
}

pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    /// Whether something waits: what can be asked often.
    filled: AtomicBool,
    /// The loop is about to sleep, or asleep, and must be woken.
    sleeping: AtomicBool,
    waker: Box<dyn Wake>,
}

impl Inbox {
    pub(crate) fn new(waker: Box<dyn Wake>) -> Inbox {
        Inbox {
            waiting: Mutex::default(),
            filled: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            waker,
        }
    }

    /// Hands over proposals that lie one behind the other in `data`; `offsets` has one more element than `calls`.
    pub(crate) fn propose(
        &self,
        group: &GroupHandle,
        data: &[u8],
        offsets: &[usize],
        calls: impl Iterator<Item = Call>,
    ) -> Result<()> {
        let pieces = offsets.windows(2).map(|bounds| &data[bounds[0]..bounds[1]]);
        let long = pieces.clone().filter(|piece| Payload::is_long(piece.len()));
        // Copied before the loop has to wait for the lock.
        let mut long = long.map(Payload::long).collect::<Vec<_>>().into_iter();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(closed());
        }
        for (piece, call) in pieces.zip(calls) {
            let next_long = if Payload::is_long(piece.len()) { long.next() } else { None };
            let payload = next_long.map_or_else(|| waiting.put(piece), Submitted::Long);
            waiting.submissions.push(Submission {
                key: group.key,
                timeout_ticks: group.proposal_timeout_ticks,
                payload,
                call,
            });
        }
        self.filled.store(true, Ordering::Release);
        drop(waiting);
        self.wake();
        Ok(())
    }

    /// Hands over a command; gives it back if the loop takes nothing any more.
    pub(crate) fn command(&self, command: Command) -> std::result::Result<(), Box<Command>> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Box::new(command));
        }
        waiting.commands.push(command);
        self.filled.store(true, Ordering::Release);
        drop(waiting);
        self.wake();
        Ok(())
    }

    /// Wakes the loop if it sleeps.
    fn wake(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst) {
            self.wake_always();
        }
    }

    /// Makes the loop's poll return.
    pub(crate) fn wake_always(&self) {
        self.waker.wake();
    }

    /// Whether something waits.
    pub(crate) fn has_some(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Takes everything that waits. The vectors of `taken` are reused.
    pub(crate) fn take(&self, taken: &mut Taken) {
        let mut waiting = self.lock();
        self.filled.store(false, Ordering::Release);
        std::mem::swap(&mut waiting.submissions, &mut taken.submissions);
        std::mem::swap(&mut waiting.commands, &mut taken.commands);
        let arena = waiting.arena.split().freeze();
        drop(waiting);
        for submission in taken.submissions.drain(..) {
            let payload = match submission.payload {
                Submitted::At { start, end } => arena.slice(start..end).into(),
                Submitted::Long(payload) => payload,
            };
            let proposal = (payload, submission.call);
            match taken.proposals.last_mut() {
                Some((key, timeout, proposals))
                    if *key == submission.key && *timeout == submission.timeout_ticks =>
                {
                    proposals.push(proposal);
                }
                _ => {
                    taken.proposals.push((submission.key, submission.timeout_ticks, vec![proposal]))
                }
            }
        }
    }

    /// Announces that the loop is going to sleep. Returns false if something arrived meanwhile.
    pub(crate) fn may_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        let waiting = self.lock();
        if waiting.submissions.is_empty() && waiting.commands.is_empty() {
            return true;
        }
        self.sleeping.store(false, Ordering::SeqCst);
        false
    }

    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// From now on nothing is accepted any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The error of a call on a node that is closed.
pub(crate) fn closed() -> Error {
    Error::rejected(Code::Closed, "the node is closed: open it again to go on")
}

/// The error of a call on a group that is stopped.
pub(crate) fn stopped() -> Error {
    Error::rejected(Code::Stopped, "the group is stopped on this node: start it again to go on")
}
