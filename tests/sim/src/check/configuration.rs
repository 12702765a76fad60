//! Who votes in a group, and what a quorum of them is.

use libraft::ids::{Index, RaftId};
use libraft::replica::{Membership, Seat};

use crate::observation::Place;

/// The voters of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    /// The incoming half, and the outgoing one: that has nobody if the configuration is not joint.
    halves: [Vec<(RaftId, Place)>; 2],
}

impl Electorate {
    pub fn of(membership: &Membership) -> Electorate {
        let half = |is_outgoing: bool| {
            let members = membership.members.iter().filter(move |member| match is_outgoing {
                true => member.outgoing,
                false => member.seat() == Seat::Voter,
            });
            members.map(|member| {
                let place = Place { node_id: member.node_id, incarnation: member.incarnation() };
                (member.raft_id, place)
            })
        };
        Electorate { halves: [half(false).collect(), half(true).collect()] }
    }

    /// Whether a majority of each half is `counted`.
    pub fn is_quorum(&self, counted: impl Fn(Place) -> bool) -> bool {
        self.halves.iter().filter(|half| !half.is_empty()).all(|half| {
            let count = half.iter().filter(|(_, place)| counted(*place)).count();
            count * 2 > half.len()
        })
    }

    /// Whether these are the raft ids of its two halves, in any order.
    pub fn has_voters(&self, voters: &[Vec<RaftId>; 2]) -> bool {
        self.halves.iter().zip(voters).all(|(half, voters)| {
            let has = |raft_id: &RaftId| half.iter().any(|(known, _)| known == raft_id);
            half.len() == voters.len() && voters.iter().all(has)
        })
    }
}

/// All configurations of a group that are committed, with the index from which on each is in force.
#[derive(Debug, Default)]
pub struct Configurations {
    known: Vec<(Index, std::rc::Rc<Electorate>)>,
}

impl Configurations {
    pub fn push(&mut self, index: Index, electorate: std::rc::Rc<Electorate>) {
        self.known.push((index, electorate));
    }

    fn position(&self, index: Index) -> usize {
        self.known.partition_point(|(since, _)| *since <= index)
    }

    /// The newest one up to an index.
    pub fn at(&self, index: Index) -> Option<&Electorate> {
        let (_, electorate) = self.known.get(self.position(index).checked_sub(1)?)?;
        Some(electorate)
    }

    /// All that may be in force at somebody who knows that at least `low` and at most `high` is committed.
    pub fn between(&self, low: Index, high: Index) -> impl Iterator<Item = &Electorate> {
        let first = self.position(low).saturating_sub(1);
        let known = self.known[first..self.position(high).max(first)].iter();
        known.map(|(_, electorate)| &**electorate)
    }

    /// The one that is in force at a leader whose log has everything up to `index`: the newest, or the one before it. A
    /// leader proposes no change before the last one is in force with it, and nobody can hold the entry of a change
    /// without knowing that the one before is committed.
    pub fn of_leader(&self, index: Index, high: Index) -> impl Iterator<Item = &Electorate> {
        let first = self.position(index).saturating_sub(2);
        let known = self.known[first..self.position(high).max(first)].iter();
        known.map(|(_, electorate)| &**electorate)
    }
}
