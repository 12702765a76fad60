//! What nodes and groups say of themselves, as the dataclasses of `libraft.status`.

use libraft::{GroupStatus, Member, MemberRole, NodeStatus, Role};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::error::new_exception;

pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Forming => "forming",
        Role::Follower => "follower",
        Role::PreCandidate => "pre_candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
        Role::Stopped => "stopped",
    }
}

pub fn of_node<'py>(py: Python<'py>, status: &NodeStatus) -> PyResult<Bound<'py, PyAny>> {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let fields = PyDict::new(py);
    fields.set_item("cluster", &status.cluster)?;
    fields.set_item("node_id", status.node_id)?;
    fields.set_item("incarnation", status.incarnation.to_string())?;
    fields.set_item("boot_counter", status.boot_counter)?;
    fields.set_item("address", &status.address)?;
    fields.set_item("groups", status.groups)?;
    fields.set_item("connected_peers", status.connected_peers)?;
    fields.set_item("refused_frames", status.refused_frames)?;
    fields.set_item("refused_connections", status.refused_connections)?;
    fields.set_item("journal_bytes", status.log.journal_bytes)?;
    fields.set_item("checkpoint_bytes", status.log.checkpoint_bytes)?;
    fields.set_item("segments", status.log.segments)?;
    fields.set_item("full", status.log.full)?;
    fields.set_item("failure", failure(py, status.failure.as_ref())?)?;
    NEW.import(py, "libraft.status", "NodeStatus")?.call((), Some(&fields))
}

pub fn of_group<'py>(py: Python<'py>, status: &GroupStatus) -> PyResult<Bound<'py, PyAny>> {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let leader = status.leader.as_ref().map(|leader| (leader.node_id, &leader.address));
    let fields = PyDict::new(py);
    fields.set_item("group_id", status.group_id)?;
    fields.set_item("raft_id", status.raft_id)?;
    fields.set_item("role", role_name(status.role))?;
    fields.set_item("term", status.term)?;
    fields.set_item("leader", leader)?;
    fields.set_item("first_index", status.first_index)?;
    fields.set_item("last_index", status.last_index)?;
    fields.set_item("commit_index", status.commit_index)?;
    fields.set_item("applied_index", status.applied_index)?;
    fields.set_item("snapshot_index", status.snapshot_index)?;
    fields.set_item("pending_proposals", status.pending_proposals)?;
    fields.set_item("pending_bytes", status.pending_bytes)?;
    fields.set_item("failure", failure(py, status.failure.as_ref())?)?;
    NEW.import(py, "libraft.status", "group_from_core")?.call((), Some(&fields))
}

pub fn of_member<'py>(py: Python<'py>, member: &Member) -> PyResult<Bound<'py, PyAny>> {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let role = match member.role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Outgoing => "outgoing",
    };
    NEW.import(py, "libraft.membership", "member_from_core")?.call1((
        member.raft_id,
        member.node_id,
        member.incarnation.to_string(),
        &member.address,
        role,
    ))
}

fn failure<'py>(
    py: Python<'py>,
    error: Option<&libraft::Error>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    error.map(|error| new_exception(py, error)).transpose()
}
