//! Proposals and reads on their way to the leader, which may be this replica or another one.

use bytes::Bytes;
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{RawNode, StateRole};

use super::core::Replica;
use super::effect::Completion;
use super::entry::{entry_bytes, entry_of, ProposalId, PROPOSAL_ID_BYTES_MAX};
use super::message::{Envelope, PeerMessage};
use super::payload::Payload;
use super::storage::ReplicaStorage;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::{Index, RaftId, Term};

/// Bytes of proposals that go into raft-rs, or to the leader, in one message.
const LEAVING_BYTES_MAX: u64 = 1 << 20;
/// Bytes of entries on their way to a leader's disk above which proposals wait: enough to keep the disk busy while the
/// next ones are made ready, and little enough for one barrier to be no long one.
const UNPERSISTED_BYTES_MAX: u64 = 8 << 20;
/// Bytes of uncommitted entries above which proposals wait. A leader whose disk is ahead of its followers would otherwise
/// append so much that it had to read it again to send it: this is three quarters of what it keeps in memory by default.
const UNCOMMITTED_BYTES_MAX: u64 = 24 << 20;
/// Read indexes that a leader works out at the same time.
const READS_MAX: usize = 1_024;
const READ_CONTEXT_BYTES: usize = 24;

/// A proposal of a follower that is yet to be appended.
pub struct Forwarded {
    id: ProposalId,
    data: Bytes,
}

impl<C> Replica<C> {
    pub(super) fn propose(&mut self, proposals: Vec<(Payload, C)>, timeout_ticks: u64) {
        let deadline = self.now.saturating_add(timeout_ticks.max(1));
        for (payload, completion) in proposals {
            match self.admit(&payload) {
                Ok(()) => self.proposals.enqueue(payload, completion, deadline),
                Err(error) => self.out.completions.push((completion, Err(error))),
            }
        }
    }

    /// The boot in the ids of this replica's proposals.
    pub(super) fn proposal_boot(&self) -> u64 {
        if is_on(Bug::ReuseProposalIds) {
            return 0;
        }
        self.options.boot_counter
    }

    /// The boot in the ids of this replica's reads.
    pub(super) fn read_boot(&self) -> u64 {
        if is_on(Bug::ReuseReadIds) {
            return 0;
        }
        self.options.boot_counter
    }

    fn admit(&self, payload: &[u8]) -> Result<()> {
        if let Some(error) = self.ended() {
            return Err(error);
        }
        let bytes = payload.len() as u64;
        let max = self.options.proposal_bytes_max;
        if bytes == 0 {
            return Err(Error::rejected(Code::EmptyProposal, "a proposal needs at least one byte"));
        }
        if bytes > max {
            let message = format!("the proposal has {bytes} bytes; at most {max} are allowed");
            return Err(Error::rejected(Code::TooLarge, message));
        }
        self.admit_call()?;
        let is_too_much = self.proposals.bytes() + bytes > self.options.pending_bytes_max;
        if is_too_much && !is_on(Bug::AdmitAnyBytes) {
            let message = "the bytes of pending proposals reached their limit; wait for some";
            return Err(Error::rejected(Code::Busy, message));
        }
        Ok(())
    }

    fn admit_call(&self) -> Result<()> {
        if self.proposals.count() + self.reads.count() >= self.options.pending_count_max {
            let message = "the number of pending calls reached its limit; wait for some";
            return Err(Error::rejected(Code::Busy, message));
        }
        Ok(())
    }

    /// Whether proposals wait that can leave now.
    pub(super) fn can_propose(&self) -> bool {
        let Some(raft) = self.raft.as_ref() else { return false };
        let leads = raft.raft.state == StateRole::Leader;
        match leads {
            true if raft.raft.lead_transferee.is_some() || self.append_room() == 0 => false,
            true => !self.forwarded.is_empty() || self.proposals.has_queued(),
            false => {
                let leader = raft.raft.leader_id;
                !self.forwarded.is_empty()
                    || self.proposals.has_queued() && self.route(leader).is_some()
            }
        }
    }

    /// Bytes of proposals that are yet to be appended to a log.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.proposals.queue_bytes() + self.forwarded_bytes
    }

    /// Lets go what can leave: at the leader into raft-rs, else in messages to the leader. Without
    /// a leader, or while leadership is being handed over, it waits.
    pub(super) fn propose_all(&mut self) {
        if !self.can_propose() {
            return;
        }
        let Some(raft) = self.raft.as_ref() else { return };
        let raft = &raft.raft;
        let (term, leader, own) = (raft.term, raft.leader_id, raft.id);
        if raft.state != StateRole::Leader {
            self.refuse_forwarded(Code::NotLeader);
            if self.route(leader).is_some() {
                self.forward_all(term, leader);
            }
            return;
        }
        if let Some(error) = self.overload() {
            self.refuse_forwarded(error.code);
            self.proposals.reject_queued(&mut self.out.completions, || error.clone());
            return;
        }
        let mut append_room = self.append_room();
        self.append_forwarded(&mut append_room);
        while self.proposals.has_queued() && append_room > 0 {
            let next_bytes = self.proposals.next_bytes();
            let Some(room) = self.uncommitted_room().filter(|room| next_bytes <= *room) else {
                let busy = || {
                    let message = "the bytes of uncommitted entries reached their limit; try later";
                    Error::rejected(Code::Busy, message)
                };
                return self.proposals.reject_queued(&mut self.out.completions, busy);
            };
            let boot = self.proposal_boot();
            let room = room.min(LEAVING_BYTES_MAX);
            let first = self.proposals.next_sequence();
            let data = self.proposals.leave(own, boot, term, own, room);
            let bytes: usize = data.iter().map(Bytes::len).sum();
            append_room = append_room.saturating_sub(bytes as u64);
            if !self.append(data) {
                for sequence in first..self.proposals.next_sequence() {
                    let error = Error::rejected(Code::Busy, "the leader did not take the proposal");
                    self.proposals.complete(sequence, &mut self.out.completions, Err(error));
                }
            }
        }
    }

    /// Why the leader takes no proposals now, if it does not.
    fn overload(&self) -> Option<Error> {
        if let Some(refusal) = self.admission.refusal() {
            return Some(refusal);
        }
        if self.apply.unapplied_bytes() > self.options.unapplied_bytes_max {
            let message = "the leader's state machine is too far behind; try later";
            return Some(Error::rejected(Code::Busy, message));
        }
        None
    }

    /// How many bytes of entries the leader still takes before some are committed; one entry always
    /// may come in.
    fn uncommitted_room(&self) -> Option<u64> {
        match self.raft.as_ref()?.raft.uncommitted_size() as u64 {
            0 => Some(u64::MAX),
            used => Some(self.options.pending_bytes_max.saturating_sub(used)),
        }
    }

    /// How many bytes of entries may be appended before some have reached the leader's disk, and are committed.
    fn append_room(&self) -> u64 {
        let uncommitted = self.raft.as_ref().map_or(0, |raft| raft.raft.uncommitted_size() as u64);
        let unpersisted_room = UNPERSISTED_BYTES_MAX.saturating_sub(self.persist.entry_bytes());
        unpersisted_room.min(UNCOMMITTED_BYTES_MAX.saturating_sub(uncommitted))
    }

    /// Appends what followers handed over, as long as there is `append_room`.
    fn append_forwarded(&mut self, append_room: &mut u64) {
        while !self.forwarded.is_empty() && *append_room > 0 {
            let Some(room) = self.uncommitted_room() else { return };
            let (mut bytes, mut count) = (0, 0);
            for forwarded in &self.forwarded {
                let more = bytes + forwarded.data.len() as u64;
                if more > room || count > 0 && more > LEAVING_BYTES_MAX {
                    break;
                }
                (bytes, count) = (more, count + 1);
            }
            if count == 0 {
                return self.refuse_forwarded(Code::Busy);
            }
            self.forwarded_bytes -= bytes;
            *append_room = append_room.saturating_sub(bytes);
            let chunk: Vec<Forwarded> = self.forwarded.drain(..count).collect();
            if !self.append(chunk.iter().map(|forwarded| forwarded.data.clone()).collect()) {
                let ids = chunk.iter().map(|forwarded| forwarded.id).collect();
                self.refuse_ids(ids, Code::Busy);
            }
        }
    }

    /// Appends entries to the leader's log, all or none.
    fn append(&mut self, data: Vec<Bytes>) -> bool {
        let entries: Vec<Entry> = data.into_iter().map(entry_of).collect();
        self.fit_window(entries.iter().map(entry_bytes).max().unwrap_or(0));
        let Some(raft) = self.raft.as_mut() else { return false };
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = raft.raft.id;
        message.set_entries(entries.into());
        raft.step(message).is_ok()
    }

    fn forward_all(&mut self, term: Term, leader: RaftId) {
        let (own, boot) = (self.meta.raft_id, self.proposal_boot());
        while self.proposals.has_queued() {
            let proposals = self.proposals.leave(own, boot, term, leader, LEAVING_BYTES_MAX);
            if is_on(Bug::ForwardTwice) {
                let proposals = proposals.clone();
                self.post(leader, PeerMessage::Propose { term, proposals });
            }
            self.post(leader, PeerMessage::Propose { term, proposals });
        }
    }

    /// A follower hands proposals over. They are appended in the term they were meant for, or
    /// refused.
    pub(super) fn on_forward(&mut self, from: RaftId, term: Term, proposals: Vec<Bytes>) {
        let mut ids = Vec::with_capacity(proposals.len());
        let max = self.options.proposal_bytes_max as usize + PROPOSAL_ID_BYTES_MAX;
        for data in &proposals {
            match ProposalId::read(data) {
                Some((id, id_bytes))
                    if id.raft_id == from && data.len() > id_bytes && data.len() <= max =>
                {
                    ids.push(id);
                }
                _ => return self.drop_message("a forwarded proposal is not the sender's own"),
            }
        }
        let leads = self.leads() && self.raft.as_ref().is_some_and(|raft| raft.raft.term == term);
        if !leads {
            return self.refuse_ids(ids, Code::NotLeader);
        }
        if self.forwarded_bytes > self.options.pending_bytes_max {
            return self.refuse_ids(ids, Code::Busy);
        }
        let forwarded = ids.into_iter().zip(proposals).map(|(id, data)| Forwarded { id, data });
        for forwarded in forwarded {
            self.forwarded_bytes += forwarded.data.len() as u64;
            self.forwarded.push_back(forwarded);
        }
    }

    fn refuse_forwarded(&mut self, code: Code) {
        let ids = self.forwarded.drain(..).map(|forwarded| forwarded.id).collect();
        self.forwarded_bytes = 0;
        self.refuse_ids(ids, code);
    }

    fn refuse_ids(&mut self, ids: Vec<ProposalId>, code: Code) {
        let mut ids = ids.into_iter().peekable();
        while let Some(first) = ids.next() {
            let mut sequences = vec![first.sequence];
            let same = |id: &ProposalId| id.raft_id == first.raft_id && id.boot == first.boot;
            while let Some(id) = ids.next_if(same) {
                sequences.push(id.sequence);
            }
            let refusal = PeerMessage::ProposeRefused { boot: first.boot, sequences, code };
            self.post(first.raft_id, refusal);
        }
    }

    /// The leader refused proposals: they were not and will not be appended.
    pub(super) fn on_propose_refused(
        &mut self,
        from: RaftId,
        boot: u64,
        sequences: &[u64],
        code: Code,
    ) {
        if boot != self.proposal_boot() {
            return;
        }
        let leader = self.leader();
        for sequence in sequences {
            if self.proposals.went_to(*sequence, from) {
                let message = "the leader refused the proposal; it was not made";
                let error = Error::rejected(code, message).with_leader(leader.clone());
                self.proposals.complete(*sequence, &mut self.out.completions, Err(error));
            }
        }
    }

    /// A message never left. Proposals in it are not made by anybody, so whoever waits need not wait.
    pub(super) fn not_sent(&mut self, envelope: Envelope) {
        let PeerMessage::Propose { proposals, .. } = &envelope.body else { return };
        let leader = self.leader();
        for (id, _) in proposals.iter().filter_map(|data| ProposalId::read(data)) {
            if self.proposals.went_to(id.sequence, envelope.to) {
                let message = "the proposal could not be sent to the leader now; it was not made";
                let error = Error::rejected(Code::Unreachable, message).with_leader(leader.clone());
                self.proposals.complete(id.sequence, &mut self.out.completions, Err(error));
            }
        }
    }

    pub(super) fn read(&mut self, completion: C, timeout_ticks: u64) {
        let admitted = match self.ended() {
            Some(error) => Err(error),
            None => self.admit_call(),
        };
        match admitted {
            Ok(()) => self.reads.add(completion, self.now.saturating_add(timeout_ticks.max(1))),
            Err(error) => self.out.completions.push((completion, Err(error))),
        }
    }

    /// Whether reads wait that a leader can be asked for now. One that has committed nothing in its
    /// term knows no index.
    pub(super) fn can_ask_reads(&self) -> bool {
        let Some(raft) = self.raft.as_ref() else { return false };
        self.reads.is_due(self.now)
            && raft.raft.leader_id != 0
            && (raft.raft.state != StateRole::Leader || knows_read_index(raft))
    }

    /// Asks for the read indexes that are due.
    pub(super) fn ask_reads(&mut self) {
        if !self.can_ask_reads() {
            return;
        }
        let Some(raft) = self.raft.as_ref() else { return };
        let (leader, own) = (raft.raft.leader_id, raft.raft.id);
        let boot = self.read_boot();
        for sequence in self.reads.ask(self.now, self.options.election_ticks) {
            if leader == own {
                self.work_out_read_index(own, boot, sequence);
            } else {
                self.post(leader, PeerMessage::Read { boot, sequence });
            }
        }
    }

    fn work_out_read_index(&mut self, asker: RaftId, boot: u64, sequence: u64) {
        let Some(raft) = self.raft.as_mut() else { return };
        let mut context = Vec::with_capacity(READ_CONTEXT_BYTES);
        for number in [asker, boot, sequence] {
            context.extend_from_slice(&number.to_be_bytes());
        }
        let is_early = !raft.raft.commit_to_current_term();
        let is_blind = is_early && is_on(Bug::ReadBeforeACommitInTheTerm);
        if is_blind || is_on(Bug::ReadWithoutAQuorum) {
            let committed = raft.raft.raft_log.committed;
            return self.read_index_known(&context, committed);
        }
        raft.read_index(context);
    }

    /// A follower asks for a read index.
    pub(super) fn on_read(&mut self, from: RaftId, boot: u64, sequence: u64) {
        let Some(raft) = self.raft.as_ref() else { return };
        let code = if raft.raft.state != StateRole::Leader {
            Some(Code::NotLeader)
        } else if !knows_read_index(raft) {
            Some(Code::NoLeader)
        } else if raft.raft.pending_read_count() >= READS_MAX {
            Some(Code::Busy)
        } else {
            None
        };
        match code {
            Some(code) => self.post(from, PeerMessage::ReadRefused { boot, sequence, code }),
            None => self.work_out_read_index(from, boot, sequence),
        }
    }

    /// raft-rs worked a read index out.
    pub(super) fn read_index_known(&mut self, context: &[u8], index: Index) {
        let number = |at: usize| {
            let bytes = context.get(at..at + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        let (Some(asker), Some(boot), Some(sequence)) = (number(0), number(8), number(16)) else {
            return;
        };
        if asker != self.meta.raft_id {
            self.post(asker, PeerMessage::ReadIndex { boot, sequence, index });
        } else if boot == self.read_boot() {
            self.read_known(sequence, index);
        }
    }

    pub(super) fn read_known(&mut self, sequence: u64, index: Index) {
        self.reads.known(sequence, index);
        self.reads.applied(self.apply.applied(), &mut self.out.completions);
    }

    /// The machine applied entries up to `through`; all that happened to this replica's calls
    /// follows from it.
    pub(super) fn complete_applied(
        &mut self,
        given: &[super::apply::Given],
        results: Vec<Bytes>,
        through_term: Term,
    ) {
        for (given, result) in given.iter().zip(results) {
            if given.sequence != 0 {
                let completion = Completion { index: given.index, term: given.term, result };
                self.proposals.complete(given.sequence, &mut self.out.completions, Ok(completion));
            }
        }
        self.reads.applied(self.apply.applied(), &mut self.out.completions);
        let through_term = match self.proposals.has_terms_below(through_term + 1) {
            true if is_on(Bug::RejectTheTermOfTheApplied) => through_term + 1,
            _ => through_term,
        };
        if !self.proposals.has_terms_below(through_term) {
            return;
        }
        let leader = self.leader();
        let overwritten = || {
            let message = "a new leader came before the proposal was committed; it was not made";
            Error::rejected(Code::Overwritten, message).with_leader(leader.clone())
        };
        let done = &mut self.out.completions;
        let mut lost = Vec::new();
        let done = match is_on(Bug::LoseTheCompletionsOfTheOverwritten) {
            true => &mut lost,
            false => done,
        };
        self.proposals.complete_terms(|term| term < through_term, done, overwritten);
    }
}

/// Whether a leader may give read indexes: one that has committed nothing in its term knows none.
fn knows_read_index(raft: &RawNode<ReplicaStorage>) -> bool {
    raft.raft.commit_to_current_term() || is_on(Bug::ReadBeforeACommitInTheTerm)
}
