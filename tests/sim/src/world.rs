//! A world: made from a seed, driven event by event, healed at its end.

use std::collections::{BTreeMap, BTreeSet};

use libraft::disk::MemoryDisk;
use libraft::error::Code;
use libraft::{GroupOptions, InitialMember, NodeOptions};

use crate::behaviour::{Behaviour, MachineShape};
use crate::client::{Caller, Running as RunningGroup};
use crate::event::{Event, LifeId, Time, MS, SECOND};
use crate::hub::Hub;
use crate::machine::RegisterMachine;
use crate::network::address;
use crate::node::{HostedGroup, Node, Seen};
use crate::observation::{Judge, Observation, Place, Violation};
use crate::operator::Operator;
use crate::random::Random;
use crate::report::Report;
use crate::settings::{Fault, Settings};
use crate::tasks::{Pause, Tasks};

/// How long a barrier takes at most on a disk that is well.
pub const BARRIER_MAX: Time = MS;

/// See the module.
pub struct World {
    pub hub: Hub,
    pub random: Random,
    pub tasks: Tasks,
    pub nodes: Vec<Node>,
    pub groups: Vec<Plan>,
    pub caller: Caller,
    /// The kinds of trouble of this world.
    pub faults: Vec<Fault>,
    /// Directories that were lost for good.
    pub lost: BTreeSet<Place>,
    pub last_life: LifeId,
    /// How long it is quiet between two troubles, at most.
    pub calm_max: Time,
    pub healing: bool,
    /// Clients make no calls any more.
    pub quiet: bool,
    /// Until then nobody else may lose his memory: an older image was put back somewhere.
    pub frozen_until: Time,
}

/// A group of the world, as it is set up on every node.
pub struct Plan {
    pub options: GroupOptions,
    pub initial: Vec<usize>,
    pub shape: MachineShape,
    pub created_at: Time,
    pub operator: Operator,
}

/// Makes a world and has it judged until its end, or until a rule is broken.
pub fn run(settings: &Settings, judge: &mut dyn Judge) -> Report {
    let mut world = World::new(settings);
    let steps = world.drive(settings.steps, judge);
    if !world.is_broken() {
        world.heal(judge);
    }
    world.end(judge);
    let core = world.hub.core();
    Report {
        settings: settings.clone(),
        steps,
        world_ms: core.now / 1000,
        counters: core.counters.clone(),
        trace_hash: core.trace.hash(),
        violation: core.violation.clone(),
        lines: core.lines().to_vec(),
    }
}

impl World {
    fn new(settings: &Settings) -> World {
        let mut random = Random::new(settings.seed ^ 0x5eed);
        let count = *random.pick(&[3, 3, 3, 4, 5, 5, 6, 7]).unwrap_or(&3);
        let hub = Hub::new(Random::new(random.next()), count, settings.transcript);
        // Every kind of trouble is drawn, so that leaving one out changes nothing else.
        let calm = random.once_in(20);
        let drawn: Vec<bool> = Fault::ALL.iter().map(|_| random.once_in(2) && !calm).collect();
        let faults = Fault::ALL.into_iter().zip(drawn);
        let left_in = |(fault, drawn): (Fault, bool)| {
            (drawn && !settings.without.contains(&fault)).then_some(fault)
        };
        let faults: Vec<Fault> = faults.filter_map(left_in).collect();
        let behaviour = Behaviour::drawn(&mut random, &|fault| faults.contains(&fault));
        let options = node_options(&mut random);
        let nodes = (0..count).map(|index| {
            let options = NodeOptions { node_id: index as u64 + 1, ..options.clone() };
            Node::new(index, options, behaviour.clone())
        });
        let nodes: Vec<Node> = nodes.collect();
        let groups = (0..random.between(1, 3)).map(|at| Plan::drawn(&mut random, at, count));
        let groups = groups.collect();
        let caller = Caller::new(&hub);
        let mut world = World {
            caller,
            random: Random::new(random.next()),
            tasks: Tasks::default(),
            nodes,
            groups,
            faults,
            lost: BTreeSet::new(),
            last_life: 0,
            calm_max: random.between(200, 2_000) * MS,
            healing: false,
            quiet: false,
            frozen_until: 0,
            hub,
        };
        world.begin(random.between(2, 6) as usize);
        world
    }

    fn begin(&mut self, clients: usize) {
        self.set_weather();
        let mut core = self.hub.core();
        for node in 0..self.nodes.len() {
            let delay = core.random.below(500) * MS;
            core.after(delay, Event::Open { node });
        }
        for client in 0..clients {
            core.after(SECOND, Event::Client { client });
        }
        for group in 0..self.groups.len() {
            core.after(3 * SECOND, Event::Operator { group });
        }
        core.after(2 * SECOND, Event::Trouble);
        let faults: Vec<String> = self.faults.iter().map(|fault| fault.name()).collect();
        let (nodes, groups) = (self.nodes.len(), self.groups.len());
        core.note(|| format!("{nodes} nodes, {groups} groups, {}", faults.join(" ")));
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    pub fn is_broken(&self) -> bool {
        self.hub.core().violation.is_some()
    }

    pub fn now(&self) -> Time {
        self.hub.core().now
    }

    /// Has so many events happen. Returns how many did.
    pub fn drive(&mut self, steps: u64, judge: &mut dyn Judge) -> u64 {
        for step in 0..steps {
            let mut core = self.hub.core();
            let Some((at, event)) = core.queue.pop() else { return step };
            core.now = at;
            drop(core);
            self.happen(event);
            self.hub.show(judge);
            if self.is_broken() {
                return step + 1;
            }
        }
        steps
    }

    fn happen(&mut self, event: Event) {
        let event = match self.paused(&event) {
            Some(until) => return self.hub.core().queue.push(until + 1, event),
            None => event,
        };
        match event {
            Event::Turn { node, life, number } => {
                let due = self.hub.core().take_turn(node, life, number);
                if due {
                    self.turn(node, life);
                }
            }
            Event::BarrierEnd { node, life } => self.barrier_end(node, life),
            Event::Task { task, wait } => self.go_on(Pause { task, wait }),
            Event::Arrival { node, life, arrival } => self.hub.core().arrived(node, life, arrival),
            Event::Chunk { pipe, side, bytes } => self.hub.core().chunk_arrived(pipe, side, &bytes),
            Event::CutPipe { pipe } => self.hub.core().cut_pipe(pipe),
            Event::Later { node, life, body } => {
                if self.nodes[node].in_life(life).is_some() {
                    body();
                    self.pump(node);
                }
            }
            Event::Client { client } => self.client(client),
            Event::Operator { group } => self.operate(group),
            Event::Trouble => self.trouble(),
            Event::Relief(relief) => self.relieve(relief),
            Event::Open { node } => self.open(node),
            Event::StartGroup { node, life, group } => self.start_group(node, life, group),
            Event::MayEnd { node, life } => self.may_end(node, life),
        }
    }

    /// Until when the node stands still that an event is for.
    fn paused(&self, event: &Event) -> Option<Time> {
        let node = match event {
            Event::Turn { node, .. }
            | Event::BarrierEnd { node, .. }
            | Event::Later { node, .. }
            | Event::MayEnd { node, .. } => *node,
            Event::Task { task, .. } => self.tasks.owner(*task)?.0,
            _ => return None,
        };
        let until = self.nodes[node].paused_until;
        (until > self.now()).then_some(until)
    }

    fn client(&mut self, client: usize) {
        if self.quiet {
            return;
        }
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let group = self.random.below(self.groups.len() as u64) as usize;
        let group_id = self.groups[group].options.group_id;
        let node = &self.nodes[node];
        match node.life().filter(|_| node.serves()) {
            Some(life) if self.caller.running(life.id, group_id).is_some() => {
                let life = life.clone();
                self.caller.next_call(&life, group_id, client);
            }
            _ => self.hub.core().after(20 * MS, Event::Client { client }),
        }
    }

    /// Starts every group on a node that has just been opened.
    pub fn start_groups(&mut self, node: usize) {
        let Some(life) = self.nodes[node].life().map(|life| life.id) else { return };
        for group in 0..self.groups.len() {
            let mut core = self.hub.core();
            let now = core.now;
            let until_created = self.groups[group].created_at.saturating_sub(now);
            let delay = until_created + core.random.skewed(1, 100_000);
            core.after(delay, Event::StartGroup { node, life, group });
        }
    }

    fn start_group(&mut self, node: usize, life: LifeId, group: usize) {
        let (plan, known) = (&self.groups[group], &mut self.nodes[node]);
        let options = plan.options_on(node, known.lost_at);
        let group_id = options.group_id;
        if known.set_back && known.lost_at < Some(plan.created_at) {
            // It would take part in forming the group, and then be lost: it does so when it is empty.
            return;
        }
        let (behaviour, place) = (known.behaviour.clone(), known.place());
        let store = known.stores.entry(group_id).or_default().clone();
        let Some(running) = known.in_life(life) else { return };
        if running.groups.get(&group_id).is_some_and(|hosted| !hosted.stopping) {
            return;
        }
        let shared = crate::machine::Shared::default();
        let machine = RegisterMachine {
            life: running.life.clone(),
            group_id,
            shape: plan.shape.clone(),
            behaviour,
            shared: shared.clone(),
            store,
            caller: self.caller.clone(),
        };
        match running.stepped.node().start_group(options, Box::new(machine)) {
            Ok(group) => {
                let hosted = HostedGroup { seen: None, stopping: false };
                running.groups.insert(group_id, hosted);
                self.caller.runs(life, group_id, RunningGroup { group, shared });
                self.hub.count("groups started");
            }
            Err(error) if error.code == Code::Closed => {}
            Err(error) => {
                let what = format!("group {group_id} does not start at {place:?}: {error}");
                self.hub.break_rule(Violation { rule: "start", what });
            }
        }
    }

    /// Tells what the groups of a node say of themselves, as far as it is news.
    pub fn see_groups(&mut self, node: usize) {
        let known = &mut self.nodes[node];
        let Some(running) = &mut known.running else { return };
        let (life, place, turns) = (running.life.clone(), running.life.place, running.turns);
        let mut failures = Vec::new();
        for (group_id, hosted) in running.groups.iter_mut().filter(|(_, hosted)| !hosted.stopping) {
            let group_id = *group_id;
            let Some(group) = self.caller.running(life.id, group_id).map(|running| running.group)
            else {
                continue;
            };
            let Ok(status) = group.status() else { continue };
            if turns % 32 == 0 {
                tell_bounds(&life, group_id, &status, &self.groups);
            }
            if let Some(failure) = &status.failure {
                failures.push((group_id, failure.clone()));
            }
            let voters = running.stepped.voters(group_id).unwrap_or_default();
            let seen = Seen::of(&status, voters.clone());
            if hosted.seen.as_ref() == Some(&seen) {
                continue;
            }
            self.hub.core().counters.note_change(hosted.seen.as_ref(), &seen);
            // A group that is ending names nobody: who voted last, votes still.
            let is_news = hosted.seen.as_ref().map(|seen| &seen.voters) != Some(&voters);
            if is_news && !voters[0].is_empty() {
                let members = group.members().unwrap_or_default();
                known.views.insert(group_id, places(&members, &voters));
            }
            hosted.seen = Some(seen);
            life.tell(move |see| {
                see(&Observation::Status { place, group_id, status: &status, voters });
            });
        }
        for (group_id, failure) in failures {
            self.group_failed(node, group_id, &failure);
        }
    }

    /// What is to become of a group that is out of service.
    fn group_failed(&mut self, node: usize, group_id: u64, failure: &libraft::Error) {
        let defects = [Code::Panicked, Code::Internal, Code::MachineAhead];
        if defects.contains(&failure.code) && !self.nodes[node].set_back {
            let what = format!("group {group_id} failed on node {}: {failure}", node + 1);
            self.hub.break_rule(Violation { rule: "defect", what });
        }
        // A member that a wiped one refuses while the group forms says so, and goes on: the others may have formed it
        // already. Stopped each time, it would never hear them.
        if matches!(failure.code, Code::Removed | Code::InitialMembersConflict) {
            return;
        }
        let of_node = matches!(failure.code, Code::Io | Code::NoSpace | Code::StorageFailed);
        let delay = self.random.between(10, 2_000) * MS;
        match of_node {
            true => self.schedule_kill(node, delay),
            false => self.stop_group(node, group_id, delay),
        }
    }

    /// Stops a group on a node, and starts it again after a while.
    pub fn stop_group(&mut self, node: usize, group_id: u64, restart_after: Time) {
        let group = self.groups.iter().position(|plan| plan.options.group_id == group_id);
        let (Some(group), Some(running)) = (group, &mut self.nodes[node].running) else { return };
        let Some(hosted) = running.groups.get_mut(&group_id) else { return };
        hosted.stopping = true;
        let life = running.life.clone();
        let Some(stopped) = self.caller.stopped(life.id, group_id) else { return };
        let place = life.place;
        self.hub.count("groups stopped");
        stopped.group.stop_async(Box::new(move |_| {
            let removed = false;
            life.tell(move |see| see(&Observation::Stopped { place, group_id, removed }));
            let event = Event::StartGroup { node: life.node, life: life.id, group };
            life.hub.core().after(restart_after, event);
        }));
    }

    /// What is done to a node between two of its lives.
    pub fn between_lives(&mut self, node: usize) {
        let known = &mut self.nodes[node];
        if self.faults.contains(&Fault::OldImage) && known.image.is_none() {
            let stores = known.stores.clone();
            let stores = stores.into_iter().map(|(id, store)| (id, store.after_crash(None)));
            known.image = Some((known.disk.image(), stores.collect()));
        }
    }

    /// Nothing is left of the world but what it has told.
    fn end(&mut self, judge: &mut dyn Judge) {
        for node in 0..self.nodes.len() {
            self.crash(node, false, 0);
        }
        self.hub.core().queue = Default::default();
        if !self.is_broken() {
            self.hub.show(judge);
            let now = self.now();
            if let Err(violation) = judge.finish(now / 1000) {
                self.hub.break_rule(violation);
            }
        }
    }
}

/// Who votes, by raft id, as places.
fn places(members: &[libraft::Member], voters: &[Vec<u64>; 2]) -> [Vec<Place>; 2] {
    let place = |raft_id: &u64| {
        let member = members.iter().find(|member| member.raft_id == *raft_id)?;
        Some(Place { node_id: member.node_id, incarnation: member.incarnation })
    };
    [0, 1].map(|half| voters[half].iter().filter_map(place).collect())
}

fn tell_bounds(
    life: &crate::hub::Life,
    group_id: u64,
    status: &libraft::GroupStatus,
    plans: &[Plan],
) {
    let Some(plan) = plans.iter().find(|plan| plan.options.group_id == group_id) else { return };
    let options = &plan.options;
    for (what, used, limit) in [
        ("pending calls", status.pending_proposals, options.pending_count_max),
        ("pending bytes", status.pending_bytes, options.pending_bytes_max),
    ] {
        let place = life.place;
        life.tell(move |see| see(&Observation::Bound { place, what, used, limit }));
    }
}

impl Node {
    fn new(index: usize, options: NodeOptions, behaviour: Behaviour) -> Node {
        Node {
            index,
            incarnation: Place::first(index as u64 + 1).incarnation,
            disk: MemoryDisk::new(),
            stores: BTreeMap::new(),
            options,
            running: None,
            paused_until: 0,
            barrier_max: BARRIER_MAX,
            disk_fails: false,
            behaviour,
            down_since: 0,
            lost_at: None,
            damaged: false,
            set_back: false,
            flip: false,
            image: None,
            views: BTreeMap::new(),
        }
    }
}

impl Plan {
    fn drawn(random: &mut Random, at: u64, nodes: usize) -> Plan {
        // Beside the initial members there may be nodes that wait to be added.
        let members = if nodes > 3 { random.between(3, nodes as u64) } else { 3 };
        let mut initial: Vec<usize> = (0..nodes).collect();
        while initial.len() > members as usize {
            initial.remove(random.below(initial.len() as u64) as usize);
        }
        let options = GroupOptions {
            group_id: at + 1,
            initial_members: Vec::new(),
            proposal_bytes_max: 16 << 10,
            pending_bytes_max: random.between(32, 512) << 10,
            pending_count_max: random.between(8, 200),
            unapplied_bytes_max: random.between(16, 256) << 10,
            inflight_bytes_max: 64 << 10,
            entry_cache_bytes: random.between(1, 64) << 10,
            snapshot_entries: random.skewed(10, 300),
            snapshot_log_bytes: random.between(16, 512) << 10,
            retained_entries: random.skewed(0, 100),
            proposal_timeout_ms: random.between(1_000, 8_000),
            snapshot_transfer_timeout_ms: 30_000,
            snapshot_restore_timeout_ms: 30_000,
            priority: 0,
        };
        let created_at = if at == 0 { 0 } else { random.below(20) * SECOND };
        let shape = MachineShape::drawn(random);
        Plan { options, initial, shape, created_at, operator: Operator::default() }
    }

    /// A node that has lost its memory never takes part in forming a group that it may have known: it waits to be added.
    fn options_on(&self, node: usize, lost_at: Option<Time>) -> GroupOptions {
        let mut options = self.options.clone();
        let may_have_known = lost_at.is_some_and(|lost_at| lost_at >= self.created_at);
        if self.initial.contains(&node) && !may_have_known {
            let member =
                |node: &usize| InitialMember { node_id: *node as u64 + 1, address: address(*node) };
            options.initial_members = self.initial.iter().map(member).collect();
        }
        options
    }
}

fn node_options(random: &mut Random) -> NodeOptions {
    NodeOptions {
        cluster: crate::cluster::CLUSTER.to_string(),
        directory: "unused".into(),
        tick_ms: random.between(50, 100),
        election_ticks: random.between(8, 12),
        heartbeat_ticks: random.between(1, 2),
        apply_threads: random.between(1, 3) as usize,
        segment_bytes: 64 << 10,
        segments_max: random.between(2, 4) as usize,
        free_bytes_min: 32 << 10,
        ..NodeOptions::default()
    }
}
