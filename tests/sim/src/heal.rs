//! The second half of a world: everything is healed, and then it must go on.

use std::sync::{Arc, Mutex};

use libraft::{Completion, Role};

use crate::event::{LifeId, Time, SECOND};
use crate::machine::lock;
use crate::network::Weather;
use crate::node::Node;
use crate::observation::{Judge, Violation};
use crate::world::World;

/// How long a healed world may take until everything went on.
const PROGRESS_WITHIN: Time = 300 * SECOND;
/// Events between two looks.
const LOOK_EVERY: u64 = 100;

/// What a healed group must do on a node: one swap and one read.
#[derive(Clone, Default)]
struct Probe(Arc<Mutex<Probed>>);

#[derive(Default)]
struct Probed {
    swapped: bool,
    read: bool,
    underway: bool,
}

/// Something that a healed world comes to: what is missing for it, if anything.
type Demand<'a> = dyn Fn(&mut World) -> Option<String> + 'a;

impl World {
    /// Heals everything, and demands progress.
    pub fn heal(&mut self, judge: &mut dyn Judge) {
        self.hub.note(|| "the world is healed".to_string());
        let last_life = self.last_life;
        self.begin_healing();
        let until = self.now() + PROGRESS_WITHIN;
        let probes: Vec<Vec<Probe>> =
            self.nodes.iter().map(|_| vec![Probe::default(); self.groups.len()]).collect();
        let steps: [&Demand<'_>; 5] = [
            &|world| world.not_restarted(last_life),
            &|world| world.not_replaced(),
            &|world| world.not_probed(&probes),
            &|world| world.not_equal(),
            &|world| world.not_closed(),
        ];
        for missing in steps {
            let mut last = None;
            while let Some(what) = missing(self) {
                if last.replace(what).is_some() && self.now() > until {
                    let what = format!(
                        "after {} s in a healed world: {}",
                        PROGRESS_WITHIN / SECOND,
                        last.unwrap_or_default()
                    );
                    return self.hub.break_rule(Violation { rule: "progress", what });
                }
                self.drive(LOOK_EVERY, judge);
                if self.is_broken() {
                    return;
                }
            }
        }
    }

    fn begin_healing(&mut self) {
        self.healing = true;
        {
            let mut core = self.hub.core();
            core.net.heal();
            core.net.weather = Weather { delay_max: 1_000, ..Weather::default() };
            let now = core.now;
            core.nodes.iter_mut().for_each(|clock| clock.set_rate(now, 1_000_000));
        }
        for node in 0..self.nodes.len() {
            self.heal_disk(node);
            let known = &mut self.nodes[node];
            (known.paused_until, known.flip) = (0, false);
            known.behaviour = Default::default();
            // Every node is restarted, which takes the callbacks along that behave badly.
            if known.set_back {
                self.crash(node, false, SECOND);
                self.wipe(node);
            } else if self.random.once_in(2) || !self.close(node, SECOND) {
                self.crash(node, false, SECOND);
            }
        }
    }

    /// A node that has not begun a new life.
    fn not_restarted(&mut self, last_life: LifeId) -> Option<String> {
        let lives_on = |node: &&Node| node.life().is_none_or(|life| life.id <= last_life);
        let node = self.nodes.iter().find(lives_on)?;
        Some(format!("node {} does not restart", node.index + 1))
    }

    /// Some member that was lost and is not replaced yet, or a node that does not serve.
    fn not_replaced(&mut self) -> Option<String> {
        let down = self.nodes.iter().find(|node| !node.serves());
        if let Some(node) = down {
            return Some(format!("node {} does not serve", node.index + 1));
        }
        for plan in &self.groups {
            let group_id = plan.options.group_id;
            let Some(members) = self.members(group_id) else {
                return Some(format!("group {group_id} has no leader"));
            };
            let lost = members.iter().find(|place| self.lost.contains(place));
            if let Some(lost) = lost {
                return Some(format!("group {group_id} still has the member {lost:?}"));
            }
        }
        None
    }

    /// The members of a group as its leader names them.
    fn members(&self, group_id: u64) -> Option<Vec<crate::observation::Place>> {
        let led = self.nodes.iter().filter_map(|node| {
            let group = self.caller.running(node.life()?.id, group_id)?.group;
            let status = group.status().ok()?;
            let members = group.members().ok()?;
            (status.role == Role::Leader).then_some((status.term, members))
        });
        let (_, members) = led.max_by_key(|(term, _)| *term)?;
        let place = |member: &libraft::Member| crate::observation::Place {
            node_id: member.node_id,
            incarnation: member.incarnation,
        };
        Some(members.iter().map(place).collect())
    }

    /// The nodes that are members of a group; or what is missing.
    fn member_nodes(&self, group_id: u64) -> Result<Vec<&Node>, String> {
        let Some(members) = self.members(group_id) else {
            return Err(format!("group {group_id} has no leader"));
        };
        Ok(self.nodes.iter().filter(|node| members.contains(&node.place())).collect())
    }

    /// A group on some member that has not completed a swap and a read.
    fn not_probed(&mut self, probes: &[Vec<Probe>]) -> Option<String> {
        let mut missing = None;
        for (at, plan) in self.groups.iter().enumerate() {
            let group_id = plan.options.group_id;
            let members = match self.member_nodes(group_id) {
                Ok(members) => members,
                Err(what) => return Some(what),
            };
            for node in members {
                let probe = &probes[node.index][at];
                let probed = lock(&probe.0);
                let (is_done, underway) = (probed.swapped && probed.read, probed.underway);
                drop(probed);
                if is_done {
                    continue;
                }
                missing.get_or_insert_with(|| {
                    format!("group {group_id} does not serve at node {}", node.index + 1)
                });
                if !underway {
                    self.probe(node, group_id, probe);
                }
            }
        }
        self.quiet = missing.is_none();
        missing
    }

    fn probe(&self, node: &Node, group_id: u64, probe: &Probe) {
        let Some(life) = node.life() else { return };
        if self.caller.running(life.id, group_id).is_none() {
            return;
        }
        let swaps = !lock(&probe.0).swapped;
        let (probe, refused) = (probe.clone(), probe.clone());
        lock(&probe.0).underway = true;
        let done = Box::new(move |result: &libraft::Result<Completion>| {
            let mut probed = lock(&probe.0);
            probed.underway = false;
            match swaps {
                true => probed.swapped |= result.is_ok(),
                false => probed.read |= result.is_ok(),
            }
        });
        let taken = match swaps {
            true => self.caller.swap(life, group_id, None, Some(done)),
            false => self.caller.read(life, group_id, None, Some(done)),
        };
        if !taken {
            lock(&refused.0).underway = false;
        }
    }

    /// Two members whose machines hold something else, or a call that has not completed.
    fn not_equal(&mut self) -> Option<String> {
        let pending = self.caller.pending();
        if pending > 0 {
            return Some(format!("{pending} calls have not completed"));
        }
        for plan in &self.groups {
            let group_id = plan.options.group_id;
            let members = match self.member_nodes(group_id) {
                Ok(members) => members,
                Err(what) => return Some(what),
            };
            let mut first = None;
            for node in members {
                let running = node.life().and_then(|life| self.caller.running(life.id, group_id));
                let Some(running) = running else { continue };
                let registers = lock(&running.shared).clone();
                let (known, at) = first.get_or_insert((registers.clone(), node.index + 1));
                if *known != registers {
                    let (here, there) = (registers.applied, known.applied);
                    let other = node.index + 1;
                    return Some(format!(
                        "group {group_id}: node {other} is at {here}, node {at} at {there}"
                    ));
                }
            }
        }
        None
    }

    /// A node that is not closed.
    fn not_closed(&mut self) -> Option<String> {
        let mut missing = None;
        for node in 0..self.nodes.len() {
            self.close(node, Time::MAX / 2);
            if self.nodes[node].running.is_some() {
                missing = Some(format!("node {} does not close", node + 1));
            }
        }
        missing
    }
}
