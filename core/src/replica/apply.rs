//! What the state machine is given, and how far it is. Only indexes are kept: payloads are read
//! again through the cache.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};

use super::effect::AppliedEntry;
use super::entry::{entry_bytes, ProposalId};
use crate::ids::{Index, RaftId, Term};

/// A batch for the machine ends with the entry that reaches one of these.
pub const BATCH_BYTES_MAX: u64 = 1 << 20;
pub const BATCH_ENTRIES_MAX: u64 = 4_096;
/// Batches that the machine may have at the same time.
const OUTSTANDING_MAX: usize = 4;

/// An entry that the machine was given.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub index: Index,
    pub term: Term,
    /// The sequence of the call it belongs to, if it is this replica's and this boot's; else 0.
    pub sequence: u64,
}

/// Entries that the machine was given at once. A batch without any stands for entries that it is
/// not shown.
#[derive(Debug)]
pub struct Batch {
    pub given: Vec<Given>,
    /// Everything up to here is applied once the batch is.
    pub through: Index,
    pub through_term: Term,
    pub bytes: u64,
}

#[derive(Debug)]
pub struct ApplyQueue {
    /// The machine has applied everything up to here.
    applied: Index,
    /// It was given everything up to here.
    given: Index,
    /// The last entry that it was shown: what is given and not shown is the library's own.
    shown: Index,
    /// raft-rs handed out everything up to here.
    handed_out: Index,
    outstanding: VecDeque<Batch>,
    /// Bytes handed out and not applied, not counting what was handed out before the start.
    unapplied_bytes: u64,
    counted_from: Index,
    /// Entries from here on are being read from the disk.
    reading: Option<Index>,
    /// Nothing is given to the machine until it is restored from a snapshot.
    pub waits_for_restore: bool,
}

impl ApplyQueue {
    pub fn new(applied: Index, handed_out: Index) -> ApplyQueue {
        ApplyQueue {
            applied,
            given: applied,
            shown: 0,
            handed_out,
            outstanding: VecDeque::new(),
            unapplied_bytes: 0,
            counted_from: handed_out,
            reading: None,
            waits_for_restore: false,
        }
    }

    pub fn applied(&self) -> Index {
        self.applied
    }

    pub fn given(&self) -> Index {
        self.given
    }

    pub fn shown(&self) -> Index {
        self.shown
    }

    /// The machine was shown nothing after this entry.
    pub fn set_shown(&mut self, index: Index) {
        self.shown = index;
    }

    pub fn handed_out(&self) -> Index {
        self.handed_out
    }

    pub fn unapplied_bytes(&self) -> u64 {
        self.unapplied_bytes
    }

    /// raft-rs handed out entries.
    pub fn hand_out(&mut self, entries: &[Entry]) {
        if let Some(last) = entries.last() {
            self.handed_out = last.index;
            self.unapplied_bytes += entries.iter().map(entry_bytes).sum::<u64>();
        }
    }

    /// The entries that the machine could be given next, as `[low, high)`, if it can take any.
    pub fn wanted(&self) -> Option<(Index, Index)> {
        let room = self.outstanding.len() < OUTSTANDING_MAX;
        let wants = room && !self.waits_for_restore && self.reading.is_none();
        (wants && self.given < self.handed_out).then_some((self.given + 1, self.handed_out + 1))
    }

    /// The entries from `low` on are being read from the disk.
    pub fn reads(&mut self, low: Index) {
        self.reading = Some(low);
    }

    /// A read from the disk ended. Whether it was for the machine.
    pub fn read_ended(&mut self, low: Index) -> bool {
        let own = self.reading == Some(low);
        if own {
            self.reading = None;
        }
        own
    }

    /// Gives entries to the machine: those it is shown, ids stripped. They continue what it was
    /// given.
    pub fn give(&mut self, entries: &[Entry], raft_id: RaftId, boot: u64) -> Vec<AppliedEntry> {
        let mut shown = Vec::with_capacity(entries.len());
        let mut batch = Batch { given: Vec::new(), through: 0, through_term: 0, bytes: 0 };
        batch.given.reserve(entries.len());
        for entry in entries {
            batch.through = entry.index;
            batch.through_term = entry.term;
            if entry.index > self.counted_from {
                batch.bytes += entry_bytes(entry);
            }
            if entry.entry_type != EntryType::EntryNormal || entry.data.is_empty() {
                continue;
            }
            let (id, id_bytes) = match ProposalId::read(&entry.data) {
                Some((id, id_bytes)) => (Some(id), id_bytes),
                None => (None, 0),
            };
            let own = id.filter(|id| id.raft_id == raft_id && id.boot == boot);
            let sequence = own.map_or(0, |id| id.sequence);
            batch.given.push(Given { index: entry.index, term: entry.term, sequence });
            let data = entry.data.slice(id_bytes..);
            shown.push(AppliedEntry { index: entry.index, term: entry.term, data });
        }
        self.given = batch.through;
        self.shown = shown.last().map_or(self.shown, |entry| entry.index);
        self.outstanding.push_back(batch);
        shown
    }

    /// The oldest batch, if it is done: `results` are the machine's for it, or it needs none. `Err`
    /// says how many results there should have been.
    pub fn take_done(&mut self, results: Option<&[Bytes]>) -> Result<Option<Batch>, usize> {
        let Some(front) = self.outstanding.front() else {
            return if results.is_some() { Err(0) } else { Ok(None) };
        };
        match results {
            Some(results) if results.len() != front.given.len() => return Err(front.given.len()),
            None if !front.given.is_empty() => return Ok(None),
            _ => {}
        }
        let batch = self.outstanding.pop_front();
        if let Some(batch) = &batch {
            self.applied = self.applied.max(batch.through);
            self.unapplied_bytes = self.unapplied_bytes.saturating_sub(batch.bytes);
        }
        Ok(batch)
    }

    /// The log was replaced by a snapshot: nothing more is given before the machine holds it.
    pub fn jump(&mut self, index: Index) {
        self.given = index;
        self.handed_out = index;
        self.counted_from = index;
        self.unapplied_bytes = 0;
        self.reading = None;
        self.waits_for_restore = true;
        self.outstanding.iter_mut().for_each(|batch| batch.bytes = 0);
    }

    /// At the start: the machine must be restored before it holds anything.
    pub fn must_restore(&mut self) {
        self.applied = 0;
        self.waits_for_restore = true;
    }

    /// The machine holds the snapshot.
    pub fn restored(&mut self) {
        self.applied = self.given;
        self.waits_for_restore = false;
    }
}
