//! What nodes and groups say of themselves, as plain objects. Ids, indexes and terms become
//! `bigint`.

use libraft::{GroupStatus, Leader, Member, MemberRole, NodeStatus, Role};
use napi_derive::napi;

use crate::error::NativeError;

#[napi(object, object_from_js = false)]
pub struct NativeLeader {
    pub node_id: u64,
    pub address: String,
}

#[napi(object, object_from_js = false)]
pub struct NativeNodeStatus {
    pub cluster: String,
    pub node_id: u64,
    pub incarnation: String,
    pub boot_counter: f64,
    pub address: String,
    pub groups: f64,
    pub connected_peers: f64,
    pub refused_frames: f64,
    pub refused_connections: f64,
    pub journal_bytes: f64,
    pub checkpoint_bytes: f64,
    pub segments: f64,
    pub full: bool,
    pub failure: Option<NativeError>,
}

#[napi(object, object_from_js = false)]
pub struct NativeGroupStatus {
    pub group_id: u64,
    pub raft_id: u64,
    pub formation: String,
    pub role: String,
    pub term: u64,
    pub leader: Option<NativeLeader>,
    pub first_index: u64,
    pub last_index: u64,
    pub commit_index: u64,
    pub applied_index: u64,
    pub snapshot_index: u64,
    pub pending_proposals: f64,
    pub pending_bytes: f64,
    pub failure: Option<NativeError>,
}

#[napi(object, object_from_js = false)]
pub struct NativeMember {
    pub raft_id: u64,
    pub node_id: u64,
    pub incarnation: String,
    pub address: String,
    pub role: String,
}

impl From<Leader> for NativeLeader {
    fn from(leader: Leader) -> NativeLeader {
        NativeLeader { node_id: leader.node_id, address: leader.address }
    }
}

impl From<NodeStatus> for NativeNodeStatus {
    fn from(status: NodeStatus) -> NativeNodeStatus {
        NativeNodeStatus {
            cluster: status.cluster,
            node_id: status.node_id,
            incarnation: status.incarnation.to_string(),
            boot_counter: status.boot_counter as f64,
            address: status.address,
            groups: status.groups as f64,
            connected_peers: status.connected_peers as f64,
            refused_frames: status.refused_frames as f64,
            refused_connections: status.refused_connections as f64,
            journal_bytes: status.log.journal_bytes as f64,
            checkpoint_bytes: status.log.checkpoint_bytes as f64,
            segments: status.log.segments as f64,
            full: status.log.full,
            failure: status.failure.map(NativeError::from),
        }
    }
}

impl From<GroupStatus> for NativeGroupStatus {
    fn from(status: GroupStatus) -> NativeGroupStatus {
        NativeGroupStatus {
            group_id: status.group_id,
            raft_id: status.raft_id,
            formation: status.formation.to_string(),
            role: role_name(status.role).to_owned(),
            term: status.term,
            leader: status.leader.map(NativeLeader::from),
            first_index: status.first_index,
            last_index: status.last_index,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            pending_proposals: status.pending_proposals as f64,
            pending_bytes: status.pending_bytes as f64,
            failure: status.failure.map(NativeError::from),
        }
    }
}

impl From<Member> for NativeMember {
    fn from(member: Member) -> NativeMember {
        let role = match member.role {
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
            MemberRole::Outgoing => "outgoing",
        };
        NativeMember {
            raft_id: member.raft_id,
            node_id: member.node_id,
            incarnation: member.incarnation.to_string(),
            address: member.address,
            role: role.to_owned(),
        }
    }
}

pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Forming => "forming",
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
        Role::Stopped => "stopped",
    }
}
