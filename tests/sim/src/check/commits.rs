//! What is committed, and who votes: proved by what somebody shows of it, and then kept for ever.

use std::collections::BTreeMap;
use std::rc::Rc;

use libraft::ids::{GroupId, Index, RaftId, Term};
use libraft::log::{HardState, Record};
use libraft::GroupStatus;

use super::configuration::{Configurations, Electorate};
use super::entries::{electorate_in, Entries, Meaning};
use super::logs::Logs;
use super::state::{LogState, Position};
use super::{broken, Verdict};
use crate::observation::Place;

/// A group begins as if it was compacted here.
const FORMATION: Position = Position { index: 1, term: 1 };

/// See the module.
#[derive(Default)]
pub struct Commits {
    groups: BTreeMap<GroupId, Committed>,
    /// The highest commit index that a group that runs has shown.
    running: BTreeMap<(Place, GroupId), Index>,
}

struct Committed {
    /// By index.
    terms: Vec<Term>,
    /// What was committed when somebody in a term said so.
    by_term: BTreeMap<Term, Index>,
    configurations: Configurations,
}

impl Default for Committed {
    fn default() -> Committed {
        let (terms, by_term) = (vec![0, FORMATION.term], BTreeMap::new());
        Committed { terms, by_term, configurations: Configurations::default() }
    }
}

impl Committed {
    fn last(&self) -> Index {
        self.terms.len() as Index - 1
    }

    fn position(&self, index: Index) -> Option<Position> {
        self.terms.get(index as usize).map(|term| Position { index, term: *term })
    }
}

impl Commits {
    /// The last index that is known to be committed.
    pub fn last(&self, group_id: GroupId) -> Index {
        self.groups.get(&group_id).map_or(0, Committed::last)
    }

    /// The entry that is committed at an index.
    pub fn position(&self, group_id: GroupId, index: Index) -> Option<Position> {
        self.groups.get(&group_id)?.position(index)
    }

    /// The electorates that may have elected a leader who has everything that is committed.
    pub fn newest_electorates(&self, group_id: GroupId) -> impl Iterator<Item = &Electorate> {
        let group = self.groups.get(&group_id).into_iter();
        group.flat_map(|group| group.configurations.of_leader(group.last(), group.last()))
    }

    /// What runs of a group at a place begins anew, or has ended.
    pub fn ended(&mut self, place: Place, group_id: GroupId) {
        self.running.remove(&(place, group_id));
    }

    pub fn all_ended(&mut self, place: Place) {
        self.running.retain(|(of, _), _| *of != place);
    }

    /// A record was appended: it may say what is committed. `before` is the hard state that it followed.
    pub fn appended(
        &mut self,
        place: Place,
        group_id: GroupId,
        record: &Record,
        before: HardState,
        logs: &Logs,
    ) -> Verdict {
        match record {
            Record::HardState(next) => {
                if next.commit < before.commit {
                    return broken("commit index", || {
                        format!(
                            "{place:?} takes back in group {group_id}: from {before:?} to {next:?}"
                        )
                    });
                }
                self.prove(place, group_id, next.commit, logs)
            }
            Record::Entries(entries) => {
                let first = entries.first().map_or(Index::MAX, |entry| entry.index);
                let known =
                    self.running.get(&(place, group_id)).copied().unwrap_or(0).max(before.commit);
                if first <= known {
                    return broken("committed log", || {
                        format!("{place:?} replaces entry {first} of group {group_id}; {known} is committed")
                    });
                }
                Ok(())
            }
            Record::Compact { index, term } => {
                self.prove(place, group_id, *index, logs)?;
                self.require(place, group_id, Position { index: *index, term: *term })
            }
            Record::Membership { index, membership } => {
                self.prove(place, group_id, *index, logs)?;
                self.require_electorate(place, group_id, *index, membership)
            }
            Record::Reset { index, term, membership, hard_state, .. } => {
                let at = Position { index: *index, term: *term };
                if at == FORMATION {
                    self.form(group_id, membership);
                }
                self.require(place, group_id, at)?;
                self.require_electorate(place, group_id, *index, membership)?;
                if hard_state.commit < before.commit {
                    return broken("commit index", || {
                        format!("{place:?} takes back in group {group_id}: from {before:?} to {hard_state:?}")
                    });
                }
                self.prove(place, group_id, hard_state.commit, logs)
            }
            Record::Meta(_) | Record::Restored { .. } => Ok(()),
        }
    }

    /// All members write down the same beginning; the first one is taken.
    fn form(&mut self, group_id: GroupId, membership: &[u8]) {
        let group = self.groups.entry(group_id).or_default();
        if group.configurations.at(FORMATION.index).is_none() {
            if let Some(electorate) = electorate_in(membership) {
                group.configurations.push(FORMATION.index, Rc::new(electorate));
            }
        }
    }

    fn require(&self, place: Place, group_id: GroupId, at: Position) -> Verdict {
        let committed = self.position(group_id, at.index);
        if committed == Some(at) {
            return Ok(());
        }
        broken("committed log", || {
            format!("{place:?} has {at:?} committed in group {group_id}, where {committed:?} is")
        })
    }

    fn require_electorate(
        &self,
        place: Place,
        group_id: GroupId,
        index: Index,
        membership: &[u8],
    ) -> Verdict {
        let claimed = electorate_in(membership);
        let group = self.groups.get(&group_id);
        let known = group.and_then(|group| group.configurations.at(index));
        if claimed.as_ref() == known {
            return Ok(());
        }
        broken("configuration", || {
            format!("{place:?} records for index {index} of group {group_id} {claimed:?}, where {known:?} is in force")
        })
    }

    /// What a group that runs says of itself.
    pub fn status(
        &mut self,
        place: Place,
        group_id: GroupId,
        status: &GroupStatus,
        voters: &[Vec<RaftId>; 2],
        logs: &Logs,
    ) -> Verdict {
        // One that has no log (yet, or any more) says nothing.
        if status.first_index == 0 {
            return Ok(());
        }
        let known = self.running.get(&(place, group_id)).copied().unwrap_or(0);
        let (commit, applied) = (status.commit_index, status.applied_index);
        if commit < known {
            return broken("commit index", || {
                format!("{place:?} takes back in group {group_id}: from {known} to {commit}")
            });
        }
        if applied > commit {
            return broken("commit index", || {
                format!("{place:?} has applied {applied} of group {group_id}, and {commit} is committed")
            });
        }
        self.prove(place, group_id, commit, logs)?;
        if voters.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let Some(group) = self.groups.get(&group_id) else { return Ok(()) };
        let least = applied.max(status.first_index - 1);
        let mut in_force = group.configurations.between(least, commit);
        if in_force.any(|electorate| electorate.has_voters(voters)) {
            return Ok(());
        }
        broken("configuration", || {
            let known: Vec<&Electorate> = group.configurations.between(least, commit).collect();
            format!("{place:?} has the voters {voters:?} in group {group_id} between {least} and {commit}: {known:?}")
        })
    }

    /// A place says that everything in its log up to an index is committed.
    pub fn prove(&mut self, place: Place, group_id: GroupId, index: Index, logs: &Logs) -> Verdict {
        let known = self.running.entry((place, group_id)).or_default();
        if index <= *known {
            return Ok(());
        }
        *known = index;
        let nothing = LogState::default();
        let log = logs.current(place, group_id).unwrap_or(&nothing);
        if index > log.last {
            return broken("commit index", || {
                format!(
                    "{place:?} has {index} committed in group {group_id}, and its log ends at {}",
                    log.last
                )
            });
        }
        let group = self.groups.entry(group_id).or_default();
        let common = index.min(group.last());
        if let (Some(term), Some(at)) = (log.term_at(common), group.position(common)) {
            // Whatever is before it is the same as well, as logs match.
            if common > 0 && term != at.term {
                return broken("committed log", || {
                    format!(
                        "{place:?} has term {term} committed in group {group_id}, where {at:?} is"
                    )
                });
            }
        }
        if index <= group.last() {
            return Ok(());
        }
        let before = group.last();
        for index in before + 1..=index {
            let Some(term) = log.term_at(index) else {
                return broken("committed log", || {
                    format!("{place:?} has {index} of group {group_id} committed, and nobody has ever shown what it is")
                });
            };
            let at = Position { index, term };
            group.terms.push(term);
            if let Some(Meaning::Configuration(electorate)) = meaning(logs.entries(group_id), at) {
                group.configurations.push(index, electorate.clone());
            }
        }
        group.by_term.insert(log.hard_state.term, index);
        let at = Position { index, term: group.terms[index as usize] };
        let has = |voter: Place| logs.had_durable(voter, group_id, at);
        if group.configurations.of_leader(before, index).any(|electorate| electorate.is_quorum(has))
        {
            return Ok(());
        }
        broken("commit quorum", || {
            let electorates: Vec<&Electorate> =
                group.configurations.of_leader(before, index).collect();
            format!("{place:?} has {at:?} of group {group_id} committed, which no quorum has durable: {electorates:?}")
        })
    }

    /// A leader has everything that was committed in terms below its own.
    pub fn require_complete(
        &self,
        place: Place,
        group_id: GroupId,
        term: Term,
        logs: &Logs,
    ) -> Verdict {
        let Some(group) = self.groups.get(&group_id) else { return Ok(()) };
        let below = group.by_term.range(..term).map(|(_, index)| *index).max();
        let Some(at) = below.and_then(|index| group.position(index)) else { return Ok(()) };
        if logs.current(place, group_id).is_some_and(|log| log.holds(at)) {
            return Ok(());
        }
        broken("leader completeness", || {
            format!("{place:?} leads group {group_id} in term {term} without {at:?}, which is committed")
        })
    }
}

fn meaning(entries: Option<&Entries>, at: Position) -> Option<&Meaning> {
    Some(&entries?.get(at)?.meaning)
}
