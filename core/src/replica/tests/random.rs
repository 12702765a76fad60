//! Replicas in a world of chance: messages are lost and overtake each other, nodes lose power,
//! disks and machines are slow. Whatever happens, what is committed stays, all machines apply the
//! same, and every call completes once and truly.
//!
//! The seed is printed; `REPLICA_SEED` runs a single one, `REPLICA_SEEDS` so many.

use std::collections::BTreeMap;

use super::world::{options, World};
use crate::error::{Code, Outcome};
use crate::group::MemberRole;
use crate::ids::{Index, NodeId, Term, Uuid};
use crate::machine::MachineKind;
use crate::replica::{Event, MemberChange, Notice, ReplicaOptions, Role};

pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// What must hold at all times.
#[derive(Default)]
struct Truth {
    /// What the machines applied at each index.
    applied: BTreeMap<Index, String>,
    leaders: BTreeMap<Term, NodeId>,
}

impl Truth {
    fn check(&mut self, world: &World, newest: usize) {
        for (node_id, node) in &world.nodes {
            let status = match &node.replica {
                Some(replica) => replica.status(),
                None => continue,
            };
            let failure = status.failure.filter(|failure| failure.code != Code::Removed);
            assert!(failure.is_none(), "node {node_id} failed: {failure:?}");
            if status.role == Role::Leader {
                let leader = *self.leaders.entry(status.term).or_insert(*node_id);
                assert_eq!(leader, *node_id, "two leaders in term {}", status.term);
            }
            for (index, data) in node.machine.entries.iter().rev().take(newest) {
                let data = String::from_utf8_lossy(data).into_owned();
                let known = self.applied.entry(*index).or_insert_with(|| data.clone());
                assert_eq!(*known, data, "node {node_id} applied something else at {index}");
            }
        }
    }
}

/// One node at a time loses its disk and is replaced by itself, or is removed and added again.
/// Nobody is demoted then: a majority must remain.
#[derive(Default)]
struct Replacing {
    happens: bool,
    removes: bool,
    node_id: Option<NodeId>,
    is_out: bool,
    wipes: u8,
}

impl Replacing {
    fn incarnation(&self) -> Uuid {
        Uuid([200 + self.wipes; 16])
    }

    fn begin(&mut self, world: &mut World, node_id: NodeId) {
        if !self.happens || self.node_id.is_some() || self.wipes > 20 {
            return;
        }
        self.wipes += 1;
        self.node_id = Some(node_id);
        if self.removes {
            return;
        }
        world.crash(node_id);
        let options = ReplicaOptions {
            incarnation: self.incarnation(),
            initial_members: Vec::new(),
            ..world.node(node_id).options.clone()
        };
        world.add(options).expect("an empty directory can be opened");
    }

    /// Asks for the next step of the replacement.
    fn go_on(&mut self, world: &mut World, leader: NodeId) {
        let Some(node_id) = self.node_id else { return };
        let Some(replica) = &world.node(leader).replica else { return };
        if replica.status().role != Role::Leader {
            return;
        }
        let members = replica.members();
        if self.removes {
            let role = members.iter().find(|member| member.node_id == node_id).map(|m| m.role);
            self.is_out |= role.is_none();
            let step = match role {
                None => {
                    let incarnation = world.node(node_id).options.incarnation;
                    let address = format!("host{node_id}:1");
                    MemberChange::AddLearner { node_id, incarnation, address }
                }
                Some(MemberRole::Voter) if self.is_out => {
                    (self.node_id, self.is_out) = (None, false);
                    return;
                }
                Some(_) if self.is_out => MemberChange::Promote { node_id },
                Some(_) => MemberChange::Remove { node_id },
            };
            world.change(leader, vec![step]);
            return;
        }
        let new = members.iter().find(|member| member.incarnation == self.incarnation());
        let count = members.iter().filter(|member| member.node_id == node_id).count();
        let step = match new.map(|member| member.role) {
            None => vec![MemberChange::AddLearner {
                node_id,
                incarnation: self.incarnation(),
                address: format!("host{node_id}:2"),
            }],
            Some(MemberRole::Voter) if count == 1 => {
                self.node_id = None;
                return;
            }
            Some(_) => {
                vec![MemberChange::Promote { node_id }, MemberChange::Remove { node_id }]
            }
        };
        world.change(leader, step);
    }
}

fn disturb(world: &mut World, chance: &mut Chance, replacing: &mut Replacing, nodes: u64) {
    let node_id = 1 + chance.below(nodes);
    let kind = chance.below(100);
    if world.node(node_id).replica.is_none() && (66..99).contains(&kind) {
        return;
    }
    match kind {
        0..=29 => {
            if !world.network.is_empty() {
                let position = match chance.below(4) {
                    0 => chance.below(world.network.len() as u64) as usize,
                    _ => 0,
                };
                let packet = world.network.remove(position);
                if let Some(packet) = packet.filter(|_| !chance.one_in(12)) {
                    world.deliver(packet);
                }
            }
        }
        30..=44 => {
            world.sync(node_id);
        }
        45..=57 => {
            world.work(node_id);
        }
        58..=62 => {
            world.read(node_id);
        }
        63..=65 => {
            world.transfer(node_id);
        }
        66..=79 => {
            // Time runs faster while nothing can happen without an election.
            let leaderless = (1..=nodes).all(|id| match &world.node(id).replica {
                Some(replica) => replica.status().leader.is_none(),
                None => true,
            });
            (0..if leaderless { 4 } else { 1 }).for_each(|_| world.tick(node_id));
        }
        80..=91 => {
            let count = 1 + chance.below(3);
            for _ in 0..count {
                let data = format!("call {}", world.next_call + 1);
                world.propose(node_id, &data);
            }
        }
        92..=94 => {
            world.read_index(node_id);
        }
        95 if replacing.happens => replacing.go_on(world, node_id),
        95 => {
            let change = match chance.below(2) {
                0 => MemberChange::Demote { node_id: 1 + chance.below(nodes) },
                _ => MemberChange::Promote { node_id: 1 + chance.below(nodes) },
            };
            world.change(node_id, vec![change]);
        }
        96 => {
            let completion = world.call(node_id);
            let to = 1 + chance.below(nodes);
            world.step(node_id, Event::TransferLeadership { to, completion, timeout_ticks: 30 });
        }
        97 if world.node(node_id).options.machine_kind == MachineKind::OnDisk => {
            world.sync_machine(node_id);
        }
        97 => {
            let completion = world.call(node_id);
            world.step(node_id, Event::TakeSnapshot { completion });
        }
        98 => world.step(node_id, Event::Unreachable { node_id: 1 + chance.below(nodes) }),
        _ => {
            if chance.one_in(3) {
                // A power cut of the whole cluster.
                (1..=nodes).for_each(|node_id| world.crash(node_id));
                for node_id in 1..=nodes {
                    world.restart(node_id).expect("what was synced can be opened");
                }
            }
            if chance.one_in(if replacing.removes { 6 } else { 40 }) {
                replacing.begin(world, node_id);
            }
            if chance.one_in(6) && world.node(node_id).replica.is_some() {
                world.crash(node_id);
            }
            for node_id in 1..=nodes {
                if world.node(node_id).replica.is_none() && !chance.one_in(4) {
                    world.restart(node_id).expect("what was synced can be opened");
                }
            }
        }
    }
}

fn run(seed: u64, steps: u64) {
    let mut chance = Chance::new(seed);
    let nodes = 3 + chance.below(3);
    let mut world = World { jitter: seed, ..World::default() };
    let initial: Vec<NodeId> = (1..=nodes).collect();
    for node_id in 1..=nodes {
        // Small, so that entries are read from the disk.
        let options = ReplicaOptions {
            entry_cache_bytes: 400,
            machine_kind: if seed % 2 == 0 { MachineKind::OnDisk } else { MachineKind::InMemory },
            snapshot_entries: if seed % 5 < 2 { 15 } else { 0 },
            retained_entries: seed % 5,
            ..options(node_id, &initial)
        };
        world.add(options).expect("the options are right");
    }
    world.settle();
    let mut truth = Truth::default();
    let mut replacing = Replacing {
        happens: seed % 6 < 4,
        removes: (2..4).contains(&(seed % 6)),
        ..Replacing::default()
    };
    for _ in 0..steps {
        disturb(&mut world, &mut chance, &mut replacing, nodes);
        truth.check(&world, 50);
    }
    heal(&mut world, &mut replacing, nodes);
    truth.check(&world, usize::MAX);
    check_calls(&world, &truth);
    let done = world.nodes.values().flat_map(|node| &node.done);
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for (_, outcome) in done {
        let kind = match outcome {
            Ok(_) => "done".to_string(),
            Err(error) => format!("{:?}/{:?}", error.outcome, error.code),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let installed = |notice: &&Notice| matches!(notice, Notice::SnapshotInstalled { .. });
    let installs = world.nodes.values().flat_map(|node| &node.notices).filter(installed).count();
    println!(
        "{nodes} nodes, terms {:?}, {installs} installs: {kinds:?}",
        truth.leaders.keys().last()
    );
}

/// Lets everyone come back, and time enough pass that every call is answered.
fn heal(world: &mut World, replacing: &mut Replacing, nodes: u64) {
    for node_id in 1..=nodes {
        if world.node(node_id).replica.is_none() {
            world.restart(node_id).expect("what was synced can be opened");
        }
    }
    for round in 0..200 {
        world.quiesce();
        for node_id in 1..=nodes {
            world.tick(node_id);
            if round % 20 == 0 {
                replacing.go_on(world, node_id);
            }
        }
    }
    world.quiesce();
    let data = format!("call {}", world.next_call + 1);
    let last = world.propose(1, &data);
    for _ in 0..20 {
        world.quiesce();
        for node_id in 1..=nodes {
            world.tick(node_id);
        }
    }
    world.quiesce();
    assert!(world.outcome(last).is_ok(), "a healed group serves: {:?}", world.outcome(last));
    for node_id in 2..=nodes {
        assert_eq!(world.applied(1), world.applied(node_id), "all apply the same");
    }
}

fn check_calls(world: &World, truth: &Truth) {
    let mut places: BTreeMap<&str, Vec<Index>> = BTreeMap::new();
    for (index, data) in &truth.applied {
        places.entry(data).or_default().push(*index);
    }
    for call in world.calls.keys() {
        let data = format!("call {call}");
        let applied = places.get(data.as_str()).map_or(&[][..], |places| &places[..]);
        assert!(applied.len() <= 1, "{data} was applied at {applied:?}");
        if world.lost.contains(call) || !world.is_done(*call) {
            assert!(world.lost.contains(call), "{data} was never answered");
            continue;
        }
        match world.outcome(*call) {
            Ok(completion) if world.floors.contains_key(call) => {
                assert!(completion.index >= world.floors[call], "read {call} is stale");
            }
            Ok(completion) if !completion.result.is_empty() => {
                assert_eq!(completion.result, data, "it got its own result");
                assert_eq!(applied, [completion.index], "{data} is where it says");
            }
            Err(error) if error.outcome == Outcome::Rejected => {
                assert!(applied.is_empty(), "{data} was rejected ({error:?}) and applied");
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_happens_all_apply_the_same_and_calls_tell_the_truth() {
    if let Ok(seed) = std::env::var("REPLICA_SEED") {
        return run(seed.parse().expect("REPLICA_SEED is a number"), 6_000);
    }
    let seeds = std::env::var("REPLICA_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 1..=seeds.unwrap_or(20) {
        println!("REPLICA_SEED={seed}");
        run(seed, 3_000);
    }
}
