//! The application's state machine: what foreign code supplies.
//!
//! There are three kinds, behind one trait. An *in-memory* machine is rebuilt from a snapshot and the log at every start;
//! saving and restoring exclude `apply`. A *concurrent* one prepares a snapshot quickly (excluding `apply`) and is then
//! saved beside it. An *on-disk* one keeps its own state, says at `open` how far it had applied, and is streamed to a
//! peer only when that peer needs it.
//!
//! Every call hands over a *request*, which owns what the call needs and is answered exactly once: inside the call, or
//! later from any thread. Calls to one machine never overlap, but for `save`, and the next is made only after the last
//! was answered. A request dropped without an answer counts as failed.

use std::fmt;
use std::io::{Read, Write};

use bytes::Bytes;

pub use crate::replica::AppliedEntry;

use crate::ids::Index;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum MachineKind {
    #[default]
    InMemory = 0,
    Concurrent = 1,
    OnDisk = 2,
}

/// Why a callback failed. The group stops on this node; the message is kept for everyone who asks.
#[derive(Clone, Debug)]
pub struct MachineError {
    pub message: String,
}

impl MachineError {
    pub fn new(message: impl Into<String>) -> MachineError {
        MachineError { message: message.into() }
    }
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for MachineError {}

impl From<std::io::Error> for MachineError {
    fn from(error: std::io::Error) -> MachineError {
        MachineError::new(error.to_string())
    }
}

pub type MachineResult<T> = std::result::Result<T, MachineError>;

/// The answer to one request: called exactly once, from any thread.
pub struct Reply<T>(Option<Box<dyn FnOnce(MachineResult<T>) + Send>>);

impl<T> Reply<T> {
    pub fn new(deliver: impl FnOnce(MachineResult<T>) + Send + 'static) -> Reply<T> {
        Reply(Some(Box::new(deliver)))
    }

    pub fn send(mut self, result: MachineResult<T>) {
        if let Some(deliver) = self.0.take() {
            deliver(result);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(deliver) = self.0.take() {
            deliver(Err(MachineError::new("the request was dropped without an answer")));
        }
    }
}

/// What an on-disk machine says when it opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The index of the last entry whose effect is in the machine's durable state; 0 for a fresh one. After a restore it is
    /// the one that came with the restored state: a machine only ever knows the indexes of entries that it was shown.
    pub applied_index: Index,
    /// The library's blob that was handed over with the last apply that is durable; empty for a fresh one.
    pub blob: Bytes,
}

/// Entries to apply, in order, and a place for their results.
pub struct Apply {
    /// Never empty. Indexes ascend but may leave gaps: the library's own entries are not shown.
    pub entries: Vec<AppliedEntry>,
    /// What an on-disk machine stores together with the entries and returns from `open`; opaque.
    pub blob: Bytes,
    pub reply: Reply<Vec<Bytes>>,
}

/// What a concurrent or on-disk machine returns from `prepare_snapshot`: a view of the state that stays as it is while
/// entries go on being applied.
pub trait PreparedSnapshot: Send {
    /// Writes the view to `writer`. Called on a snapshot thread, beside `apply`, at most once. The machine may hand the
    /// writer to another thread for as long as this call lasts.
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()>;
}

/// The state machine of one group on one node.
///
/// **Threads**: calls come from the library's apply threads (any of them, one at a time); of a machine that is
/// [`quick`](StateMachine::quick), `apply` comes from the node's event loop and must never block.
pub trait StateMachine: Send + 'static {
    fn kind(&self) -> MachineKind {
        MachineKind::InMemory
    }

    /// Whether `apply` never blocks and takes microseconds. It then runs on the event loop, which saves two wake-ups.
    fn quick(&self) -> bool {
        false
    }

    /// Called once, before anything else. Only an on-disk machine has something to say.
    fn open(&mut self, reply: Reply<Opened>) {
        reply.send(Ok(Opened::default()));
    }

    /// Applies entries; the reply carries one result for each.
    fn apply(&mut self, request: Apply);

    /// Makes everything applied so far durable. Only called for on-disk machines.
    fn sync(&mut self, reply: Reply<()>) {
        reply.send(Ok(()));
    }

    /// Only called for concurrent and on-disk machines, between two applies; must be quick.
    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        reply.send(Err(MachineError::new("this state machine does not prepare snapshots")));
    }

    /// Saves the state of an in-memory machine, between two applies.
    fn save_snapshot(&mut self, writer: Box<dyn Write + Send>, reply: Reply<()>);

    /// Replaces the state by a saved one. May be called again with the same snapshot after a crash.
    /// An on-disk machine answers when the new state is durable: its copy in the library may be deleted after that.
    fn restore_snapshot(&mut self, reader: Box<dyn Read + Send>, reply: Reply<()>);
}
