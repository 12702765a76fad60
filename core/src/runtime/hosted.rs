//! A group as the event loop hosts it: from the first callback of its machine to the last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::Call;
use super::deliver::Delivered;
use super::event_loop::EventLoop;
use super::group_handle::GroupHandle;
use super::inbox::{Command, GroupKey, MachineAnswer};
use super::node_handle::NodeHandle;
use super::parked::{not_running, Parked};
use super::seat::{describe, Seat, Work};
use super::tidings::Tidings;
use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, Index, Uuid};
use crate::log::{Lsn, RecoveredGroup};
use crate::machine::{MachineKind, MachineResult, Opened};
use crate::replica::{Event, MachineWork, PeerIdentity, Replica, ReplicaOptions};
use crate::snapshot::SnapshotKind;

pub(crate) struct Hosted {
    pub(super) group: Arc<GroupHandle>,
    pub(super) seat: Arc<Seat>,
    pub(super) stage: Stage,
    /// What the log holds of the group, once its replica was opened.
    pub(super) held: Option<RecoveredGroup>,
    /// The position up to which the log must be durable before the group may start again.
    pub(super) must_be_durable: Lsn,
    pub(super) dirty: bool,
    /// Bytes of proposals that the replica has and that are in no log yet.
    pub(super) queued_bytes: u64,
    pub(super) parked: Parked,
    pub(super) tidings: Tidings,
    /// The other members, as the replica last named them.
    pub(super) peers: Vec<(PeerIdentity, String)>,
    /// When `restore_snapshot`, which is under way, must be done.
    pub(super) restore_deadline: Option<Instant>,
    /// A received snapshot that the replica has not taken yet.
    pub(super) offered: Option<Uuid>,
}

/// A group of the log that does not run.
pub(crate) struct StoppedGroup {
    pub(super) held: RecoveredGroup,
    pub(super) must_be_durable: Lsn,
}

pub(crate) enum Stage {
    /// The machine opens, or is restored from the newest snapshot. Calls wait.
    Opening {
        restoring: Option<Index>,
    },
    Running(Box<Replica<Call>>),
    /// The group could not be started; every call was answered.
    Failed,
}

impl EventLoop {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::StartGroup { group, seat } => self.start_group(group, seat),
            Command::StopGroup { key } => self.stop_group(key),
            Command::ChangeMembership { key, changes, timeout_ticks, call } => {
                self.change_membership(key, changes, timeout_ticks, call);
            }
            Command::Introduced { key, number, change } => self.introduced(key, number, change),
            Command::Event { key, event } => self.step(key, event),
            Command::Answered { key, answer } => {
                if let Some(hosted) = self.groups.get(&key) {
                    hosted.seat.answer_taken();
                }
                self.machine_answered(key, answer);
            }
            Command::Machine { key, answer } => self.machine_answered(key, answer),
            Command::EntriesRead { key, low, entries } => {
                self.step(key, Event::EntriesRead { low, entries });
            }
            Command::Close => self.closing = true,
        }
    }

    /// Gives an event to a group's replica, or keeps it until there is one.
    pub(super) fn step(&mut self, key: GroupKey, event: Event<Call>) {
        let Some(hosted) = self.groups.get_mut(&key) else {
            return self.refuse(key, event, not_running(None));
        };
        match &mut hosted.stage {
            Stage::Running(replica) => {
                if let Event::SnapshotReceived { snapshot, .. } = &event {
                    // One that was sent twice may have been found useless, and is gone.
                    if !self.node.snapshots.holds(hosted.seat.group_id, snapshot.snapshot) {
                        return;
                    }
                    hosted.offered = Some(snapshot.snapshot);
                }
                replica.step(event);
                if !hosted.dirty {
                    hosted.dirty = true;
                    self.dirty.push(key);
                }
            }
            Stage::Opening { .. } => self.park(key, event),
            Stage::Failed => {
                let error = not_running(Some(hosted));
                self.refuse(key, event, error);
            }
        }
    }

    pub(super) fn start_group(&mut self, group: Arc<GroupHandle>, seat: Arc<Seat>) {
        let key = group.key;
        self.keys.insert(group.options.group_id, key);
        let stage = Stage::Opening { restoring: None };
        seat.push(Work::Open);
        let hosted = Hosted {
            group,
            seat,
            stage,
            held: None,
            must_be_durable: 0,
            dirty: false,
            queued_bytes: 0,
            parked: Parked::default(),
            tidings: Tidings::default(),
            peers: Vec::new(),
            restore_deadline: None,
            offered: None,
        };
        self.groups.insert(key, hosted);
        self.publish_node();
    }

    pub(super) fn machine_answered(&mut self, key: GroupKey, answer: MachineAnswer) {
        let event = match answer {
            MachineAnswer::Opened(result) => return self.machine_opened(key, result),
            MachineAnswer::Restored { snapshot, index, result } => {
                return self.machine_restored(key, snapshot, index, result);
            }
            MachineAnswer::Applied(Ok(results)) => Event::Applied { results },
            MachineAnswer::Applied(Err(error)) => {
                let group_id = self.groups.get(&key).map_or(0, |hosted| hosted.seat.group_id);
                let message = describe("apply", group_id, &error);
                Event::MachineFailed { error: Error::unknown(Code::ApplyFailed, message) }
            }
            MachineAnswer::SyncFailed(error) => Event::MachineFailed { error },
            MachineAnswer::Synced(index) => Event::MachineSynced { index },
            MachineAnswer::SnapshotTaken(result) => Event::SnapshotTaken { result },
            MachineAnswer::SnapshotSent { to, succeeded } => Event::SnapshotSent { to, succeeded },
        };
        self.step(key, event);
    }

    /// The machine says where it stands. One without state of its own starts from the newest snapshot here.
    fn machine_opened(&mut self, key: GroupKey, result: MachineResult<Opened>) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        if let Stage::Failed = hosted.stage {
            return;
        }
        let group_id = hosted.seat.group_id;
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => {
                let message = describe("open", group_id, &error);
                return self.fail_group(key, Error::rejected(Code::OpenFailed, message));
            }
        };
        if hosted.seat.kind == MachineKind::OnDisk {
            return self.open_replica(key, opened.applied_index);
        }
        let held = self.recovered.get(&group_id);
        let reset_pending = held.is_some_and(|stopped| stopped.held.unrestored.is_some());
        let newest = match self.node.snapshots.newest(group_id) {
            Ok(newest) => newest,
            Err(error) => return self.fail_group(key, error),
        };
        // One of metadata was taken of a machine that kept its own state then: there is nothing in it to start from.
        match newest.filter(|manifest| manifest.kind != SnapshotKind::MetadataOnly) {
            // A reset that is not finished yet is restored by the replica itself.
            Some(manifest) if held.is_some() && !reset_pending => {
                let (snapshot, index, term) = (manifest.snapshot, manifest.index, manifest.term);
                hosted.stage = Stage::Opening { restoring: Some(index) };
                hosted.push_restore(
                    self.node.system.now(),
                    MachineWork::Restore { snapshot, index, term },
                );
            }
            _ => self.open_replica(key, 0),
        }
    }

    fn machine_restored(
        &mut self,
        key: GroupKey,
        snapshot: Uuid,
        index: Index,
        result: Result<()>,
    ) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        hosted.restore_deadline = None;
        let restoring = match &hosted.stage {
            Stage::Opening { restoring, .. } => *restoring,
            _ => None,
        };
        match (result, restoring) {
            (Err(error), Some(_)) => self.fail_group(key, error),
            (Err(error), None) => self.step(key, Event::MachineFailed { error }),
            (Ok(()), Some(_)) => self.open_replica(key, index),
            (Ok(()), None) => self.step(key, Event::Restored { snapshot }),
        }
    }

    /// Takes a group whose `restore_snapshot` did not end in time out of service.
    pub(super) fn check_restore(&mut self, key: GroupKey, now: Instant) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        if hosted.restore_deadline.take_if(|until| *until <= now).is_none() {
            return;
        }
        let options = &hosted.group.options;
        let error = Error::unknown(
            Code::RestoreFailed,
            format!(
                "restore_snapshot of group {} did not end within {} ms (snapshot_restore_timeout_ms)",
                options.group_id, options.snapshot_restore_timeout_ms
            ),
        );
        match hosted.stage {
            Stage::Opening { .. } => self.fail_group(key, error),
            _ => self.step(key, Event::MachineFailed { error }),
        }
    }

    /// Starts the replica, once its log is durable and its machine has the state of `machine_applied`.
    pub(super) fn open_replica(&mut self, key: GroupKey, machine_applied: Index) {
        if let Some(failure) = self.failure.clone() {
            return self.fail_group(key, failure);
        }
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let group_id = hosted.seat.group_id;
        if let Some(stopped) = self.recovered.get(&group_id) {
            if stopped.must_be_durable > self.log.status().durable_lsn {
                // The group was stopped a moment ago, and what it wrote last is still on its way to the disk.
                self.waiting_for_disk.push((stopped.must_be_durable, key, machine_applied));
                return;
            }
        }
        let recovered = self.recovered.remove(&group_id).map(|stopped| stopped.held);
        let log_id = match &recovered {
            Some(recovered) => recovered.log_id,
            None => self.log.create_group(group_id),
        };
        let options = replica_options(&self.node, hosted, self.next_sequence, self.random.next());
        let reader = self.log.reader(log_id);
        match Replica::open(options, recovered.as_ref(), reader, machine_applied) {
            Ok(replica) => {
                let fresh = || RecoveredGroup::new(log_id, group_id);
                hosted.held = Some(recovered.unwrap_or_else(fresh));
                hosted.stage = Stage::Running(Box::new(replica));
                hosted.dirty = true;
                self.dirty.push(key);
                self.unpark(key);
            }
            Err(error) => {
                if let Some(held) = recovered {
                    self.recovered.insert(group_id, StoppedGroup { held, must_be_durable: 0 });
                }
                self.fail_group(key, error);
            }
        }
    }

    /// The group cannot be started: every call is answered with the reason, now and later.
    pub(super) fn fail_group(&mut self, key: GroupKey, error: Error) {
        tracing::error!(%error, "a group could not be started");
        self.withdraw(key, error);
        self.notice(key, crate::replica::Notice::Failed);
    }

    /// Refuses every call to the group from now on, and those that wait for it to open.
    pub(super) fn withdraw(&mut self, key: GroupKey, error: Error) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        if let Stage::Running(replica) = &hosted.stage {
            self.next_sequence = self.next_sequence.max(replica.next_sequence());
        }
        self.queued_bytes -= std::mem::take(&mut hosted.queued_bytes);
        hosted.group.put_out_of_service(error.clone());
        hosted.stage = Stage::Failed;
        self.refuse_parked(key, &error);
    }

    /// Ends a group here: its calls complete, its machine is dropped, its data stays.
    pub(super) fn stop_group(&mut self, key: GroupKey) {
        let error = super::inbox::stopped();
        self.step(key, Event::Stop { error: error.clone() });
        self.settle();
        self.send_tidings();
        self.withdraw(key, error);
        let Some(hosted) = self.groups.remove(&key) else { return };
        let group_id = hosted.seat.group_id;
        self.keys.remove(&group_id);
        self.peers_changed = true;
        // Before anybody can hear that the group is gone.
        self.publish_node();
        self.close_seat(&hosted, || {});
        if let Some(held) = hosted.held {
            let must_be_durable = hosted.must_be_durable;
            self.recovered.insert(group_id, StoppedGroup { held, must_be_durable });
        }
    }

    /// Has the machine and the listener dropped, not on this thread: that is the program's code. Then calls `vacated`,
    /// and says to whoever waits for it that the group is gone.
    pub(super) fn close_seat(&mut self, hosted: &Hosted, vacated: impl FnOnce() + Send + 'static) {
        let group = hosted.group.clone();
        let forget_listener = Box::new(move || group.end_listening());
        self.deliveries.push(Delivered::Run(forget_listener));
        // Before the machine can be gone: a stop ends after everything that it completed.
        self.deliver();
        let (node, group) = (self.node.clone(), hosted.group.clone());
        hosted.seat.close(Box::new(move || {
            node.group_gone(&group);
            vacated();
        }));
    }

    pub(super) fn keys_of_running_groups(&self) -> Vec<GroupKey> {
        let running = |hosted: &&Hosted| matches!(hosted.stage, Stage::Running(_));
        let mut keys: Vec<GroupKey> =
            self.groups.values().filter(running).map(|hosted| hosted.group.key).collect();
        keys.sort_unstable();
        keys
    }
}

impl StoppedGroup {
    /// A group that the log held when it was opened, by its id.
    pub(super) fn of_log(held: RecoveredGroup) -> (GroupId, StoppedGroup) {
        (held.group_id, StoppedGroup { held, must_be_durable: 0 })
    }
}

impl Hosted {
    /// Whether something that waits here has waited too long.
    pub(super) fn is_late(&self, now: Instant, ticks: u64) -> bool {
        self.restore_deadline.is_some_and(|until| until <= now) || self.parked.is_due(ticks)
    }

    /// Has the machine restore a snapshot, within the time that the group's options give it.
    pub(super) fn push_restore(&mut self, now: Instant, work: MachineWork) {
        let timeout = Duration::from_millis(self.group.options.snapshot_restore_timeout_ms);
        self.restore_deadline = Some(now + timeout);
        self.seat.push(Work::Machine(work));
    }
}

fn replica_options(
    node: &NodeHandle,
    hosted: &Hosted,
    first_sequence: u64,
    jitter: u64,
) -> ReplicaOptions {
    let options = &hosted.group.options;
    ReplicaOptions {
        group_id: options.group_id,
        node_id: node.identity.node_id,
        incarnation: node.identity.incarnation,
        boot_counter: node.identity.boot_counter,
        advertised_address: node.advertised_address.clone(),
        initial_members: options.initial_members.clone(),
        election_ticks: node.options.election_ticks,
        heartbeat_ticks: node.options.heartbeat_ticks,
        proposal_bytes_max: options.proposal_bytes_max,
        pending_bytes_max: options.pending_bytes_max,
        pending_count_max: options.pending_count_max,
        unapplied_bytes_max: options.unapplied_bytes_max,
        inflight_bytes_max: options.inflight_bytes_max,
        entry_cache_bytes: options.entry_cache_bytes,
        snapshot_entries: options.snapshot_entries,
        snapshot_log_bytes: options.snapshot_log_bytes,
        retained_entries: options.retained_entries,
        priority: options.priority,
        machine_kind: hosted.seat.kind,
        first_sequence,
        jitter,
    }
}
