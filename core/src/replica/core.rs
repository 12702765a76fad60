//! The replica itself: what it consists of, how it starts, what it makes of events, how it stops.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use raft::{RawNode, StateRole};

use super::apply::ApplyQueue;
use super::change::{ChangeCall, TransferCall};
use super::effect::{Effects, Notice};
use super::event::Event;
use super::forming::Forming;
use super::forward::Forwarded;
use super::membership::Membership;
use super::message::PeerIdentity;
use super::meta::Meta;
use super::observe::Observed;
use super::pending::Proposals;
use super::persist::PersistQueue;
use super::reads::Reads;
use super::removal::Removal;
use super::snapshots::Snapshots;
use super::start;
use super::storage::ReplicaStorage;
use crate::error::{Code, Error, Outcome, Result};
use crate::group::GroupStatus;
use crate::ids::{GroupId, Index, NodeId, RaftId, Uuid};
use crate::log::{Admission, EntryReader, RecoveredGroup};
use crate::machine::MachineKind;
use crate::options::InitialMember;

/// What a replica says of itself.
pub type ReplicaStatus = GroupStatus;

/// How a replica is opened. See [`crate::options::GroupOptions`] for what has the same name there.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    pub group_id: GroupId,
    pub node_id: NodeId,
    /// The life of the data directory.
    pub incarnation: Uuid,
    /// How often the data directory was opened.
    pub boot_counter: u64,
    /// The address that this node tells others.
    pub advertised_address: String,
    pub initial_members: Vec<InitialMember>,
    pub election_ticks: u64,
    pub heartbeat_ticks: u64,
    pub proposal_bytes_max: u64,
    pub pending_bytes_max: u64,
    pub pending_count_max: u64,
    pub unapplied_bytes_max: u64,
    pub inflight_bytes_max: u64,
    pub entry_cache_bytes: u64,
    pub snapshot_entries: u64,
    pub snapshot_log_bytes: u64,
    pub retained_entries: u64,
    pub priority: i64,
    pub machine_kind: MachineKind,
    /// Above every number in an id that this replica used earlier in this boot (see
    /// [`Replica::next_sequence`]); 1 if there was none.
    pub first_sequence: u64,
    /// A random number, from which the first election timeout is drawn.
    pub jitter: u64,
}

/// Where a replica is in its life.
pub(super) enum Phase {
    /// Without data and initial members: waits to be added.
    Waiting,
    /// An initial member that has not met all others.
    Forming(Forming),
    Active,
    /// It was removed from the group. See [`super::removal`].
    Removed(Removal),
    Stopped,
}

/// A group's copy on one node, without I/O.
///
/// **Threads**: none of its own; whoever owns it calls [`step`](Replica::step) for everything
/// that happens and then [`drain`](Replica::drain) for everything that follows.
pub struct Replica<C> {
    pub(super) options: ReplicaOptions,
    pub(super) phase: Phase,
    pub(super) meta: Meta,
    pub(super) membership: Membership,
    /// The memberships since the last entry that the machine was given: a snapshot needs the one of
    /// its index.
    pub(super) history: VecDeque<(Index, Bytes)>,
    /// Senders that are newer than this replica's membership.
    pub(super) contacts: Vec<(RaftId, PeerIdentity)>,
    /// `None` while the group forms, and after a failure.
    pub(super) raft: Option<RawNode<ReplicaStorage>>,
    /// What raft-rs will be made from.
    pub(super) reader: Arc<dyn EntryReader>,
    pub(super) persist: PersistQueue,
    pub(super) proposals: Proposals<C>,
    pub(super) forwarded: VecDeque<Forwarded>,
    pub(super) forwarded_bytes: u64,
    pub(super) reads: Reads<C>,
    pub(super) apply: ApplyQueue,
    pub(super) snapshots: Snapshots<C>,
    pub(super) change: Option<ChangeCall<C>>,
    pub(super) transfer: Option<TransferCall<C>>,
    pub(super) out: Effects<C>,
    /// Ticks since the start.
    pub(super) now: u64,
    /// Whether the log admits entries.
    pub(super) admission: Admission,
    /// The messages in flight to one peer that raft-rs was last told to allow.
    pub(super) window: usize,
    /// The number of the effects that the newest configuration is recorded with.
    pub(super) configuration_number: u64,
    pub(super) refused_messages: u64,
    pub(super) jitter: u64,
    /// Whether there was an event since the last drain.
    stepped: bool,
    pub(super) election_timeout: usize,
    pub(super) observed: Observed,
    pub(super) failure: Option<Error>,
}

impl<C> Replica<C> {
    /// Opens a replica. `recovered` is what the log holds of the group; `None` if it is new on this
    /// node. `machine_applied` is the index up to which the state machine holds the group's state
    /// already: what `open` of an on-disk machine returned, or the index of the local snapshot that
    /// another one was restored from; 0 for nothing. `reader` reads the entries that are no longer
    /// in memory.
    ///
    /// A machine whose state ends before the log begins takes no part in elections; it waits for a
    /// snapshot.
    ///
    /// **Errors**: `MachineAhead` if the machine holds more than the log; `InitialMembersConflict`
    /// if the log holds a group with other initial members, or the list is unusable;
    /// `WrongIdentity` if the log belongs to another life of the data directory; `Corrupted`;
    /// `InvalidArgument`.
    pub fn open(
        options: ReplicaOptions,
        recovered: Option<&RecoveredGroup>,
        reader: Arc<dyn EntryReader>,
        machine_applied: Index,
    ) -> Result<Replica<C>> {
        start::check_options(&options)?;
        let mut replica = Replica::empty(options, reader);
        start::recover(&mut replica, recovered, machine_applied)?;
        replica.settle();
        Ok(replica)
    }

    fn empty(options: ReplicaOptions, reader: Arc<dyn EntryReader>) -> Replica<C> {
        let meta = Meta {
            raft_id: 0,
            incarnation: options.incarnation,
            formation: Uuid::NIL,
            initial_nodes: Vec::new(),
            stored: Default::default(),
            members: Uuid::NIL,
            shown_index: None,
        };
        Replica {
            phase: Phase::Waiting,
            meta,
            membership: Membership::default(),
            history: VecDeque::new(),
            contacts: Vec::new(),
            raft: None,
            reader,
            persist: PersistQueue::default(),
            proposals: Proposals::new(options.first_sequence),
            forwarded: VecDeque::new(),
            forwarded_bytes: 0,
            reads: Reads::new(options.first_sequence),
            apply: ApplyQueue::new(0, 0),
            snapshots: Snapshots::new(options.first_sequence),
            change: None,
            transfer: None,
            out: Effects::new(),
            now: 0,
            admission: Admission::Admitted,
            window: 0,
            configuration_number: 0,
            refused_messages: 0,
            jitter: options.jitter,
            stepped: true,
            election_timeout: 0,
            observed: Observed::default(),
            failure: None,
            options,
        }
    }

    /// Takes an event in. What follows from it comes out of the next [`drain`](Replica::drain).
    ///
    /// Never panics: should raft-rs or the replica itself do, the replica is out of service from
    /// then on.
    pub fn step(&mut self, event: Event<C>) {
        self.stepped = true;
        self.guarded(|replica| {
            replica.take_in(event);
            replica.settle();
        });
    }

    /// Hands out everything that follows from the events since the last call.
    pub fn drain(&mut self, effects: &mut Effects<C>) {
        self.stepped = false;
        self.guarded(|replica| {
            replica.work();
            replica.settle();
        });
        if !self.out.records.is_empty() {
            self.out.number = self.persist.issue();
        }
        effects.take_from(&mut self.out);
    }

    /// Whether [`drain`](Replica::drain) may have something to hand out.
    pub fn wants_drain(&self) -> bool {
        self.stepped || !self.out.is_empty()
    }

    /// Whether a message is ready to leave with the next [`drain`](Replica::drain): as a follower's answer is once its
    /// entries are durable.
    pub(crate) fn has_messages(&self) -> bool {
        !self.out.messages.is_empty()
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Replica<C>)) {
        // Nothing of raft-rs is used after a panic, so no half-made state of it can be seen.
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        // What was half made does not leave: nothing of it was promised to anybody yet.
        self.out.records.clear();
        self.out.messages.clear();
        self.out.work.clear();
        self.out.reads.clear();
        self.out.send_snapshots.clear();
        let cause = self.raft.as_mut().and_then(|raft| raft.mut_store().take_read_error());
        let error = match cause {
            Some(error) => Error::unknown(
                error.code,
                format!("the group is out of service on this node: {}", error.message),
            ),
            None => Error::unknown(
                Code::Panicked,
                "the replica is out of service after a panic; close the group and report this",
            ),
        };
        self.fail(error);
    }

    fn take_in(&mut self, event: Event<C>) {
        match event {
            Event::Tick { jitter } => self.tick(jitter),
            Event::Message { peer, envelope } => self.on_message(peer, envelope),
            Event::Propose { proposals, timeout_ticks } => self.propose(proposals, timeout_ticks),
            Event::ReadIndex { completion, timeout_ticks } => self.read(completion, timeout_ticks),
            Event::ChangeMembership { change, completion, timeout_ticks } => {
                self.change_membership(change, completion, timeout_ticks);
            }
            Event::TransferLeadership { to, completion, timeout_ticks } => {
                self.transfer_leadership(to, completion, timeout_ticks);
            }
            Event::Persisted { number } => self.persisted(number),
            Event::EntriesRead { low, entries } => self.entries_read(low, entries),
            Event::Applied { results } => self.applied(results),
            Event::MachineFailed { error } | Event::StorageFailed { error } => self.fail(error),
            Event::SnapshotTaken { result } => self.snapshot_taken(result),
            Event::TakeSnapshot { completion } => self.take_snapshot(completion),
            Event::Restored { snapshot } => self.restored(snapshot),
            Event::MachineSynced { index } => self.machine_synced(index),
            Event::SnapshotReceived { from, peer, term, snapshot } => {
                self.snapshot_received(from, peer, term, snapshot);
            }
            Event::SnapshotSent { to, succeeded } => self.snapshot_sent(to, succeeded),
            Event::Unreachable { node_id } => self.unreachable(node_id),
            Event::NotSent { envelope } => self.not_sent(envelope),
            Event::Space { admission } => self.admission = admission,
            Event::Stop { error } => self.stop(error),
        }
    }

    fn tick(&mut self, jitter: u64) {
        self.now += 1;
        self.jitter = self.jitter.rotate_left(17) ^ jitter;
        if self.proposals.is_late(self.now) || self.reads.is_late(self.now) {
            let why = self.what_is_missing();
            self.proposals.expire(self.now, &why, &mut self.out.completions);
            self.reads.expire(self.now, &why, &mut self.out.completions);
        }
        self.expire_calls();
        self.ask_whether_removed();
        let may_campaign = self.may_campaign();
        self.ask_for_state();
        if let Some(raft) = self.raft.as_mut() {
            if raft.raft.state == StateRole::Leader || may_campaign {
                raft.tick();
            } else {
                // Time passes all the same: a leader that is gone must not bind this replica's
                // vote.
                raft.raft.election_elapsed += 1;
            }
        }
    }

    /// Whether raft-rs may start an election. It must not when the replica was removed, while a snapshot is on its way to the
    /// disk, or while the machine's state ends before the log begins, and a single voter must not
    /// before its log is durable.
    pub(super) fn may_campaign(&self) -> bool {
        let Some(raft) = self.raft.as_ref() else { return false };
        if self.is_removed() {
            return false;
        }
        let alone = raft.raft.prs().is_singleton();
        !self.snapshots.is_installing()
            && !self.snapshots.needs_state
            && (!alone || self.persist.is_empty())
    }

    fn unreachable(&mut self, node_id: NodeId) {
        let Some(raft) = self.raft.as_mut() else { return };
        for member in self.membership.of_node(node_id) {
            raft.report_unreachable(member.raft_id);
        }
    }

    /// Puts the replica out of service for good.
    pub(super) fn fail(&mut self, error: Error) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        tracing::error!(group = self.options.group_id, "a replica is out of service: {error}");
        self.end(&error);
        self.failure = Some(error);
        self.out.notices.push(Notice::Failed);
    }

    fn stop(&mut self, error: Error) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        let was_removed = self.is_removed();
        self.end(&error);
        if !was_removed {
            self.failure = Some(error);
        }
    }

    fn end(&mut self, error: &Error) {
        self.phase = Phase::Stopped;
        self.raft = None;
        self.complete_all(error);
        self.notice(Observed::stopped(self));
    }

    /// Completes every call. What never left is rejected; of the rest nobody knows.
    pub(super) fn complete_all(&mut self, error: &Error) {
        self.forwarded.clear();
        self.forwarded_bytes = 0;
        let rejected = || Error { outcome: Outcome::Rejected, ..error.clone() };
        let unknown = || Error { outcome: Outcome::Unknown, ..error.clone() };
        let done = &mut self.out.completions;
        self.proposals.reject_queued(done, rejected);
        self.proposals.complete_terms(|_| true, done, unknown);
        self.reads.reject_all(done, rejected);
        self.end_calls(error);
    }

    /// The error of calls that come after the end.
    pub(super) fn ended(&self) -> Option<Error> {
        if !matches!(self.phase, Phase::Stopped | Phase::Removed(_)) {
            return None;
        }
        let error = self.failure.clone();
        let error = error.unwrap_or_else(|| Error::rejected(Code::Stopped, "the group is stopped"));
        Some(Error { outcome: Outcome::Rejected, ..error })
    }

    /// Something is wrong that the user should see, though the replica goes on.
    pub(super) fn complain(&mut self, error: Error) {
        self.failure = Some(error);
    }

    pub(super) fn has_complaint(&self) -> bool {
        self.failure.is_some()
    }

    pub(super) fn settle_complaint(&mut self) {
        self.failure = None;
    }
}
