//! Who belongs to a group: raft id -> node, incarnation, address and role, and the counter that
//! raft ids come from.
//!
//! Every configuration entry carries the complete membership that holds once it is in force, so a
//! replica never has to compute one from a chain of changes.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::ConfState;

use super::message::PeerIdentity;
use crate::error::{Code, Error, Result};
use crate::group::{Member as PublicMember, MemberRole};
use crate::ids::{Index, NodeId, RaftId, Uuid, ADDRESS_BYTES_MAX, NUMBER_LIMIT};

/// Members of a group, at most; each costs a connection and a copy of the log.
pub const MEMBERS_MAX: usize = 64;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Membership {
    /// The raft id that the next new member gets. An id below it that is no member's is dead for
    /// ever.
    #[prost(uint64, tag = "1")]
    pub next_raft_id: u64,
    /// Ascending by raft id.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
    /// Only in a snapshot of an on-disk machine: the last entry in it that the machine was shown. Those between it and the
    /// snapshot's index are the library's own, and a machine that has it lacks nothing.
    #[prost(uint64, optional, tag = "3")]
    pub shown_index: Option<Index>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Member {
    #[prost(uint64, tag = "1")]
    pub raft_id: u64,
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub incarnation: Bytes,
    #[prost(string, tag = "4")]
    pub address: String,
    /// What it is in the configuration, or in the new half of a joint one.
    #[prost(enumeration = "Seat", tag = "5")]
    pub seat: i32,
    /// Whether it votes in the old half of a joint configuration.
    #[prost(bool, tag = "6")]
    pub outgoing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
pub enum Seat {
    /// Only in the old half of a joint configuration.
    Leaving = 0,
    Voter = 1,
    Learner = 2,
}

impl Member {
    pub fn identity(&self) -> PeerIdentity {
        PeerIdentity { node_id: self.node_id, incarnation: self.incarnation() }
    }

    pub fn incarnation(&self) -> Uuid {
        Uuid::from_slice(&self.incarnation).unwrap_or(Uuid::NIL)
    }

    fn role(&self) -> MemberRole {
        match self.seat() {
            Seat::Voter => MemberRole::Voter,
            Seat::Learner if !self.outgoing => MemberRole::Learner,
            _ => MemberRole::Outgoing,
        }
    }
}

impl Membership {
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Reads and checks a membership, so that one which came from a peer or the disk cannot make
    /// raft-rs panic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Membership> {
        let membership = Membership::decode(bytes)
            .map_err(|error| invalid(format!("it cannot be decoded: {error}")))?;
        membership.check()?;
        Ok(membership)
    }

    fn check(&self) -> Result<()> {
        if self.members.len() > MEMBERS_MAX {
            return Err(invalid(format!("it has more than {MEMBERS_MAX} members")));
        }
        let ids = self.members.iter().map(|member| member.raft_id);
        let ascends = ids.clone().zip(ids.skip(1)).all(|(left, right)| left < right);
        if !ascends || self.next_raft_id >= NUMBER_LIMIT {
            return Err(invalid("its raft ids do not ascend or are out of range".to_string()));
        }
        for member in &self.members {
            let id = member.raft_id;
            if id == 0 || id >= self.next_raft_id || member.node_id == 0 {
                return Err(invalid(format!("the ids of member {id} are out of range")));
            }
            if Uuid::from_slice(&member.incarnation).is_none() {
                return Err(invalid(format!("the incarnation of member {id} has a wrong length")));
            }
            if member.address.len() > ADDRESS_BYTES_MAX || Seat::try_from(member.seat).is_err() {
                return Err(invalid(format!("address or role of member {id} are out of range")));
            }
            if member.seat() == Seat::Leaving && !member.outgoing {
                return Err(invalid(format!("member {id} has no role")));
            }
        }
        if self.voters().next().is_none() {
            return Err(invalid("it has no voter".to_string()));
        }
        if self.shown_index.is_some_and(|index| index >= NUMBER_LIMIT) {
            return Err(invalid("the index shown last is out of range".to_string()));
        }
        Ok(())
    }

    pub fn get(&self, raft_id: RaftId) -> Option<&Member> {
        let position = self.members.binary_search_by_key(&raft_id, |member| member.raft_id);
        position.ok().map(|position| &self.members[position])
    }

    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.seat() == Seat::Voter)
    }

    pub fn is_joint(&self) -> bool {
        self.members.iter().any(|member| member.outgoing)
    }

    /// Whether an id was a member's once and is none's any more.
    pub fn is_dead(&self, raft_id: RaftId) -> bool {
        raft_id < self.next_raft_id && self.get(raft_id).is_none()
    }

    /// The replicas of a node, oldest first. A node that was wiped and added again has two until
    /// the old one is removed.
    pub fn of_node(&self, node_id: NodeId) -> impl DoubleEndedIterator<Item = &Member> {
        self.members.iter().filter(move |member| member.node_id == node_id)
    }

    /// Whether the node of a member was wiped and added again: then nobody answers under this raft
    /// id any more.
    pub fn is_superseded(&self, member: &Member) -> bool {
        self.of_node(member.node_id).any(|other| other.raft_id > member.raft_id)
    }

    /// The membership that follows a joint one.
    pub fn after_joint(&self) -> Membership {
        let mut next = self.clone();
        next.members.retain(|member| member.seat() != Seat::Leaving);
        next.members.iter_mut().for_each(|member| member.outgoing = false);
        next
    }

    /// The same as raft-rs knows it.
    pub fn conf_state(&self) -> ConfState {
        let ids = |wanted: fn(&Member) -> bool| -> Vec<u64> {
            let wanted = self.members.iter().filter(|member| wanted(member));
            wanted.map(|member| member.raft_id).collect()
        };
        ConfState {
            voters: ids(|member| member.seat() == Seat::Voter),
            voters_outgoing: ids(|member| member.outgoing),
            learners: ids(|member| member.seat() == Seat::Learner && !member.outgoing),
            learners_next: ids(|member| member.seat() == Seat::Learner && member.outgoing),
            auto_leave: false,
            ..ConfState::default()
        }
    }

    pub fn to_public(&self) -> Vec<PublicMember> {
        let member = |member: &Member| PublicMember {
            raft_id: member.raft_id,
            node_id: member.node_id,
            incarnation: member.incarnation(),
            address: member.address.clone(),
            role: member.role(),
        };
        self.members.iter().map(member).collect()
    }

    /// The nodes to be connected to, from the view of one of them: each once, in its newest life.
    pub fn peers(&self, own_node_id: NodeId) -> Vec<(PeerIdentity, String)> {
        let others = self.members.iter().filter(|member| member.node_id != own_node_id);
        let live = others.filter(|member| !self.is_superseded(member));
        live.map(|member| (member.identity(), member.address.clone())).collect()
    }
}

/// Whether raft-rs and the membership agree on who is what.
pub fn same_configuration(left: &ConfState, right: &ConfState) -> bool {
    let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
    set(&left.voters) == set(&right.voters)
        && set(&left.learners) == set(&right.learners)
        && set(&left.voters_outgoing) == set(&right.voters_outgoing)
        && set(&left.learners_next) == set(&right.learners_next)
        && left.auto_leave == right.auto_leave
}

fn invalid(what: String) -> Error {
    Error::rejected(Code::Corrupted, format!("a membership is refused: {what}"))
}
