//! A world for tests: replicas, a network that only moves when told to, disks that lose what was
//! not synced, machines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use raft::eraftpb::Entry;

use crate::error::{Code, Error, Result};
use crate::ids::{Index, NodeId, Term, Uuid};
use crate::log::{EntryReader, HardState, Record, RecoveredGroup};
use crate::machine::MachineKind;
use crate::options::InitialMember;
use crate::replica::*;

pub const GROUP: u64 = 7;

/// The log of one group, as a plain model of what the records mean.
#[derive(Clone, Default)]
pub struct LogModel {
    pub hard_state: HardState,
    pub membership: (Index, Bytes),
    pub meta: Bytes,
    pub compacted: (Index, Term),
    pub entries: Vec<Entry>,
    pub unrestored: Option<(Uuid, Index)>,
}

impl LogModel {
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Entries(entries) => {
                let first = entries[0].index;
                assert!(first > self.compacted.0 && first <= self.last_index() + 1, "a gap");
                self.entries.truncate((first - self.compacted.0 - 1) as usize);
                self.entries.extend(entries.iter().cloned());
            }
            Record::HardState(hard_state) => self.hard_state = *hard_state,
            Record::Membership { index, membership } => {
                self.membership = (*index, membership.clone());
            }
            Record::Meta(meta) => self.meta = meta.clone(),
            Record::Compact { index, term } => {
                assert!(*index > self.compacted.0 && *index <= self.last_index());
                self.entries.drain(..(index - self.compacted.0) as usize);
                self.compacted = (*index, *term);
            }
            Record::Reset { index, term, membership, snapshot, hard_state } => {
                self.entries.clear();
                self.compacted = (*index, *term);
                self.membership = (*index, membership.clone());
                self.hard_state = *hard_state;
                self.unrestored = Some((*snapshot, *index));
            }
            Record::Restored { snapshot } => {
                if self.unrestored.is_some_and(|(wanted, _)| wanted == *snapshot) {
                    self.unrestored = None;
                }
            }
        }
    }

    pub fn last_index(&self) -> Index {
        self.compacted.0 + self.entries.len() as u64
    }

    pub fn recovered(&self) -> RecoveredGroup {
        let mut terms: Vec<(Term, Index)> = Vec::new();
        for entry in &self.entries {
            if terms.last().is_none_or(|(term, _)| *term != entry.term) {
                terms.push((entry.term, entry.index));
            }
        }
        RecoveredGroup {
            log_id: 1,
            group_id: GROUP,
            hard_state: self.hard_state,
            membership_index: self.membership.0,
            membership: self.membership.1.clone(),
            meta: self.meta.clone(),
            compacted_index: self.compacted.0,
            compacted_term: self.compacted.1,
            last_index: self.last_index(),
            terms,
            unrestored: self.unrestored,
        }
    }
}

pub struct Reader(pub Arc<Mutex<LogModel>>);

impl EntryReader for Reader {
    fn read(&self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>> {
        let log = self.0.lock().unwrap();
        let start = low.checked_sub(log.compacted.0 + 1);
        let start = start.filter(|start| *start < log.entries.len() as u64);
        let Some(start) = start else {
            return Err(Error::rejected(Code::Internal, format!("entry {low} is not held")));
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in &log.entries[start as usize..] {
            bytes += entry.data.len() as u64;
            if entry.index >= high || (!entries.is_empty() && bytes > max_bytes) {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}

/// A state machine that keeps what it applied.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Machine {
    pub applied_index: Index,
    pub entries: Vec<(Index, Bytes)>,
}

#[derive(Clone)]
pub struct StoredSnapshot {
    pub received: ReceivedSnapshot,
    pub machine: Machine,
}

/// One node. Everything below `replica` survives a crash, but for what was not synced.
pub struct Node {
    pub options: ReplicaOptions,
    pub replica: Option<Replica<u64>>,
    /// The log as it was appended to, and as it is on the disk.
    pub log: Arc<Mutex<LogModel>>,
    pub durable: LogModel,
    pub unsynced: VecDeque<(u64, Vec<Record>)>,
    pub work: VecDeque<MachineWork>,
    pub reads: Vec<(Index, Index, u64)>,
    pub sends: Vec<SendSnapshot>,
    pub machine: Machine,
    /// What an on-disk machine finds again after a crash.
    pub machine_durable: Machine,
    pub store: BTreeMap<Uuid, StoredSnapshot>,
    pub done: Vec<(u64, Result<Completion>)>,
    pub notices: Vec<Notice>,
    pub peers: Vec<(PeerIdentity, String)>,
}

#[derive(Clone)]
pub struct Packet {
    pub from: NodeId,
    pub to: NodeId,
    pub peer: PeerIdentity,
    pub envelope: Envelope,
}

#[derive(Default)]
pub struct World {
    pub nodes: BTreeMap<NodeId, Node>,
    pub network: VecDeque<Packet>,
    pub jitter: u64,
    pub next_call: u64,
    pub calls: BTreeMap<u64, NodeId>,
    /// Calls of nodes that lost power: nobody is there to be answered.
    pub lost: BTreeSet<u64>,
    /// What some machine had applied when a read began: the read may not be served with less.
    pub floors: BTreeMap<u64, Index>,
    /// Every effect as a line of text, if it is wanted.
    pub trace: Vec<String>,
    pub traces: bool,
}

pub fn options(node_id: NodeId, initial: &[NodeId]) -> ReplicaOptions {
    let member =
        |node_id: &NodeId| InitialMember { node_id: *node_id, address: format!("host{node_id}:1") };
    ReplicaOptions {
        group_id: GROUP,
        node_id,
        incarnation: Uuid([node_id as u8; 16]),
        boot_counter: 1,
        advertised_address: format!("host{node_id}:1"),
        initial_members: initial.iter().map(member).collect(),
        election_ticks: 10,
        heartbeat_ticks: 1,
        proposal_bytes_max: 1 << 20,
        pending_bytes_max: 64 << 20,
        pending_count_max: 1 << 20,
        unapplied_bytes_max: 64 << 20,
        inflight_bytes_max: 16 << 20,
        entry_cache_bytes: 1 << 20,
        snapshot_entries: 0,
        snapshot_log_bytes: 0,
        retained_entries: 0,
        priority: 0,
        machine_kind: MachineKind::InMemory,
        first_sequence: 1,
        jitter: node_id,
    }
}

/// The step that adds a node, in its first life, as a learner.
pub fn learner(node_id: NodeId) -> MemberChange {
    MemberChange::AddLearner {
        node_id,
        incarnation: Uuid([node_id as u8; 16]),
        address: format!("host{node_id}:1"),
    }
}

impl World {
    /// Nodes 1 to `count`, each with all of them as initial members; nothing has happened yet.
    pub fn of(count: u64) -> World {
        let mut world = World::default();
        let initial: Vec<NodeId> = (1..=count).collect();
        for node_id in 1..=count {
            world.add(options(node_id, &initial)).unwrap();
        }
        world
    }

    /// The same, with everything they do from the start on in the trace.
    pub fn of_traced(count: u64) -> World {
        let mut world = World { traces: true, ..World::default() };
        let initial: Vec<NodeId> = (1..=count).collect();
        for node_id in 1..=count {
            world.add(options(node_id, &initial)).unwrap();
        }
        world
    }

    /// Nodes that have formed a group and elected the first of them.
    pub fn formed(count: u64) -> World {
        let mut world = World::of(count);
        world.settle();
        world.elect(1);
        world.traces = true;
        world
    }

    pub fn add(&mut self, options: ReplicaOptions) -> Result<()> {
        let node_id = options.node_id;
        let log = Arc::new(Mutex::new(LogModel::default()));
        let reader = Arc::new(Reader(log.clone()));
        let replica = Replica::open(options.clone(), None, reader, 0)?;
        let former = self.nodes.remove(&node_id);
        let (done, notices) = former.map(|node| (node.done, node.notices)).unwrap_or_default();
        let node = Node {
            options,
            replica: Some(replica),
            log,
            durable: LogModel::default(),
            unsynced: VecDeque::new(),
            work: VecDeque::new(),
            reads: Vec::new(),
            sends: Vec::new(),
            machine: Machine::default(),
            machine_durable: Machine::default(),
            store: BTreeMap::new(),
            done,
            notices,
            peers: Vec::new(),
        };
        self.nodes.insert(node_id, node);
        self.drain(node_id);
        Ok(())
    }

    pub fn node(&self, node_id: NodeId) -> &Node {
        &self.nodes[&node_id]
    }

    pub fn node_mut(&mut self, node_id: NodeId) -> &mut Node {
        self.nodes.get_mut(&node_id).expect("the test names a node that exists")
    }

    pub fn status(&self, node_id: NodeId) -> ReplicaStatus {
        self.node(node_id).replica.as_ref().expect("the node runs").status()
    }

    /// Steps an event and takes what follows.
    pub fn step(&mut self, node_id: NodeId, event: Event<u64>) {
        if let Some(replica) = self.node_mut(node_id).replica.as_mut() {
            replica.step(event);
            self.drain(node_id);
        }
    }

    pub fn drain(&mut self, node_id: NodeId) {
        let Some(node) = self.nodes.get_mut(&node_id) else { return };
        let Some(replica) = node.replica.as_mut() else { return };
        let mut effects = Effects::new();
        replica.drain(&mut effects);
        let (lines, traces) = (&mut self.trace, self.traces);
        if traces {
            super::transcript::describe(node_id, &effects, lines);
        }
        assert_eq!(effects.number != 0, !effects.records.is_empty(), "records have a number");
        for record in &effects.records {
            node.log.lock().unwrap().apply(record);
        }
        if effects.number != 0 {
            node.unsynced.push_back((effects.number, effects.records));
        }
        node.work.extend(effects.work);
        node.reads.extend(effects.reads);
        node.sends.extend(effects.send_snapshots);
        node.done.extend(effects.completions);
        node.notices.extend(effects.notices);
        if let Some(peers) = effects.peers {
            node.peers = peers;
        }
        let peer = PeerIdentity { node_id, incarnation: node.options.incarnation };
        for (to, envelope) in effects.messages {
            self.network.push_back(Packet { from: node_id, to, peer, envelope });
        }
    }

    pub fn tick(&mut self, node_id: NodeId) {
        self.jitter =
            self.jitter.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let jitter = self.jitter >> 16;
        self.step(node_id, Event::Tick { jitter });
    }

    /// Syncs what was appended so far. Whether there was something.
    pub fn sync(&mut self, node_id: NodeId) -> bool {
        let node = self.node_mut(node_id);
        let mut last = None;
        for (number, records) in node.unsynced.drain(..) {
            records.iter().for_each(|record| node.durable.apply(record));
            last = Some(number);
        }
        let Some(number) = last else { return false };
        self.step(node_id, Event::Persisted { number });
        true
    }

    /// Does the machine's next piece of work. Whether there was one.
    pub fn work(&mut self, node_id: NodeId) -> bool {
        let node = self.node_mut(node_id);
        let Some(work) = node.work.pop_front() else { return false };
        let event = match work {
            MachineWork::Apply { entries } => {
                for entry in &entries {
                    assert!(entry.index > node.machine.applied_index, "applied twice");
                    node.machine.applied_index = entry.index;
                    node.machine.entries.push((entry.index, entry.data.clone()));
                }
                Event::Applied { results: entries.into_iter().map(|entry| entry.data).collect() }
            }
            MachineWork::TakeSnapshot { snapshot, index, term, membership } => {
                let received = ReceivedSnapshot { snapshot, index, term, membership };
                let machine = Machine { applied_index: index, ..node.machine.clone() };
                node.store.insert(snapshot, StoredSnapshot { received, machine });
                Event::SnapshotTaken { result: Ok(SnapshotTaken { snapshot, index, bytes: 1 }) }
            }
            MachineWork::Restore { snapshot, .. } => {
                node.machine = node.store[&snapshot].machine.clone();
                node.machine_durable = node.machine.clone();
                Event::Restored { snapshot }
            }
            MachineWork::Stream { send, index, term, membership } => {
                let received =
                    ReceivedSnapshot { snapshot: send.snapshot, index, term, membership };
                let machine = Machine { applied_index: index, ..node.machine.clone() };
                node.store.insert(send.snapshot, StoredSnapshot { received, machine });
                node.sends.push(send);
                return true;
            }
        };
        self.step(node_id, event);
        true
    }

    /// Makes an on-disk machine's state durable.
    pub fn sync_machine(&mut self, node_id: NodeId) {
        let node = self.node_mut(node_id);
        node.machine_durable = node.machine.clone();
        let index = node.machine.applied_index;
        self.step(node_id, Event::MachineSynced { index });
    }

    /// Answers what was asked of the disk. Whether there was something.
    pub fn read(&mut self, node_id: NodeId) -> bool {
        let reads = std::mem::take(&mut self.node_mut(node_id).reads);
        let any = !reads.is_empty();
        for (low, high, max_bytes) in reads {
            let entries = Reader(self.node(node_id).log.clone()).read(low, high, max_bytes);
            self.step(node_id, Event::EntriesRead { low, entries });
        }
        any
    }

    /// Transfers the snapshots that are to be sent. Whether there were some.
    pub fn transfer(&mut self, node_id: NodeId) -> bool {
        let sends = std::mem::take(&mut self.node_mut(node_id).sends);
        let any = !sends.is_empty();
        for send in sends {
            let from = self.status(node_id).raft_id;
            let stored = self.node(node_id).store.get(&send.snapshot).cloned();
            let target = self.nodes.get(&send.peer.node_id);
            let reached = target.is_some_and(|n| {
                n.replica.is_some() && n.options.incarnation == send.peer.incarnation
            });
            let succeeded = reached && stored.is_some();
            if let Some(stored) = stored.filter(|_| reached) {
                let peer =
                    PeerIdentity { node_id, incarnation: self.node(node_id).options.incarnation };
                let target = self.node_mut(send.peer.node_id);
                target.store.insert(send.snapshot, stored.clone());
                let snapshot = stored.received;
                let event = Event::SnapshotReceived { from, peer, term: send.term, snapshot };
                self.step(send.peer.node_id, event);
            }
            self.step(node_id, Event::SnapshotSent { to: send.to, succeeded });
        }
        any
    }

    /// Delivers a packet.
    pub fn deliver(&mut self, packet: Packet) {
        if self.nodes.contains_key(&packet.to) {
            self.step(packet.to, Event::Message { peer: packet.peer, envelope: packet.envelope });
        }
    }

    /// Lets everything happen that is under way, without letting time pass.
    pub fn quiesce(&mut self) {
        for _ in 0..10_000 {
            let mut busy = false;
            for node_id in self.nodes.keys().copied().collect::<Vec<_>>() {
                busy |= self.sync(node_id);
                busy |= self.work(node_id);
                busy |= self.read(node_id);
                busy |= self.transfer(node_id);
            }
            if let Some(packet) = self.network.pop_front() {
                self.deliver(packet);
                busy = true;
            }
            if !busy {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets everything happen that is under way, and a few ticks pass.
    pub fn settle(&mut self) {
        self.quiesce();
        for _ in 0..3 {
            for node_id in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.tick(node_id);
            }
            self.quiesce();
        }
    }

    /// Lets everything happen that is under way, but nothing reaches one node, and no time passes.
    pub fn settle_without(&mut self, cut_off: NodeId) {
        for _ in 0..50 {
            for node_id in
                self.nodes.keys().copied().filter(|id| *id != cut_off).collect::<Vec<_>>()
            {
                self.sync(node_id);
                self.work(node_id);
            }
            while let Some(packet) = self.network.pop_front() {
                if packet.to != cut_off {
                    self.deliver(packet);
                }
            }
        }
    }

    /// Ticks one node until it leads.
    pub fn elect(&mut self, node_id: NodeId) {
        for _ in 0..100 {
            if self.status(node_id).role == Role::Leader {
                return;
            }
            self.tick(node_id);
            self.quiesce();
        }
        panic!("node {node_id} is not elected");
    }

    /// Lets time pass until some node leads.
    pub fn await_leader(&mut self) {
        for _ in 0..100 {
            let leads = |node: &Node| {
                node.replica.as_ref().is_some_and(|replica| replica.status().role == Role::Leader)
            };
            if self.nodes.values().any(leads) {
                return;
            }
            self.settle();
        }
        panic!("nobody is elected");
    }

    /// Hands leadership to a node.
    pub fn elect_by_transfer(&mut self, to: NodeId) {
        let leader = self.nodes.keys().copied().find(|id| self.status(*id).role == Role::Leader);
        let leader = leader.expect("there is a leader");
        let completion = self.call(leader);
        self.step(leader, Event::TransferLeadership { to, completion, timeout_ticks: 50 });
        self.quiesce();
        assert_eq!(self.status(to).role, Role::Leader);
    }

    pub fn call(&mut self, node_id: NodeId) -> u64 {
        self.next_call += 1;
        self.calls.insert(self.next_call, node_id);
        self.next_call
    }

    pub fn propose(&mut self, node_id: NodeId, data: &str) -> u64 {
        let call = self.call(node_id);
        let proposals = vec![(Bytes::copy_from_slice(data.as_bytes()).into(), call)];
        self.step(node_id, Event::Propose { proposals, timeout_ticks: 50 });
        call
    }

    pub fn read_index(&mut self, node_id: NodeId) -> u64 {
        let completion = self.call(node_id);
        let floor = self.nodes.values().map(|node| node.machine.applied_index).max();
        self.floors.insert(completion, floor.unwrap_or(0));
        self.step(node_id, Event::ReadIndex { completion, timeout_ticks: 50 });
        completion
    }

    pub fn change(&mut self, node_id: NodeId, change: Vec<MemberChange>) -> u64 {
        let completion = self.call(node_id);
        self.step(node_id, Event::ChangeMembership { change, completion, timeout_ticks: 50 });
        completion
    }

    /// What a call completed with; it must have, once.
    pub fn outcome(&self, call: u64) -> &Result<Completion> {
        let node = self.node(self.calls[&call]);
        let mut outcomes = node.done.iter().filter(|(done, _)| *done == call);
        let outcome = outcomes.next().unwrap_or_else(|| panic!("call {call} is not done"));
        assert!(outcomes.next().is_none(), "call {call} completed twice");
        &outcome.1
    }

    pub fn is_done(&self, call: u64) -> bool {
        self.node(self.calls[&call]).done.iter().any(|(done, _)| *done == call)
    }

    pub fn code(&self, call: u64) -> (Code, crate::error::Outcome) {
        let error = self.outcome(call).as_ref().expect_err("the call should have failed");
        (error.code, error.outcome)
    }

    /// What the machine of a node was given.
    pub fn applied(&self, node_id: NodeId) -> Vec<String> {
        let entries = self.node(node_id).machine.entries.iter();
        entries.map(|(_, data)| String::from_utf8_lossy(data).into_owned()).collect()
    }

    /// Ends a node as a power cut would: what was not synced is lost.
    pub fn crash(&mut self, node_id: NodeId) {
        let open =
            self.calls.iter().filter(|(call, node)| **node == node_id && !self.is_done(**call));
        self.lost.extend(open.map(|(call, _)| *call).collect::<Vec<_>>());
        let node = self.node_mut(node_id);
        node.replica = None;
        node.unsynced.clear();
        node.work.clear();
        node.reads.clear();
        node.sends.clear();
        *node.log.lock().unwrap() = node.durable.clone();
        node.machine = match node.options.machine_kind {
            MachineKind::OnDisk => node.machine_durable.clone(),
            _ => Machine::default(),
        };
        self.network.retain(|packet| packet.from != node_id && packet.to != node_id);
    }

    /// Starts a node again with what its disk holds.
    pub fn restart(&mut self, node_id: NodeId) -> Result<()> {
        let node = self.node_mut(node_id);
        node.options.boot_counter += 1;
        let recovered = node.durable.recovered();
        let usable = |stored: &&StoredSnapshot| {
            stored.received.index >= recovered.compacted_index
                && stored.received.index <= recovered.last_index
        };
        // What a runtime does for the machines that keep nothing: the newest snapshot of the store.
        if node.options.machine_kind != MachineKind::OnDisk && recovered.unrestored.is_none() {
            let newest = node.store.values().filter(usable).max_by_key(|s| s.received.index);
            node.machine = newest.map(|stored| stored.machine.clone()).unwrap_or_default();
        }
        let applied = node.machine.applied_index;
        let reader = Arc::new(Reader(node.log.clone()));
        let options = node.options.clone();
        node.replica = Some(Replica::open(options, Some(&recovered), reader, applied)?);
        self.drain(node_id);
        Ok(())
    }
}
