//! The log of a node: a journal in front, sled behind it as the store that the journal is checkpointed into.
//!
//! One [`Log`] holds every group of a node. Appending is a matter of memory; a [`Barrier`] then takes all that was
//! appended to the disk, in one write and one sync for all groups. Nothing here starts a thread: who owns the log runs
//! the barriers (`Log::begin_barrier`, `Barrier::run`, `Log::finish_barrier`) and the [`Chore`]s, on whatever thread
//! suits it.

use std::sync::Arc;

use raft::eraftpb::Entry;

use crate::disk::Disk;
use crate::error::Result;
use crate::ids::{GroupId, Index};

pub mod record;

pub use record::{HardState, LogId, Record, RecoveredGroup};

/// A position in the stream of all records of a node. Never goes back; 0 is before the first record.
pub type Lsn = u64;

/// How a [`Log`] is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The size of a journal segment in bytes, rounded up to whole blocks.
    pub segment_bytes: u64,
    /// Segments in use before the oldest one's live records are moved into sled.
    pub segments_max: usize,
    /// Bytes that must stay free on the disk; below it, proposals and appends are not admitted.
    pub free_bytes_min: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { segment_bytes: 64 << 20, segments_max: 4, free_bytes_min: 64 << 20 }
    }
}

/// The journal and its checkpoint, of one node.
pub struct Log {}

/// All that was appended since the last barrier, on its way to the disk. At most one exists at a time.
pub struct Barrier {}

/// A barrier that has run.
pub struct FinishedBarrier {}

/// A piece of housekeeping that may block: preparing a segment, moving entries into sled, recycling.
pub struct Chore {}

/// A chore that has run.
pub struct FinishedChore {}

/// What a log says of itself.
#[derive(Clone, Debug, Default)]
pub struct LogStatus {
    pub appended_lsn: Lsn,
    pub durable_lsn: Lsn,
    pub journal_bytes: u64,
    pub checkpoint_bytes: u64,
    pub segments: usize,
    /// Whether new entries are refused for want of space.
    pub full: bool,
}

/// Reads the entries of one group from the disk, from any thread, while the log is being appended to.
pub trait EntryReader: Send + Sync {
    /// The entries from `low` up to, not including, `high`, as many as fit into `max_bytes`, but at least one. An error
    /// with code `Internal` if `low` is not held (compacted away, or never written).
    fn read(&self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>>;
}

#[allow(unused_variables)]
impl Log {
    /// Opens the log below the root of `disk` (creating it if the folder is empty) and recovers what it holds.
    ///
    /// **Errors**: `Corrupted` with file and offset; `NewerFormat`; `Io`; `NoSpace`; `PermissionDenied`.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Log, Vec<RecoveredGroup>)> {
        unimplemented!()
    }

    /// Gives a group a new life in this log. Durable with the next barrier.
    pub fn create_group(&mut self, group_id: GroupId) -> LogId {
        unimplemented!()
    }

    /// Forgets a group. Durable with the next barrier; what it held is freed in time.
    pub fn remove_group(&mut self, log_id: LogId) {
        unimplemented!()
    }

    /// Appends a record, in memory. It is durable once a barrier covers the position returned. A record that need not be
    /// synced by itself (a hard state that only moves the commit index) waits for the next one that must.
    pub fn append(&mut self, log_id: LogId, record: Record, must_sync: bool) -> Lsn {
        unimplemented!()
    }

    /// Whether `bytes` more of entries may be appended. Asked *before* raft-rs sees a proposal or an append, since
    /// nothing can be undone afterwards. Hard states and compactions are never refused: space is kept for them.
    pub fn admits(&self, bytes: u64) -> bool {
        unimplemented!()
    }

    /// Whether something waits that must be synced, and no barrier is under way.
    pub fn wants_barrier(&self) -> bool {
        unimplemented!()
    }

    /// Takes what was appended. Run it, on any thread, then hand it back to `finish_barrier`. `None` while one is under
    /// way, or if nothing waits.
    pub fn begin_barrier(&mut self) -> Option<Barrier> {
        unimplemented!()
    }

    /// Everything up to the position returned is durable. After an error (`StorageFailed`) the log refuses all further
    /// work: the error is final. `NoSpace` is not an error of a barrier: admission prevents it.
    pub fn finish_barrier(&mut self, finished: FinishedBarrier) -> Result<Lsn> {
        unimplemented!()
    }

    /// Takes housekeeping that is due. Run it on a thread that may wait, then hand it to `finish_chore`. At most one is
    /// under way at a time. `idle` says that the node has nothing else to do: then a seal may be due as well.
    pub fn begin_chore(&mut self, idle: bool) -> Option<Chore> {
        unimplemented!()
    }

    pub fn finish_chore(&mut self, finished: FinishedChore) -> Result<()> {
        unimplemented!()
    }

    pub fn reader(&self, log_id: LogId) -> Arc<dyn EntryReader> {
        unimplemented!()
    }

    pub fn status(&self) -> LogStatus {
        unimplemented!()
    }

    /// Seals the journal and closes sled. The directory can be opened again when this returns.
    pub fn close(self) -> Result<()> {
        unimplemented!()
    }
}

impl Barrier {
    /// Writes and syncs. Does not fail: the error, if any, is in what it returns.
    pub fn run(self) -> FinishedBarrier {
        unimplemented!()
    }
}

impl Chore {
    pub fn run(self) -> FinishedChore {
        unimplemented!()
    }
}
