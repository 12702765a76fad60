//! Changes of the membership, and of leadership.

use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{ProgressState, StateRole};

use super::conf_change::{plan, ConfChange};
use super::core::{Phase, Replica};
use super::effect::{Completion, Notice};
use super::event::MemberChange;
use super::membership::{same_configuration, Seat};
use super::removal::Removal;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Outcome, Result};
use crate::ids::{Index, NodeId, RaftId, Term};
use crate::log::Record;

/// A learner that lacks at most so many entries of the leader's log counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// A change of the membership that this replica was asked for.
pub struct ChangeCall<C> {
    steps: Vec<MemberChange>,
    completion: C,
    deadline: u64,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Waits until raft-rs takes a configuration entry.
    Queued,
    /// Its entry is in the log.
    Proposed { index: Index, term: Term },
    /// The group is in the joint configuration that it leads to.
    Joint,
}

/// A transfer of leadership that this replica was asked for.
pub struct TransferCall<C> {
    to: NodeId,
    completion: C,
    deadline: u64,
}

impl<C> Replica<C> {
    pub(super) fn change_membership(
        &mut self,
        steps: Vec<MemberChange>,
        completion: C,
        timeout_ticks: u64,
    ) {
        let deadline = self.now.saturating_add(timeout_ticks.max(1));
        if let Err(error) = self.check_leading().and_then(|()| self.check_no_change()) {
            return self.out.completions.push((completion, Err(error)));
        }
        self.change = Some(ChangeCall { steps, completion, deadline, stage: Stage::Queued });
    }

    fn check_leading(&self) -> Result<()> {
        if let Some(error) = self.ended() {
            return Err(error);
        }
        if self.leads() {
            return Ok(());
        }
        let leader = self.leader();
        let (code, message) = match (&self.phase, &leader) {
            (Phase::Active, Some(_)) => {
                (Code::NotLeader, "only the leader of the group can do this")
            }
            (Phase::Active, None) => {
                (Code::NoLeader, "the group has no leader now, and only a leader can do this")
            }
            _ => (Code::Forming, "the group is still forming"),
        };
        Err(Error::rejected(code, message).with_leader(leader))
    }

    fn check_no_change(&self) -> Result<()> {
        if self.change.is_some() || self.membership.is_joint() {
            let message = "another change of the membership is in progress; wait for its end";
            return Err(Error::rejected(Code::MembershipBusy, message));
        }
        Ok(())
    }

    /// Proposes what is due: the end of a joint configuration, whoever began it, or a change that
    /// waits. Whether something was proposed.
    pub(super) fn drive_change(&mut self) -> bool {
        let Some(raft) = self.raft.as_ref() else { return false };
        let takes_entry = raft.raft.state == StateRole::Leader
            && !raft.raft.has_pending_conf()
            && raft.raft.lead_transferee.is_none();
        if !takes_entry {
            return false;
        }
        if self.membership.is_joint() && !is_on(Bug::StayInTheJointConfiguration) {
            let leave = ConfChange::leave(&self.membership);
            return self.propose_configuration(&leave).is_some();
        }
        let Some(call) = self.change.take_if(|call| matches!(call.stage, Stage::Queued)) else {
            return false;
        };
        let planned = plan(&self.membership, &call.steps, |raft_id| self.has_caught_up(raft_id));
        let proposed = planned.and_then(|change| {
            self.propose_configuration(&change).ok_or_else(|| {
                Error::rejected(Code::Busy, "the leader did not take the change; try later")
            })
        });
        match proposed {
            Ok((index, term)) => {
                let stage = Stage::Proposed { index, term };
                self.change = Some(ChangeCall { stage, ..call });
                true
            }
            Err(error) => {
                self.out.completions.push((call.completion, Err(error)));
                false
            }
        }
    }

    /// Whether a member is known to have all but the newest entries. In an idle group raft-rs may go
    /// on probing one that has them all: that it does is no sign of a gap.
    fn has_caught_up(&self, raft_id: RaftId) -> bool {
        let Some(raft) = self.raft.as_ref() else { return false };
        let last_index = raft.raft.raft_log.last_index();
        raft.raft.prs().get(raft_id).is_some_and(|progress| {
            progress.state != ProgressState::Snapshot
                && progress.matched > 0
                && progress.matched + CAUGHT_UP_ENTRIES >= last_index
        })
    }

    fn propose_configuration(&mut self, change: &ConfChange) -> Option<(Index, Term)> {
        let raft = self.raft.as_mut()?;
        let entry = Entry {
            entry_type: EntryType::EntryConfChangeV2,
            data: change.to_bytes(),
            ..Entry::default()
        };
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = raft.raft.id;
        message.set_entries(vec![entry].into());
        raft.step(message).ok()?;
        Some((raft.raft.raft_log.last_index(), raft.raft.term))
    }

    /// A configuration entry is committed. raft-rs and the replica take it over together.
    pub(super) fn apply_configuration(&mut self, entry: &Entry) -> Result<()> {
        let (change, membership) = ConfChange::from_bytes(&entry.data)?;
        let Some(raft) = self.raft.as_mut() else { return Ok(()) };
        let applied = raft.apply_conf_change(&change.to_raft());
        let agreed = applied
            .as_ref()
            .is_ok_and(|conf_state| same_configuration(conf_state, &membership.conf_state()));
        if !agreed {
            let message = format!(
                "the configuration entry at index {} does not fit the configuration before it",
                entry.index
            );
            return Err(Error::rejected(Code::Internal, message));
        }
        self.membership = membership;
        self.history.push_back((entry.index, change.membership().clone()));
        self.configuration_number = self.persist.next_number();
        self.out.records.push(Record::Membership {
            index: entry.index,
            membership: change.membership().clone(),
        });
        let (members, contacts) = (&self.membership, &mut self.contacts);
        contacts.retain(|(raft_id, _)| *raft_id >= members.next_raft_id);
        self.out.peers = Some(self.peers());
        self.out.notices.push(Notice::Membership { index: entry.index });
        self.configuration_in_force(entry.index, entry.term);
        Ok(())
    }

    /// What the membership means for this replica, and for a call that waits for it.
    fn configuration_in_force(&mut self, index: Index, term: Term) {
        if let Some(call) = self.change.as_mut() {
            let is_its_entry = match call.stage {
                Stage::Proposed { index: own, term: own_term } => own == index && own_term == term,
                _ => false,
            };
            if is_its_entry {
                call.stage = Stage::Joint;
            }
        }
        if self.membership.is_joint() {
            return;
        }
        if let Some(call) = self.change.take_if(|call| matches!(call.stage, Stage::Joint)) {
            let completion = Completion { index, term, ..Completion::default() };
            self.out.completions.push((call.completion, Ok(completion)));
        }
        if self.membership.is_dead(self.meta.raft_id) {
            return self.hand_over_and_leave();
        }
        let seat = self.membership.get(self.meta.raft_id).map(|member| member.seat());
        let Some(raft) = self.raft.as_mut() else { return };
        if seat != Some(Seat::Voter) && raft.raft.state == StateRole::Leader {
            let term = raft.raft.term;
            raft.raft.become_follower(term, 0);
        }
    }

    /// This replica was removed. A leader first asks the voter that holds most of the log to take
    /// over.
    fn hand_over_and_leave(&mut self) {
        if let Some(raft) = self.raft.as_mut().filter(|raft| raft.raft.state == StateRole::Leader) {
            let voters = self.membership.voters().map(|member| member.raft_id);
            let matched = |raft_id: &u64| raft.raft.prs().get(*raft_id).map(|p| p.matched);
            if let Some(successor) = voters.max_by_key(matched) {
                raft.raft.send_timeout_now(successor);
            }
            let messages = std::mem::take(&mut raft.raft.msgs);
            self.send_raft(messages);
        }
        self.removed(Removal::Unconfirmed);
    }

    /// A committed entry of `term` was handed out: a change of an earlier term will never come.
    pub(super) fn settle_change(&mut self, term: Term) {
        let lost = |call: &mut ChangeCall<C>| match call.stage {
            Stage::Proposed { term: own, .. } => own < term,
            _ => false,
        };
        if let Some(call) = self.change.take_if(lost) {
            let message = "a new leader came before the change was committed; it was not made";
            let error = Error::rejected(Code::Overwritten, message).with_leader(self.leader());
            self.out.completions.push((call.completion, Err(error)));
        }
    }

    pub(super) fn transfer_leadership(&mut self, to: NodeId, completion: C, timeout_ticks: u64) {
        let deadline = self.now.saturating_add(timeout_ticks.max(1));
        let target = self.check_leading().and_then(|()| self.transfer_target(to));
        match target {
            Err(error) => self.out.completions.push((completion, Err(error))),
            Ok(target) if target == self.meta.raft_id => {
                self.out.completions.push((completion, Ok(Completion::default())));
            }
            Ok(target) => {
                self.transfer = Some(TransferCall { to, completion, deadline });
                if let Some(raft) = self.raft.as_mut() {
                    raft.transfer_leader(target);
                }
            }
        }
    }

    fn transfer_target(&self, to: NodeId) -> Result<RaftId> {
        if self.transfer.is_some() {
            let message = "another transfer of leadership is in progress; wait for its end";
            return Err(Error::rejected(Code::Busy, message));
        }
        let member = self.membership.of_node(to).next_back().ok_or_else(|| {
            Error::rejected(Code::UnknownMember, format!("node {to} is not a member of the group"))
        })?;
        if member.seat() != Seat::Voter {
            let message = format!("node {to} is not a voter and cannot lead");
            return Err(Error::rejected(Code::MembershipInvalid, message));
        }
        Ok(member.raft_id)
    }

    /// Another replica leads now, or none (0).
    pub(super) fn leader_changed(&mut self, leader: RaftId) {
        if leader != 0 && leader != self.meta.raft_id {
            if let Some(call) = self.transfer.take() {
                self.out.completions.push((call.completion, Ok(Completion::default())));
            }
        }
        if leader != self.meta.raft_id {
            // What was never proposed is not made by another leader.
            let queued = |call: &mut ChangeCall<C>| matches!(call.stage, Stage::Queued);
            if let Some(call) = self.change.take_if(queued) {
                let error = match self.check_leading() {
                    Err(error) => error,
                    Ok(()) => Error::rejected(Code::NotLeader, "leadership moved"),
                };
                self.out.completions.push((call.completion, Err(error)));
            }
        }
    }

    pub(super) fn expire_calls(&mut self) {
        let now = self.now;
        if let Some(call) = self.change.take_if(|call| call.deadline <= now) {
            let error = match call.stage {
                Stage::Queued => {
                    Error::rejected(Code::Timeout, "the change could not be proposed in time")
                }
                _ => {
                    let message = "the change did not come into force in time; it still may";
                    Error::unknown(Code::Timeout, message)
                }
            };
            self.out.completions.push((call.completion, Err(error)));
        }
        // raft-rs gives up after an election timeout.
        let given_up = self.raft.as_ref().is_some_and(|raft| {
            raft.raft.state == StateRole::Leader && raft.raft.lead_transferee.is_none()
        });
        if let Some(call) = self.transfer.take_if(|call| call.deadline <= now || given_up) {
            let message = format!("node {} did not take over in time; it still may", call.to);
            self.out
                .completions
                .push((call.completion, Err(Error::unknown(Code::Timeout, message))));
        }
    }

    pub(super) fn end_calls(&mut self, error: &Error) {
        let failed = |outcome| Err(Error { outcome, ..error.clone() });
        if let Some(call) = self.change.take() {
            let outcome = match call.stage {
                Stage::Queued => Outcome::Rejected,
                _ => Outcome::Unknown,
            };
            self.out.completions.push((call.completion, failed(outcome)));
        }
        if let Some(call) = self.transfer.take() {
            self.out.completions.push((call.completion, failed(Outcome::Unknown)));
        }
        for completion in self.snapshots.take_calls() {
            self.out.completions.push((completion, failed(Outcome::Unknown)));
        }
    }
}
