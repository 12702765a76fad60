//! Changes of the membership, and of leadership.

use std::collections::BTreeSet;

use super::world::{learner, options, World};
use crate::error::{Code, Outcome};
use crate::group::MemberRole;
use crate::ids::{NodeId, Uuid};
use crate::machine::MachineKind;
use crate::replica::{Event, MachineWork, MemberChange, Membership, ReplicaOptions, Role};

fn voter(node_id: NodeId) -> MemberChange {
    match learner(node_id) {
        MemberChange::AddLearner { node_id, incarnation, address } => {
            MemberChange::AddVoter { node_id, incarnation, address }
        }
        other => other,
    }
}

fn roles(world: &World, node_id: NodeId) -> Vec<(u64, NodeId, MemberRole)> {
    let members = world.node(node_id).replica.as_ref().unwrap().members();
    members.iter().map(|member| (member.raft_id, member.node_id, member.role)).collect()
}

/// Three voters and an empty node 4, which waits to be added.
fn with_newcomer() -> World {
    let mut world = World::formed(3);
    world.propose(1, "before");
    world.settle();
    world.add(options(4, &[])).unwrap();
    world
}

#[test]
fn a_node_joins_as_a_learner_and_is_promoted_once_it_has_caught_up() {
    let mut world = with_newcomer();
    assert_eq!(world.status(4).role, Role::Forming);
    let added = world.change(1, vec![learner(4)]);
    let early = world.change(1, vec![MemberChange::Promote { node_id: 4 }]);
    assert_eq!(world.code(early), (Code::MembershipBusy, Outcome::Rejected));
    for _ in 0..5 {
        world.settle();
    }
    assert!(world.outcome(added).is_ok());
    assert_eq!(world.status(4).role, Role::Learner);
    assert_eq!(world.status(4).raft_id, 4);
    assert_eq!(world.applied(4), ["before"]);
    let promoted = world.change(1, vec![MemberChange::Promote { node_id: 4 }]);
    for _ in 0..3 {
        world.settle();
    }
    assert!(world.outcome(promoted).is_ok());
    for node_id in 1..=4 {
        assert_eq!(
            roles(&world, node_id)[3],
            (4, 4, MemberRole::Voter),
            "as node {node_id} sees it"
        );
    }
    let call = world.propose(4, "of the newcomer");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_learner_that_has_everything_is_promoted_though_the_leader_only_probes_it() {
    let mut world = with_newcomer();
    world.change(1, vec![learner(4)]);
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.applied(4), ["before"]);
    world.step(1, Event::Unreachable { node_id: 4 });
    let promoted = world.change(1, vec![MemberChange::Promote { node_id: 4 }]);
    for _ in 0..3 {
        world.settle();
    }
    assert!(world.outcome(promoted).is_ok());
}

#[test]
fn a_voter_that_was_just_added_votes_before_it_has_heard_from_a_leader() {
    let mut world = World::formed(2);
    world.add(options(3, &[])).unwrap();
    let added = world.change(1, vec![voter(3)]);
    world.settle_without(3);
    assert!(world.outcome(added).is_ok());
    assert_eq!(world.status(3).role, Role::Forming, "it has not heard of it");
    world.crash(1);
    world.elect(2);
    let call = world.propose(3, "of the newcomer");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_learner_that_lags_is_not_promoted() {
    let mut world = with_newcomer();
    world.crash(4);
    let added = world.change(1, vec![learner(4)]);
    world.settle();
    assert!(world.outcome(added).is_ok());
    let promoted = world.change(1, vec![MemberChange::Promote { node_id: 4 }]);
    assert_eq!(world.code(promoted), (Code::MembershipInvalid, Outcome::Rejected));
    assert!(world.outcome(promoted).as_ref().unwrap_err().message.contains("caught up"));
}

#[test]
fn a_group_of_one_grows_to_three() {
    let mut world = World::of(1);
    world.quiesce();
    for node_id in [2, 3] {
        world.add(options(node_id, &[])).unwrap();
        let call = world.change(1, vec![voter(node_id)]);
        for _ in 0..5 {
            world.settle();
        }
        assert!(world.outcome(call).is_ok(), "{:?}", world.outcome(call));
    }
    world.propose(3, "x");
    world.settle();
    assert_eq!(world.applied(2), ["x"]);
    assert_eq!(roles(&world, 3).len(), 3);
}

#[test]
fn a_wiped_node_replaces_itself_in_one_change() {
    let mut world = World::formed(3);
    world.propose(1, "kept");
    world.settle();
    world.crash(3);
    let incarnation = Uuid([33; 16]);
    world.add(ReplicaOptions { incarnation, ..options(3, &[]) }).unwrap();
    let address = "host3:2".to_string();
    let added =
        world.change(1, vec![MemberChange::AddLearner { node_id: 3, incarnation, address }]);
    for _ in 0..5 {
        world.settle();
    }
    assert!(world.outcome(added).is_ok());
    assert_eq!(roles(&world, 1).len(), 4, "both lives of node 3");
    let peers: BTreeSet<_> = world.node(1).peers.iter().map(|(peer, _)| peer.node_id).collect();
    assert_eq!(peers.len(), 2, "but one connection to it");
    let steps = vec![MemberChange::Promote { node_id: 3 }, MemberChange::Remove { node_id: 3 }];
    let replaced = world.change(1, steps);
    for _ in 0..3 {
        world.settle();
    }
    assert!(world.outcome(replaced).is_ok());
    let expected =
        [(1, 1, MemberRole::Voter), (2, 2, MemberRole::Voter), (4, 3, MemberRole::Voter)];
    assert_eq!(roles(&world, 3), expected);
    assert_eq!(world.applied(3), ["kept"]);
}

#[test]
fn a_removed_replica_stops_and_says_so() {
    let mut world = World::formed(3);
    let removed = world.change(1, vec![MemberChange::Remove { node_id: 3 }]);
    world.settle();
    assert!(world.outcome(removed).is_ok());
    for _ in 0..30 {
        world.settle();
    }
    assert_eq!(world.status(3).role, Role::Stopped);
    assert_eq!(world.status(3).failure.unwrap().code, Code::Removed);
    assert_eq!(world.status(1).role, Role::Leader, "and disturbs nobody");
    let late = world.propose(3, "x");
    assert_eq!(world.code(late), (Code::Removed, Outcome::Rejected));
}

#[test]
fn a_replica_that_missed_its_removal_is_told() {
    let mut world = World::formed(3);
    world.crash(3);
    let removed = world.change(1, vec![MemberChange::Remove { node_id: 3 }]);
    world.settle();
    assert!(world.outcome(removed).is_ok());
    world.restart(3).unwrap();
    for _ in 0..30 {
        world.settle();
    }
    assert_eq!(world.status(3).role, Role::Stopped);
    assert_eq!(world.status(3).failure.unwrap().code, Code::Removed);
    assert_eq!(world.status(1).term, 2, "nobody's term moved");
}

#[test]
fn a_leader_that_removes_itself_hands_over() {
    let mut world = World::formed(3);
    let removed = world.change(1, vec![MemberChange::Remove { node_id: 1 }]);
    for _ in 0..30 {
        world.settle();
    }
    assert!(world.outcome(removed).is_ok());
    assert_eq!(world.status(1).role, Role::Stopped);
    let call = world.propose(2, "goes on");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_new_leader_leaves_the_joint_configuration_of_the_old_one() {
    let mut world = World::formed(3);
    let call = world.change(1, vec![MemberChange::Demote { node_id: 3 }]);
    // The joint configuration is committed; its leader goes before it has left it.
    for _ in 0..100 {
        let joint = |id| roles(&world, id).iter().any(|(_, _, role)| *role == MemberRole::Outgoing);
        if joint(2) {
            break;
        }
        for node_id in 1..=3 {
            world.sync(node_id);
        }
        if let Some(packet) = world.network.pop_front() {
            world.deliver(packet);
        } else {
            world.tick(1);
        }
    }
    world.crash(1);
    assert!(world.lost.contains(&call) || world.is_done(call));
    for _ in 0..60 {
        world.settle();
    }
    let expected =
        [(1, 1, MemberRole::Voter), (2, 2, MemberRole::Voter), (3, 3, MemberRole::Learner)];
    // Node 3 is no voter any more, so node 2 needs node 1 to go on.
    world.restart(1).unwrap();
    for _ in 0..60 {
        world.settle();
    }
    assert_eq!(roles(&world, 2), expected);
    assert_eq!(roles(&world, 3), expected);
}

#[test]
fn impossible_changes_are_refused() {
    let mut world = World::formed(3);
    let cases = [
        (vec![], Code::MembershipInvalid),
        (vec![MemberChange::Promote { node_id: 2 }], Code::MembershipInvalid),
        (vec![MemberChange::Promote { node_id: 9 }], Code::UnknownMember),
        (vec![MemberChange::Remove { node_id: 9 }], Code::UnknownMember),
        (vec![learner(2)], Code::MembershipInvalid),
        (
            (1..=3).map(|node_id| MemberChange::Remove { node_id }).collect(),
            Code::MembershipInvalid,
        ),
        (
            vec![MemberChange::SetAddress { node_id: 2, address: String::new() }],
            Code::MembershipInvalid,
        ),
    ];
    for (change, code) in cases {
        let call = world.change(1, change.clone());
        world.settle();
        assert_eq!(world.code(call), (code, Outcome::Rejected), "{change:?}");
    }
    let follower = world.change(2, vec![learner(4)]);
    assert_eq!(world.code(follower), (Code::NotLeader, Outcome::Rejected));
    let leader = world.outcome(follower).as_ref().unwrap_err().leader.clone();
    assert_eq!(leader.map(|leader| (leader.node_id, leader.address)), Some((1, "host1:1".into())));
}

#[test]
fn an_address_changes_without_changing_who_votes() {
    let mut world = World::formed(3);
    let address = "elsewhere:9".to_string();
    let call = world.change(1, vec![MemberChange::SetAddress { node_id: 2, address }]);
    world.settle();
    assert!(world.outcome(call).is_ok());
    let members = world.node(3).replica.as_ref().unwrap().members();
    assert_eq!(members[1].address, "elsewhere:9");
    let peers = &world.node(3).peers;
    assert!(peers.iter().any(|(peer, address)| peer.node_id == 2 && address == "elsewhere:9"));
}

#[test]
fn leadership_is_transferred_and_held_proposals_follow() {
    let mut world = World::formed(3);
    let completion = world.call(1);
    world.step(1, Event::TransferLeadership { to: 2, completion, timeout_ticks: 50 });
    let held = world.propose(1, "held");
    for _ in 0..3 {
        world.settle();
    }
    assert!(world.outcome(completion).is_ok());
    assert_eq!(world.status(2).role, Role::Leader);
    assert!(world.outcome(held).is_ok(), "{:?}", world.outcome(held));
}

#[test]
fn a_transfer_to_a_node_that_does_not_answer_fails_and_the_leader_goes_on() {
    let mut world = World::formed(3);
    world.crash(2);
    let completion = world.call(1);
    world.step(1, Event::TransferLeadership { to: 2, completion, timeout_ticks: 50 });
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!(world.code(completion), (Code::Timeout, Outcome::Unknown));
    let call = world.propose(3, "x");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_membership_that_only_the_machine_is_ahead_of_is_found_in_the_log_at_the_start() {
    let mut world = World::of(3);
    world.node_mut(3).options.machine_kind = MachineKind::OnDisk;
    world.settle();
    world.restart(3).unwrap();
    world.elect(1);
    let (membership, commit) = {
        let durable = &world.node(3).durable;
        (durable.membership.clone(), durable.hard_state.commit)
    };
    world.change(1, vec![learner(4)]);
    world.settle();
    world.propose(1, "after");
    world.settle();
    world.sync_machine(3);
    let before = roles(&world, 3);
    assert_eq!(before.len(), 4);
    world.crash(3);
    // Neither record is synced for its own sake: a power cut may leave the older ones.
    let durable = &mut world.node_mut(3).durable;
    durable.membership = membership;
    durable.hard_state.commit = commit;
    *world.node(3).log.lock().unwrap() = world.node(3).durable.clone();
    world.restart(3).unwrap();
    assert_eq!(roles(&world, 3), before);
}

#[test]
fn a_snapshot_right_after_a_start_has_the_membership_of_its_index() {
    let mut world = World::default();
    world.add(ReplicaOptions { retained_entries: 100, ..options(1, &[1]) }).unwrap();
    world.quiesce();
    let added = world.change(1, vec![learner(2)]);
    let mut joint = None;
    while !world.is_done(added) {
        world.sync(1);
        let (index, bytes) = world.node(1).durable.membership.clone();
        if Membership::from_bytes(&bytes).is_ok_and(|membership| membership.is_joint()) {
            joint = Some((index, bytes));
        }
    }
    world.quiesce();
    let call = world.call(1);
    world.step(1, Event::TakeSnapshot { completion: call });
    world.quiesce();
    let index = world.outcome(call).as_ref().unwrap().index;
    world.crash(1);
    // The snapshot is in the store, and the record of the newest membership was lost with the power.
    world.node_mut(1).durable.membership = joint.unwrap();
    world.restart(1).unwrap();
    assert_eq!(world.status(1).applied_index, index);
    let call = world.call(1);
    world.step(1, Event::TakeSnapshot { completion: call });
    let taken = world.node(1).work.iter().find_map(|work| match work {
        MachineWork::TakeSnapshot { index, membership, .. } => Some((*index, membership.clone())),
        _ => None,
    });
    let (taken_at, membership) = taken.unwrap();
    assert_eq!(taken_at, index);
    assert!(!Membership::from_bytes(&membership).unwrap().is_joint());
}
