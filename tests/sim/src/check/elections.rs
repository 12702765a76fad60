//! Votes, terms and leaders.

use std::collections::BTreeMap;

use libraft::ids::{GroupId, RaftId, Term};
use libraft::log::HardState;
use libraft::{GroupStatus, Role};

use super::commits::Commits;
use super::logs::Logs;
use super::{broken, Verdict};
use crate::observation::Place;

/// See the module.
#[derive(Default)]
pub struct Elections {
    leaders: BTreeMap<(GroupId, Term), Place>,
    /// Who has a vote for somebody durable.
    votes: BTreeMap<(GroupId, Term, RaftId), Vec<Place>>,
    /// The highest term that a group that runs has shown.
    terms: BTreeMap<(Place, GroupId), Term>,
}

impl Elections {
    /// A replica puts a hard state into its log.
    pub fn promise(
        &self,
        place: Place,
        group_id: GroupId,
        before: HardState,
        next: HardState,
    ) -> Verdict {
        if next.term < before.term {
            return broken("term", || {
                format!("{place:?} goes back in group {group_id}: from {before:?} to {next:?}")
            });
        }
        if next.term == before.term && before.vote != 0 && next.vote != before.vote {
            return broken("one vote", || {
                format!(
                    "{place:?} changes its vote in group {group_id}: from {before:?} to {next:?}"
                )
            });
        }
        Ok(())
    }

    /// A hard state is durable.
    pub fn promised(&mut self, place: Place, group_id: GroupId, hard_state: HardState) {
        if hard_state.vote == 0 {
            return;
        }
        let votes = self.votes.entry((group_id, hard_state.term, hard_state.vote)).or_default();
        if !votes.contains(&place) {
            votes.push(place);
        }
    }

    /// What runs of a group at a place begins anew, or has ended.
    pub fn ended(&mut self, place: Place, group_id: GroupId) {
        self.terms.remove(&(place, group_id));
    }

    pub fn all_ended(&mut self, place: Place) {
        self.terms.retain(|(of, _), _| *of != place);
    }

    pub fn status(
        &mut self,
        place: Place,
        group_id: GroupId,
        status: &GroupStatus,
        logs: &Logs,
        commits: &Commits,
    ) -> Verdict {
        // A replica that is not in service says nothing of its term.
        if status.term == 0 {
            return Ok(());
        }
        let highest = self.terms.entry((place, group_id)).or_default();
        let least = (*highest).max(logs.durable_hard_state(place, group_id).term);
        if status.term < least {
            return broken("term", || {
                format!(
                    "{place:?} is in term {} of group {group_id}, and was in {least}",
                    status.term
                )
            });
        }
        *highest = status.term;
        if status.role != Role::Leader {
            return Ok(());
        }
        match self.leaders.get(&(group_id, status.term)) {
            Some(leader) if *leader == place => Ok(()),
            Some(leader) => broken("one leader", || {
                format!(
                    "term {} of group {group_id} has the leaders {leader:?} and {place:?}",
                    status.term
                )
            }),
            None => {
                self.leaders.insert((group_id, status.term), place);
                self.require_votes(place, group_id, status, logs, commits)?;
                commits.require_complete(place, group_id, status.term, logs)
            }
        }
    }

    /// A quorum has voted for a new leader, durably. Its own vote may still be on its way to its disk, as long as nobody
    /// else needs to know of it.
    fn require_votes(
        &self,
        place: Place,
        group_id: GroupId,
        status: &GroupStatus,
        logs: &Logs,
        commits: &Commits,
    ) -> Verdict {
        let (term, vote) = (status.term, status.raft_id);
        let own = logs.current(place, group_id).map(|log| log.hard_state);
        let votes = self.votes.get(&(group_id, term, vote));
        let voted = |voter: Place| match voter == place {
            true => own.is_some_and(|own| (own.term, own.vote) == (term, vote)),
            false => votes.is_some_and(|votes| votes.contains(&voter)),
        };
        if commits.newest_electorates(group_id).any(|electorate| electorate.is_quorum(voted)) {
            return Ok(());
        }
        broken("election quorum", || {
            format!("{place:?} leads group {group_id} in term {term} with the votes {votes:?} and its own, {own:?}")
        })
    }
}
