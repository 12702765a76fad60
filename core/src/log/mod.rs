//! The log of a node: a journal in front, sled behind it as the store that the journal is
//! checkpointed into.
//!
//! One [`Log`] holds every group of a node. Appending is a matter of memory; a [`Barrier`] then
//! takes all that was appended to the disk, in one write and one sync for all groups. Nothing here
//! starts a thread: who owns the log runs the barriers (`Log::begin_barrier`, `Barrier::run`,
//! `Log::finish_barrier`) and the [`Chore`]s, on whatever thread suits it.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use raft::eraftpb::Entry;

use crate::chain::Chain;
use crate::disk::Disk;
use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, Index};
use crate::planted;

mod admission;
mod assembly;
mod barrier;
mod batch;
mod checkpoint;
mod chore;
mod codec;
mod file_checkpoint;
mod generation;
mod housekeeping;
mod index;
mod journal;
mod mover;
mod newest;
mod outline;
mod reader;
pub mod record;
mod recovery;
mod segment;
mod sled_checkpoint;
mod state;

pub use admission::Admission;
pub use barrier::{Barrier, FinishedBarrier};
pub use chore::{Chore, FinishedChore};
pub use record::{HardState, LogId, Record, RecoveredGroup};

use batch::{Batch, BLOCK_BYTES};
use checkpoint::{Checkpoint, CheckpointFolder};
use codec::{EntriesHeader, Kind, Part};
use file_checkpoint::FileCheckpoints;
use housekeeping::Housekeeping;
use index::{GroupIndex, Location};
use journal::{LiveSegment, Pending, PendingRun, Writer};
use reader::Reader;
use segment::{CheckpointMark, SegmentFile, SegmentFiles};
use sled_checkpoint::SledCheckpoints;

/// A position in the stream of all records of a node. Never goes back; 0 is before the first
/// record.
pub type Lsn = u64;

/// Records that need not be synced wait for one that must, but not in greater numbers than this.
const UNSYNCED_BYTES_MAX: u64 = 1 << 20;
/// A buffer that has grown beyond this is not kept.
const BUFFER_BYTES_MAX: usize = 16 << 20;

/// The first segment of a fresh journal is smaller: it is written in advance while the opening waits. The others are
/// written in advance by chores, and take its place.
const FIRST_BYTES: u64 = 8 << 20;

/// How a [`Log`] is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The size of a journal segment in bytes, rounded up to whole blocks; from 64 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// Segments in use before the oldest one's live records are moved into sled.
    pub segments_max: usize,
    /// Bytes that must stay free on the disk; below it, proposals and appends are not admitted.
    pub free_bytes_min: u64,
    /// Random, and fresh at each opening: marks what this opening writes. (The default is drawn
    /// from the system.)
    pub salt_seed: u64,
    /// The folder for sled, on the real file system. `None` keeps the checkpoint in files of the
    /// log's own disk, and all of it in memory: for tests and simulations.
    pub checkpoint_directory: Option<PathBuf>,
}

impl Default for LogOptions {
    #[expect(clippy::disallowed_methods, reason = "a simulation chooses its own salts")]
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 64 << 20,
            segments_max: 4,
            free_bytes_min: 64 << 20,
            // Without a source of randomness the salts are still never the same twice in one
            // journal.
            salt_seed: getrandom::u64().unwrap_or_default(),
            checkpoint_directory: None,
        }
    }
}

impl LogOptions {
    fn checked(mut self) -> LogOptions {
        let bytes = self.segment_bytes.clamp(64 << 10, 1 << 30);
        self.segment_bytes = bytes.next_multiple_of(BLOCK_BYTES as u64);
        self.segments_max = self.segments_max.max(2);
        self
    }
}

/// The journal and its checkpoint, of one node.
///
/// **Threads**: whoever owns it may use it from any thread, one at a time; its methods do no I/O,
/// apart from `open` and `close`. Barriers, chores and readers run wherever they like.
pub struct Log {
    options: LogOptions,
    groups: BTreeMap<LogId, Arc<GroupIndex>>,
    next_log_id: LogId,
    appended_lsn: Lsn,
    durable_lsn: Lsn,
    pending: Pending,
    /// The other buffer, and `None` while a barrier has it.
    spare: Option<Pending>,
    /// `None` while a barrier has it.
    writer: Option<Writer>,
    barrier_bytes: u64,
    /// What fits into the segment in use.
    room: u64,
    ready: VecDeque<SegmentFile>,
    /// Of all prepared segments, those that a barrier has as well.
    ready_bytes: u64,
    /// Oldest first; the last is the one in use, or was at the last opening.
    live: VecDeque<LiveSegment>,
    files: Arc<SegmentFiles>,
    folder: Arc<dyn CheckpointFolder>,
    checkpoint: Arc<Checkpoint>,
    housekeeping: Housekeeping,
    is_sealed: bool,
    /// The last barrier found no space: there is none until there is more of it.
    is_deferred: bool,
    failed: Option<Error>,
}

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

/// Reads the entries of one group from the disk, from any thread, while the log is being appended
/// to.
pub trait EntryReader: Send + Sync {
    /// The entries from `low` up to, not including, `high`, as many as fit into `max_bytes`, but at
    /// least one. An error with code `Internal` if `low` is not held (compacted away, or never
    /// written).
    fn read(&self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>>;
}

impl Log {
    /// Opens the log below the root of `disk` (creating it if the folder is empty) and recovers
    /// what it holds.
    ///
    /// **Errors**: `Corrupted` with file and offset; `NewerFormat`; `Io`; `NoSpace`;
    /// `PermissionDenied`.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Log, Vec<RecoveredGroup>)> {
        let options = options.checked();
        let folder: Arc<dyn CheckpointFolder> = match &options.checkpoint_directory {
            Some(path) => Arc::new(SledCheckpoints::new(path.clone())),
            None => Arc::new(FileCheckpoints::new(Arc::clone(&disk))),
        };
        let recovered = recovery::recover(disk, &*folder)?;
        let newest = recovered.newest();
        let newest_file = recovered.files.open_newest(newest)?;
        let usable = |file: &SegmentFile| file.bytes >= options.segment_bytes;
        let (ready, surplus): (Vec<_>, Vec<_>) = recovered.free.into_iter().partition(usable);
        let mut ready = VecDeque::from(ready);
        let files = Arc::new(recovered.files);
        if ready.is_empty() {
            let bytes = options.segment_bytes.min(FIRST_BYTES);
            ready.push_back(files.create(bytes, bytes)?);
        }
        let disk_bytes = recovered.store.disk_bytes()?;
        let housekeeping =
            Housekeeping::new(recovered.state, recovered.generation, disk_bytes, surplus);
        let writer = Writer {
            files: Arc::clone(&files),
            active: None,
            next_sequence: recovered.next_sequence,
            next_batch: recovered.next_batch,
            salt_seed: options.salt_seed,
            segment_bytes: options.segment_bytes,
            ready: VecDeque::new(),
            checkpoint: CheckpointMark::default(),
            newest_file,
            newest,
            durable_lsn: recovered.last_lsn,
            scratch: Batch::new(),
        };
        let mut log = Log {
            options,
            groups: recovered.indexes,
            next_log_id: recovered.next_log_id,
            appended_lsn: recovered.last_lsn,
            durable_lsn: recovered.last_lsn,
            pending: Pending::new(),
            spare: Some(Pending::new()),
            writer: Some(writer),
            barrier_bytes: 0,
            room: 0,
            ready_bytes: ready.iter().map(|file| file.bytes).sum(),
            ready,
            live: recovered.live,
            folder,
            checkpoint: Arc::new(Checkpoint::new(recovered.store)),
            housekeeping,
            is_sealed: recovered.is_sealed,
            is_deferred: false,
            failed: None,
            files,
        };
        log.housekeeping.available_bytes = log.files.available_bytes()?;
        Ok((log, recovered.groups.into_values().collect()))
    }

    /// Gives a group a new life in this log. Durable with the next barrier.
    pub fn create_group(&mut self, group_id: GroupId) -> LogId {
        let log_id = self.next_log_id;
        self.next_log_id += 1;
        self.groups.insert(log_id, Arc::new(GroupIndex::new(log_id, 0, 0)));
        self.put(log_id, Kind::Created, true, |buffer| {
            buffer.copied().extend_from_slice(&group_id.to_le_bytes());
        });
        log_id
    }

    /// Forgets a group. Durable with the next barrier; what it held is freed in time.
    pub fn remove_group(&mut self, log_id: LogId) {
        if let Some(group) = self.groups.remove(&log_id) {
            let mut runs = group.lock();
            let last = runs.last();
            runs.reset(last);
            drop(runs);
            self.put(log_id, Kind::Removed, true, |_| {});
        }
    }

    /// Appends a record, in memory. It is durable once a barrier covers the position returned. A
    /// record that need not be synced by itself (a hard state that only moves the commit index)
    /// waits for the next one that must.
    ///
    /// Entries may not leave a gap behind the last one held: that would be an error of the caller,
    /// and makes the log fail with `Internal` before anything of it reaches the disk.
    pub fn append(&mut self, log_id: LogId, record: Record, must_sync: bool) -> Lsn {
        let Some(group) = self.groups.get(&log_id).map(Arc::clone) else {
            self.fail(Code::Internal, format!("log {log_id} does not exist"));
            return self.appended_lsn;
        };
        match &record {
            Record::Entries(entries) => self.put_entries(&group, entries, must_sync),
            _ => {
                match &record {
                    Record::Compact { index, .. } => group.lock().compact(*index),
                    Record::Reset { index, .. } => group.lock().reset(*index),
                    _ => {}
                }
                self.put(log_id, codec::kind_of(&record), must_sync, |buffer| {
                    codec::put_record(buffer, &record);
                });
            }
        }
        self.appended_lsn
    }

    fn put_entries(&mut self, group: &Arc<GroupIndex>, mut rest: &[Entry], must_sync: bool) {
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(codec::frame_of_entries(rest));
            rest = later;
            let count = now.len() as u32;
            let header = EntriesHeader { first: first.index, term: first.term, count };
            let lsn = self.appended_lsn + 1;
            let is_planted = now.iter().any(|entry| planted::asks_for(&entry.data, "gap"));
            if is_planted || !group.lock().append(header, lsn, Location::Pending) {
                let (log_id, index) = (group.log_id, first.index);
                let message = format!("entry {index} would leave a gap in log {log_id}");
                return self.fail(Code::Internal, message);
            }
            let start = self.pending.batch.bytes.len();
            self.put(group.log_id, Kind::Entries, must_sync, |buffer| {
                codec::put_entries(buffer, now);
            });
            let length = self.pending.batch.bytes.len() - start;
            self.pending.runs.push(PendingRun { group: Arc::clone(group), lsn, start, length });
        }
    }

    fn put(
        &mut self,
        log_id: LogId,
        kind: Kind,
        must_sync: bool,
        payload: impl FnOnce(&mut Chain),
    ) {
        self.appended_lsn += 1;
        let lsn = self.appended_lsn;
        if self.failed.is_some() {
            return;
        }
        let pending = &mut self.pending;
        pending.batch.put((lsn, log_id, kind, Part::Whole), payload);
        pending.must_sync |= must_sync || pending.bytes() > UNSYNCED_BYTES_MAX;
        self.is_sealed = kind == Kind::Seal;
    }

    /// Why the log is out of service, if it is.
    pub fn failure(&self) -> Option<Error> {
        self.failed.clone()
    }

    /// Whether something waits that must be synced, and no barrier is under way.
    pub fn wants_barrier(&self) -> bool {
        let is_ready = self.writer.is_some() && !self.is_deferred && self.failed.is_none();
        self.pending.must_sync && is_ready
    }

    /// Takes what was appended. Run it, on any thread, then hand it back to `finish_barrier`.
    /// `None` while one is under way, or if nothing waits.
    pub fn begin_barrier(&mut self) -> Option<Barrier> {
        if self.pending.is_empty() || self.is_deferred || self.failed.is_some() {
            return None;
        }
        let mut writer = self.writer.take()?;
        writer.ready.append(&mut self.ready);
        let oldest = self.live.front().map(|live| live.segment.header.sequence);
        writer.checkpoint = CheckpointMark {
            generation: self.housekeeping.generation,
            moved_lsn: self.housekeeping.state.moved_lsn,
            oldest_sequence: oldest.unwrap_or(writer.next_sequence),
        };
        let empty = self.spare.take().unwrap_or_else(Pending::new);
        let pending = std::mem::replace(&mut self.pending, empty);
        self.barrier_bytes = pending.bytes();
        Some(Barrier { writer, pending })
    }

    /// Everything up to the position returned is durable. After an error (`StorageFailed`) the log
    /// refuses all further work: the error is final. `NoSpace` is not an error of a barrier:
    /// admission prevents it, and if somebody else took what was free, the records stay in memory,
    /// the position stays where it was, and `wants_barrier` waits for space.
    pub fn finish_barrier(&mut self, finished: FinishedBarrier) -> Result<Lsn> {
        let FinishedBarrier { mut writer, mut pending, result } = finished;
        self.room = writer.room();
        let mut ready = std::mem::take(&mut writer.ready);
        ready.append(&mut self.ready);
        self.ready = ready;
        self.ready_bytes = self.ready.iter().map(|file| file.bytes).sum();
        self.writer = Some(writer);
        self.barrier_bytes = 0;
        let written = match result {
            Ok(written) => written,
            Err(error) => {
                self.fail(Code::StorageFailed, error.message);
                return self.check();
            }
        };
        if let Some(bytes) = written.available_bytes {
            self.housekeeping.available_bytes = bytes;
        }
        if written.is_deferred {
            pending.extend(&mut self.pending);
            self.spare = Some(std::mem::replace(&mut self.pending, pending));
            self.is_deferred = true;
            self.housekeeping.starve();
            return self.check();
        }
        for live in written.segments {
            match self.live.back_mut().filter(|back| Arc::ptr_eq(&back.segment, &live.segment)) {
                Some(back) => *back = live,
                None => self.live.push_back(live),
            }
        }
        for (run, location) in pending.runs.iter().zip(written.locations) {
            run.group.lock().place(run.lsn, location);
        }
        self.durable_lsn = self.durable_lsn.max(pending.batch.last_lsn);
        if pending.batch.bytes.capacity() > BUFFER_BYTES_MAX {
            self.housekeeping.garbage.push(pending.batch.bytes.release());
        }
        pending.clear();
        self.spare = Some(pending);
        self.check()
    }

    fn check(&self) -> Result<Lsn> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(self.durable_lsn),
        }
    }

    /// Takes the log out of service, for good.
    fn fail(&mut self, code: Code, cause: String) {
        if self.failed.is_none() {
            let message = format!(
                "the log is out of service: {cause}; close the node, look at the disk, reopen it"
            );
            self.failed = Some(Error::rejected(code, message));
        }
    }

    /// The entries of a group. Entries that no barrier has written yet are not there: they are
    /// answered with `Internal`.
    pub fn reader(&self, log_id: LogId) -> Arc<dyn EntryReader> {
        let nothing = || Arc::new(GroupIndex::new(log_id, 0, 0));
        let group = self.groups.get(&log_id).map_or_else(nothing, Arc::clone);
        Arc::new(Reader { group, checkpoint: Arc::clone(&self.checkpoint) })
    }

    pub fn status(&self) -> LogStatus {
        let live: u64 = self.live.iter().map(|live| live.segment.file.bytes).sum();
        LogStatus {
            appended_lsn: self.appended_lsn,
            durable_lsn: self.durable_lsn,
            journal_bytes: live + self.ready_bytes,
            checkpoint_bytes: self.housekeeping.disk_bytes,
            segments: self.live.len(),
            full: self.admission(0) == Admission::Full,
        }
    }

    /// Writes what waits, seals the journal and closes sled. The directory can be opened again when
    /// this returns. To be called when no barrier and no chore is under way: with a barrier that
    /// never came back nothing can be written.
    pub fn close(mut self) -> Result<()> {
        if !self.is_sealed {
            self.put_seal();
        }
        let sealed = match self.begin_barrier() {
            Some(barrier) => self.finish_barrier(barrier.run()),
            None => self.check(),
        };
        self.checkpoint.store().close()?;
        sealed.map(|_| ())
    }

    fn put_seal(&mut self) {
        self.put(0, Kind::Seal, true, |_| {});
    }
}

#[cfg(test)]
mod tests;
