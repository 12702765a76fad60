//! A replica that was removed from its group.
//!
//! It serves no calls any more, and its machine is given nothing. But it goes on to vote and to
//! acknowledge: the others may not all know yet that its removal is committed, and whoever does not
//! know counts on it. A group of two whose leader removed itself could otherwise never elect the
//! one that is left. So it asks the others until one confirms that it has the removal on its disk;
//! that one can be elected without it.
//!
//! If the node is added again, the replica comes back under the raft id it is given then. It keeps
//! its log and its vote, as every member does that was away: so it remembers all that it ever
//! promised, and needs no more than what it missed.

use raft::eraftpb::{Message, MessageType};
use raft::StateRole;

use super::core::{Phase, Replica};
use super::effect::Notice;
use super::message::{Envelope, PeerIdentity, PeerMessage};
use super::receive::names_a_member;
use super::start;
use crate::error::{Code, Error};
use crate::ids::RaftId;
use crate::log::Record;

/// How a replica knows that it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// From its own log.
    Unconfirmed,
    /// From another one, which has it on its disk.
    Confirmed,
}

impl<C> Replica<C> {
    pub(super) fn is_removed(&self) -> bool {
        matches!(self.phase, Phase::Removed(_))
    }

    /// Takes the replica out of service, but for those who count on its vote.
    pub(super) fn removed(&mut self, removal: Removal) {
        let is_news = !self.is_removed();
        self.phase = Phase::Removed(removal);
        if removal == Removal::Confirmed {
            // Nobody needs it any more; who adds it again finds it.
            self.out.peers = Some(Vec::new());
        }
        if !is_news {
            return;
        }
        let error = removed();
        tracing::warn!(group = self.options.group_id, "{error}");
        if let Some(raft) = self.raft.as_mut().filter(|raft| raft.raft.state != StateRole::Follower)
        {
            let term = raft.raft.term;
            raft.raft.become_follower(term, 0);
        }
        self.complete_all(&error);
        self.failure = Some(error);
        self.out.notices.push(Notice::Failed);
    }

    /// Asks the others, once in an election timeout, whether they know that it was removed. Those
    /// who do refuse whatever it says.
    pub(super) fn ask_whether_removed(&mut self) {
        let is_open = matches!(self.phase, Phase::Removed(Removal::Unconfirmed));
        if !is_open || self.now % self.options.election_ticks != 0 {
            return;
        }
        let others: Vec<RaftId> = self.membership.members.iter().map(|m| m.raft_id).collect();
        for to in others {
            if let Some(question) = self.question(to) {
                self.post(to, question);
            }
        }
    }

    /// What a member takes for a sign of life, and who knows that this replica was removed refuses.
    fn question(&self, to: RaftId) -> Option<PeerMessage> {
        let term = self.raft.as_ref()?.raft.term;
        let mut message = Message { from: self.meta.raft_id, to, term, ..Message::default() };
        message.set_msg_type(MessageType::MsgHeartbeatResponse);
        Some(PeerMessage::Raft(message))
    }

    /// Tells a replica that it was removed, once this one will not forget it.
    pub(super) fn confirm_removal(&mut self, peer: PeerIdentity, from: RaftId) {
        if self.persist.is_durable(self.configuration_number) {
            self.refuse_peer(peer, from, Code::Removed, "this replica was removed from the group");
        }
    }

    /// Whether a leader or a candidate takes this replica, which was removed, for a newer member. Only when nothing is on
    /// its way to the disk: it begins anew with what is there.
    pub(super) fn is_added_again(&mut self, peer: PeerIdentity, envelope: &Envelope) -> bool {
        let is_newer = self.is_removed() && self.is_for_newer_member(envelope);
        let at_rest = self.persist.is_empty() && self.snapshots.installing.is_none();
        is_newer
            && at_rest
            && self.raft.as_ref().is_some_and(|raft| !raft.has_ready())
            && self.knows_sender(peer, envelope.from)
    }

    fn is_for_newer_member(&self, envelope: &Envelope) -> bool {
        names_a_member(envelope)
            && envelope.formation == self.meta.formation
            && envelope.to > self.meta.raft_id
    }

    /// A message for a newer member on this node: then this one was removed, and has not heard of it. It does not take the
    /// sender's word for that, but asks it; the answer comes from who has the removal on its disk.
    pub(super) fn suspects_removal(&mut self, peer: PeerIdentity, envelope: &Envelope) {
        let active = matches!(self.phase, Phase::Active);
        if !active || !self.is_for_newer_member(envelope) || !self.knows_sender(peer, envelope.from)
        {
            return;
        }
        if let Some(question) = self.question(envelope.from) {
            self.post(envelope.from, question);
        }
    }

    /// Takes part again, as the member `raft_id`.
    pub(super) fn come_back(&mut self, raft_id: RaftId) {
        let Some(raft) = self.raft.take() else { return };
        let hard_state = super::ready::hard_state_of(&raft.raft.hard_state());
        let storage = raft.raft.r.raft_log.store;
        self.meta.raft_id = raft_id;
        self.out.records.push(Record::Meta(self.meta.to_bytes()));
        self.out.must_sync = true;
        self.persist.requires_sync();
        self.phase = Phase::Active;
        self.settle_complaint();
        tracing::info!(group = self.options.group_id, raft_id, "added to the group again");
        self.out.peers = Some(self.peers());
        let handed_out = self.apply.handed_out();
        if let Err(error) = start::make_raft(self, storage, hard_state, handed_out) {
            self.fail(error);
        }
    }
}

fn removed() -> Error {
    Error::rejected(
        Code::Removed,
        "this replica was removed from the group; it takes part again when its node is added again",
    )
}
