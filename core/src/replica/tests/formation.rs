//! How groups begin, and who is refused.

use super::world::{options, World};
use crate::error::{Code, Outcome};
use crate::ids::Uuid;
use crate::replica::{ReplicaOptions, Role};

#[test]
fn nobody_votes_before_all_initial_members_have_met() {
    let mut world = World::default();
    for node_id in [1, 2] {
        world.add(options(node_id, &[1, 2, 3])).unwrap();
    }
    for _ in 0..100 {
        world.settle();
    }
    assert_eq!(world.status(1).role, Role::Forming);
    world.add(options(3, &[3, 1, 2])).unwrap();
    world.settle();
    for node_id in 1..=3 {
        assert_ne!(world.status(node_id).role, Role::Forming, "node {node_id}");
        assert_eq!(world.status(node_id).raft_id, node_id);
    }
    let formation = world.status(1).formation;
    assert!(!formation.is_nil());
    assert_eq!(world.status(3).formation, formation);
}

#[test]
fn a_group_forms_and_elects_its_first_member_without_waiting_for_a_timeout() {
    let mut world = World::of(5);
    world.quiesce();
    assert_eq!(world.status(1).role, Role::Leader, "no tick has passed");
    let call = world.propose(4, "x");
    world.quiesce();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_member_forms_late_when_messages_were_lost() {
    let mut world = World::of(3);
    for _ in 0..200 {
        for node_id in 1..=3 {
            world.tick(node_id);
            world.sync(node_id);
        }
        // Node 3 hears nothing until the others have formed.
        while let Some(packet) = world.network.pop_front() {
            if packet.to != 3 || world.status(1).role != Role::Forming {
                world.deliver(packet);
            }
        }
        if (1..=3).all(|node_id| world.status(node_id).role != Role::Forming) {
            return;
        }
        // It has to hear something to store who the others are.
        if world.status(1).role == Role::Forming {
            world.settle();
        }
    }
    panic!("node 3 does not form");
}

#[test]
fn calls_made_while_the_group_forms_are_held_until_it_has_a_leader() {
    let mut world = World::of(3);
    let call = world.propose(3, "early");
    let read = world.read_index(2);
    world.settle();
    world.elect(1);
    world.settle();
    assert!(world.outcome(call).is_ok());
    assert!(world.outcome(read).is_ok());
}

#[test]
fn a_member_that_was_wiped_while_the_group_formed_is_refused_with_a_reason() {
    let mut world = World::default();
    for node_id in [1, 2] {
        world.add(options(node_id, &[1, 2, 3])).unwrap();
    }
    world.settle();
    let wiped = ReplicaOptions { incarnation: Uuid([77; 16]), ..options(2, &[1, 2, 3]) };
    world.add(wiped).unwrap();
    world.add(options(3, &[1, 2, 3])).unwrap();
    for _ in 0..20 {
        world.settle();
    }
    let status = world.status(2);
    assert_eq!(status.role, Role::Forming);
    let failure = status.failure.expect("the status says why");
    assert_eq!(failure.code, Code::InitialMembersConflict);
    assert!(failure.message.contains("wiped"), "{failure}");
    assert_eq!(world.status(1).role, Role::Forming, "no majority of amnesiacs");
}

#[test]
fn a_member_that_was_wiped_after_the_group_formed_is_refused_and_the_rest_goes_on() {
    let mut world = World::formed(3);
    world.crash(3);
    let wiped = ReplicaOptions { incarnation: Uuid([77; 16]), ..options(3, &[1, 2, 3]) };
    world.add(wiped).unwrap();
    for _ in 0..20 {
        world.settle();
    }
    assert_eq!(world.status(3).role, Role::Forming);
    assert_eq!(world.status(3).failure.unwrap().code, Code::InitialMembersConflict);
    let call = world.propose(2, "goes on");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn members_with_different_lists_refuse_each_other() {
    let mut world = World::default();
    world.add(options(1, &[1, 2])).unwrap();
    world.add(options(2, &[1, 2, 3])).unwrap();
    for _ in 0..5 {
        world.settle();
    }
    for node_id in [1, 2] {
        assert_eq!(world.status(node_id).role, Role::Forming);
        assert_eq!(world.status(node_id).failure.unwrap().code, Code::InitialMembersConflict);
    }
}

#[test]
fn formation_survives_a_power_cut_at_every_step() {
    for crash_at in 0..40 {
        let mut world = World::of(3);
        let mut steps = 0;
        'forming: for _ in 0..60 {
            for node_id in 1..=3 {
                if steps == crash_at {
                    world.crash(2);
                    world.restart(2).unwrap();
                }
                steps += 1;
                world.sync(node_id);
                if let Some(packet) = world.network.pop_front() {
                    world.deliver(packet);
                }
                world.tick(node_id);
                if steps > crash_at && (1..=3).all(|id| world.status(id).role != Role::Forming) {
                    break 'forming;
                }
            }
        }
        world.await_leader();
        let call = world.propose(3, "formed");
        world.settle();
        assert!(world.outcome(call).is_ok(), "power cut at step {crash_at}");
    }
}

#[test]
fn a_restart_with_another_list_of_initial_members_is_an_error() {
    let mut world = World::formed(3);
    world.crash(1);
    world.node_mut(1).options.initial_members.pop();
    let error = world.restart(1).unwrap_err();
    assert_eq!((error.code, error.outcome), (Code::InitialMembersConflict, Outcome::Rejected));
    world.node_mut(1).options.initial_members.clear();
    world.restart(1).unwrap();
    assert_eq!(world.status(1).role, Role::Follower, "existing data wins over no list");
}

#[test]
fn a_wrong_list_is_put_right_by_a_restart_as_long_as_nobody_can_have_formed_the_group() {
    let mut world = World::default();
    world.add(options(1, &[1, 2, 4])).unwrap();
    world.add(options(2, &[1, 2])).unwrap();
    world.settle();
    let call = world.propose(1, "x");
    (0..60).for_each(|_| world.tick(1));
    let message = &world.outcome(call).as_ref().unwrap_err().message;
    for part in ["still forming", "node [2, 4]", "different lists"] {
        assert!(message.contains(part), "{message}");
    }
    world.crash(1);
    world.node_mut(1).options.initial_members = options(1, &[1, 2]).initial_members;
    world.restart(1).unwrap();
    world.settle();
    world.elect(1);
    let call = world.propose(2, "formed");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_list_stays_once_another_member_may_have_formed_the_group_with_it() {
    let mut world = World::of(2);
    world.sync(1);
    world.sync(2);
    world.drain(2);
    // Node 2 says who it is. Node 1 has met all then, and may have told node 2 so.
    while let Some(packet) = world.network.pop_front() {
        if packet.to == 1 {
            world.deliver(packet);
        }
    }
    assert!(world.sync(1));
    world.crash(1);
    world.node_mut(1).options.initial_members = options(1, &[1, 3]).initial_members;
    assert_eq!(world.restart(1).unwrap_err().code, Code::InitialMembersConflict);
}

#[test]
fn a_log_of_another_data_directory_is_an_error() {
    let mut world = World::formed(3);
    world.crash(1);
    world.node_mut(1).options.incarnation = Uuid([50; 16]);
    assert_eq!(world.restart(1).unwrap_err().code, Code::WrongIdentity);
}

#[test]
fn unusable_options_are_errors() {
    let mut world = World::default();
    let mut refused = |options: ReplicaOptions| world.add(options).unwrap_err().code;
    assert_eq!(refused(options(4, &[1, 2, 3])), Code::InitialMembersConflict);
    assert_eq!(refused(options(1, &[1, 1, 3])), Code::InitialMembersConflict);
    let ticks = ReplicaOptions { election_ticks: 1, ..options(1, &[1]) };
    assert_eq!(refused(ticks), Code::InvalidArgument);
}
