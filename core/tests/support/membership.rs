//! What the tests of changes of the membership share.

use libraft::{Change, Group, GroupOptions, MemberRole};

use super::{
    change, eventually, group_options, keeping_nothing, leader, read, reopen, same_texts,
    Behaviour, Folder, Member, PATIENCE,
};

pub fn waiting() -> GroupOptions {
    keeping_nothing(group_options(&[]))
}

pub fn add_voter(folder: &Folder, node_id: u64) -> Change {
    Change::AddVoter { node_id, address: folder.address(node_id) }
}

pub fn add_learner(folder: &Folder, node_id: u64) -> Change {
    Change::AddLearner { node_id, address: folder.address(node_id) }
}

/// Node id and role of every member, as a member sees them.
pub fn roles(group: &Group) -> Vec<(u64, MemberRole)> {
    let members = group.members().unwrap();
    members.into_iter().map(|member| (member.node_id, member.role)).collect()
}

/// Repeats a change at whoever leads until it is made: leadership may move, and a learner may lag.
pub fn change_at_leader(members: &[Member], changes: &[Change]) {
    eventually("the change", || {
        let leading = leader(members);
        change(&members[leading].group, changes.to_vec()).ok()
    });
}

/// Restarts every node, and waits until all serve.
pub fn restart_all(folder: &Folder, members: Vec<Member>) -> Vec<Member> {
    let ids: Vec<u64> =
        members.iter().map(|member| member.node.status().unwrap().node_id).collect();
    members.iter().for_each(|member| member.node.close().unwrap());
    drop(members);
    let again = ids.iter().map(|id| reopen(folder, *id, waiting(), Behaviour::default()));
    let again: Vec<Member> = again.collect();
    again.iter().for_each(|member| member.group.wait_ready(PATIENCE).unwrap());
    again
}

pub fn same_everywhere(members: &[Member]) {
    let leading = leader(members);
    read(&members[leading].group).unwrap();
    for member in members {
        same_texts(&member.probe, &members[leading].probe);
    }
}
