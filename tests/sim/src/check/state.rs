//! What the records of a group add up to: worked out from the records alone, apart from the code of the log.

use bytes::Bytes;
use libraft::ids::{Index, Term, Uuid};
use libraft::log::{HardState, Record, RecoveredGroup};

/// An index and the term of the entry there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub index: Index,
    pub term: Term,
}

/// A record, without the contents of entries.
#[derive(Clone, Debug)]
pub enum Change {
    /// Where each term begins among the entries, and the last one.
    Entries {
        runs: Vec<Position>,
        last: Index,
    },
    HardState(HardState),
    Membership {
        index: Index,
        membership: Bytes,
    },
    Meta(Bytes),
    Compact(Position),
    Reset {
        at: Position,
        membership: Bytes,
        snapshot: Uuid,
        hard_state: HardState,
    },
    Restored(Uuid),
}

impl Change {
    pub fn of(record: &Record) -> Change {
        match record {
            Record::Entries(entries) => {
                let runs = entries.chunk_by(|entry, next| entry.term == next.term);
                let runs = runs.map(|run| Position { index: run[0].index, term: run[0].term });
                let last = entries.last().map_or(0, |entry| entry.index);
                Change::Entries { runs: runs.collect(), last }
            }
            Record::HardState(hard_state) => Change::HardState(*hard_state),
            Record::Membership { index, membership } => {
                Change::Membership { index: *index, membership: membership.clone() }
            }
            Record::Meta(meta) => Change::Meta(meta.clone()),
            Record::Compact { index, term } => {
                Change::Compact(Position { index: *index, term: *term })
            }
            Record::Reset { index, term, membership, snapshot, hard_state } => Change::Reset {
                at: Position { index: *index, term: *term },
                membership: membership.clone(),
                snapshot: *snapshot,
                hard_state: *hard_state,
            },
            Record::Restored { snapshot } => Change::Restored(*snapshot),
        }
    }

    /// The hard state that it puts into the log, if any.
    pub fn hard_state(&self) -> Option<HardState> {
        match self {
            Change::HardState(hard_state) | Change::Reset { hard_state, .. } => Some(*hard_state),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    pub hard_state: HardState,
    /// The entry before the first one that is held.
    pub compacted: Position,
    pub last: Index,
    /// Where each term begins among the entries that are held.
    runs: Vec<Position>,
    membership_index: Index,
    membership: Bytes,
    meta: Bytes,
    pub unrestored: Option<(Uuid, Index)>,
}

impl LogState {
    /// What a log says that it holds.
    pub fn of(held: &RecoveredGroup) -> LogState {
        LogState {
            hard_state: held.hard_state,
            compacted: Position { index: held.compacted_index, term: held.compacted_term },
            last: held.last_index,
            runs: held
                .terms
                .iter()
                .map(|(term, index)| Position { index: *index, term: *term })
                .collect(),
            membership_index: held.membership_index,
            membership: held.membership.clone(),
            meta: held.meta.clone(),
            unrestored: held.unrestored,
        }
    }

    pub fn fold(&mut self, change: &Change) {
        match change {
            Change::Entries { last, .. } => self.fold_until(change, *last),
            Change::HardState(hard_state) => self.hard_state = *hard_state,
            Change::Membership { index, membership } => {
                (self.membership_index, self.membership) = (*index, membership.clone());
            }
            Change::Meta(meta) => self.meta = meta.clone(),
            Change::Compact(at) => self.compact(*at),
            Change::Reset { at, membership, snapshot, hard_state } => {
                *self = LogState {
                    hard_state: *hard_state,
                    compacted: *at,
                    last: at.index,
                    runs: Vec::new(),
                    membership_index: at.index,
                    membership: membership.clone(),
                    meta: std::mem::take(&mut self.meta),
                    unrestored: Some((*snapshot, at.index)),
                };
            }
            Change::Restored(snapshot) => {
                self.unrestored.take_if(|(unrestored, _)| unrestored == snapshot);
            }
        }
    }

    /// Takes of entries only those up to `last` into account: the rest did not reach the disk.
    pub fn fold_until(&mut self, change: &Change, last: Index) {
        let Change::Entries { runs, .. } = change else { return };
        let held = self.compacted.index + 1;
        let Some(first) = runs.first().map(|run| run.index.max(held)) else { return };
        self.runs.retain(|run| run.index < first);
        for (at, run) in runs.iter().enumerate() {
            let end = runs.get(at + 1).map_or(last + 1, |next| next.index.min(last + 1));
            let begin = run.index.max(first);
            if begin < end && self.runs.last().is_none_or(|known| known.term != run.term) {
                self.runs.push(Position { index: begin, term: run.term });
            }
        }
        self.last = last.max(first - 1);
    }

    fn compact(&mut self, at: Position) {
        if at.index <= self.compacted.index {
            return;
        }
        self.compacted = at;
        if at.index >= self.last {
            self.last = at.index;
            return self.runs.clear();
        }
        let first = at.index + 1;
        let covered = self.runs.partition_point(|run| run.index <= first);
        self.runs.drain(..covered.saturating_sub(1));
        if let Some(run) = self.runs.first_mut() {
            run.index = run.index.max(first);
        }
    }

    /// The term of the entry at an index; `None` if it is compacted away or was never there.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        if index < self.compacted.index || index > self.last {
            return None;
        }
        let runs = self.runs.partition_point(|run| run.index <= index);
        self.runs.get(runs.checked_sub(1)?).map(|run| run.term)
    }

    /// Whether it holds an entry that is committed, or a snapshot that covers it.
    pub fn holds(&self, at: Position) -> bool {
        at.index < self.compacted.index || self.term_at(at.index) == Some(at.term)
    }

    /// What is different, if anything is.
    pub fn difference(&self, other: &LogState) -> Option<String> {
        let (expected, found) = (self, other);
        let differs = [
            ("hard state", expected.hard_state == found.hard_state),
            ("compacted entry", expected.compacted == found.compacted),
            ("last index", expected.last == found.last),
            ("terms", expected.runs == found.runs),
            ("membership index", expected.membership_index == found.membership_index),
            ("membership", expected.membership == found.membership),
            ("meta", expected.meta == found.meta),
            ("unrestored snapshot", expected.unrestored == found.unrestored),
        ];
        let (what, _) = differs.iter().find(|(_, same)| !same)?;
        Some(format!("the {what} of {found:?} is not that of {expected:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(runs: &[(Index, Term)], last: Index) -> Change {
        let runs = runs.iter().map(|(index, term)| Position { index: *index, term: *term });
        Change::Entries { runs: runs.collect(), last }
    }

    fn terms(state: &LogState) -> Vec<Option<Term>> {
        (0..=state.last + 1).map(|index| state.term_at(index)).collect()
    }

    #[test]
    fn entries_replace_what_was_there_from_their_first_on() {
        let mut state = LogState::default();
        state.fold(&entries(&[(1, 1), (3, 2)], 5));
        assert_eq!(terms(&state), [Some(0), Some(1), Some(1), Some(2), Some(2), Some(2), None]);
        state.fold(&entries(&[(4, 3)], 4));
        assert_eq!(terms(&state), [Some(0), Some(1), Some(1), Some(2), Some(3), None]);
        state.fold(&entries(&[(3, 1)], 3));
        assert_eq!(state.runs.len(), 1, "a term that goes on is one run");
    }

    #[test]
    fn of_entries_that_were_cut_the_first_ones_count() {
        let mut state = LogState::default();
        state.fold_until(&entries(&[(1, 1), (3, 2), (9, 3)], 12), 4);
        assert_eq!(terms(&state), [Some(0), Some(1), Some(1), Some(2), Some(2), None]);
    }

    #[test]
    fn a_compaction_forgets_and_a_reset_forgets_all() {
        let mut state = LogState::default();
        state.fold(&entries(&[(1, 1), (3, 2)], 5));
        state.fold(&Change::Compact(Position { index: 3, term: 2 }));
        assert_eq!(terms(&state), [None, None, None, Some(2), Some(2), Some(2), None]);
        assert!(
            state.holds(Position { index: 2, term: 9 })
                && !state.holds(Position { index: 4, term: 1 })
        );
        let at = Position { index: 20, term: 4 };
        let (membership, snapshot) = (Bytes::from_static(b"m"), Uuid([3; 16]));
        let hard_state = HardState { term: 5, vote: 1, commit: 20 };
        state.fold(&Change::Reset { at, membership, snapshot, hard_state });
        assert_eq!(
            (state.last, state.term_at(20), state.unrestored),
            (20, Some(4), Some((snapshot, 20)))
        );
        state.fold(&Change::Restored(Uuid([4; 16])));
        assert!(state.unrestored.is_some());
        state.fold(&Change::Restored(snapshot));
        assert!(state.unrestored.is_none());
    }
}
