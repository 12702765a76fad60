//! Members that move to other addresses, over the public API.

mod support;

use std::net::TcpListener;

use libraft::{Change, GroupOptions, InitialMember, Node, NodeOptions};
use support::membership::{change_at_leader, same_everywhere, waiting};
use support::{
    cluster_with, eventually, keeping_nothing, leader, node_options, propose, read, recorder,
    reopen, take_snapshot, transfer, Behaviour, Folder, Member, PATIENCE,
};

/// Opens a node again where it was not before.
fn reopen_elsewhere(folder: &Folder, node_id: u64, options: GroupOptions) -> Member {
    let listen_address = folder.address(node_id + 100);
    let node_options = NodeOptions { listen_address, ..node_options(folder, node_id) };
    let node = Node::open(node_options).unwrap();
    let (machine, probe) = recorder(Behaviour::default());
    let group = node.start_group(options, machine).unwrap();
    Member { node, group, probe }
}

#[test]
fn a_member_that_moved_comes_back_by_itself_even_if_it_needs_a_snapshot() {
    let folder = Folder::new();
    let mut members = cluster_with(&folder, 3, |_| Behaviour::default(), keeping_nothing);
    propose(&members[0].group, "before").unwrap();
    members.pop().unwrap().node.close().unwrap();
    eventually("a leader of two", || propose(&members[0].group, "missed").ok());
    for member in &members {
        read(&member.group).unwrap();
        take_snapshot(&member.group).unwrap();
    }
    // Somebody else listens at the old address, and says nothing.
    let squatter = TcpListener::bind(folder.address(3)).unwrap();
    members.push(reopen_elsewhere(&folder, 3, waiting()));
    members[2].group.wait_ready(PATIENCE).unwrap();
    assert_eq!(members[2].probe.restores(), 1);
    propose(&members[2].group, "from the new place").unwrap();
    same_everywhere(&members);
    drop(squatter);
}

#[test]
fn a_changed_address_is_told_to_all_members_and_used_after_restarts() {
    let folder = Folder::new();
    let mut members = cluster_with(&folder, 3, |_| Behaviour::default(), keeping_nothing);
    members.pop().unwrap().node.close().unwrap();
    let address = folder.address(103);
    change_at_leader(&members, &[Change::SetAddress { node_id: 3, address: address.clone() }]);
    for member in &members {
        eventually("the new address", || {
            (member.group.members().unwrap()[2].address == address).then_some(())
        });
    }
    members.push(reopen_elsewhere(&folder, 3, waiting()));
    members[2].group.wait_ready(PATIENCE).unwrap();
    // The two others find it there without having heard of it otherwise.
    members.iter().for_each(|member| member.node.close().unwrap());
    let members: Vec<Member> = [1, 2]
        .map(|node_id| reopen(&folder, node_id, waiting(), Behaviour::default()))
        .into_iter()
        .chain([reopen_elsewhere(&folder, 3, waiting())])
        .collect();
    for member in &members {
        member.group.wait_ready(PATIENCE).unwrap();
        propose(&member.group, "found").unwrap();
    }
    same_everywhere(&members);
}

#[test]
fn two_members_that_moved_at_once_find_each_other_when_the_leader_is_told() {
    let folder = Folder::new();
    let members = cluster_with(&folder, 3, |_| Behaviour::default(), keeping_nothing);
    propose(&members[0].group, "before").unwrap();
    members[1..].iter().for_each(|member| member.node.close().unwrap());
    let moved = [2, 3].map(|node_id| reopen_elsewhere(&folder, node_id, waiting()));
    let members: Vec<Member> = members.into_iter().take(1).chain(moved).collect();
    // Both have told the first where they are, so there is a leader; but they may not know of each other.
    let steps = [2, 3].map(|node_id| {
        let address = folder.address(node_id + 100);
        Change::SetAddress { node_id, address }
    });
    change_at_leader(&members, &steps);
    for member in &members {
        member.group.wait_ready(PATIENCE).unwrap();
        let addresses = member.group.members().unwrap().into_iter().map(|member| member.address);
        let expected = [1, 102, 103].map(|number| folder.address(number));
        assert_eq!(addresses.collect::<Vec<_>>(), expected);
        propose(&member.group, "found").unwrap();
    }
    for node_id in [1, 2, 3] {
        eventually("each can lead", || {
            transfer(&members[leader(&members)].group, node_id).ok()?;
            members.iter().all(|member| propose(&member.group, "led").is_ok()).then_some(())
        });
    }
    same_everywhere(&members);
}

#[test]
fn all_members_that_moved_at_once_find_each_other_by_a_new_list_of_the_same_initial_members() {
    let folder = Folder::new();
    let members = cluster_with(&folder, 3, |_| Behaviour::default(), keeping_nothing);
    propose(&members[0].group, "before").unwrap();
    members.iter().for_each(|member| member.node.close().unwrap());
    drop(members);
    let moved = |node_id| InitialMember { node_id, address: folder.address(node_id + 100) };
    let options = GroupOptions { initial_members: [1, 2, 3].map(moved).to_vec(), ..waiting() };
    let members: Vec<Member> =
        [1, 2, 3].map(|id| reopen_elsewhere(&folder, id, options.clone())).into_iter().collect();
    for member in &members {
        member.group.wait_ready(PATIENCE).unwrap();
        propose(&member.group, "found").unwrap();
    }
    same_everywhere(&members);
}
