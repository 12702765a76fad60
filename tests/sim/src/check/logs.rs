//! What every log of a world holds, and must hold when it is opened again.

use std::collections::{BTreeMap, VecDeque};

use libraft::ids::{GroupId, Term};
use libraft::log::{HardState, Lsn, Record};
use raft::eraftpb::Entry;

use super::entries::Entries;
use super::state::{Change, LogState, Position};
use super::{broken, Verdict};
use crate::observation::{Held, Place};

/// See the module.
#[derive(Default)]
pub struct Logs {
    journals: BTreeMap<Place, Journal>,
    entries: BTreeMap<GroupId, Entries>,
}

/// The log of one place.
#[derive(Default)]
struct Journal {
    groups: BTreeMap<GroupId, GroupLog>,
    /// What was appended and need not be durable.
    tail: VecDeque<(Lsn, GroupId, Change)>,
    is_lost: bool,
}

#[derive(Clone, Default)]
struct GroupLog {
    /// With all that was appended.
    current: LogState,
    /// With all that is durable.
    durable: LogState,
    /// What was durable when the place was lost: promises that were made with it count for ever.
    remembered: LogState,
}

impl Logs {
    /// A group's log at a place, with all that was appended.
    pub fn current(&self, place: Place, group_id: GroupId) -> Option<&LogState> {
        Some(&self.journals.get(&place)?.groups.get(&group_id)?.current)
    }

    pub fn durable_hard_state(&self, place: Place, group_id: GroupId) -> HardState {
        let log = self.journals.get(&place).and_then(|journal| journal.groups.get(&group_id));
        log.map_or(HardState::default(), |log| log.durable.hard_state)
    }

    /// Whether a place has a committed entry durable, or had it before it was lost.
    pub fn had_durable(&self, place: Place, group_id: GroupId, at: Position) -> bool {
        let log = self.journals.get(&place).and_then(|journal| journal.groups.get(&group_id));
        log.is_some_and(|log| log.durable.holds(at) || log.remembered.holds(at))
    }

    pub fn entries(&self, group_id: GroupId) -> Option<&Entries> {
        self.entries.get(&group_id)
    }

    pub fn appended(
        &mut self,
        place: Place,
        group_id: GroupId,
        lsn: Lsn,
        record: &Record,
    ) -> Verdict {
        let journal = self.journals.entry(place).or_default();
        let log = journal.groups.entry(group_id).or_default();
        if let Record::Entries(entries) = record {
            let known = self.entries.entry(group_id).or_default();
            if entries.first().is_some_and(|entry| entry.index > log.current.last + 1) {
                return broken("log matching", || {
                    format!(
                        "{place:?} leaves a gap in group {group_id} behind {}",
                        log.current.last
                    )
                });
            }
            let before = entries
                .first()
                .and_then(|entry| log.current.term_at(entry.index.saturating_sub(1)));
            note_all(known, place, group_id, entries, before)?;
        }
        let change = Change::of(record);
        log.current.fold(&change);
        journal.tail.push_back((lsn, group_id, change));
        Ok(())
    }

    /// Everything up to a position is durable. `promised` is told of every hard state that became so.
    pub fn durable(
        &mut self,
        place: Place,
        lsn: Lsn,
        promised: &mut dyn FnMut(GroupId, HardState),
    ) {
        let journal = self.journals.entry(place).or_default();
        let count = journal.tail.partition_point(|(at, ..)| *at <= lsn);
        for (_, group_id, change) in journal.tail.drain(..count) {
            if let Some(log) = journal.groups.get_mut(&group_id) {
                log.durable.fold(&change);
            }
            if let Some(hard_state) = change.hard_state() {
                promised(group_id, hard_state);
            }
        }
    }

    pub fn lost(&mut self, place: Place) {
        let journal = self.journals.entry(place).or_default();
        journal.is_lost = true;
        for log in journal.groups.values_mut() {
            log.remembered = log.durable.clone();
        }
    }

    /// A log was opened. What it holds is durable from then on.
    pub fn opened(&mut self, place: Place, held: &[Held]) -> Verdict {
        for held in held {
            self.note_held(place, held)?;
        }
        let found: BTreeMap<GroupId, LogState> =
            held.iter().map(|held| (held.group.group_id, LogState::of(&held.group))).collect();
        let journal = self.journals.entry(place).or_default();
        if !journal.is_lost {
            journal.require(place, &found)?;
        }
        journal.tail.clear();
        let mut before = std::mem::take(&mut journal.groups);
        for (group_id, state) in found {
            let remembered = before.remove(&group_id).unwrap_or_default().remembered;
            let (current, durable) = (state.clone(), state);
            journal.groups.insert(group_id, GroupLog { current, durable, remembered });
        }
        for (group_id, GroupLog { remembered, .. }) in before {
            journal.groups.insert(group_id, GroupLog { remembered, ..GroupLog::default() });
        }
        Ok(())
    }

    /// The entries in a log are those that its summary speaks of, and those that others hold there.
    fn note_held(&mut self, place: Place, held: &Held) -> Verdict {
        let (group, state) = (&held.group, LogState::of(&held.group));
        let indexes = held.entries.iter().map(|entry| entry.index);
        let is_complete = indexes.eq(group.compacted_index + 1..=group.last_index);
        let fits = |entry: &Entry| state.term_at(entry.index) == Some(entry.term);
        if !is_complete || !held.entries.iter().all(fits) {
            return broken("durable log", || {
                format!(
                    "the entries of group {} at {place:?} are not those of {state:?}",
                    group.group_id
                )
            });
        }
        let known = self.entries.entry(group.group_id).or_default();
        note_all(known, place, group.group_id, &held.entries, Some(group.compacted_term))
    }
}

/// Consecutive entries of a log; `before` is the term of the one before, if that is known.
fn note_all(
    known: &mut Entries,
    place: Place,
    group_id: GroupId,
    entries: &[Entry],
    mut before: Option<Term>,
) -> Verdict {
    let first = entries.first().map_or(0, |entry| entry.index);
    for (index, entry) in (first..).zip(entries) {
        if index != entry.index {
            return broken("log matching", || {
                format!("{place:?} appends entry {} of group {group_id} at {index}", entry.index)
            });
        }
        // What is compacted already says nothing.
        if let Some(term) = before {
            known.note(group_id, entry, term)?;
        }
        before = Some(entry.term);
    }
    Ok(())
}

impl Journal {
    /// What was found must be what a beginning of all records adds up to, one that has everything which was durable.
    fn require(&self, place: Place, found: &BTreeMap<GroupId, LogState>) -> Verdict {
        let durable = |(group_id, log): (&GroupId, &GroupLog)| (*group_id, log.durable.clone());
        let mut expected: BTreeMap<GroupId, LogState> = self.groups.iter().map(durable).collect();
        for group_id in found.keys() {
            expected.entry(*group_id).or_default();
        }
        let nothing = LogState::default();
        let found_of = |group_id: &GroupId| found.get(group_id).unwrap_or(&nothing);
        let differs = |group_id: &GroupId, state: &LogState| state != found_of(group_id);
        let mut different = expected.iter().filter(|(id, state)| differs(id, state)).count();
        let at_first = expected.clone();
        for (_, group_id, change) in &self.tail {
            if different == 0 {
                return Ok(());
            }
            let state = expected.entry(*group_id).or_default();
            let differed = differs(group_id, state);
            if different == usize::from(differed)
                && is_cut_within(state, change, found_of(group_id))
            {
                return Ok(());
            }
            state.fold(change);
            different = different - usize::from(differed) + usize::from(differs(group_id, state));
        }
        if different == 0 {
            return Ok(());
        }
        broken("durable log", || {
            let of_group = |(group_id, state): (&GroupId, &LogState)| {
                let what = state.difference(found_of(group_id))?;
                Some(format!("group {group_id}: {what}"))
            };
            let what: Vec<String> = at_first.iter().filter_map(of_group).collect();
            let (durable, tail) = (what.join("; "), self.tail.len());
            format!("{place:?} opens with what it never held; what was durable (+ {tail} records): {durable}")
        })
    }
}

/// Whether a log holds just the first of the entries of a change.
fn is_cut_within(state: &LogState, change: &Change, found: &LogState) -> bool {
    let Change::Entries { runs, last } = change else { return false };
    let first = runs.first().map_or(0, |run| run.index);
    if found.last < first || found.last >= *last {
        return false;
    }
    let mut cut = state.clone();
    cut.fold_until(change, found.last);
    cut == *found
}
