//! What can be seen of a replica: its status, and the changes that a listener is told of.

use raft::StateRole;

use super::core::{Phase, Replica, ReplicaStatus};
use super::effect::{Notice, Role};
use super::message::PeerIdentity;
use crate::error::Leader;
use crate::group::Member;
use crate::ids::{RaftId, Term};
use crate::options::InitialMember;

/// What was last seen of raft-rs, to notice changes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    pub role: Role,
    pub term: Term,
    pub leader: RaftId,
}

impl<C> Replica<C> {
    pub(super) fn leads(&self) -> bool {
        self.raft.as_ref().is_some_and(|raft| raft.raft.state == StateRole::Leader)
    }

    pub(super) fn leader_id(&self) -> RaftId {
        self.raft.as_ref().map_or(0, |raft| raft.raft.leader_id)
    }

    pub(super) fn leader(&self) -> Option<Leader> {
        let member = self.membership.get(self.leader_id())?;
        Some(Leader { node_id: member.node_id, address: member.address.clone() })
    }

    /// Whom to be connected to: the other members, where the group says that they are and then where
    /// this node was told at its start. So all of them may move at once, with a new list of the same
    /// initial members for each.
    pub(super) fn peers(&self) -> Vec<(PeerIdentity, String)> {
        let mut peers = self.membership.peers(self.options.node_id);
        for InitialMember { node_id, address } in &self.options.initial_members {
            let member = peers.iter().find(|(peer, _)| peer.node_id == *node_id);
            if let Some((peer, _)) = member.filter(|(_, known)| known != address) {
                peers.push((*peer, address.clone()));
            }
        }
        peers
    }

    /// Why calls are not served, for people: what it is that they wait for.
    pub(super) fn what_is_missing(&self) -> String {
        let waits_for = match &self.phase {
            Phase::Waiting => "this node waits to be added to it by the group's leader".to_string(),
            Phase::Forming(forming) => format!(
                "it is still forming, and node {:?} has not been met; each of them must run, with \
                 the same initial members",
                forming.missing(self.meta.raft_id)
            ),
            _ if self.snapshots.needs_state || self.snapshots.installing.is_some() => {
                "this replica waits for a snapshot".to_string()
            }
            _ if self.leads() => {
                "this replica leads it, and its disk lags behind, or most voters do not answer"
                    .into()
            }
            _ => match self.leader() {
                Some(leader) => format!(
                    "node {} leads it, and did not answer, or this replica lags behind",
                    leader.node_id
                ),
                None => "it has no leader; most of its voters must run and reach each other".into(),
            },
        };
        match &self.failure {
            Some(complaint) => format!("{waits_for}; {}", complaint.message),
            None => waits_for,
        }
    }

    pub fn members(&self) -> Vec<Member> {
        self.membership.to_public()
    }

    /// Above every number in an id that this replica used. Ids hold the boot counter and such a
    /// number, so a replica that is opened again in the same boot must go on from here.
    pub fn next_sequence(&self) -> u64 {
        let snapshots = self.snapshots.next_sequence;
        self.proposals.next_sequence().max(self.reads.next_sequence()).max(snapshots)
    }

    /// The raft ids that vote: in the configuration, and in the old half of a joint one.
    pub fn voters(&self) -> [Vec<RaftId>; 2] {
        let mut configuration = self.membership.conf_state();
        [configuration.take_voters(), configuration.take_voters_outgoing()]
    }

    pub fn status(&self) -> ReplicaStatus {
        let mut status = ReplicaStatus {
            group_id: self.options.group_id,
            raft_id: self.meta.raft_id,
            formation: self.meta.formation,
            role: self.observed.role,
            term: self.observed.term,
            leader: self.leader(),
            applied_index: self.apply.applied(),
            snapshot_index: self.snapshots.last_index(),
            pending_proposals: self.proposals.count(),
            pending_bytes: self.proposals.bytes(),
            failure: self.failure.clone(),
            ..ReplicaStatus::default()
        };
        if let Some(raft) = &self.raft {
            status.first_index = raft.store().compacted_index() + 1;
            status.last_index = raft.raft.raft_log.last_index();
            status.commit_index = raft.raft.raft_log.committed;
        }
        status
    }

    /// Looks at raft-rs after it was used: draws the election timeout when it was reset, and tells
    /// what changed.
    pub(super) fn settle(&mut self) {
        if self.is_removed() {
            return self.notice(Observed::stopped(self));
        }
        let Some(raft) = self.raft.as_mut() else { return self.notice(Observed::stopped(self)) };
        let now = Observed {
            role: match raft.raft.state {
                StateRole::Leader => Role::Leader,
                StateRole::Candidate => Role::Candidate,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Follower => {
                    match raft.raft.prs().conf().voters().contains(raft.raft.id) {
                        true => Role::Follower,
                        false => Role::Learner,
                    }
                }
            },
            term: raft.raft.term,
            leader: raft.raft.leader_id,
        };
        if now != self.observed || self.election_timeout == 0 {
            // raft-rs draws from a random number of its own whenever the role changes; this draws
            // from the given one.
            self.jitter = mix(self.jitter);
            let ticks = self.options.election_ticks;
            self.election_timeout = (ticks + self.jitter % ticks) as usize;
        }
        raft.raft.set_randomized_election_timeout(self.election_timeout);
        self.notice(now);
    }

    pub(super) fn notice(&mut self, now: Observed) {
        let before = std::mem::replace(&mut self.observed, now);
        if now == before {
            return;
        }
        if now.leader != before.leader || now.term != before.term {
            self.reads.leader_changed(self.now);
            self.leader_changed(now.leader);
            let leader = self.node_of(now.leader);
            self.out.notices.push(Notice::Leader { leader, term: now.term });
        }
        if now.role != before.role {
            self.out.notices.push(Notice::Role { role: now.role, term: now.term });
        }
    }
}

impl Observed {
    pub fn stopped<C>(replica: &Replica<C>) -> Observed {
        let role = match replica.phase {
            Phase::Removed(_) | Phase::Stopped => Role::Stopped,
            _ => Role::Forming,
        };
        // A replica that is removed may have heard of a newer term just before.
        let term = replica.raft.as_ref().map_or(replica.observed.term, |raft| raft.raft.term);
        Observed { role, term, leader: 0 }
    }
}

/// One step of SplitMix64.
fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
