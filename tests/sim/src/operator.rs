//! The operator of a group: changes who is a member, replaces who was lost, moves leadership, asks for snapshots.
//!
//! He also knows how much the world may still take away: never more than a minority of the voters of any configuration
//! that may be in force.

use std::sync::{Arc, Mutex};

use libraft::error::Outcome;
use libraft::group::Change;
use libraft::ids::Term;
use libraft::{Group, Member, MemberRole, Role};

use crate::event::{Event, MS};
use crate::hub::Life;
use crate::machine::lock;
use crate::network::address;
use crate::observation::Place;
use crate::settings::Fault;
use crate::world::World;

/// What the operator remembers of a change that he asked for.
#[derive(Clone, Default)]
pub struct Operator {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The life in which the change was asked for that has not ended, and the leader's term then.
    asked: Option<(Life, Term)>,
    /// A change of this term may yet come into force.
    unsettled: Term,
}

/// A group's leader, and what it says of the members.
struct Led {
    life: Life,
    group: Group,
    term: Term,
    members: Vec<Member>,
}

impl World {
    /// The operator of a group looks what there is to do.
    pub fn operate(&mut self, group: usize) {
        let least = if self.healing { 200 } else { 300 };
        let delay = self.random.between(least, 2_500) * MS;
        self.hub.core().after(delay, Event::Operator { group });
        self.give_up_on_lost_change(group);
        if lock(&self.groups[group].operator.state).asked.is_some() {
            return;
        }
        let Some(led) = self.led(group) else { return };
        if let Some(steps) = self.replacement(&led) {
            return self.change(group, &led, "replace", steps);
        }
        let is_gone = |member: &Member| self.is_gone(&place_of(member));
        if self.healing || led.members.iter().any(is_gone) {
            return;
        }
        match self.random.below(4) {
            0 if self.has(Fault::Transfer) => self.transfer(group, &led),
            1 if self.has(Fault::Snapshot) => self.take_snapshot(group),
            _ if self.has(Fault::Membership) => {
                let (what, steps) = self.drawn_change(&led);
                if !steps.is_empty() {
                    self.change(group, &led, what, steps);
                }
            }
            _ => {}
        }
    }

    fn give_up_on_lost_change(&self, group: usize) {
        let mut state = lock(&self.groups[group].operator.state);
        let over = state.asked.take_if(|(life, _)| life.is_over());
        if let Some((_, term)) = over {
            state.unsettled = state.unsettled.max(term);
        }
    }

    /// The leader of a group, if it runs: of the highest term, should there be several that believe so.
    fn led(&self, group: usize) -> Option<Led> {
        let group_id = self.groups[group].options.group_id;
        let serving = self.nodes.iter().filter(|node| node.serves());
        let led = serving.filter_map(|node| {
            let life = node.life()?.clone();
            let running = self.caller.running(life.id, group_id)?;
            let status = running.group.status().ok()?;
            let members = running.group.members().ok()?;
            let (group, term) = (running.group, status.term);
            (status.role == Role::Leader).then_some(Led { life, group, term, members })
        });
        led.max_by_key(|led| led.term)
    }

    /// The next step in replacing a member that was lost; `None` if none was.
    fn replacement(&self, led: &Led) -> Option<Vec<Change>> {
        let lost = led.members.iter().find(|member| self.lost.contains(&place_of(member)))?;
        let node_id = lost.node_id;
        let node = &self.nodes[node_id as usize - 1];
        let fresh = node.place();
        if self.lost.contains(&fresh) {
            return Some(Vec::new());
        }
        let present = led.members.iter().find(|member| place_of(member) == fresh);
        let replicas = led.members.iter().filter(|member| member.node_id == node_id).count();
        Some(match present.map(|member| member.role) {
            _ if lost.role == MemberRole::Learner => vec![Change::Remove { node_id }],
            // The one that was to replace it was lost as well: a node has two replicas at most.
            None if replicas > 1 => vec![Change::Remove { node_id }],
            None => vec![Change::AddLearner { node_id, address: address(node.index) }],
            Some(MemberRole::Learner) => {
                vec![Change::Promote { node_id }, Change::Remove { node_id }]
            }
            Some(_) => vec![Change::Remove { node_id }],
        })
    }

    fn drawn_change(&mut self, led: &Led) -> (&'static str, Vec<Change>) {
        let of_role = |role| led.members.iter().filter(move |member| member.role == role);
        let voters: Vec<u64> = of_role(MemberRole::Voter).map(|member| member.node_id).collect();
        let learners: Vec<u64> =
            of_role(MemberRole::Learner).map(|member| member.node_id).collect();
        let is_member = |node: u64| led.members.iter().any(|member| member.node_id == node);
        let others: Vec<u64> =
            (1..=self.nodes.len() as u64).filter(|node| !is_member(*node)).collect();
        let random = &mut self.random;
        let voter = random.pick(&voters).copied();
        let learner = random.pick(&learners).copied();
        let other = random.pick(&others).copied();
        let add = |node_id: u64| address(node_id as usize - 1);
        let least = 2.max(self.nodes.len().min(3) - 1);
        match (random.below(7), voter, learner, other) {
            (0, _, Some(node_id), _) => ("promote", vec![Change::Promote { node_id }]),
            (1, _, _, Some(node_id)) => {
                ("add learner", vec![Change::AddLearner { node_id, address: add(node_id) }])
            }
            (2, _, _, Some(node_id)) => {
                ("add voter", vec![Change::AddVoter { node_id, address: add(node_id) }])
            }
            (3, Some(node_id), _, _) if voters.len() > least => {
                ("demote", vec![Change::Demote { node_id }])
            }
            (4, Some(node_id), _, _) if voters.len() > least.max(3) => {
                ("remove", vec![Change::Remove { node_id }])
            }
            (5, Some(old), Some(new), _) => (
                "exchange",
                vec![Change::Promote { node_id: new }, Change::Demote { node_id: old }],
            ),
            (6, _, Some(node_id), _) => ("remove learner", vec![Change::Remove { node_id }]),
            (_, Some(node_id), _, _) => {
                ("set address", vec![Change::SetAddress { node_id, address: add(node_id) }])
            }
            _ => ("", Vec::new()),
        }
    }

    fn change(&mut self, group: usize, led: &Led, what: &'static str, steps: Vec<Change>) {
        if steps.is_empty() {
            return;
        }
        let plan = &self.groups[group];
        self.hub.note(|| format!("operator of group {}: {steps:?}", plan.options.group_id));
        let (operator, hub, term) = (plan.operator.clone(), self.hub.clone(), led.term);
        lock(&operator.state).asked = Some((led.life.clone(), term));
        let life = led.life.clone();
        let done = Box::new(move |result: &libraft::Result<_>| {
            if life.is_over() {
                return;
            }
            hub.note(|| match result {
                Ok(_) => format!("{what}: done"),
                Err(error) => format!("{what}: {error}"),
            });
            let mut state = lock(&operator.state);
            state.asked = None;
            match result {
                Ok(_) => hub.core().counters.count(counted(what)),
                Err(error) if error.outcome == Outcome::Unknown => {
                    state.unsettled = state.unsettled.max(term);
                }
                Err(_) => {}
            }
        });
        let group_id = plan.options.group_id;
        let make = |group: &Group, completer| group.change_membership(steps, completer);
        self.caller.other(&led.life, group_id, what, make, done);
    }

    fn transfer(&mut self, group: usize, led: &Led) {
        let Some(member) = self.random.pick(&led.members) else { return };
        let (to, hub) = (member.node_id, self.hub.clone());
        let done = Box::new(move |result: &libraft::Result<_>| {
            if result.is_ok() {
                hub.count("transfers");
            }
        });
        let group_id = self.groups[group].options.group_id;
        let make = |group: &Group, completer| group.transfer_leadership(to, completer);
        debug_assert_eq!(led.group.group_id(), group_id);
        self.caller.other(&led.life, group_id, "transfer", make, done);
    }

    fn take_snapshot(&mut self, group: usize) {
        let at = self.random.below(self.nodes.len() as u64) as usize;
        let node = &self.nodes[at];
        let Some(life) = node.life().filter(|_| node.serves()).cloned() else { return };
        let hub = self.hub.clone();
        let done = Box::new(move |result: &libraft::Result<_>| {
            if result.is_ok() {
                hub.count("snapshots on demand");
            }
        });
        let group_id = self.groups[group].options.group_id;
        let make = |group: &Group, completer| group.take_snapshot(completer);
        self.caller.other(&life, group_id, "snapshot", make, done);
    }

    /// Whether the world may take a node's directory away, and every group survives it.
    pub fn can_lose(&self, node: usize) -> bool {
        let now = self.now();
        let place = self.nodes[node].place();
        if now < self.frozen_until || self.lost.contains(&place) {
            return false;
        }
        let created = self.groups.iter().filter(|plan| plan.created_at <= now);
        created.into_iter().all(|plan| {
            let group_id = plan.options.group_id;
            let applied_term = self.caller.applied_term(group_id);
            let state = lock(&plan.operator.state);
            if applied_term == 0 || state.asked.is_some() || applied_term <= state.unsettled {
                return false;
            }
            let views = self.nodes.iter().filter_map(|node| node.views.get(&group_id));
            views.flatten().all(|half| self.survives(half, place))
        })
    }

    fn survives(&self, voters: &[Place], place: Place) -> bool {
        let gone = voters.iter().filter(|voter| **voter == place || self.is_gone(voter));
        !voters.contains(&place) || gone.count() <= (voters.len() - 1) / 2
    }

    /// Whether a place is lost, or damaged, which may yet be found to be that.
    fn is_gone(&self, place: &Place) -> bool {
        let node = &self.nodes[place.node_id as usize - 1];
        self.lost.contains(place) || node.damaged && node.place() == *place
    }
}

fn place_of(member: &Member) -> Place {
    Place { node_id: member.node_id, incarnation: member.incarnation }
}

fn counted(what: &str) -> &'static str {
    match what {
        "promote" => "learners promoted",
        "replace" => "steps of replacements",
        "exchange" => "voters exchanged",
        "add voter" => "voters added",
        "add learner" => "learners added",
        "demote" => "voters demoted",
        "remove" | "remove learner" => "members removed",
        _ => "addresses set",
    }
}
