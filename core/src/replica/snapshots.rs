//! Snapshots, as the replica sees them: when one is taken, what may be forgotten after it, and
//! which one a peer gets.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use raft::eraftpb::{Entry, Message, Snapshot, SnapshotMetadata};
use raft::{ProgressState, SnapshotStatus};

use super::core::{Phase, Replica};
use super::effect::{Completion, MachineWork, Notice, SendSnapshot};
use super::entry::entry_bytes;
use super::event::SnapshotTaken;
use super::install::Installing;
use super::membership::Membership;
use super::message::PeerIdentity;
use super::meta::snapshot_id;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::{Index, RaftId, Term, Uuid};
use crate::log::Record;
use crate::machine::MachineKind;

/// Election timeouts without automatic snapshots after one that failed.
const RETRY_ELECTIONS: u64 = 5;
/// Bytes of log that a transfer may hold back, if snapshots are not taken by size.
const PINNED_BYTES_MAX: u64 = 1 << 30;
/// How precisely it is known where in the log how many bytes lie.
const MARK_BYTES: u64 = 64 << 10;

pub struct Snapshots<C> {
    /// Names snapshots, together with raft id and boot counter.
    pub next_sequence: u64,
    taking: Option<Taking>,
    /// Calls that the snapshot being taken answers, and those that the next one does.
    answers: Vec<C>,
    calls: Vec<C>,
    /// The last one, taken or installed.
    last_index: Index,
    /// Bytes of log since then, and in total.
    bytes_since: u64,
    bytes_total: u64,
    not_before: u64,
    /// A peer needs one with at least this index.
    wanted: Option<Index>,
    pins: Vec<Pin>,
    tail: Tail,
    /// The machine's own state is durable up to here.
    synced_index: Index,
    pub installing: Option<Installing>,
    /// The effects that say that the last one is installed. Before they are durable no other may
    /// take its place in the store: a start could still need it.
    pub not_before_durable: u64,
    /// The membership was recorded as of this index.
    pub membership_written: Index,
    /// The machine's state ends before the log begins: only a snapshot of the leader helps.
    pub needs_state: bool,
}

struct Taking {
    snapshot: Uuid,
    index: Index,
    term: Term,
    membership: Bytes,
}

/// A transfer under way, or a peer that has not caught up after one: the log it needs next is kept.
struct Pin {
    peer: RaftId,
    index: Index,
    bytes_total: u64,
}

/// Knows how much log lies behind an index, to the precision of `MARK_BYTES`: a tail that is retained for followers is
/// bounded in bytes too, or large entries would make it as large as one likes.
#[derive(Default)]
struct Tail {
    /// An index, and the bytes of log up to it in all; ascending.
    marks: VecDeque<(Index, u64)>,
    /// Up to here more than the limit lies behind.
    surplus: Index,
}

impl Tail {
    fn grew(&mut self, last_index: Index, bytes_total: u64) {
        if self.marks.back().is_none_or(|(_, bytes)| bytes_total - bytes >= MARK_BYTES) {
            self.marks.push_back((last_index, bytes_total));
        }
    }

    /// The last index that `bytes_max` of log or more lie behind; 0 if there is none.
    fn surplus(&mut self, bytes_total: u64, bytes_max: u64) -> Index {
        while let Some((index, bytes)) = self.marks.front().copied() {
            if bytes_total - bytes < bytes_max {
                break;
            }
            self.surplus = index;
            self.marks.pop_front();
        }
        self.surplus
    }
}

impl<C> Snapshots<C> {
    /// `first_sequence` is that of the first snapshot.
    pub fn new(first_sequence: u64) -> Snapshots<C> {
        Snapshots {
            next_sequence: first_sequence,
            taking: None,
            answers: Vec::new(),
            calls: Vec::new(),
            last_index: 0,
            bytes_since: 0,
            bytes_total: 0,
            not_before: 0,
            wanted: None,
            pins: Vec::new(),
            tail: Tail::default(),
            synced_index: 0,
            installing: None,
            not_before_durable: 0,
            membership_written: 0,
            needs_state: false,
        }
    }

    pub fn start(&mut self, last_index: Index, synced_index: Index) {
        self.last_index = last_index;
        self.synced_index = synced_index;
    }

    /// At the start: the machine is being restored from a snapshot that is installed already.
    pub fn restoring(&mut self, snapshot: Uuid, index: Index, term: Term) {
        self.last_index = index;
        self.installing = Some(Installing { snapshot, index, term, durable: true });
    }

    /// A received one takes the place of the log.
    pub fn replaced(&mut self, installing: Installing) {
        self.last_index = installing.index;
        self.bytes_since = 0;
        self.membership_written = installing.index;
        self.installing = Some(installing);
    }

    pub fn last_index(&self) -> Index {
        self.last_index
    }

    /// Whether a snapshot is on its way to the disk.
    pub fn is_installing(&self) -> bool {
        self.installing.as_ref().is_some_and(|installing| !installing.durable)
    }

    pub fn machine_synced(&mut self, index: Index) {
        self.synced_index = self.synced_index.max(index);
    }

    pub fn log_grew(&mut self, entries: &[Entry]) {
        let bytes: u64 = entries.iter().map(entry_bytes).sum();
        self.bytes_since += bytes;
        self.bytes_total += bytes;
        if let Some(last) = entries.last() {
            self.tail.grew(last.index, self.bytes_total);
        }
    }

    pub fn take_calls(&mut self) -> Vec<C> {
        let mut calls = std::mem::take(&mut self.answers);
        calls.append(&mut self.calls);
        calls
    }
}

impl<C> Replica<C> {
    pub(super) fn machine_synced(&mut self, index: Index) {
        self.snapshots.machine_synced(index);
        self.compact();
    }

    pub(super) fn take_snapshot(&mut self, completion: C) {
        let error = self.ended().or_else(|| {
            let idle = !matches!(self.phase, Phase::Active);
            idle.then(|| Error::rejected(Code::Forming, "the group is still forming"))
        });
        match error {
            Some(error) => self.out.completions.push((completion, Err(error))),
            None => self.snapshots.calls.push(completion),
        }
    }

    /// Begins a snapshot if one is due.
    pub(super) fn drive_snapshots(&mut self) {
        let Some(raft) = self.raft.as_mut() else { return };
        if let Some(index) = raft.mut_store().take_snapshot_wanted() {
            // With the newest membership, so that whoever needs it finds itself in it.
            let membership_index = self.history.back().map_or(0, |(index, _)| *index);
            self.snapshots.wanted = self.snapshots.wanted.max(Some(index.max(membership_index)));
        }
        // It may have been asked for again while the one that suits was being written.
        let held = raft.store().snapshot_index();
        self.snapshots.wanted.take_if(|wanted| *wanted <= held);
        if self.snapshots.taking.is_some() || self.snapshots.installing.is_some() {
            return;
        }
        if !self.persist.is_durable(self.snapshots.not_before_durable) {
            return;
        }
        if !self.is_snapshot_due(self.apply.given()) {
            return;
        }
        let Some((index, term, membership)) = self.point_of_machine() else { return };
        let snapshot = self.next_snapshot_id();
        let snapshots = &mut self.snapshots;
        snapshots.wanted = None;
        snapshots.bytes_since = 0;
        snapshots.answers.append(&mut snapshots.calls);
        snapshots.taking = Some(Taking { snapshot, index, term, membership: membership.clone() });
        self.out.work.push(MachineWork::TakeSnapshot { snapshot, index, term, membership });
    }

    /// Where the machine will be after all work it was given: index, term, and the membership that
    /// held there, if that is known (after a start it is once the machine is fed up to it).
    fn point_of_machine(&self) -> Option<(Index, Term, Bytes)> {
        let mut index = self.apply.given();
        if self.apply.waits_for_restore || index == 0 {
            return None;
        }
        if index < self.apply.handed_out() && is_on(Bug::DateASnapshotAhead) {
            index = self.apply.handed_out();
        }
        let (_, membership) = self.history.iter().rev().find(|(since, _)| *since <= index)?.clone();
        let term = self.raft.as_ref()?.store().term_of(index)?;
        if self.options.machine_kind != MachineKind::OnDisk {
            return Some((index, term, membership));
        }
        let membership = Membership::from_bytes(&membership).ok()?;
        let with_shown = Membership { shown_index: Some(self.apply.shown()), ..membership };
        Some((index, term, with_shown.to_bytes()))
    }

    /// Records how far an on-disk machine must be to lack nothing of what is compacted. Before the record that compacts,
    /// so that a crash between them makes the replica ask for the state and never take an old one for it.
    pub(super) fn write_shown_index(&mut self, shown_index: Option<Index>) {
        if self.meta.shown_index != shown_index {
            self.meta.shown_index = shown_index;
            self.out.records.push(Record::Meta(self.meta.to_bytes()));
        }
    }

    fn next_snapshot_id(&mut self) -> Uuid {
        let sequence = self.snapshots.next_sequence;
        self.snapshots.next_sequence += 1;
        let (raft_id, boot) = (self.meta.raft_id, self.options.boot_counter);
        snapshot_id(self.meta.formation, raft_id, boot, sequence)
    }

    fn is_snapshot_due(&self, index: Index) -> bool {
        let (options, snapshots) = (&self.options, &self.snapshots);
        if !snapshots.calls.is_empty() {
            return true;
        }
        if self.now < snapshots.not_before {
            return false;
        }
        let entries = index.saturating_sub(snapshots.last_index);
        snapshots.wanted.is_some_and(|wanted| wanted <= index)
            || options.snapshot_entries > 0 && entries >= options.snapshot_entries
            || options.snapshot_log_bytes > 0
                && entries > 0
                && snapshots.bytes_since >= options.snapshot_log_bytes
    }

    pub(super) fn snapshot_taken(&mut self, result: Result<SnapshotTaken>) {
        let Some(taking) = self.snapshots.taking.take() else { return };
        let answers = std::mem::take(&mut self.snapshots.answers);
        let outcome = match result {
            Ok(taken) => {
                self.snapshot_is_there(taking, taken.bytes);
                Ok(Completion { index: taken.index, ..Completion::default() })
            }
            Err(error) => {
                let group = self.options.group_id;
                tracing::warn!(group, "a snapshot could not be taken: {error}");
                let wait = RETRY_ELECTIONS * self.options.election_ticks;
                self.snapshots.not_before = self.now + wait;
                Err(error)
            }
        };
        let answered = answers.into_iter().map(|completion| (completion, outcome.clone()));
        self.out.completions.extend(answered);
    }

    fn snapshot_is_there(&mut self, taking: Taking, bytes: u64) {
        let Taking { snapshot, index, term, membership } = taking;
        self.out.notices.push(Notice::SnapshotTaken { index, bytes });
        let Some(raft) = self.raft.as_mut() else { return };
        // One that a received snapshot has overtaken in the meantime is of no use.
        if index < raft.store().compacted_index() || index < self.snapshots.last_index {
            return;
        }
        let Ok(parsed) = Membership::from_bytes(&membership) else { return };
        raft.mut_store().set_snapshot(raft_snapshot(snapshot, index, term, &parsed, &membership));
        self.snapshots.last_index = index;
        self.write_shown_index(parsed.shown_index);
        self.compact();
    }

    /// Forgets what a snapshot made superfluous.
    fn compact(&mut self) {
        let Some(raft) = self.raft.as_ref() else { return };
        let leads = self.leads();
        let caught_up = |pin: &Pin| {
            let progress = raft.raft.prs().get(pin.peer);
            progress.is_none_or(|p| p.state == ProgressState::Replicate && p.matched >= pin.index)
        };
        let limit = match self.options.snapshot_log_bytes {
            0 => PINNED_BYTES_MAX,
            bytes => bytes.saturating_mul(4),
        };
        let total = self.snapshots.bytes_total;
        self.snapshots
            .pins
            .retain(|pin| leads && !caught_up(pin) && total - pin.bytes_total <= limit);
        let snapshot = raft.store().snapshot_index();
        let mut index = snapshot.saturating_sub(self.options.retained_entries);
        if self.options.snapshot_log_bytes > 0 {
            let surplus = self.snapshots.tail.surplus(total, self.options.snapshot_log_bytes);
            index = index.max(surplus.min(snapshot));
        }
        if self.options.machine_kind == MachineKind::OnDisk {
            index = index.min(self.snapshots.synced_index);
        }
        let pinned = self.snapshots.pins.iter().map(|pin| pin.index).min();
        index = index.min(self.apply.given()).min(pinned.unwrap_or(Index::MAX));
        let handed_out = self.apply.handed_out();
        if index > 0 && index < handed_out && is_on(Bug::CompactBeyondTheApplied) {
            index = handed_out;
        }
        let Some(raft) = self.raft.as_mut() else { return };
        let Some(term) = raft.mut_store().compact(index) else { return };
        // The configuration must not have to be looked for in what is forgotten.
        self.write_membership(handed_out);
        self.out.records.push(Record::Compact { index, term });
    }

    /// raft-rs wants to send a snapshot.
    pub(super) fn send_snapshot(&mut self, message: Message) {
        let metadata = message.get_snapshot().get_metadata();
        let snapshot = Uuid::from_slice(message.get_snapshot().data.get(..16).unwrap_or(&[]));
        let route = self.route(message.to);
        let (Some(snapshot), Some((node_id, incarnation))) = (snapshot, route) else {
            return self.snapshot_sent(message.to, false);
        };
        let bytes_total = self.snapshots.bytes_total;
        self.snapshots.pins.retain(|pin| pin.peer != message.to);
        if !is_on(Bug::DropThePinOfASnapshot) {
            let pin = Pin { peer: message.to, index: metadata.index, bytes_total };
            self.snapshots.pins.push(pin);
        }
        let peer = PeerIdentity { node_id, incarnation };
        let send = SendSnapshot { to: message.to, peer, snapshot, term: message.term };
        if self.options.machine_kind != MachineKind::OnDisk {
            return self.out.send_snapshots.push(send);
        }
        // The state goes as it is now, which is not what the snapshot was taken of: it needs a name
        // of its own.
        let Some((index, term, membership)) = self.point_of_machine() else {
            return self.snapshot_sent(message.to, false);
        };
        let send = SendSnapshot { snapshot: self.next_snapshot_id(), ..send };
        self.out.work.push(MachineWork::Stream { send, index, term, membership });
    }

    pub(super) fn snapshot_sent(&mut self, to: RaftId, succeeded: bool) {
        if !succeeded {
            self.snapshots.pins.retain(|pin| pin.peer != to);
        }
        if let Some(raft) = self.raft.as_mut() {
            let status = if succeeded { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
            raft.report_snapshot(to, status);
        }
    }
}

/// A snapshot as raft-rs carries it: its data is the snapshot's id and the membership.
pub(super) fn raft_snapshot(
    snapshot: Uuid,
    index: Index,
    term: Term,
    membership: &Membership,
    bytes: &Bytes,
) -> Snapshot {
    let mut data = BytesMut::with_capacity(16 + bytes.len());
    data.extend_from_slice(&snapshot.0);
    data.extend_from_slice(bytes);
    let mut metadata = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
    metadata.set_conf_state(membership.conf_state());
    let mut raft_snapshot = Snapshot { data: data.freeze(), ..Snapshot::default() };
    raft_snapshot.set_metadata(metadata);
    raft_snapshot
}
