//! What nodes, groups and members say of themselves, as words of the protocol.

use libraft::{Error, Group, MemberRole, Node, Notice, Role};
use libraft_conformance::words::{hex, Words};

use crate::line::Answer;

pub fn of_node(node: &Node) -> Answer {
    let status = node.status()?;
    let mut words = Words::default();
    words.push("node_id", status.node_id);
    words.push("incarnation", hex(&status.incarnation.0));
    words.push("boot_counter", status.boot_counter);
    words.push("groups", status.groups);
    words.push("connected_peers", status.connected_peers);
    words.push("refused_frames", status.refused_frames);
    words.push("refused_connections", status.refused_connections);
    words.push("journal_bytes", status.log.journal_bytes);
    words.push("checkpoint_bytes", status.log.checkpoint_bytes);
    words.push("segments", status.log.segments);
    words.push("full", u8::from(status.log.full));
    words.push("cluster", status.cluster);
    words.push("address", hex(status.address.as_bytes()));
    push_failure(&mut words, status.failure.as_ref());
    Ok(words)
}

pub fn of_group(group: &Group) -> Answer {
    let status = group.status()?;
    let mut words = Words::default();
    words.push("group_id", status.group_id);
    words.push("raft_id", status.raft_id);
    words.push("role", role(status.role));
    words.push("term", status.term);
    words.push("first_index", status.first_index);
    words.push("last_index", status.last_index);
    words.push("commit_index", status.commit_index);
    words.push("applied_index", status.applied_index);
    words.push("snapshot_index", status.snapshot_index);
    words.push("pending_proposals", status.pending_proposals);
    words.push("pending_bytes", status.pending_bytes);
    let leader = status.leader.as_ref();
    words.push("leader_node_id", leader.map_or(0, |leader| leader.node_id));
    let address = leader.map_or(&b""[..], |leader| leader.address.as_bytes());
    words.push("leader_address", hex(address));
    push_failure(&mut words, status.failure.as_ref());
    Ok(words)
}

pub fn of_members(group: &Group) -> Answer {
    let mut words = Words::default();
    for member in group.members()? {
        let role = match member.role {
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
            MemberRole::Outgoing => "outgoing",
        };
        let address = hex(member.address.as_bytes());
        words.push("m", format!("{}:{}:{role}:{address}", member.node_id, member.raft_id));
    }
    Ok(words)
}

/// The line of an event.
pub fn event(node_id: u64, group_id: u64, notice: &Notice) -> String {
    let rest = match notice {
        Notice::Role { role: to, term } => format!("role role={} term={term}", role(*to)),
        Notice::Leader { leader, term } => {
            format!("leader node_id={} term={term}", leader.unwrap_or_default())
        }
        Notice::Membership { index } => format!("membership index={index}"),
        Notice::SnapshotTaken { index, bytes } => {
            format!("snapshot_taken index={index} bytes={bytes}")
        }
        Notice::SnapshotInstalled { index } => format!("snapshot_installed index={index}"),
        Notice::SnapshotSending { to, index, bytes } => {
            format!("snapshot_sending node_id={to} index={index} bytes={bytes}")
        }
        Notice::SnapshotReceiving { from, index, bytes } => {
            format!("snapshot_receiving node_id={from} index={index} bytes={bytes}")
        }
        Notice::Failed => "failed".to_string(),
    };
    format!("! event node={node_id} group={group_id} kind={rest}")
}

fn push_failure(words: &mut Words, failure: Option<&Error>) {
    words.push("failure_code", failure.map_or("OK".to_string(), |error| error.code.to_string()));
    words.push("failure", hex(failure.map_or(&b""[..], |error| error.message.as_bytes())));
}

fn role(role: Role) -> &'static str {
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
