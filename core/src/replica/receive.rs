//! What is made of an envelope: who it is from, whether it is meant for this life of this replica,
//! and where it goes.

use raft::eraftpb::{Message, MessageType};
use raft::StateRole;

use super::core::{Phase, Replica};
use super::message::{Envelope, PeerIdentity, PeerMessage};
use super::start;
use super::validate;
use crate::deliberate::{is_on, Bug};
use crate::ids::{NodeId, RaftId, Uuid, NUMBER_LIMIT};
use crate::log::Admission;

/// Senders remembered that are newer than this replica's membership.
const CONTACTS_MAX: usize = 16;

impl<C> Replica<C> {
    pub(super) fn on_message(&mut self, peer: PeerIdentity, envelope: Envelope) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        let Envelope { group_id, from, to, .. } = envelope;
        if group_id != self.options.group_id || peer.node_id == self.options.node_id {
            return self.drop_message("it is of another group or of this node itself");
        }
        if from >= NUMBER_LIMIT || to >= NUMBER_LIMIT {
            return self.drop_message("its raft ids are out of range");
        }
        if let PeerMessage::Formation { .. } = envelope.body {
            return self.on_formation(peer, &envelope);
        }
        let is_stale = envelope.to_incarnation != self.options.incarnation;
        if is_stale && !is_on(Bug::IgnoreTheIncarnation) {
            return self.drop_message("it is meant for another life of this node");
        }
        if let PeerMessage::Refused { code, message } = &envelope.body {
            let member = self.membership.get(from).map(|member| member.identity());
            let stranger = member.is_some_and(|identity| identity != peer)
                || matches!(self.phase, Phase::Active | Phase::Removed(_))
                    && envelope.formation != self.meta.formation;
            if to != self.meta.raft_id || stranger {
                return self.drop_message("a refusal by someone who is not a member");
            }
            return self.on_refused(peer, *code, message);
        }
        let learns = self.raft.is_none() && self.learns_formation(envelope.formation);
        if self.raft.is_none() && !learns && !self.try_adopt(&envelope) {
            return;
        }
        if self.is_added_again(peer, &envelope) {
            self.come_back(to);
        }
        if envelope.formation != self.meta.formation || to != self.meta.raft_id {
            self.suspects_removal(peer, &envelope);
            return self.drop_message("it is meant for another formation or replica of the group");
        }
        if !self.knows_sender(peer, from) {
            return;
        }
        self.on_body(from, envelope.body);
    }

    /// A replica that waits to be added becomes what the first message of a leader or a candidate, for its incarnation,
    /// says.
    fn try_adopt(&mut self, envelope: &Envelope) -> bool {
        let is_initial = match &self.phase {
            // The others have formed; what is missing here is their answer, not a raft id.
            Phase::Forming(_) => envelope.to <= self.options.initial_members.len() as u64,
            _ => false,
        };
        if !names_a_member(envelope)
            || is_initial
            || envelope.formation.is_nil()
            || envelope.to == 0
        {
            return false;
        }
        self.meta.raft_id = envelope.to;
        self.meta.formation = envelope.formation;
        self.meta.initial_nodes.clear();
        self.meta.stored.clear();
        self.settle_complaint();
        match start::adopt(self) {
            Ok(()) => true,
            Err(error) => {
                self.fail(error);
                false
            }
        }
    }

    /// Whether the sender is who its raft id belongs to. A replica that lags may not know newer
    /// members yet: an id that was not given away when its membership was made is remembered with
    /// who used it first.
    pub(super) fn knows_sender(&mut self, peer: PeerIdentity, from: RaftId) -> bool {
        if let Some(member) = self.membership.get(from) {
            let identity = member.identity();
            let is_its_node = identity.node_id == peer.node_id;
            if identity == peer || is_its_node && is_on(Bug::IgnoreTheIncarnation) {
                return true;
            }
            self.drop_message("its raft id belongs to another node, or to another life of it");
            return false;
        }
        if from == 0 || from == self.meta.raft_id {
            self.drop_message("its raft id is this replica's own");
            return false;
        }
        if self.membership.is_dead(from) {
            self.confirm_removal(peer, from);
            return false;
        }
        match self.contacts.iter().find(|(raft_id, _)| *raft_id == from) {
            Some((_, known)) => *known == peer,
            None if self.contacts.len() < CONTACTS_MAX => {
                self.contacts.push((from, peer));
                true
            }
            None => false,
        }
    }

    fn on_body(&mut self, from: RaftId, body: PeerMessage) {
        match body {
            PeerMessage::Raft(message) => self.on_raft(from, message),
            PeerMessage::Propose { term, proposals } => self.on_forward(from, term, proposals),
            PeerMessage::ProposeRefused { boot, sequences, code } => {
                self.on_propose_refused(from, boot, &sequences, code);
            }
            PeerMessage::Read { boot, sequence } => self.on_read(from, boot, sequence),
            PeerMessage::ReadIndex { boot, sequence, index } => {
                if boot == self.read_boot() && index < NUMBER_LIMIT {
                    self.read_known(sequence, index);
                }
            }
            PeerMessage::ReadRefused { boot, sequence, .. } => {
                if boot == self.read_boot() {
                    self.reads.refused(sequence, self.now + 1);
                }
            }
            PeerMessage::Formation { .. } | PeerMessage::Refused { .. } => {}
        }
    }

    fn on_raft(&mut self, from: RaftId, message: Message) {
        let Some(raft) = self.raft.as_ref() else { return };
        if let Err(reason) = validate::check(raft, from, &message) {
            return self.drop_message(reason);
        }
        let kind = message.get_msg_type();
        if kind == MessageType::MsgAppend
            && !message.entries.is_empty()
            && self.admission != Admission::Admitted
        {
            // An append cannot be undone, so it waits until the log has room for it.
            return;
        }
        if kind == MessageType::MsgTimeoutNow && !self.may_campaign() {
            return;
        }
        self.step_raft(message);
    }

    pub(super) fn step_raft(&mut self, message: Message) {
        let Some(raft) = self.raft.as_mut() else { return };
        if let Err(error) = raft.step(message) {
            tracing::debug!(group = self.options.group_id, "raft did not take a message: {error}");
        }
    }

    /// A message is refused. Logged at 1, 2, 4, 8... of them, so that a hostile peer cannot fill a
    /// disk.
    pub(super) fn drop_message(&mut self, reason: &str) {
        self.refused_messages += 1;
        if self.refused_messages.is_power_of_two() {
            let count = self.refused_messages;
            tracing::warn!(
                group = self.options.group_id,
                count,
                "a message to this replica is refused: {reason}"
            );
        }
    }

    pub(super) fn node_of(&self, raft_id: RaftId) -> Option<NodeId> {
        self.route(raft_id).map(|(node, _)| node)
    }

    /// Where a replica is to be found: its node, and the life of it. `None` if nobody answers under
    /// this id.
    pub(super) fn route(&self, raft_id: RaftId) -> Option<(NodeId, Uuid)> {
        if raft_id == 0 {
            return None;
        }
        if let Some(member) = self.membership.get(raft_id) {
            let live = !self.membership.is_superseded(member);
            return live.then(|| (member.node_id, member.incarnation()));
        }
        let contact = self.contacts.iter().find(|(known, _)| *known == raft_id);
        contact.map(|(_, peer)| (peer.node_id, peer.incarnation))
    }

    /// Sends a message to a replica, if there is a way.
    pub(super) fn post(&mut self, to: RaftId, body: PeerMessage) {
        let Some((node, to_incarnation)) = self.route(to) else { return };
        let envelope = Envelope {
            group_id: self.options.group_id,
            formation: self.meta.formation,
            from: self.meta.raft_id,
            to,
            to_incarnation,
            body,
        };
        self.out.messages.push((node, envelope));
    }

    /// A group of one elects itself at once.
    pub(super) fn campaign_if_alone(&mut self) {
        let alone = self.membership.members.len() == 1;
        if alone && self.raft.as_ref().is_some_and(|raft| raft.raft.prs().is_singleton()) {
            self.campaign();
        }
    }

    /// Asks for votes without waiting for an election timeout.
    pub(super) fn campaign(&mut self) {
        let may = self.may_campaign();
        let Some(raft) = self.raft.as_mut() else { return };
        if may && raft.raft.promotable() && raft.raft.state == StateRole::Follower {
            if let Err(error) = raft.campaign() {
                tracing::debug!(group = self.options.group_id, "raft does not campaign: {error}");
            }
        }
    }
}

/// Whether a message is for somebody whom its sender knows as a member: a leader and a candidate address those of a
/// committed membership. A candidate's count as much as a leader's: the leader that added a voter may be gone before that
/// has heard of it, and be replaced with its vote only.
pub(super) fn names_a_member(envelope: &Envelope) -> bool {
    use MessageType::{MsgAppend, MsgHeartbeat, MsgRequestPreVote, MsgRequestVote};
    let kinds = [MsgAppend, MsgHeartbeat, MsgRequestPreVote, MsgRequestVote];
    matches!(&envelope.body, PeerMessage::Raft(message) if kinds.contains(&message.get_msg_type()))
}
