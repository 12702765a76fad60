//! The event loop: sockets, calls and ticks in; replicas in the middle; log, sockets, machines and completions out.
//!
//! One turn of the loop takes everything that has arrived, settles every replica that it touched, sends, and says whether
//! the log wants a barrier. What arrives during a barrier is the next turn's, for all groups at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::deliver::Delivered;
use super::hosted::{Hosted, Stage, StoppedGroup};
use super::inbox::{Command, GroupKey, Taken};
use super::lingering::Lingering;
use super::node_handle::NodeHandle;
use super::random::Random;
use super::settle::Called;
use super::system::Network;
use crate::error::Error;
use crate::ids::{GroupId, Index};
use crate::log::{Admission, Barrier, FinishedBarrier, Log, Lsn, Record};
use crate::replica::{Effects, Envelope, Event, Payload, PeerIdentity, PeerMessage};
use crate::runtime::call::Call;
use crate::transport::Inbound;

/// How often one turn takes calls that its own completions led to, before it looks at the sockets again.
const ROUNDS_PER_TURN: usize = 4;

/// What a turn of the loop asks of the thread that turns it.
// A turn is returned by value and looked at once: nothing is gained by a box around the barrier.
#[allow(clippy::large_enum_variant)]
pub enum Turn {
    Again,
    /// Run it without the loop's state, then call `barrier_done`.
    Barrier(Barrier),
    /// The node is to be closed.
    Closing,
}

/// Sees every record that a loop appends to its log, with the position of its first byte.
pub type Observer = Box<dyn FnMut(GroupId, Lsn, &Record) + Send>;

pub(crate) struct EventLoop {
    pub(super) node: Arc<NodeHandle>,
    pub(super) network: Box<dyn Network>,
    pub(super) log: Log,
    pub(super) groups: BTreeMap<GroupKey, Hosted>,
    pub(super) keys: BTreeMap<GroupId, GroupKey>,
    /// What the log holds of groups that do not run.
    pub(super) recovered: BTreeMap<GroupId, StoppedGroup>,
    /// Groups that start when the log is durable up to a position, and where their machines are.
    pub(super) waiting_for_disk: Vec<(Lsn, GroupKey, Index)>,
    /// Groups that have something to drain.
    pub(super) dirty: Vec<GroupKey>,
    /// Groups whose tidings leave with the end of the turn.
    pub(super) with_tidings: Vec<GroupKey>,
    /// Whose records wait for the disk: the position, the group and the number of its effects; ascending.
    pub(super) unpersisted: VecDeque<(Lsn, GroupKey, u64)>,
    pub(super) effects: Effects<Call>,
    pub(super) inbound: Vec<Inbound>,
    pub(super) taken: Taken,
    pub(super) deliveries: Vec<Delivered>,
    pub(super) lingering: Lingering,
    pub(super) peers_changed: bool,
    pub(super) chore_running: bool,
    /// The log may have housekeeping to do: after every barrier, chore and tick.
    pub(super) chore_due: bool,
    /// Bytes of proposals that wait in all replicas until they can be appended.
    pub(super) queued_bytes: u64,
    /// What the replicas were told.
    pub(super) admission: Admission,
    pub(super) failure: Option<Error>,
    pub(super) closing: bool,
    pub(super) random: Random,
    pub(super) observer: Option<Observer>,
    pub(super) started: Instant,
    pub(super) next_tick: Instant,
    /// Above every number in an id that a replica used in this boot.
    pub(super) next_sequence: u64,
    /// Ticks since the start.
    pub(super) ticks: u64,
    pub(super) last_busy: Instant,
}

impl EventLoop {
    /// One turn. Sleeps until something happens, if nothing waits.
    pub(crate) fn turn(&mut self) -> Turn {
        self.wait();
        self.receive();
        for _ in 0..ROUNDS_PER_TURN {
            self.take_calls();
            self.settle();
            match self.deliver_quick() {
                Called::None => break,
                Called::Last if !self.linger() => break,
                _ => {}
            }
        }
        if self.closing {
            // What completed may have been the reason to close: others must not wait for the news of it.
            self.send();
            return Turn::Closing;
        }
        self.tick();
        self.settle();
        self.deliver();
        self.send();
        self.keep_house();
        match self.next_barrier() {
            Some(barrier) => Turn::Barrier(barrier),
            None => Turn::Again,
        }
    }

    /// Takes note of a barrier that has run. Answers that waited for it leave at once. Everything else goes on in the next
    /// turn, which does not sleep, together with what peers sent in the meantime: a leader then says it all in one message.
    pub(crate) fn barrier_done(&mut self, finished: FinishedBarrier) {
        self.chore_due = true;
        match self.log.finish_barrier(finished) {
            Ok(durable) => {
                self.persisted(durable);
                self.answer();
            }
            Err(error) => self.storage_failed(error),
        }
    }

    /// Sends what the replicas have to say already, without a look at the sockets: somebody waits for it.
    fn answer(&mut self) {
        let answers = |key| match self.groups.get(key).map(|hosted| &hosted.stage) {
            Some(Stage::Running(replica)) => replica.has_messages(),
            _ => false,
        };
        if self.dirty.iter().any(answers) {
            self.settle();
            self.network.flush();
        }
    }

    fn next_barrier(&mut self) -> Option<Barrier> {
        // A record that the log refused: without a barrier nobody else would ever hear of it.
        if let (None, Some(error)) = (&self.failure, self.log.failure()) {
            self.storage_failed(error);
        }
        if self.failure.is_some() || !self.log.wants_barrier() {
            return None;
        }
        self.last_busy = self.now();
        self.log.begin_barrier()
    }

    /// Sleeps until a socket, another thread or the clock wants something.
    fn wait(&mut self) {
        let timeout = self.prepare_to_sleep();
        self.network.wait(timeout);
        self.node.inbox.awake();
    }

    /// For how long there is nothing to do, if nothing happens. From now on the inbox wakes the loop.
    pub(super) fn prepare_to_sleep(&mut self) -> Duration {
        let until_tick = self.next_tick.saturating_duration_since(self.now());
        let network_wants_ms = self.network.next_deadline_ms().saturating_sub(self.now_ms());
        let busy =
            !self.dirty.is_empty() || !self.with_tidings.is_empty() || !self.deliveries.is_empty();
        if busy || !self.node.inbox.may_sleep() {
            return Duration::ZERO;
        }
        until_tick.min(Duration::from_millis(network_wants_ms))
    }

    /// Hands what came from peers to the replicas.
    fn receive(&mut self) {
        let mut inbound = std::mem::take(&mut self.inbound);
        self.network.receive(self.now_ms(), &mut inbound);
        for arrived in inbound.drain(..) {
            self.arrived(arrived);
        }
        self.inbound = inbound;
    }

    fn arrived(&mut self, arrived: Inbound) {
        match arrived {
            Inbound::Message { peer, envelope } => {
                let bytes = entry_bytes(&envelope);
                // What waits to be proposed may wait on: nothing else depends on it.
                let promised = match &envelope.body {
                    PeerMessage::Propose { .. } => self.queued_bytes,
                    _ => 0,
                };
                let admission = self.log.admission(promised + bytes);
                if bytes > 0 && admission != Admission::Admitted {
                    return self.without_space(peer, envelope, admission);
                }
                if let Some(key) = self.keys.get(&envelope.group_id).copied() {
                    self.step(key, Event::Message { peer, envelope });
                }
            }
            Inbound::Connected { peer } => {
                tracing::info!(node = self.node.identity.node_id, peer = peer.node_id, "connected");
            }
            Inbound::Disconnected { node_id } => {
                for key in self.keys_of_running_groups() {
                    self.step(key, Event::Unreachable { node_id });
                }
            }
            Inbound::Bulk { peer, stream } => self.receive_snapshot(peer, stream),
        }
    }

    /// There is no space for what came. An append is as if it were lost: it cannot be undone once raft-rs has seen it.
    /// Proposals are refused by the replica, so that whoever made them need not wait for the end of their time.
    fn without_space(&mut self, peer: PeerIdentity, envelope: Envelope, admission: Admission) {
        let PeerMessage::Propose { .. } = envelope.body else { return };
        let Some(key) = self.keys.get(&envelope.group_id).copied() else { return };
        self.step(key, Event::Space { admission });
        self.step(key, Event::Message { peer, envelope });
        self.settle();
        self.step(key, Event::Space { admission: self.admission });
    }

    /// Hands what the program and other threads want to the replicas.
    fn take_calls(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        self.node.inbox.take(&mut taken);
        // Commands first, since one may start the group that a proposal is for; but stops last: what was proposed before
        // completes before the stop ends.
        let mut stops = Vec::new();
        for command in taken.commands.drain(..) {
            match command {
                Command::StopGroup { key } => stops.push(key),
                command => self.command(command),
            }
        }
        if !taken.proposals.is_empty() {
            self.note_calls();
        }
        for (key, timeout_ticks, proposals) in taken.proposals.drain(..) {
            self.propose(key, proposals, timeout_ticks);
        }
        for key in stops {
            self.stop_group(key);
        }
        self.taken = taken;
    }

    /// Hands proposals to their replica, as far as there is room for them in the log.
    fn propose(&mut self, key: GroupKey, mut proposals: Vec<(Payload, Call)>, timeout_ticks: u64) {
        let bytes: usize = proposals.iter().map(|(payload, _)| payload.len()).sum();
        let refusal = self.log.admission(self.queued_bytes + bytes as u64).refusal();
        let refused = match &refusal {
            Some(_) => proposals.split_off(self.fitting(&proposals)),
            None => Vec::new(),
        };
        if !proposals.is_empty() {
            self.step(key, Event::Propose { proposals, timeout_ticks });
        }
        if let Some(error) = refusal {
            self.refuse(key, Event::Propose { proposals: refused, timeout_ticks }, error);
        }
    }

    /// How many of the proposals, from the first one on, the log has room for.
    fn fitting(&self, proposals: &[(Payload, Call)]) -> usize {
        let mut bytes = self.queued_bytes;
        let fits = |(payload, _): &&(Payload, Call)| {
            bytes += payload.len() as u64;
            self.log.admits(bytes)
        };
        proposals.iter().take_while(fits).count()
    }

    /// Gives every replica its tick. After a pause of the process there is one tick, not many: a member that slept must
    /// hear its peers before it doubts them.
    fn tick(&mut self) {
        let now = self.now();
        if now < self.next_tick {
            return;
        }
        let period = Duration::from_millis(self.node.options.tick_ms);
        self.next_tick += period;
        if self.next_tick <= now {
            self.next_tick = now + period;
        }
        self.update_space();
        self.ticks += 1;
        for errands in self.node.all_errands() {
            errands.nudge();
        }
        self.chore_due = true;
        self.tick_groups(now);
        self.publish_node();
    }

    /// Gives every replica its tick. Most have nothing to say: they cost one look at their memory, since there may be
    /// thousands of them.
    fn tick_groups(&mut self, now: Instant) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut spoke = Vec::new();
        let mut late = Vec::new();
        for (key, hosted) in &mut self.groups {
            if hosted.is_late(now, self.ticks) {
                late.push(*key);
            }
            let Stage::Running(replica) = &mut hosted.stage else { continue };
            replica.step(Event::Tick { jitter: self.random.next() });
            if hosted.dirty {
                continue;
            }
            replica.drain(&mut effects);
            if !effects.is_empty() {
                spoke.push((*key, std::mem::take(&mut effects)));
            }
        }
        self.effects = effects;
        for (key, mut effects) in spoke {
            self.carry_out(key, &mut effects);
            self.publish(key);
        }
        for key in late {
            self.check_restore(key, now);
            self.expire_parked(key);
        }
    }

    fn send(&mut self) {
        // Before the peers change: a leader that removed itself knows none any more, and still has to tell them.
        self.send_tidings();
        if self.peers_changed {
            self.peers_changed = false;
            self.update_peers();
        }
        self.network.flush();
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now().saturating_duration_since(self.started).as_millis() as u64
    }

    pub(super) fn now(&self) -> Instant {
        self.node.system.now()
    }
}

/// The bytes of entries that stepping a message may append to the log.
fn entry_bytes(envelope: &Envelope) -> u64 {
    let bytes: usize = match &envelope.body {
        PeerMessage::Raft(message) => message.entries.iter().map(|entry| entry.data.len()).sum(),
        PeerMessage::Propose { proposals, .. } => proposals.iter().map(Bytes::len).sum(),
        _ => return 0,
    };
    bytes as u64
}
