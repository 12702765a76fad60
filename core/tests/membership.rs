//! Members that come, are promoted, replaced and lead, over the public API.

mod support;

use libraft::{Change, Code, MemberRole, Node, Outcome, Role};
use support::membership::{
    add_learner, add_voter, change_at_leader, restart_all, roles, same_everywhere, waiting,
};
use support::{
    change, cluster, cluster_with, completer, eventually, group_options, keeping_nothing, leader,
    node_options, propose, propose_many, recorder, reopen, status, take_snapshot, transfer,
    Behaviour, Folder, PATIENCE,
};

#[test]
fn a_fourth_node_is_added_as_a_voter_catches_up_by_snapshot_and_survives_restarts_of_all() {
    let folder = Folder::new();
    let mut members = cluster_with(&folder, 3, |_| Behaviour::default(), keeping_nothing);
    let leading = leader(&members);
    propose_many(&members[leading].group, "before", 20);
    take_snapshot(&members[leading].group).unwrap();
    members.push(reopen(&folder, 4, waiting(), Behaviour::default()));
    assert_eq!(status(&members[3].group).role, Role::Forming, "it waits to be added");
    change_at_leader(&members[..3], &[add_voter(&folder, 4)]);
    members[3].group.wait_ready(PATIENCE).unwrap();
    assert_eq!(members[3].probe.restores(), 1);
    let voters = [1, 2, 3, 4].map(|node_id| (node_id, MemberRole::Voter));
    eventually("the members at the joiner", || (roles(&members[3].group) == voters).then_some(()));
    propose(&members[3].group, "from the fourth").unwrap();
    same_everywhere(&members);

    let members = restart_all(&folder, members);
    assert_eq!(roles(&members[3].group), voters);
    propose(&members[3].group, "after the restart").unwrap();
    same_everywhere(&members);
    assert_eq!(members[3].probe.texts().len(), 22);
}

#[test]
fn a_learner_receives_everything_votes_for_nobody_and_is_promoted_once_it_has_caught_up() {
    let folder = Folder::new();
    let mut members = cluster_with(&folder, 1, |_| Behaviour::default(), keeping_nothing);
    propose_many(&members[0].group, "before", 10);
    members.push(reopen(&folder, 2, waiting(), Behaviour::default()));
    change(&members[0].group, vec![add_learner(&folder, 2)]).unwrap();
    members[1].group.wait_ready(PATIENCE).unwrap();
    assert_eq!(status(&members[1].group).role, Role::Learner);
    same_everywhere(&members);
    // One that cannot be reached does not hinder a group in which it does not vote.
    members.pop().unwrap().node.close().unwrap();
    propose(&members[0].group, "without the learner").unwrap();
    members.push(reopen(&folder, 2, waiting(), Behaviour::default()));
    members[1].group.wait_ready(PATIENCE).unwrap();
    change_at_leader(&members, &[Change::Promote { node_id: 2 }]);
    let both = [(1, MemberRole::Voter), (2, MemberRole::Voter)];
    eventually("the promotion", || (roles(&members[1].group) == both).then_some(()));
    let refused = change(&members[leader(&members)].group, vec![Change::Promote { node_id: 2 }]);
    assert_eq!(refused.unwrap_err().code, Code::MembershipInvalid);
    // And demoted again.
    let demote = Change::Demote { node_id: 2 };
    transfer(&members[leader(&members)].group, 1).unwrap();
    change_at_leader(&members, &[demote]);
    eventually("the demotion", || (status(&members[1].group).role == Role::Learner).then_some(()));
    let members = restart_all(&folder, members);
    assert_eq!(roles(&members[0].group), [(1, MemberRole::Voter), (2, MemberRole::Learner)]);
    same_everywhere(&members);
}

#[test]
fn a_wiped_node_is_refused_under_its_old_identity_and_replaced_in_one_change() {
    let folder = Folder::new();
    let mut members = cluster_with(&folder, 3, |_| Behaviour::default(), keeping_nothing);
    propose_many(&members[0].group, "before", 5);
    let initial = members.iter().map(|member| member.node.clone()).collect::<Vec<_>>();
    let initial = support::members_of(&initial);
    let old_id = status(&members[2].group).raft_id;
    members.pop().unwrap().node.close().unwrap();
    std::fs::remove_dir_all(folder.node(3)).unwrap();

    // It comes back as if it had never been there, with the same configuration.
    let node = Node::open(node_options(&folder, 3)).unwrap();
    let (machine, _probe) = recorder(Behaviour::default());
    let group = node.start_group(keeping_nothing(group_options(&initial)), machine).unwrap();
    let failure = eventually("the refusal", || status(&group).failure);
    assert_eq!(failure.code, Code::InitialMembersConflict);
    assert!(failure.message.contains("replace the old one"), "{}", failure.message);
    propose(&members[0].group, "the others do not mind").unwrap();

    let steps = [Change::Remove { node_id: 3 }, add_voter(&folder, 3)];
    change_at_leader(&members, &steps);
    group.wait_ready(PATIENCE).unwrap();
    let raft_id = status(&group).raft_id;
    assert!(raft_id > old_id, "{raft_id} is a new id, never one that was used");
    assert!(status(&group).failure.is_none());
    eventually("one replica of it is left", || (roles(&group).len() == 3).then_some(()));
    propose(&group, "back").unwrap();
    assert_eq!(_probe.texts().len(), 7);
    node.close().unwrap();
    // It is a member as any other: the rest of the story is in its own directory.
    members.push(reopen(&folder, 3, waiting(), Behaviour::default()));
    members[2].group.wait_ready(PATIENCE).unwrap();
    assert_eq!(status(&members[2].group).raft_id, raft_id);
    same_everywhere(&members);
}

#[test]
fn a_wiped_node_that_is_started_without_initial_members_is_replaced_in_the_same_way() {
    let folder = Folder::new();
    let mut members = cluster_with(&folder, 3, |_| Behaviour::default(), keeping_nothing);
    propose_many(&members[0].group, "before", 5);
    members.pop().unwrap().node.close().unwrap();
    std::fs::remove_dir_all(folder.node(3)).unwrap();
    members.push(reopen(&folder, 3, waiting(), Behaviour::default()));
    let steps = [Change::Remove { node_id: 3 }, add_voter(&folder, 3)];
    change_at_leader(&members[..2], &steps);
    members[2].group.wait_ready(PATIENCE).unwrap();
    same_everywhere(&members);
    let members = restart_all(&folder, members);
    propose(&members[2].group, "after").unwrap();
    same_everywhere(&members);
}

#[test]
fn impossible_changes_have_a_code_each_and_change_nothing() {
    let folder = Folder::new();
    let members = cluster(&folder, 3, |_| Behaviour::default());
    let leading = leader(&members);
    let group = &members[leading].group;
    let before = roles(group);
    let refused = |steps: Vec<Change>| {
        let error = change(group, steps).unwrap_err();
        assert_eq!(error.outcome, Outcome::Rejected, "{error}");
        assert!(!error.message.is_empty());
        error.code
    };
    let all = (1..=3).map(|node_id| Change::Remove { node_id }).collect();
    assert_eq!(refused(vec![]), Code::InvalidArgument);
    assert_eq!(refused(vec![Change::Remove { node_id: 9 }]), Code::UnknownMember);
    assert_eq!(refused(vec![Change::Promote { node_id: 9 }]), Code::UnknownMember);
    assert_eq!(refused(all), Code::MembershipInvalid);
    assert_eq!(refused(vec![add_voter(&folder, 2)]), Code::MembershipInvalid);
    assert_eq!(refused(vec![add_voter(&folder, 4)]), Code::Unreachable);
    let nowhere = Change::AddVoter { node_id: 4, address: "no address".to_string() };
    assert_eq!(refused(vec![nowhere]), Code::AddressInvalid);
    // Somebody is there, but it is not the node that was meant.
    let other = Change::AddVoter { node_id: 4, address: folder.address(2) };
    assert_eq!(refused(vec![other]), Code::HandshakeRefused);
    let twice = Node::open(node_options(&folder, 4)).unwrap();
    let double = vec![add_voter(&folder, 4), add_learner(&folder, 4)];
    assert_eq!(refused(double), Code::MembershipInvalid);
    twice.close().unwrap();

    let follower = &members[(leading + 1) % 3].group;
    let error = change(follower, vec![Change::Remove { node_id: 1 }]).unwrap_err();
    assert_eq!(error.code, Code::NotLeader);
    assert_eq!(error.leader.unwrap().node_id, leading as u64 + 1, "the leader is named");
    assert_eq!(roles(group), before);
    propose(group, "all is well").unwrap();
}

#[test]
fn a_second_change_while_one_is_in_progress_is_refused_as_busy() {
    let folder = Folder::new();
    let members = cluster(&folder, 3, |_| Behaviour::default());
    let leading = leader(&members);
    let group = &members[leading].group;
    // Without a quorum the first change stays where it is.
    for follower in [(leading + 1) % 3, (leading + 2) % 3] {
        members[follower].node.close().unwrap();
    }
    let step = Change::SetAddress { node_id: 1, address: folder.address(1) };
    let (first, first_done) = completer();
    group.change_membership(vec![step.clone()], first).unwrap();
    let (second, second_done) = completer();
    group.change_membership(vec![step], second).unwrap();
    let error = second_done.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_eq!(error.code, Code::MembershipBusy);
    assert!(error.retriable());
    members[leading].node.close().unwrap();
    let error = first_done.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_eq!((error.code, error.outcome), (Code::Closed, Outcome::Unknown));
}

#[test]
fn leadership_is_handed_to_each_member_in_turn() {
    let folder = Folder::new();
    let members = cluster(&folder, 3, |_| Behaviour::default());
    for node_id in [1, 2, 3, 1, 3, 2] {
        eventually("the transfer", || {
            transfer(&members[leader(&members)].group, node_id).ok()?;
            let role = status(&members[node_id as usize - 1].group).role;
            (role == Role::Leader).then_some(())
        });
        propose(&members[0].group, &format!("under {node_id}")).unwrap();
    }
    let leading = leader(&members);
    let unknown = transfer(&members[leading].group, 9).unwrap_err();
    assert_eq!(unknown.code, Code::UnknownMember);
    let elsewhere = transfer(&members[(leading + 1) % 3].group, 1).unwrap_err();
    assert_eq!(elsewhere.code, Code::NotLeader);
    transfer(&members[leading].group, leading as u64 + 1).unwrap();
    same_everywhere(&members);
}
