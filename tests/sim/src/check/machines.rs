//! State machines: all are shown the same entries, in order and without a gap, and come to the same states.

use std::collections::BTreeMap;

use libraft::ids::{GroupId, Index, Term};
use libraft::machine::AppliedEntry;

use super::commits::Commits;
use super::entries::Meaning;
use super::logs::Logs;
use super::state::Position;
use super::{broken, Verdict};
use crate::observation::{Place, Violation};
use crate::registers::Registers;

/// See the module.
#[derive(Default)]
pub struct Machines {
    groups: BTreeMap<GroupId, Reference>,
    lives: BTreeMap<(Place, GroupId), Life>,
    /// How far the machines of a place ever were.
    reached: BTreeMap<(Place, GroupId), Index>,
}

/// A machine of the judge's own, which goes ahead of all others.
#[derive(Default)]
struct Reference {
    registers: Registers,
    /// By index; `None` for entries that no machine is shown.
    steps: Vec<Option<Step>>,
}

/// What an entry does to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    term: Term,
    result: u64,
    hash: u64,
}

/// A machine that runs.
#[derive(Default)]
struct Life {
    applied: Index,
    /// Whether it was shown anything, or restored, since it was opened.
    is_used: bool,
}

impl Reference {
    fn step(&self, index: Index) -> Option<Step> {
        *self.steps.get(index as usize)?
    }

    /// The hash of the state behind an entry; `None` if no machine can be there.
    fn hash(&self, applied: Index) -> Option<u64> {
        match applied {
            0 => Some(0),
            _ => self.step(applied).map(|step| step.hash),
        }
    }

    fn apply(&mut self, entry: &AppliedEntry) {
        let result = self.registers.apply(entry.index, entry.term, &entry.data);
        let step = Step { term: entry.term, result, hash: self.registers.hash };
        self.steps.resize(entry.index as usize, None);
        self.steps.push(Some(step));
    }
}

impl Machines {
    /// How far a machine of a place ever was.
    pub fn reached(&self, place: Place, group_id: GroupId) -> Index {
        self.reached.get(&(place, group_id)).copied().unwrap_or(0)
    }

    pub fn all_ended(&mut self, place: Place) {
        self.lives.retain(|(of, _), _| *of != place);
    }

    pub fn opened(&mut self, place: Place, group_id: GroupId, applied: Index) -> Verdict {
        let hash = self.groups.entry(group_id).or_default().hash(applied);
        if hash.is_none() {
            return broken("applied prefix", || {
                format!("the machine of group {group_id} at {place:?} opens with {applied}, which it was never shown")
            });
        }
        self.lives.insert((place, group_id), Life { applied, is_used: false });
        Ok(())
    }

    /// A machine applied an entry, which is known to be committed. Whether it is the first to do so.
    pub fn applied(
        &mut self,
        place: Place,
        group_id: GroupId,
        entry: &AppliedEntry,
        (result, hash): (u64, u64),
        (logs, commits): (&Logs, &Commits),
    ) -> Result<bool, Violation> {
        let life = self.lives.entry((place, group_id)).or_default();
        require_next(place, group_id, life.applied, entry, (logs, commits))?;
        (life.applied, life.is_used) = (entry.index, true);
        let reached = self.reached.entry((place, group_id)).or_default();
        *reached = entry.index.max(*reached);
        let reference = self.groups.entry(group_id).or_default();
        let is_first = entry.index > reference.registers.applied;
        if is_first {
            require_next(place, group_id, reference.registers.applied, entry, (logs, commits))?;
            reference.apply(entry);
        }
        let (step, expected) =
            (Step { term: entry.term, result, hash }, reference.step(entry.index));
        if expected != Some(step) {
            let index = entry.index;
            broken("state", || {
                format!("{place:?} applies {index} of group {group_id} and comes to {step:?}, not to {expected:?}")
            })?;
        }
        Ok(is_first)
    }

    /// A machine is saved, as it is.
    pub fn saved(&self, place: Place, group_id: GroupId, applied: Index, hash: u64) -> Verdict {
        let life = self.lives.get(&(place, group_id)).map_or(0, |life| life.applied);
        let expected = self.groups.get(&group_id).and_then(|group| group.hash(applied));
        if life == applied && expected == Some(hash) {
            return Ok(());
        }
        broken("snapshot", || {
            format!(
                "{place:?} saves group {group_id} at {applied} with {hash}; it is at {life}, and {expected:?} is right"
            )
        })
    }

    /// A machine is replaced by one that was saved.
    pub fn restored(
        &mut self,
        place: Place,
        group_id: GroupId,
        (applied, hash): (Index, u64),
        (logs, commits): (&Logs, &Commits),
    ) -> Verdict {
        let expected = self.groups.entry(group_id).or_default().hash(applied);
        if expected != Some(hash) {
            return broken("snapshot", || {
                format!("{place:?} restores group {group_id} at {applied} with {hash}, where {expected:?} is right")
            });
        }
        let life = self.lives.entry((place, group_id)).or_default();
        if life.is_used && applied < life.applied {
            return broken("snapshot", || {
                format!(
                    "{place:?} goes back to {applied} of group {group_id}, and was at {}",
                    life.applied
                )
            });
        }
        *life = Life { applied, is_used: true };
        let reached = self.reached.entry((place, group_id)).or_default();
        *reached = applied.max(*reached);
        let unrestored = logs.current(place, group_id).and_then(|log| log.unrestored);
        let Some((_, index)) = unrestored else { return Ok(()) };
        match lacking(group_id, applied, index, (logs, commits)) {
            None => Ok(()),
            Some(at) => {
                broken("snapshot", || {
                    format!("{place:?} restores group {group_id} at {applied} for {index}: it lacks {at:?}")
                })
            }
        }
    }
}

/// An entry that machines are shown between two others.
fn lacking(
    group_id: GroupId,
    after: Index,
    until: Index,
    (logs, commits): (&Logs, &Commits),
) -> Option<Position> {
    let entries = logs.entries(group_id)?;
    let positions = (after + 1..=until).filter_map(|index| commits.position(group_id, index));
    let mut shown = positions.filter(|at| entries.is_shown(*at));
    shown.next()
}

/// An entry is the next that a machine is shown after another one, and it is the one of the log.
fn require_next(
    place: Place,
    group_id: GroupId,
    after: Index,
    entry: &AppliedEntry,
    (logs, commits): (&Logs, &Commits),
) -> Verdict {
    let index = entry.index;
    if index <= after {
        return broken("applied prefix", || {
            format!("{place:?} applies {index} of group {group_id} again: it is at {after}")
        });
    }
    if let Some(at) = lacking(group_id, after, index - 1, (logs, commits)) {
        return broken("applied prefix", || {
            format!("{place:?} applies {index} of group {group_id} after {after}: it was not shown {at:?}")
        });
    }
    let committed = commits.position(group_id, index);
    let known = committed.and_then(|at| logs.entries(group_id)?.get(at));
    let is_that =
        |meaning: &Meaning| matches!(meaning, Meaning::Payload(payload) if *payload == entry.data);
    if committed.is_some_and(|at| at.term == entry.term)
        && known.is_some_and(|known| is_that(&known.meaning))
    {
        return Ok(());
    }
    broken("state", || {
        format!("{place:?} is shown {entry:?} of group {group_id}, where {committed:?} is committed: {known:?}")
    })
}
