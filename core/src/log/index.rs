//! Where the entries of a group are: one run per record, in memory, shared with the readers.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::codec::EntriesHeader;
use super::record::LogId;
use super::segment::Segment;
use super::Lsn;
use crate::deliberate::{is_on, Bug};
use crate::ids::Index;

/// Where a record of entries lies.
#[derive(Clone)]
pub(super) enum Location {
    /// In memory only: no barrier has written it yet.
    Pending,
    /// One frame.
    Frame(FrameAt),
    /// Several frames, because no segment had room for it in one piece.
    Parts(Arc<[FrameAt]>),
}

#[derive(Clone)]
pub(super) struct FrameAt {
    pub segment: Arc<Segment>,
    pub offset: u32,
    pub length: u32,
}

impl Location {
    fn bytes(&self) -> u64 {
        match self {
            Location::Pending => 0,
            Location::Frame(at) => u64::from(at.length),
            Location::Parts(parts) => parts.iter().map(|at| u64::from(at.length)).sum(),
        }
    }
}

/// Entries from `first` to `last` of the record at `lsn`. The record may hold more: what is before
/// was compacted away, what is behind was overwritten.
#[derive(Clone)]
pub(super) struct Run {
    pub first: Index,
    pub last: Index,
    pub lsn: Lsn,
    pub location: Location,
}

/// The index of one group. It costs the same however many entries the checkpoint holds.
pub(super) struct GroupIndex {
    pub log_id: LogId,
    runs: Mutex<Runs>,
}

#[derive(Default)]
pub(super) struct Runs {
    /// The entry before the first one held.
    compacted: Index,
    /// The entries behind `compacted` and up to here are in the checkpoint; the runs follow without
    /// a gap.
    checkpointed: Index,
    /// Ascending, by index as by position.
    runs: VecDeque<Run>,
}

/// The answer to the question where an entry is.
pub(super) enum Place {
    /// Compacted away, or never written.
    Nowhere {
        first: Index,
        last: Index,
    },
    /// In the checkpoint; so are the next ones up to `last`.
    Checkpoint {
        last: Index,
    },
    Run(Run),
}

impl GroupIndex {
    pub fn new(log_id: LogId, compacted: Index, checkpointed: Index) -> GroupIndex {
        let runs = Runs { compacted, checkpointed, runs: VecDeque::new() };
        GroupIndex { log_id, runs: Mutex::new(runs) }
    }

    /// Held for moments only, never during I/O.
    pub fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    pub fn last(&self) -> Index {
        self.runs.back().map_or(self.checkpointed, |run| run.last)
    }

    /// The entries in the checkpoint: behind the first, up to the second.
    pub fn checkpointed(&self) -> (Index, Index) {
        (self.compacted, self.checkpointed)
    }

    /// Adds a record, in place of all entries from its first on. `false` (and nothing happens) if
    /// it would leave a gap.
    #[must_use]
    pub fn append(&mut self, header: EntriesHeader, lsn: Lsn, location: Location) -> bool {
        let (first, last) = (header.first.max(self.compacted + 1), header.last());
        if first > self.last() + 1 {
            return false;
        }
        self.truncate(first);
        if first <= last {
            self.runs.push_back(Run { first, last, lsn, location });
        }
        true
    }

    /// Forgets the entries from `from` on.
    fn truncate(&mut self, from: Index) {
        let from = from + u64::from(from <= self.last() && is_on(Bug::TruncateOneTooFew));
        while self.runs.back().is_some_and(|run| run.first >= from) {
            self.runs.pop_back();
        }
        match self.runs.back_mut() {
            Some(run) => run.last = run.last.min(from - 1),
            None => self.checkpointed = self.checkpointed.min(from - 1),
        }
    }

    /// Forgets the entries up to `index`; beyond the last one the log starts anew behind `index`.
    pub fn compact(&mut self, index: Index) {
        if index <= self.compacted {
            return;
        }
        self.compacted = index;
        while self.runs.front().is_some_and(|run| run.last <= index) {
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut() {
            run.first = run.first.max(index + 1);
        }
        self.checkpointed = self.checkpointed.max(index);
    }

    /// Forgets all; the log starts anew behind `index`, which may be before what it had.
    pub fn reset(&mut self, index: Index) {
        *self = Runs { compacted: index, checkpointed: index, runs: VecDeque::new() };
    }

    /// The record at `lsn`, if any of it is still held, is on disk.
    pub fn place(&mut self, lsn: Lsn, location: Location) {
        if let Some(position) = self.position_of_recent(lsn) {
            self.runs[position].location = location;
        }
    }

    /// Where the record at `lsn` is: near the end, in steps that double from there. A search among all of them would
    /// touch memory that nothing else does, with every barrier.
    fn position_of_recent(&self, lsn: Lsn) -> Option<usize> {
        let mut end = self.runs.len();
        let mut start = end.saturating_sub(1);
        let mut step = 1;
        while start > 0 && self.runs[start].lsn > lsn {
            end = start;
            step *= 2;
            start = end.saturating_sub(step);
        }
        while start < end {
            let middle = start + (end - start) / 2;
            match self.runs[middle].lsn.cmp(&lsn) {
                Ordering::Equal => return Some(middle),
                Ordering::Less => start = middle + 1,
                Ordering::Greater => end = middle,
            }
        }
        None
    }

    pub fn find(&self, index: Index) -> Place {
        if index <= self.compacted || index > self.last() {
            return Place::Nowhere { first: self.compacted + 1, last: self.last() };
        }
        if index <= self.checkpointed {
            return Place::Checkpoint { last: self.checkpointed };
        }
        let position = self.runs.partition_point(|run| run.last < index);
        Place::Run(self.runs[position].clone())
    }

    /// What is held of records up to `lsn`: (position, first, last) of each, and the bytes of all.
    pub fn runs_up_to(&self, lsn: Lsn) -> (Vec<(Lsn, Index, Index)>, u64) {
        let held = || self.runs.iter().take_while(|run| run.lsn <= lsn);
        let bytes = held().map(|run| run.location.bytes()).sum();
        (held().map(|run| (run.lsn, run.first, run.last)).collect(), bytes)
    }

    /// All records up to `lsn` are in the checkpoint now.
    pub fn moved(&mut self, lsn: Lsn) {
        while let Some(run) = self.runs.front().filter(|run| run.lsn <= lsn) {
            self.checkpointed = run.last;
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(runs: &mut Runs, first: Index, count: u32, lsn: Lsn) {
        let header = EntriesHeader { first, term: 1, count };
        assert!(runs.append(header, lsn, Location::Pending));
    }

    fn lsn_at(runs: &Runs, index: Index) -> Option<Lsn> {
        match runs.find(index) {
            Place::Run(run) => Some(run.lsn),
            Place::Checkpoint { .. } => Some(0),
            Place::Nowhere { .. } => None,
        }
    }

    #[test]
    fn an_append_replaces_everything_from_its_first_index_on() {
        let mut runs = Runs::default();
        appended(&mut runs, 1, 10, 1);
        appended(&mut runs, 11, 10, 2);
        appended(&mut runs, 6, 2, 3);
        let held: Vec<_> = (1..=8).map(|index| lsn_at(&runs, index)).collect();
        assert_eq!(held[..5], [Some(1); 5]);
        assert_eq!(held[5..], [Some(3), Some(3), None]);
        let gap = EntriesHeader { first: 9, term: 1, count: 1 };
        assert!(!runs.append(gap, 4, Location::Pending));
    }

    #[test]
    fn a_record_is_found_however_far_from_the_end() {
        for count in 0..40 {
            let mut runs = Runs::default();
            for number in 1..=count {
                appended(&mut runs, number, 1, number * 10);
            }
            for number in 1..=count {
                let expected = Some(number as usize - 1);
                assert_eq!(runs.position_of_recent(number * 10), expected, "of {count}");
                assert_eq!(runs.position_of_recent(number * 10 - 1), None, "of {count}");
            }
            assert_eq!(runs.position_of_recent(count * 10 + 1), None);
        }
    }

    #[test]
    fn moving_and_compacting_keep_the_runs_contiguous() {
        let mut runs = Runs::default();
        for lsn in 1..=5 {
            appended(&mut runs, lsn * 10 - 9, 10, lsn);
        }
        runs.moved(2);
        assert_eq!(runs.checkpointed(), (0, 20));
        runs.compact(15);
        assert_eq!((lsn_at(&runs, 15), lsn_at(&runs, 16)), (None, Some(0)));
        runs.compact(25);
        assert_eq!((lsn_at(&runs, 25), lsn_at(&runs, 26)), (None, Some(3)));
        runs.moved(3);
        assert_eq!(runs.checkpointed(), (25, 30));
        appended(&mut runs, 28, 1, 6);
        assert_eq!((runs.checkpointed(), runs.last()), ((25, 27), 28));
        runs.compact(100);
        assert_eq!(runs.last(), 100);
        runs.reset(50);
        appended(&mut runs, 51, 1, 7);
        assert_eq!(lsn_at(&runs, 51), Some(7));
    }
}
