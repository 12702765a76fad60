//! How a group begins: its initial members meet before anyone votes.
//!
//! Every initial member tells all others its incarnation until it has stored, durably, the
//! incarnations of all, and knows that all others have. Only then is there a replica that votes. So
//! a member that was wiped in the meantime cannot take part with a fresh memory: it has another
//! incarnation, and is refused by all who stored the old one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::core::{Phase, Replica};
use super::membership::{Member, Membership, Seat};
use super::message::{Envelope, PeerIdentity, PeerMessage};
use super::meta::{formation_id, members_digest};
use super::removal::Removal;
use super::start;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::{NodeId, RaftId, Uuid};
use crate::log::Record;
use crate::options::InitialMember;

const WAITS: &str = "this node was started without initial members: it waits to be added";
const NOT_THIS_LIFE: &str = "the group was formed without this life of your data directory; \
     add the node as a new member, or replace the old one";
const WIPED: &str = "this member's data directory was wiped while the group formed; \
     form a group with another id on all initial members";
const OTHER_LIST: &str = "the nodes were given different lists of initial members";

pub struct Forming {
    /// By node id: member i has raft id i + 1.
    members: Vec<InitialMember>,
    /// The incarnations that are stored durably.
    durable: BTreeMap<RaftId, Uuid>,
    /// What was written to the log, and the number of the effects it went with.
    writing: Option<(u64, BTreeMap<RaftId, Uuid>)>,
    /// Others who have stored the incarnations of all.
    complete: BTreeSet<RaftId>,
    next_round: u64,
}

impl Forming {
    fn node_of(&self, raft_id: RaftId) -> Option<NodeId> {
        let position = usize::try_from(raft_id.checked_sub(1)?).ok()?;
        self.members.get(position).map(|member| member.node_id)
    }

    /// The nodes that are not known to have met all others.
    pub fn missing(&self, own: RaftId) -> Vec<NodeId> {
        let is_missing = |raft_id: &RaftId| !self.complete.contains(raft_id);
        self.others(own).filter(is_missing).filter_map(|raft_id| self.node_of(raft_id)).collect()
    }

    fn others(&self, own: RaftId) -> impl Iterator<Item = RaftId> {
        (1..=self.members.len() as u64).filter(move |raft_id| *raft_id != own)
    }

    fn membership(&self) -> Membership {
        let member = |(position, member): (usize, &InitialMember)| {
            let raft_id = position as u64 + 1;
            let incarnation = self.durable.get(&raft_id).copied().unwrap_or(Uuid::NIL);
            Member {
                raft_id,
                node_id: member.node_id,
                incarnation: Bytes::copy_from_slice(&incarnation.0),
                address: member.address.clone(),
                seat: Seat::Voter as i32,
                outgoing: false,
            }
        };
        Membership {
            next_raft_id: self.members.len() as u64 + 1,
            members: self.members.iter().enumerate().map(member).collect(),
            shown_index: None,
        }
    }
}

/// A group without data: it forms, or waits to be added.
pub fn begin<C>(replica: &mut Replica<C>) {
    let mut members = replica.options.initial_members.clone();
    members.sort_by_key(|member| member.node_id);
    let own = members.iter().position(|member| member.node_id == replica.options.node_id);
    let Some(own) = own else { return };
    let raft_id = own as u64 + 1;
    replica.meta.raft_id = raft_id;
    replica.meta.initial_nodes = members.iter().map(|member| member.node_id).collect();
    replica.meta.stored = BTreeMap::from([(raft_id, replica.options.incarnation)]);
    replica.meta.members = members_digest(replica.options.group_id, &members);
    enter(replica, members, BTreeMap::new());
    replica.store_incarnations();
}

/// Whether a group that had begun to form may do so with other nodes than it was begun with. Nobody
/// can have formed it as long as this member has not stored the incarnations of all: it has not
/// told anybody that it has, either.
pub fn may_begin_anew<C>(replica: &Replica<C>) -> bool {
    let (meta, options) = (&replica.meta, &replica.options);
    let mut nodes: Vec<NodeId> = options.initial_members.iter().map(|m| m.node_id).collect();
    nodes.sort_unstable();
    let is_another = !nodes.is_empty() && nodes != meta.initial_nodes;
    let unformed = meta.formation.is_nil() && meta.stored.len() < meta.initial_nodes.len();
    is_another && unformed && meta.incarnation == options.incarnation
}

/// A group that had begun to form when the node stopped.
///
/// **Errors**: `InitialMembersConflict` if it is started without the list: the others could not be
/// found.
pub fn resume<C>(replica: &mut Replica<C>) -> Result<()> {
    let mut members = replica.options.initial_members.clone();
    if members.is_empty() {
        let message =
            "the group was still forming when the node stopped; start it with its initial members";
        return Err(Error::rejected(Code::InitialMembersConflict, message));
    }
    members.sort_by_key(|member| member.node_id);
    replica.meta.formation = Uuid::NIL;
    replica.meta.members = members_digest(replica.options.group_id, &members);
    let stored = replica.meta.stored.clone();
    enter(replica, members, stored);
    Ok(())
}

fn enter<C>(
    replica: &mut Replica<C>,
    members: Vec<InitialMember>,
    durable: BTreeMap<RaftId, Uuid>,
) {
    let own = replica.options.node_id;
    let others = members.iter().filter(|member| member.node_id != own);
    let peers = others.map(|member| {
        // Any life of the node's directory: who it is comes with its first message.
        let identity = PeerIdentity { node_id: member.node_id, incarnation: Uuid::NIL };
        (identity, member.address.clone())
    });
    replica.out.peers = Some(peers.collect());
    replica.phase = Phase::Forming(Forming {
        members,
        durable,
        writing: None,
        complete: BTreeSet::new(),
        next_round: 0,
    });
}

impl<C> Replica<C> {
    fn store_incarnations(&mut self) {
        let Phase::Forming(forming) = &mut self.phase else { return };
        self.out.records.push(Record::Meta(self.meta.to_bytes()));
        self.out.must_sync = true;
        self.persist.requires_sync();
        forming.writing = Some((self.persist.next_number(), self.meta.stored.clone()));
    }

    /// Records up to `number` are durable.
    pub(super) fn forming_persisted(&mut self, number: u64) {
        let Phase::Forming(forming) = &mut self.phase else { return };
        let is_durable = forming.writing.as_ref().is_some_and(|(needed, _)| *needed <= number);
        if let Some((_, stored)) = forming.writing.take_if(|_| is_durable) {
            forming.durable = stored;
            forming.next_round = 0;
        }
    }

    /// Tells those who are not known to be complete, now and again, and begins the group once all
    /// are.
    pub(super) fn form(&mut self) {
        self.tell_round();
        self.try_form();
    }

    fn tell_round(&mut self) {
        let Phase::Forming(forming) = &mut self.phase else { return };
        if self.now < forming.next_round || forming.durable.is_empty() {
            return;
        }
        forming.next_round = self.now + self.options.heartbeat_ticks;
        let own = self.meta.raft_id;
        let wanting = forming.others(own).filter(|raft_id| !forming.complete.contains(raft_id));
        for raft_id in wanting.collect::<Vec<_>>() {
            self.tell_formation(raft_id, true);
        }
    }

    /// Whether this initial member has stored all others durably, and `formation` is what they
    /// form: then whoever sends it knows that all have, and there is nothing left to wait for.
    pub(super) fn learns_formation(&mut self, formation: Uuid) -> bool {
        let Phase::Forming(forming) = &mut self.phase else { return false };
        let knows_all = forming.durable.len() == forming.members.len();
        if !knows_all || formation_id(self.meta.members, &forming.durable) != formation {
            return false;
        }
        forming.complete = forming.others(self.meta.raft_id).collect();
        self.try_form();
        self.raft.is_some()
    }

    /// Begins the group once all have stored the incarnations of all.
    fn try_form(&mut self) {
        let Phase::Forming(forming) = &self.phase else { return };
        let members = forming.members.len();
        if forming.durable.len() < members {
            return;
        }
        let lacks_some = forming.complete.len() + 1 < members;
        if lacks_some && !is_on(Bug::FormBeforeAllHaveStoredAll) {
            return;
        }
        let membership = forming.membership();
        self.meta.formation = formation_id(self.meta.members, &forming.durable);
        self.settle_complaint();
        if let Err(error) = start::begin_group(self, membership) {
            self.fail(error);
        }
    }

    fn tell_formation(&mut self, to: RaftId, answer_wanted: bool) {
        let stored = match &self.phase {
            Phase::Forming(forming) => &forming.durable,
            // Who is behind is told that it was complete.
            _ => &self.meta.stored,
        };
        let stored = stored.iter().map(|(raft_id, incarnation)| (*raft_id, *incarnation)).collect();
        let incarnation = self.options.incarnation;
        let members = self.meta.members;
        let body = PeerMessage::Formation { members, incarnation, stored, answer_wanted };
        let node = match &self.phase {
            Phase::Forming(forming) => forming.node_of(to),
            _ => self.meta.initial_nodes.get(to as usize - 1).copied(),
        };
        let Some(node) = node else { return };
        let envelope = Envelope {
            group_id: self.options.group_id,
            formation: Uuid::NIL,
            from: self.meta.raft_id,
            to,
            to_incarnation: Uuid::NIL,
            body,
        };
        self.out.messages.push((node, envelope));
    }

    /// An initial member told who it is, and what it has stored.
    pub(super) fn on_formation(&mut self, peer: PeerIdentity, envelope: &Envelope) {
        let PeerMessage::Formation { members, incarnation, stored, answer_wanted } = &envelope.body
        else {
            return;
        };
        let from = envelope.from;
        if *incarnation != peer.incarnation || from == 0 || from == self.meta.raft_id {
            return self.drop_message("a formation message contradicts its connection");
        }
        match &self.phase {
            Phase::Removed(_) | Phase::Stopped => {}
            Phase::Waiting => {
                self.refuse_peer(peer, from, Code::InitialMembersConflict, WAITS);
            }
            Phase::Active => {
                let known = self.meta.stored.get(&from) == Some(incarnation);
                if !known {
                    self.refuse_peer(peer, from, Code::InitialMembersConflict, NOT_THIS_LIFE);
                } else if *answer_wanted {
                    self.tell_formation(from, false);
                }
            }
            Phase::Forming(forming) => {
                if *members != self.meta.members || forming.node_of(from) != Some(peer.node_id) {
                    self.on_refused(peer, Code::InitialMembersConflict, OTHER_LIST);
                    return self.refuse_peer(peer, from, Code::InitialMembersConflict, OTHER_LIST);
                }
                if self.meta.stored.get(&from).is_some_and(|known| known != incarnation) {
                    return self.refuse_peer(peer, from, Code::InitialMembersConflict, WIPED);
                }
                self.meet(from, *incarnation, stored, *answer_wanted);
            }
        }
    }

    fn meet(
        &mut self,
        from: RaftId,
        incarnation: Uuid,
        stored: &[(RaftId, Uuid)],
        answer_wanted: bool,
    ) {
        if self.meta.stored.insert(from, incarnation).is_none() {
            self.store_incarnations();
        }
        let Phase::Forming(forming) = &mut self.phase else { return };
        let theirs: BTreeMap<RaftId, Uuid> = stored.iter().copied().collect();
        // Compared with what this member knows, not only with its length: all must mean the same
        // lives.
        if theirs.len() == forming.members.len() && theirs == self.meta.stored {
            forming.complete.insert(from);
        }
        if answer_wanted && !forming.durable.is_empty() {
            self.tell_formation(from, false);
        }
    }

    /// Tells a peer that it can never be served as what it says it is.
    pub(super) fn refuse_peer(&mut self, peer: PeerIdentity, to: RaftId, code: Code, reason: &str) {
        tracing::warn!(
            group = self.options.group_id,
            node = peer.node_id,
            "a message is refused: {reason}"
        );
        let body = PeerMessage::Refused { code, message: reason.to_string() };
        let envelope = Envelope {
            group_id: self.options.group_id,
            formation: self.meta.formation,
            from: self.meta.raft_id,
            to,
            to_incarnation: peer.incarnation,
            body,
        };
        self.out.messages.push((peer.node_id, envelope));
    }

    /// A peer says that this replica can never be served.
    pub(super) fn on_refused(&mut self, peer: PeerIdentity, code: Code, message: &str) {
        let message: String = message.chars().take(512).collect();
        match (&self.phase, code) {
            (Phase::Forming(_), Code::InitialMembersConflict) => {
                if !self.has_complaint() {
                    let message = format!("node {} refuses this member: {message}", peer.node_id);
                    tracing::warn!(group = self.options.group_id, "{message}");
                    self.complain(Error::rejected(code, message));
                }
            }
            (Phase::Active | Phase::Removed(_), Code::Removed) => self.removed(Removal::Confirmed),
            _ => self.drop_message("a refusal that makes no sense"),
        }
    }
}
