//! How a snapshot of the leader takes the place of the log and of the machine's state.
//!
//! The order: its body is durable in the store; only then raft-rs sees it. One record replaces the
//! log, together with the hard state; once that is durable the leader is told, and the machine
//! takes the snapshot over. A record says that it did; without it, it is done again at the next
//! start.

use raft::eraftpb::{Message, MessageType};
use raft::Ready;

use super::core::Replica;
use super::effect::{MachineWork, Notice};
use super::event::ReceivedSnapshot;
use super::membership::Membership;
use super::message::PeerIdentity;
use super::ready::hard_state_of;
use super::snapshots::raft_snapshot;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::{Index, RaftId, Term, Uuid, NUMBER_LIMIT};
use crate::log::Record;

/// A snapshot that replaced the log and is not yet in the machine.
pub struct Installing {
    pub snapshot: Uuid,
    pub index: Index,
    pub term: Term,
    /// Whether the record that replaces the log is durable.
    pub durable: bool,
}

impl<C> Replica<C> {
    /// A snapshot is complete in the store. raft-rs decides whether it is taken.
    pub(super) fn snapshot_received(
        &mut self,
        from: RaftId,
        peer: PeerIdentity,
        term: Term,
        snapshot: ReceivedSnapshot,
    ) {
        let ReceivedSnapshot { snapshot, index, term: snapshot_term, membership: bytes } = snapshot;
        if self.raft.is_none() || self.is_removed() || self.snapshots.installing.is_some() {
            return;
        }
        if !self.knows_sender(peer, from) {
            return;
        }
        let in_range = |number: u64| number > 0 && number < NUMBER_LIMIT;
        if !in_range(index) || !in_range(term) || !in_range(snapshot_term) || snapshot_term > term {
            return self.drop_message("a snapshot's index or term is out of range");
        }
        let membership = match Membership::from_bytes(&bytes) {
            Ok(membership) if membership.get(self.meta.raft_id).is_some() => membership,
            _ => {
                return self
                    .drop_message("a snapshot's membership is damaged, or not this replica's")
            }
        };
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgSnapshot);
        message.from = from;
        message.to = self.meta.raft_id;
        message.term = term;
        message.set_snapshot(raft_snapshot(snapshot, index, snapshot_term, &membership, &bytes));
        self.step_raft(message);
    }

    /// A snapshot that raft-rs took replaces the log. Returns its index, or 0 if there is none.
    pub(super) fn reset_to(&mut self, ready: &mut Ready) -> Result<Index> {
        if ready.snapshot().is_empty() {
            return Ok(0);
        }
        let metadata = ready.snapshot().get_metadata();
        let (index, term) = (metadata.index, metadata.term);
        let data = ready.snapshot().data.clone();
        let damaged = || Error::unknown(Code::Internal, "a snapshot in raft is damaged");
        let snapshot = data.get(..16).and_then(Uuid::from_slice).ok_or_else(damaged)?;
        let mut membership = data.slice(16..);
        let is_member = self.membership.get(self.meta.raft_id).is_some();
        if is_member && is_on(Bug::LoseTheMembershipOfASnapshot) {
            membership = self.membership.to_bytes();
        }
        self.membership = Membership::from_bytes(&membership)?;
        let shown_index = self.membership.shown_index.take();
        self.write_shown_index(shown_index);
        self.history.clear();
        self.history.push_back((index, membership.clone()));
        self.configuration_number = self.persist.next_number();
        let (members, contacts) = (&self.membership, &mut self.contacts);
        contacts.retain(|(raft_id, _)| *raft_id >= members.next_raft_id);
        let Some(raft) = self.raft.as_mut() else { return Ok(0) };
        let hard_state = hard_state_of(&raft.raft.hard_state());
        raft.mut_store().reset(index, term);
        self.out.records.push(Record::Reset { index, term, membership, snapshot, hard_state });
        self.apply.jump(index);
        self.snapshots.replaced(Installing { snapshot, index, term, durable: false });
        self.out.peers = Some(self.peers());
        self.out.notices.push(Notice::Membership { index });
        // What became of the calls that the snapshot may contain, nobody can tell any more.
        let lost = || {
            let message =
                "a snapshot of the leader took the place of the log; the proposal may be in it";
            Error::unknown(Code::OutcomeLost, message)
        };
        self.proposals.complete_terms(|own| own <= term, &mut self.out.completions, lost);
        Ok(index)
    }

    /// The record of a snapshot is durable: now the machine takes it over.
    pub(super) fn install(&mut self, index: Index) {
        let installing = self.snapshots.installing.as_mut();
        let Some(installing) = installing.filter(|installing| installing.index == index) else {
            return;
        };
        installing.durable = true;
        let Installing { snapshot, term, .. } = *installing;
        if is_on(Bug::RecordARestoreBeforeItIsDone) {
            self.out.records.push(Record::Restored { snapshot });
            self.out.must_sync = true;
            self.persist.requires_sync();
        }
        self.out.work.push(MachineWork::Restore { snapshot, index, term });
    }

    /// The machine holds a snapshot.
    pub(super) fn restored(&mut self, snapshot: Uuid) {
        let held = |installing: &mut Installing| installing.snapshot == snapshot;
        let Some(installing) = self.snapshots.installing.take_if(held) else { return };
        self.out.records.push(Record::Restored { snapshot });
        self.out.must_sync = true;
        self.persist.requires_sync();
        self.snapshots.not_before_durable = self.persist.next_number();
        self.snapshots.machine_synced(installing.index);
        if self.snapshots.needs_state {
            self.snapshots.needs_state = false;
            self.settle_complaint();
        }
        self.apply.restored();
        self.apply.set_shown(self.meta.shown_index.unwrap_or(0));
        self.out.notices.push(Notice::SnapshotInstalled { index: installing.index });
        self.reads.applied(self.apply.applied(), &mut self.out.completions);
    }

    /// A machine whose state ends before the log begins asks the leader for a snapshot.
    pub(super) fn ask_for_state(&mut self) {
        if !self.snapshots.needs_state || self.is_removed() || self.snapshots.installing.is_some() {
            return;
        }
        if let Some(raft) = self.raft.as_mut() {
            // Refused while there is no leader, or while one was asked already.
            let _ = raft.request_snapshot();
        }
    }
}
