//! The log as raft-rs sees it: the entry cache, and below it the disk.
//!
//! What is appended here can be read at once, long before it is durable. Terms are kept apart from
//! the entries, so that only the entries themselves are ever read from the disk: asynchronously for
//! a follower that lags (raft-rs is told to come back), directly in the few places where raft-rs
//! cannot wait.

use std::cell::RefCell;
use std::sync::Arc;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::storage::GetEntriesContext;
use raft::{RaftState, Storage, StorageError};

use super::entry_cache::EntryCache;
use crate::error::Error;
use crate::ids::{Index, Term};
use crate::log::{EntryReader, RecoveredGroup};

/// How many requests of raft-rs may wait for one read of the disk; it asks again by itself.
const CONTEXTS_MAX: usize = 8;
/// How much is read from the disk at once where raft-rs sets no limit.
const READ_BYTES_MAX: u64 = 4 << 20;

pub struct ReplicaStorage {
    pub cache: EntryCache,
    reader: Arc<dyn EntryReader>,
    compacted_index: Index,
    compacted_term: Term,
    last_index: Index,
    /// `(term, first index with it)`, ascending, for the entries above `compacted_index`.
    terms: Vec<(Term, Index)>,
    /// Entries up to here are durable.
    persisted_index: Index,
    initial: RaftState,
    snapshot: Option<Snapshot>,
    requests: RefCell<Requests>,
}

/// What raft-rs asked for while it only held a shared reference.
#[derive(Default)]
struct Requests {
    /// Reads that raft-rs waits for.
    reads: Vec<DiskRead>,
    /// Entries that came back from the disk, while raft-rs takes them.
    fetched: Vec<Entry>,
    /// A follower needs a snapshot of at least this index.
    snapshot_wanted: Option<Index>,
    /// Why the disk could not be read: raft-rs panics over it, and this says what was behind the
    /// panic.
    read_error: Option<Error>,
}

struct DiskRead {
    low: Index,
    high: Index,
    bytes_max: u64,
    issued: bool,
    contexts: Vec<GetEntriesContext>,
}

impl ReplicaStorage {
    pub fn new(reader: Arc<dyn EntryReader>, cache: EntryCache) -> ReplicaStorage {
        ReplicaStorage {
            cache,
            reader,
            compacted_index: 0,
            compacted_term: 0,
            last_index: 0,
            terms: Vec::new(),
            persisted_index: 0,
            initial: RaftState::default(),
            snapshot: None,
            requests: RefCell::default(),
        }
    }

    /// Takes over what the log held at the start.
    pub fn recover(&mut self, group: &RecoveredGroup) {
        self.compacted_index = group.compacted_index;
        self.compacted_term = group.compacted_term;
        self.last_index = group.last_index;
        self.persisted_index = group.last_index;
        self.terms = group.terms.clone();
    }

    /// What raft-rs starts with.
    pub fn set_initial(&mut self, hard_state: HardState, conf_state: ConfState) {
        self.initial = RaftState::new(hard_state, conf_state);
    }

    pub fn compacted_index(&self) -> Index {
        self.compacted_index
    }

    pub fn last_log_index(&self) -> Index {
        self.last_index
    }

    pub fn term_of(&self, index: Index) -> Option<Term> {
        if index == self.compacted_index {
            return Some(self.compacted_term);
        }
        if index < self.compacted_index || index > self.last_index {
            return None;
        }
        let runs = self.terms.partition_point(|(_, first)| *first <= index);
        self.terms.get(runs.checked_sub(1)?).map(|(term, _)| *term)
    }

    /// Appends entries, after deleting all from the first one's index on. Whether something was
    /// deleted.
    pub fn append(&mut self, entries: &[Entry]) -> bool {
        let Some(first) = entries.first().map(|entry| entry.index) else { return false };
        let truncated = first <= self.last_index;
        self.cache.append(entries);
        while self.terms.last().is_some_and(|(_, start)| *start >= first) {
            self.terms.pop();
        }
        for entry in entries {
            if self.terms.last().is_none_or(|(term, _)| *term != entry.term) {
                self.terms.push((entry.term, entry.index));
            }
        }
        self.persisted_index = self.persisted_index.min(first - 1);
        self.last_index = first - 1 + entries.len() as u64;
        truncated
    }

    /// Entries up to `index`, as they stood when they were appended last, are durable.
    pub fn persisted(&mut self, index: Index) {
        self.persisted_index = self.persisted_index.max(index.min(self.last_index));
    }

    /// The log is replaced by a snapshot.
    pub fn reset(&mut self, index: Index, term: Term) {
        self.cache.clear();
        self.terms.clear();
        self.compacted_index = index;
        self.compacted_term = term;
        self.last_index = index;
        self.persisted_index = index;
        self.snapshot = None;
    }

    /// Forgets the entries up to `index`. `None` if there is nothing to forget; else that entry's
    /// term.
    pub fn compact(&mut self, index: Index) -> Option<Term> {
        if index <= self.compacted_index || index > self.last_index {
            return None;
        }
        let term = self.term_of(index)?;
        self.cache.compact(index);
        let covered = self.terms.partition_point(|(_, first)| *first <= index);
        self.terms.drain(..covered);
        let next_begins = self.terms.first().is_some_and(|(_, first)| *first == index + 1);
        if index < self.last_index && !next_begins {
            self.terms.insert(0, (term, index + 1));
        }
        self.compacted_index = index;
        self.compacted_term = term;
        Some(term)
    }

    /// Gives memory back: raft-rs has handed out everything up to `handed_out`.
    pub fn evict(&mut self, handed_out: Index) {
        self.cache.evict(handed_out.min(self.persisted_index));
    }

    pub fn set_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
    }

    pub fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.get_metadata().index)
    }

    pub fn take_snapshot_wanted(&mut self) -> Option<Index> {
        self.requests.get_mut().snapshot_wanted.take()
    }

    pub fn take_read_error(&mut self) -> Option<Error> {
        self.requests.get_mut().read_error.take()
    }

    /// Reads that are yet to be made: `(low, high, bytes_max)`.
    pub fn take_reads(&mut self) -> Vec<(Index, Index, u64)> {
        let reads = self.requests.get_mut().reads.iter_mut().filter(|read| !read.issued);
        reads
            .map(|read| {
                read.issued = true;
                (read.low, read.high, read.bytes_max)
            })
            .collect()
    }

    /// A read came back: who waited for it. The entries can be had until `end_fetched`.
    pub fn begin_fetched(&mut self, low: Index, entries: Vec<Entry>) -> Vec<GetEntriesContext> {
        let requests = self.requests.get_mut();
        requests.fetched = entries;
        match requests.reads.iter().position(|read| read.issued && read.low == low) {
            Some(position) => requests.reads.swap_remove(position).contexts,
            None => Vec::new(),
        }
    }

    pub fn end_fetched(&mut self) {
        self.requests.get_mut().fetched = Vec::new();
    }

    /// What was fetched, from `low` up to, not including, `high`.
    fn fetched(&self, low: Index, high: Index, bytes_max: u64) -> Option<Vec<Entry>> {
        let requests = self.requests.borrow();
        let first = requests.fetched.first()?.index;
        let start = low.checked_sub(first)? as usize;
        let end = requests.fetched.len().min(high.saturating_sub(first) as usize);
        // What was truncated in the meantime has another term now.
        let valid = |entry: &&Entry| self.term_of(entry.index) == Some(entry.term);
        let slice = requests.fetched.get(start..end)?;
        let mut entries: Vec<Entry> = slice.iter().take_while(valid).cloned().collect();
        raft::util::limit_size(&mut entries, Some(bytes_max));
        (!entries.is_empty()).then_some(entries)
    }

    /// Reads from the disk and waits for it.
    pub fn read_now(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = low;
        while next < high {
            let room =
                bytes_max.saturating_sub(entries.iter().map(super::entry::entry_bytes).sum());
            if !entries.is_empty() && (room == 0 || bytes_max <= READ_BYTES_MAX) {
                break;
            }
            let cached = self.cache.range(next, high, room);
            let piece = match cached {
                Some(piece) => piece,
                None => {
                    let end = self.cache.first_index().map_or(high, |first| high.min(first));
                    self.reader.read(next, end, room.min(READ_BYTES_MAX))?
                }
            };
            if piece.first().map(|entry| entry.index) != Some(next) {
                return Err(Error::rejected(
                    crate::error::Code::Internal,
                    format!("the log was asked for entry {next} and did not return it"),
                ));
            }
            next += piece.len() as u64;
            entries.extend(piece);
        }
        Ok(entries)
    }
}

impl Storage for ReplicaStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.compacted_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        if let Some(entries) = self.cache.range(low, high, bytes_max) {
            return Ok(entries);
        }
        if !context.can_async() {
            return self.read_now(low, high, bytes_max).map_err(|error| {
                self.requests.borrow_mut().read_error = Some(error);
                raft::Error::Store(StorageError::Unavailable)
            });
        }
        if let Some(entries) = self.fetched(low, high, bytes_max) {
            return Ok(entries);
        }
        let mut requests = self.requests.borrow_mut();
        match requests.reads.iter_mut().find(|read| read.low == low) {
            Some(read) if read.contexts.len() < CONTEXTS_MAX => read.contexts.push(context),
            Some(_) => {}
            None => {
                let high = self.cache.first_index().map_or(high, |first| high.min(first));
                let bytes_max = bytes_max.min(READ_BYTES_MAX);
                let contexts = vec![context];
                requests.reads.push(DiskRead { low, high, bytes_max, issued: false, contexts });
            }
        }
        Err(raft::Error::Store(StorageError::LogTemporarilyUnavailable))
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(index) {
            Some(term) => Ok(term),
            None if index < self.compacted_index => {
                Err(raft::Error::Store(StorageError::Compacted))
            }
            None => Err(raft::Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let least = request_index.max(self.compacted_index);
        // One that was taken before a member was added would be refused by it.
        let suits = |snapshot: &&Snapshot| {
            let metadata = snapshot.get_metadata();
            let members = metadata.get_conf_state();
            let groups = [&members.voters, &members.learners, &members.voters_outgoing];
            metadata.index >= least && groups.iter().any(|ids| ids.contains(&to))
        };
        match self.snapshot.as_ref().filter(suits) {
            Some(snapshot) => Ok(snapshot.clone()),
            None => {
                let mut requests = self.requests.borrow_mut();
                requests.snapshot_wanted = requests.snapshot_wanted.max(Some(least));
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
