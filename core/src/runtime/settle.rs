//! Carrying out what the replicas want: the second half of a turn of the event loop.

use super::call::Call;
use super::deliver::Delivered;
use super::errands::guarded;
use super::event_loop::EventLoop;
use super::hosted::{Hosted, Stage};
use super::inbox::{Command, GroupKey};
use super::seat::Work;
use crate::error::{Error, Result};
use crate::log::{Lsn, Record};
use crate::replica::{Completion, Effects, Event, MachineWork, Notice};
use crate::snapshot::SnapshotPoint;

/// Which completions were called on the event loop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    None,
    Some,
    /// One, after which the program has no call to its group in flight.
    Last,
}

impl EventLoop {
    /// Drains every replica that has something to say, until none has.
    pub(super) fn settle(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        while let Some(key) = self.dirty.pop() {
            let Some(hosted) = self.groups.get_mut(&key) else { continue };
            hosted.dirty = false;
            let Stage::Running(replica) = &mut hosted.stage else { continue };
            replica.drain(&mut effects);
            self.carry_out(key, &mut effects);
            self.drop_unused_snapshot(key);
            self.publish(key);
        }
        self.effects = effects;
    }

    pub(super) fn carry_out(&mut self, key: GroupKey, effects: &mut Effects<Call>) {
        self.count_queued(key);
        self.append(key, effects);
        self.send_or_hold(key, &mut effects.messages);
        for work in effects.work.drain(..) {
            self.hand_to_machine(key, work);
        }
        self.complete_all(key, effects);
        for (low, high, bytes_max) in effects.reads.drain(..) {
            self.read_entries(key, low, high, bytes_max);
        }
        for order in effects.send_snapshots.drain(..) {
            self.send_snapshot(key, order);
        }
        if let Some(peers) = effects.peers.take() {
            if let Some(hosted) = self.groups.get_mut(&key) {
                hosted.peers = peers;
                if let Stage::Running(replica) = &hosted.stage {
                    hosted.group.publish_members(replica.members());
                }
            }
            self.peers_changed = true;
        }
        for notice in effects.notices.drain(..) {
            self.notice(key, notice);
        }
    }

    /// What a replica still has to append was admitted, and counts until it is.
    fn count_queued(&mut self, key: GroupKey) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let Stage::Running(replica) = &hosted.stage else { return };
        let queued_bytes = replica.queued_bytes();
        let counted = std::mem::replace(&mut hosted.queued_bytes, queued_bytes);
        self.queued_bytes = self.queued_bytes - counted + queued_bytes;
    }

    fn append(&mut self, key: GroupKey, effects: &mut Effects<Call>) {
        if effects.records.is_empty() {
            return;
        }
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let Some(held) = &mut hosted.held else { return };
        let mut position = 0;
        for record in effects.records.drain(..) {
            if let Record::Reset { snapshot, .. } = &record {
                hosted.offered.take_if(|offered| offered == snapshot);
            }
            if let Some(observe) = &mut self.observer {
                observe(held.group_id, self.log.status().appended_lsn + 1, &record);
            }
            held.note(&record);
            position = self.log.append(held.log_id, record, effects.must_sync);
        }
        if effects.must_sync {
            hosted.must_be_durable = position;
        }
        self.unpersisted.push_back((position, key, effects.number));
    }

    fn hand_to_machine(&mut self, key: GroupKey, work: MachineWork) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        match work {
            MachineWork::Apply { entries } if hosted.seat.quick => {
                if let Some(answer) = hosted.seat.clone().apply_inline(entries) {
                    self.machine_answered(key, answer);
                }
            }
            MachineWork::Stream { send, index, term, membership } => {
                let (seat, snapshot) = (hosted.seat.clone(), send.snapshot);
                let group_id = seat.group_id;
                let point = SnapshotPoint { group_id, snapshot, index, term, membership };
                if let Some(shipment) = self.shipment(key, send) {
                    seat.push(Work::Stream(shipment, point));
                }
            }
            work @ MachineWork::Restore { .. } => hosted.push_restore(self.node.system.now(), work),
            work => hosted.seat.push(Work::Machine(work)),
        }
    }

    fn complete_all(&mut self, key: GroupKey, effects: &mut Effects<Call>) {
        if effects.completions.is_empty() {
            return;
        }
        let group = self.groups.get(&key).map(|hosted| &hosted.group);
        let done = effects.completions.drain(..);
        let done = done.filter_map(|(call, result)| call.finish(result));
        self.deliveries.extend(done.map(|delivery| Delivered::Call(group.cloned(), delivery)));
    }

    /// Completes one call that never reached a replica.
    pub(super) fn complete(&mut self, key: GroupKey, call: Call, result: Result<Completion>) {
        let group = self.groups.get(&key).map(|hosted| hosted.group.clone());
        if let Some(delivery) = call.finish(result) {
            self.deliveries.push(Delivered::Call(group, delivery));
        }
    }

    /// Calls the completions that may run here. They may have led to new calls.
    pub(super) fn deliver_quick(&mut self) -> Called {
        let mut outcome = Called::None;
        let is_one = self.deliveries.len() == 1;
        let mut others = Vec::new();
        for delivered in self.deliveries.drain(..) {
            match delivered {
                Delivered::Call(ref group, ref delivery) if delivery.is_quick() => {
                    let group = if is_one { group.clone() } else { None };
                    delivered.call();
                    let is_idle = group.is_some_and(|group| group.is_idle());
                    outcome = if is_idle { Called::Last } else { Called::Some };
                }
                other => others.push(other),
            }
        }
        self.deliveries = others;
        outcome
    }

    pub(super) fn deliver(&mut self) {
        self.deliver_quick();
        self.node.deliveries.push_all(&mut self.deliveries);
    }

    pub(super) fn notice(&mut self, key: GroupKey, notice: Notice) {
        if let Some(hosted) = self.groups.get(&key) {
            if hosted.group.admits_notice() {
                self.deliveries.push(Delivered::Notice(hosted.group.clone(), notice));
            }
        }
    }

    /// Everything up to `durable` is on the disk.
    pub(super) fn persisted(&mut self, durable: Lsn) {
        while let Some((position, key, number)) = self.unpersisted.front().copied() {
            if position > durable {
                break;
            }
            self.unpersisted.pop_front();
            self.step(key, Event::Persisted { number });
        }
        for (position, key, machine_applied) in std::mem::take(&mut self.waiting_for_disk) {
            match position <= durable {
                true => self.open_replica(key, machine_applied),
                false => self.waiting_for_disk.push((position, key, machine_applied)),
            }
        }
    }

    /// The disk failed for good: no replica here votes or acknowledges any more.
    pub(super) fn storage_failed(&mut self, error: Error) {
        tracing::error!(%error, "the node is out of service");
        self.failure = Some(error.clone());
        let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        for key in keys {
            match self.groups.get(&key).map(|hosted| &hosted.stage) {
                Some(Stage::Opening { .. }) => self.fail_group(key, error.clone()),
                Some(Stage::Running(_)) => {
                    self.step(key, Event::StorageFailed { error: error.clone() })
                }
                _ => {}
            }
        }
        self.publish_node();
    }

    /// Reads entries for those who lag, on a thread that may wait for the disk.
    fn read_entries(&mut self, key: GroupKey, low: u64, high: u64, bytes_max: u64) {
        let held = self.groups.get(&key).and_then(|hosted| hosted.held.as_ref());
        let Some(held) = held else { return };
        let reader = self.log.reader(held.log_id);
        let inbox = self.node.inbox.clone();
        self.node.readers.run(move || {
            let entries = guarded("reading the log", || reader.read(low, high, bytes_max));
            // After the close nobody waits for the answer.
            let _ = inbox.command(Command::EntriesRead { key, low, entries });
        });
    }

    /// Tells the group's handles how the replica stands.
    pub(super) fn publish(&mut self, key: GroupKey) {
        if let Some(Hosted { group, stage: Stage::Running(replica), .. }) = self.groups.get(&key) {
            group.publish(replica.status());
        }
    }
}
