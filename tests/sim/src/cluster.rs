//! The lives of nodes: opening, turning, closing, crashing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use libraft::directory::{claim, Claim, Identity};
use libraft::disk::MemoryDisk;
use libraft::error::{Code, Error, Result};
use libraft::ids::{GroupId, Index, Uuid};
use libraft::log::{Record, RecoveredGroup};
use libraft::runtime::{SteppedNode, Surroundings, Turn};

use crate::disk::Folder;
use crate::event::{Event, LifeId, Time, MS, SECOND};
use crate::hub::Life;
use crate::machine::lock;
use crate::network::{address, Endpoint};
use crate::node::{Running, RunningBarrier, Stage, Work};
use crate::observation::{Held, Observation, Violation};
use crate::system::{Alarm, Machinery};
use crate::tasks::{Pause, Purpose};
use crate::world::World;

pub const CLUSTER: &str = "simulated";
const FRAME_BYTES_MAX: usize = 4 << 20;
/// How long the production code's worker waits for a barrier before the standby thread steps in.
const PATIENCE: Time = 20 * MS;

impl World {
    /// Opens a node that is down.
    pub fn open(&mut self, node: usize) {
        if self.nodes[node].running.is_some() {
            return;
        }
        self.last_life += 1;
        let place = self.nodes[node].place();
        let life = Life { hub: self.hub.clone(), node, id: self.last_life, place };
        self.hub.core().set_life(node, life.id);
        match self.try_open(&life) {
            Ok(running) => {
                self.hub.count("opened");
                self.nodes[node].damaged = false;
                self.nodes[node].running = Some(running);
                self.start_groups(node);
                let mut core = self.hub.core();
                let now = core.now;
                core.turn_at(node, now);
            }
            Err(error) => {
                self.hub.core().set_life(node, 0);
                self.forget_tasks(life.id);
                self.not_opened(node, &error);
            }
        }
    }

    fn try_open(&mut self, life: &Life) -> Result<Running> {
        let node = &self.nodes[life.node];
        let folder = |root| {
            Folder::new(&self.hub, &node.disk, root)
                .map_err(|error| Error::from_io("create", root, &error))
        };
        let (data, log, snapshots) = (folder("")?, folder("log")?, folder("snapshots")?);
        let claimed = Claim {
            cluster: CLUSTER,
            node_id: life.place.node_id,
            new_incarnation: life.place.incarnation,
        };
        let identity: Identity = claim(&data, &snapshots, &claimed)?;
        let spawned = Arc::new(Mutex::new(Vec::new()));
        let endpoint = Endpoint::new(life.clone(), CLUSTER, identity.boot_counter, FRAME_BYTES_MAX);
        let around = Surroundings {
            identity,
            log_disk: Arc::new(log),
            snapshot_disk: Arc::new(snapshots),
            network: Box::new(endpoint),
            address: address(life.node),
            waker: Box::new(Alarm(life.clone())),
            system: Arc::new(Machinery { life: life.clone(), spawned: spawned.clone() }),
            seed: self.hub.core().random.next(),
        };
        let mut stepped = SteppedNode::open(node.options.clone(), around)?;
        let recovered = stepped.recovered();
        let held = recovered.map(|group| held(&stepped, group)).collect::<Result<Vec<Held>>>()?;
        let place = life.place;
        life.tell(move |see| see(&Observation::Opened { place, held: held.clone() }));
        let observed = life.clone();
        let mut ends = LogEnds::of(&stepped);
        stepped.set_observer(Box::new(move |group_id, lsn, record| {
            if let Some(what) = ends.take_in(group_id, record) {
                observed.hub.count(what);
            }
            let record = record.clone();
            observed.tell(move |see| {
                see(&Observation::Appended { place, group_id, lsn, record: &record });
            });
        }));
        Ok(Running {
            life: life.clone(),
            stepped,
            spawned,
            barrier: None,
            visits: VecDeque::new(),
            visiting: 0,
            deliveries: VecDeque::new(),
            delivering: false,
            stage: Stage::Turning,
            groups: BTreeMap::new(),
            turns: 0,
            killed: false,
            reopen_after: 0,
        })
    }

    /// A node could not be opened. That is right for one whose files were damaged, or whose disk is full.
    fn not_opened(&mut self, node: usize, error: &Error) {
        self.hub.note(|| format!("node {} does not open: {error}", node + 1));
        match error.code {
            Code::Corrupted if self.nodes[node].damaged => {
                self.hub.count("damage refused");
                if !error.message.contains("memory:") {
                    let what = format!("damage is reported without its place: {error}");
                    self.hub.break_rule(Violation { rule: "damage", what });
                }
                self.wipe(node);
            }
            Code::NoSpace => {
                self.hub.count("opened without space");
                self.nodes[node].disk.set_capacity(None);
            }
            Code::Io if self.nodes[node].disk_fails => {
                self.hub.count("opened on a failing disk");
                self.heal_disk(node);
            }
            _ if self.nodes[node].damaged => self.wipe(node),
            _ => {
                let what = format!("node {} does not open: {error}", node + 1);
                self.hub.break_rule(Violation { rule: "open", what });
            }
        }
        self.hub.core().after(SECOND, Event::Open { node });
    }

    /// A turn of a node's event loop.
    pub fn turn(&mut self, node: usize, life: LifeId) {
        let Some(running) = self.nodes[node].in_life(life) else { return };
        if running.stage != Stage::Turning {
            return;
        }
        if let Some(barrier) = &running.barrier {
            let from = barrier.standby_from;
            let mut core = self.hub.core();
            if core.now < from {
                return core.turn_at(node, from);
            }
            core.counters.count("turns beside a barrier");
        }
        running.turns += 1;
        match running.stepped.turn() {
            Turn::Again => {}
            Turn::Barrier(barrier) => self.begin_barrier(node, barrier),
            Turn::Closing => {
                let waits = running.barrier.is_some();
                running.stage = if waits { Stage::Closing } else { Stage::Ending };
                if !waits {
                    self.begin_end(node);
                }
            }
        }
        self.after_turn(node);
    }

    fn after_turn(&mut self, node: usize) {
        self.see_groups(node);
        self.pump(node);
        let Some(running) = &mut self.nodes[node].running else { return };
        if running.stage == Stage::Turning {
            let sleep = running.stepped.sleep_for();
            let mut core = self.hub.core();
            let jitter = 1 + core.random.below(20);
            let at = core.now + core.nodes[node].in_world_time(sleep) + jitter;
            core.turn_at(node, at);
        }
    }

    fn begin_barrier(&mut self, node: usize, barrier: libraft::log::Barrier) {
        let longest = self.nodes[node].barrier_max;
        let Some(running) = &mut self.nodes[node].running else { return };
        let mut core = self.hub.core();
        let length = core.random.skewed(20, longest);
        // Whether it is written at its beginning or at its end: a crash in between finds all of it, or nothing.
        let at_once = core.random.once_in(2);
        let standby_from = core.now + PATIENCE;
        core.after(length, Event::BarrierEnd { node, life: running.life.id });
        drop(core);
        let (barrier, finished) = match at_once {
            true => (None, Some(barrier.run())),
            false => (Some(barrier), None),
        };
        running.barrier = Some(RunningBarrier { barrier, finished, standby_from });
    }

    pub fn barrier_end(&mut self, node: usize, life: LifeId) {
        let Some(running) = self.nodes[node].in_life(life) else { return };
        let Some(RunningBarrier { barrier, finished, .. }) = running.barrier.take() else { return };
        let finished = finished.or_else(|| barrier.map(|barrier| barrier.run()));
        let Some(finished) = finished else { return };
        self.hub.count("barriers");
        let place = running.life.place;
        if let Some(lsn) = finished.durable_lsn() {
            running.life.tell(move |see| see(&Observation::Durable { place, lsn }));
        }
        running.stepped.barrier_done(finished);
        if running.stage == Stage::Closing {
            running.stage = Stage::Ending;
            self.begin_end(node);
        }
        self.after_turn(node);
    }

    /// Gives threads to what wants one.
    pub fn pump(&mut self, node: usize) {
        let threads = self.nodes[node].options.apply_threads;
        let Some(running) = &mut self.nodes[node].running else { return };
        running.gather();
        let mut begun: Vec<(Purpose, Work)> = Vec::new();
        let spawned = std::mem::take(&mut *lock(&running.spawned));
        begun.extend(spawned.into_iter().map(|body| (Purpose::Errand, body)));
        while running.visiting < threads {
            let Some(work) = running.visits.pop_front() else { break };
            running.visiting += 1;
            begun.push((Purpose::Visit, work));
        }
        if !running.delivering {
            if let Some(work) = running.deliveries.pop_front() {
                running.delivering = true;
                begun.push((Purpose::Delivery, work));
            }
        }
        let life = running.life.id;
        for (purpose, body) in begun {
            let pause = self.tasks.add(node, life, purpose, body);
            let mut core = self.hub.core();
            let delay = core.random.skewed(1, 300);
            core.after(delay, pause.event());
        }
    }

    /// A thread of a node goes on.
    pub fn go_on(&mut self, pause: Pause) {
        let Some((node, life)) = self.tasks.owner(pause.task) else { return };
        let ended = self.tasks.resume(pause);
        let Some(running) = self.nodes[node].in_life(life) else { return };
        match ended {
            Some(Purpose::Visit) => running.visiting -= 1,
            Some(Purpose::Delivery) => running.delivering = false,
            _ => {}
        }
        self.pump(node);
    }

    fn begin_end(&mut self, node: usize) {
        let Some(running) = &mut self.nodes[node].running else { return };
        running.stepped.begin_end();
        let life = running.life.id;
        self.hub.core().after(MS, Event::MayEnd { node, life });
    }

    /// Closes the log of a node whose threads have all ended.
    pub fn may_end(&mut self, node: usize, life: LifeId) {
        self.pump(node);
        let has_tasks = self.tasks.has_any(life);
        let Some(running) = self.nodes[node].in_life(life) else { return };
        if !running.stepped.may_end() || !running.is_idle() || has_tasks {
            self.hub.core().after(MS, Event::MayEnd { node, life });
            return;
        }
        let Some(running) = self.nodes[node].running.take() else { return };
        let (place, reopen_after) = (running.life.place, running.reopen_after);
        let failed = running.stepped.node().status().is_ok_and(|status| status.failure.is_some());
        let lsn = running.stepped.log_status().appended_lsn;
        self.caller.forget_groups(life);
        match running.stepped.end() {
            Ok(()) => running.life.tell(move |see| see(&Observation::Durable { place, lsn })),
            Err(error) => self.end_failed(node, failed, &error),
        }
        running.life.tell(move |see| see(&Observation::Closed { place }));
        self.hub.count("closed in peace");
        self.over(node, life);
        let disk = self.nodes[node].disk.image();
        self.nodes[node].disk = disk;
        self.flip_bit(node);
        self.between_lives(node);
        self.hub.core().after(reopen_after, Event::Open { node });
    }

    /// The log could not be closed: that happens to a node that was out of service, or whose disk has just failed.
    fn end_failed(&self, node: usize, failed: bool, error: &Error) {
        self.hub.note(|| format!("node {} did not close its log: {error}", node + 1));
        if !failed && !matches!(error.code, Code::Io | Code::NoSpace | Code::StorageFailed) {
            let what = format!("node {} did not close its log: {error}", node + 1);
            self.hub.break_rule(Violation { rule: "close", what });
        }
    }

    /// The process of a node dies, or its machine loses power.
    pub fn crash(&mut self, node: usize, power: bool, reopen_after: Time) {
        let Some(running) = self.nodes[node].running.take() else { return };
        let Running { life, stepped, barrier, .. } = running;
        let mut random = self.hub.core().random.clone();
        self.hub.core().random.next();
        let known = &mut self.nodes[node];
        if let Some(RunningBarrier { barrier: Some(barrier), .. }) = barrier {
            if random.once_in(2) {
                // In the middle of its writes.
                known.disk.stop_after(random.below(4));
                drop(barrier.run());
            }
        }
        known.disk = match power {
            true => known.disk.crash(random.next()),
            false => known.disk.image(),
        };
        for store in known.stores.values_mut() {
            *store = store.after_crash(power.then_some(&mut random));
        }
        let place = life.place;
        self.hub.tell(move |see| see(&Observation::Crashed { place }));
        self.hub.note(|| format!("node {} crashes (power: {power})", node + 1));
        self.over(node, life.id);
        drop(stepped);
        self.between_lives(node);
        self.hub.core().after(reopen_after, Event::Open { node });
    }

    /// A life has ended: what is left of it is run to its end, heard by nobody.
    fn over(&mut self, node: usize, life: LifeId) {
        self.hub.core().set_life(node, 0);
        self.forget_tasks(life);
        self.caller.life_over(life);
        self.hub.core().close_all_of(node, life);
        self.nodes[node].paused_until = 0;
        self.nodes[node].down_since = self.now();
    }

    fn forget_tasks(&mut self, life: LifeId) {
        loop {
            let left = self.tasks.of_life(life);
            if left.is_empty() {
                return;
            }
            for pause in left {
                self.tasks.resume(pause);
            }
        }
    }

    /// The directory of a node that is down is gone.
    pub fn wipe(&mut self, node: usize) {
        self.lose(node);
        let mut core = self.hub.core();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&core.random.next().to_le_bytes());
        bytes[8] = node as u8 + 1;
        core.counters.count("wiped");
        core.note(|| format!("node {} is wiped", node + 1));
        drop(core);
        let known = &mut self.nodes[node];
        known.incarnation = Uuid(bytes);
        known.disk = MemoryDisk::new();
        known.stores.clear();
        known.views.clear();
        known.image = None;
        (known.damaged, known.set_back) = (false, false);
    }

    /// From now on nothing that was durable in a node's directory need be there.
    pub fn lose(&mut self, node: usize) {
        let place = self.nodes[node].place();
        if self.lost.insert(place) {
            self.nodes[node].lost_at = Some(self.nodes[node].down_since);
            self.hub.tell(move |see| see(&Observation::Lost { place }));
        }
    }
}

/// Where the logs of a node end, to count what becomes of them.
struct LogEnds(BTreeMap<GroupId, Index>);

impl LogEnds {
    fn of(stepped: &SteppedNode) -> LogEnds {
        LogEnds(stepped.recovered().map(|group| (group.group_id, group.last_index)).collect())
    }

    /// What a record does that is worth counting.
    fn take_in(&mut self, group_id: GroupId, record: &Record) -> Option<&'static str> {
        let end = self.0.entry(group_id).or_default();
        match record {
            Record::Entries(entries) => {
                let (first, last) = (entries.first()?.index, entries.last()?.index);
                let before = std::mem::replace(end, last);
                (first <= before).then_some("truncated conflicts")
            }
            Record::Reset { index, snapshot, .. } => {
                *end = *index;
                (!snapshot.is_nil()).then_some("snapshots installed")
            }
            Record::Compact { .. } => Some("compactions"),
            _ => None,
        }
    }
}

fn held(stepped: &SteppedNode, group: &RecoveredGroup) -> Result<Held> {
    let (low, high) = (group.compacted_index + 1, group.last_index + 1);
    let mut entries = Vec::new();
    if low < high {
        entries = stepped.read_log(group, low, high)?;
    }
    Ok(Held { group: group.clone(), entries })
}
