//! Configuration entries: how a change of the membership is written into the log and read from it.
//!
//! Every change goes through joint consensus. The entry that enters the joint configuration, and
//! the one that leaves it, each carry the complete membership that holds once they are in force.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;

use super::event::MemberChange;
use super::membership::{Member, Membership, Seat, MEMBERS_MAX};
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::{NodeId, Uuid, ADDRESS_BYTES_MAX};

/// The transition that is left by an entry of its own.
const EXPLICIT: i32 = 2;

/// `ConfChangeV2` of raft-rs, with the same encoding.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfChange {
    #[prost(int32, tag = "1")]
    transition: i32,
    #[prost(message, repeated, tag = "2")]
    changes: Vec<SingleChange>,
    /// The membership that holds once the entry is in force.
    #[prost(bytes = "bytes", tag = "3")]
    membership: Bytes,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct SingleChange {
    #[prost(enumeration = "ChangeType", tag = "1")]
    change_type: i32,
    #[prost(uint64, tag = "2")]
    raft_id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
enum ChangeType {
    AddVoter = 0,
    Remove = 1,
    AddLearner = 2,
}

impl ConfChange {
    /// The entry that takes the group from `current` to the joint configuration `next`.
    fn enter(current: &Membership, next: &Membership) -> ConfChange {
        let mut changes: Vec<SingleChange> = Vec::new();
        let mut change = |change_type: ChangeType, raft_id| {
            changes.push(SingleChange { change_type: change_type as i32, raft_id });
        };
        for member in &next.members {
            let before = current.get(member.raft_id).map(|member| member.seat());
            match member.seat() {
                seat if before == Some(seat) => {}
                Seat::Voter => change(ChangeType::AddVoter, member.raft_id),
                Seat::Learner => change(ChangeType::AddLearner, member.raft_id),
                Seat::Leaving => change(ChangeType::Remove, member.raft_id),
            }
        }
        for member in current.members.iter().filter(|member| next.get(member.raft_id).is_none()) {
            change(ChangeType::Remove, member.raft_id);
        }
        if changes.is_empty() {
            // Only addresses change. raft-rs takes a change without steps for the end of a joint
            // configuration.
            let voter = next.voters().next().map_or(0, |member| member.raft_id);
            changes.push(SingleChange { change_type: ChangeType::AddVoter as i32, raft_id: voter });
        }
        ConfChange { transition: EXPLICIT, changes, membership: next.to_bytes() }
    }

    /// The entry that leaves the joint configuration `current`.
    pub fn leave(current: &Membership) -> ConfChange {
        let membership = current.after_joint().to_bytes();
        ConfChange { transition: 0, changes: Vec::new(), membership }
    }

    /// Reads a configuration entry's data, without the parser that raft-rs would use.
    pub fn from_bytes(data: &[u8]) -> Result<(ConfChange, Membership)> {
        let change = ConfChange::decode(data).map_err(|error| {
            Error::rejected(Code::Corrupted, format!("a configuration entry is damaged: {error}"))
        })?;
        let membership = Membership::from_bytes(&change.membership)?;
        Ok((change, membership))
    }

    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    pub fn membership(&self) -> &Bytes {
        &self.membership
    }

    /// The same as raft-rs wants it.
    pub fn to_raft(&self) -> eraftpb::ConfChangeV2 {
        let mut change = eraftpb::ConfChangeV2::default();
        if self.transition == EXPLICIT {
            change.set_transition(eraftpb::ConfChangeTransition::Explicit);
        }
        let single = |single: &SingleChange| eraftpb::ConfChangeSingle {
            change_type: match single.change_type() {
                ChangeType::AddVoter => eraftpb::ConfChangeType::AddNode,
                ChangeType::Remove => eraftpb::ConfChangeType::RemoveNode,
                ChangeType::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
            },
            node_id: single.raft_id,
            ..eraftpb::ConfChangeSingle::default()
        };
        change.set_changes(self.changes.iter().map(single).collect::<Vec<_>>().into());
        change
    }
}

/// Plans a change: the joint configuration it leads to, and the entry that enters it. `caught_up`
/// says whether the learner with this raft id holds nearly all of the log.
pub fn plan(
    current: &Membership,
    steps: &[MemberChange],
    caught_up: impl Fn(u64) -> bool,
) -> Result<ConfChange> {
    if steps.is_empty() {
        return Err(refuse("a membership change needs at least one step"));
    }
    let mut next = current.clone();
    next.members.iter_mut().for_each(|member| member.outgoing = member.seat() == Seat::Voter);
    for step in steps {
        apply(&mut next, step, &caught_up)?;
    }
    if next.voters().next().is_none() {
        return Err(refuse("the change would leave the group without a voter"));
    }
    if next.members.len() > MEMBERS_MAX {
        return Err(refuse(&format!("a group has at most {MEMBERS_MAX} members")));
    }
    Ok(ConfChange::enter(current, &next))
}

fn apply(
    next: &mut Membership,
    step: &MemberChange,
    caught_up: &impl Fn(u64) -> bool,
) -> Result<()> {
    match step {
        MemberChange::AddLearner { node_id, incarnation, address } => {
            add(next, *node_id, *incarnation, address, Seat::Learner)
        }
        MemberChange::AddVoter { node_id, incarnation, address } => {
            add(next, *node_id, *incarnation, address, Seat::Voter)
        }
        MemberChange::Promote { node_id } => {
            let member = newest(next, *node_id)?;
            if member.seat() == Seat::Voter {
                return Err(refuse(&format!("node {node_id} is a voter already")));
            }
            if !caught_up(member.raft_id) {
                return Err(refuse(&format!(
                    "node {node_id} has not caught up with the log; promote it once it has"
                )));
            }
            member.set_seat(Seat::Voter);
            Ok(())
        }
        MemberChange::Demote { node_id } => {
            let member = newest(next, *node_id)?;
            if member.seat() != Seat::Voter {
                return Err(refuse(&format!("node {node_id} is not a voter")));
            }
            member.set_seat(Seat::Learner);
            Ok(())
        }
        MemberChange::Remove { node_id } => {
            let staying = |member: &&Member| member.seat() != Seat::Leaving;
            let oldest = next.of_node(*node_id).find(staying).map(|member| member.raft_id);
            let raft_id = oldest.ok_or_else(|| unknown(*node_id))?;
            next.members.retain(|member| member.raft_id != raft_id || member.outgoing);
            let member = next.members.iter_mut().find(|member| member.raft_id == raft_id);
            if let Some(member) = member {
                member.set_seat(Seat::Leaving);
            }
            Ok(())
        }
        MemberChange::SetAddress { node_id, address } => {
            check_address(address)?;
            newest(next, *node_id)?.address = address.clone();
            Ok(())
        }
    }
}

fn add(
    next: &mut Membership,
    node_id: NodeId,
    incarnation: Uuid,
    address: &str,
    seat: Seat,
) -> Result<()> {
    check_address(address)?;
    if node_id == 0 || incarnation.is_nil() {
        return Err(refuse("a new member needs a node id and an incarnation"));
    }
    if next.of_node(node_id).any(|member| member.incarnation() == incarnation) {
        return Err(refuse(&format!("node {node_id} is a member already")));
    }
    if next.of_node(node_id).count() > 1 {
        return Err(refuse(&format!(
            "node {node_id} is being replaced already; remove its old replica first"
        )));
    }
    let unused = next.members.last().map_or(1, |last| last.raft_id + 1);
    if unused < next.next_raft_id && is_on(Bug::ReuseRaftIds) {
        next.next_raft_id = unused;
    }
    let member = Member {
        raft_id: next.next_raft_id,
        node_id,
        incarnation: Bytes::copy_from_slice(&incarnation.0),
        address: address.to_string(),
        seat: seat as i32,
        outgoing: false,
    };
    next.next_raft_id += 1;
    next.members.push(member);
    Ok(())
}

/// The newest replica of a node, unless it is leaving.
fn newest(next: &mut Membership, node_id: NodeId) -> Result<&mut Member> {
    let members = next.members.iter_mut().rev();
    let mut staying = members.filter(|m| m.node_id == node_id && m.seat() != Seat::Leaving);
    staying.next().ok_or_else(|| unknown(node_id))
}

fn check_address(address: &str) -> Result<()> {
    if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
        return Err(refuse(&format!("an address has 1 to {ADDRESS_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn refuse(message: &str) -> Error {
    Error::rejected(Code::MembershipInvalid, message)
}

fn unknown(node_id: NodeId) -> Error {
    Error::rejected(Code::UnknownMember, format!("node {node_id} is not a member of the group"))
}
