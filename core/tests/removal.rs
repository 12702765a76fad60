//! Members that are removed, and come back when they are added again, over the public API.

mod support;

use libraft::{Change, Code, MemberRole, Outcome};
use support::membership::{
    add_learner, add_voter, change_at_leader, restart_all, roles, same_everywhere, waiting,
};
use support::{
    change, cluster, eventually, leader, propose, reopen, status, Behaviour, Folder, PATIENCE,
};

#[test]
fn a_removed_follower_says_so_now_and_after_a_restart_and_the_others_go_on() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 3, |_| Behaviour::default());
    let leading = leader(&members);
    let removed = (leading + 1) % 3;
    let node_id = removed as u64 + 1;
    change(&members[leading].group, vec![Change::Remove { node_id }]).unwrap();
    let failure = eventually("the removal", || status(&members[removed].group).failure);
    assert_eq!(failure.code, Code::Removed);
    let error = propose(&members[removed].group, "refused").unwrap_err();
    assert_eq!((error.code, error.outcome), (Code::Removed, Outcome::Rejected));
    propose(&members[leading].group, "two are enough").unwrap();
    members.remove(removed).node.close().unwrap();
    let again = reopen(&folder, node_id, waiting(), Behaviour::default());
    let failure = eventually("it still says so", || status(&again.group).failure);
    assert_eq!(failure.code, Code::Removed);
    assert_eq!(again.group.wait_ready(PATIENCE).unwrap_err().code, Code::Removed);
    same_everywhere(&members);
}

#[test]
fn a_member_that_was_removed_while_it_was_away_learns_it_when_it_comes_back() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 3, |_| Behaviour::default());
    let leading = leader(&members);
    let removed = (leading + 1) % 3;
    let node_id = removed as u64 + 1;
    members.remove(removed).node.close().unwrap();
    let before = status(&members[leader(&members)].group).term;
    change_at_leader(&members, &[Change::Remove { node_id }]);
    let again = reopen(&folder, node_id, waiting(), Behaviour::default());
    let failure = eventually("the removal", || status(&again.group).failure);
    assert_eq!(failure.code, Code::Removed);
    let after = status(&members[leader(&members)].group).term;
    assert_eq!(before, after, "whoever was removed disturbs nobody");
}

#[test]
fn a_leader_that_removes_itself_steps_down_and_another_one_takes_over_at_once() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 3, |_| Behaviour::default());
    let old = leader(&members);
    let completion =
        change(&members[old].group, vec![Change::Remove { node_id: old as u64 + 1 }]).unwrap();
    assert!(completion.index > 0);
    let failure = eventually("the removal", || status(&members[old].group).failure);
    assert_eq!(failure.code, Code::Removed);
    let removed = members.remove(old);
    eventually("a proposal at the others", || propose(&members[0].group, "goes on").ok());
    assert_eq!(roles(&members[0].group).len(), 2);
    same_everywhere(&members);
    // Nothing more happens to it; its group can be stopped, and its node closed.
    removed.group.stop().unwrap();
    removed.node.close().unwrap();
}

#[test]
fn a_removed_node_that_is_added_again_serves_as_before() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 3, |_| Behaviour::default());
    for restart in [false, true] {
        let leading = leader(&members);
        let removed = (leading + 1) % 3;
        let node_id = removed as u64 + 1;
        let old_id = status(&members[removed].group).raft_id;
        propose(&members[leading].group, "before").unwrap();
        change_at_leader(&members, &[Change::Remove { node_id }]);
        eventually("the removal", || status(&members[removed].group).failure);
        propose(&members[leading].group, "meanwhile").unwrap();
        if restart {
            members[removed].node.close().unwrap();
            members[removed] = reopen(&folder, node_id, waiting(), Behaviour::default());
            let failure =
                eventually("it still says so", || status(&members[removed].group).failure);
            assert_eq!(failure.code, Code::Removed);
        }
        change_at_leader(&members, &[add_voter(&folder, node_id)]);
        let back = &members[removed].group;
        eventually("its return", || back.wait_ready(PATIENCE).ok());
        assert!(status(back).failure.is_none());
        assert!(status(back).raft_id > old_id, "an id is never used twice");
        assert_eq!(propose(back, "back").unwrap_or_else(|e| panic!("{e}")).result, "back");
        same_everywhere(&members);
    }
    same_everywhere(&restart_all(&folder, members));
}

#[test]
fn the_second_of_two_goes_on_when_the_first_removed_itself_and_takes_it_back_as_a_learner() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 2, |_| Behaviour::default());
    let old = leader(&members);
    let node_id = old as u64 + 1;
    change(&members[old].group, vec![Change::Remove { node_id }]).unwrap();
    members[old].node.close().unwrap();
    let left = &members[1 - old];
    eventually("a leader of one", || propose(&left.group, "alone").ok());
    members[old] = reopen(&folder, node_id, waiting(), Behaviour::default());
    change(&members[1 - old].group, vec![add_learner(&folder, node_id)]).unwrap();
    eventually("its return", || {
        let roles = roles(&members[old].group);
        (roles.len() == 2 && roles.contains(&(node_id, MemberRole::Learner))).then_some(())
    });
    assert!(status(&members[old].group).failure.is_none());
    same_everywhere(&members);
}
