//! What a replica that was removed is still needed for, and how it comes back.

use super::world::{learner, World};
use crate::error::{Code, Outcome};
use crate::ids::NodeId;
use crate::replica::{MemberChange, Notice, Role};

/// Two voters; node 1 leads.
fn pair() -> World {
    let mut world = World::formed(2);
    world.propose(1, "before");
    world.settle();
    world
}

fn remove(world: &mut World, leader: NodeId, node_id: NodeId) -> u64 {
    world.change(leader, vec![MemberChange::Remove { node_id }])
}

fn pass(world: &mut World, rounds: u64) {
    for _ in 0..rounds {
        world.settle();
    }
}

/// Lets things happen one by one, without time, until a node says that it was removed. `powerless`
/// has the removal of the other one never synced.
fn until_removed(world: &mut World, removed: NodeId, powerless: Option<NodeId>) {
    for _ in 0..1_000 {
        for node_id in [1, 2] {
            let members = world.node(node_id).replica.as_ref().unwrap().members().len();
            if members > 1 || powerless != Some(node_id) {
                world.sync(node_id);
            }
            if world.status(removed).failure.is_some() {
                return;
            }
        }
        if let Some(packet) = world.network.pop_front() {
            world.deliver(packet);
        }
    }
    panic!("node {removed} is not removed");
}

fn goes_on_alone(world: &mut World, node_id: NodeId) {
    pass(world, 60);
    assert_eq!(world.status(node_id).role, Role::Leader);
    let call = world.propose(node_id, "goes on");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn one_of_two_goes_on_though_it_never_heard_that_the_removal_of_its_leader_was_committed() {
    for restart in [false, true] {
        let mut world = pair();
        remove(&mut world, 1, 1);
        until_removed(&mut world, 1, None);
        world.network.clear();
        if restart {
            world.sync(1);
            world.crash(1);
            world.restart(1).unwrap();
            assert_eq!(world.status(1).failure.unwrap().code, Code::Removed);
        }
        goes_on_alone(&mut world, 2);
        assert_eq!(world.status(1).role, Role::Stopped);
        assert_eq!(world.applied(1).iter().filter(|entry| *entry == "goes on").count(), 0);
    }
}

#[test]
fn one_of_two_goes_on_though_it_lost_power_right_after_it_removed_the_other() {
    let mut world = pair();
    let removed = remove(&mut world, 1, 2);
    until_removed(&mut world, 2, Some(1));
    assert!(world.is_done(removed));
    world.crash(1);
    world.restart(1).unwrap();
    goes_on_alone(&mut world, 1);
}

#[test]
fn a_removal_is_confirmed_by_those_only_who_have_it_on_the_disk() {
    let mut world = World::formed(3);
    remove(&mut world, 1, 3);
    world.settle();
    pass(&mut world, 10);
    assert!(world.node(3).peers.is_empty(), "confirmed");
    let mut world = pair();
    remove(&mut world, 1, 2);
    until_removed(&mut world, 2, Some(1));
    for _ in 0..30 {
        world.tick(2);
        while let Some(packet) = world.network.pop_front() {
            world.deliver(packet);
        }
    }
    assert!(!world.node(2).peers.is_empty(), "nobody has it on the disk");
    pass(&mut world, 10);
    assert!(world.node(2).peers.is_empty(), "confirmed");
}

/// Adds a node again and checks that it takes part.
fn add_again(world: &mut World, leader: NodeId, node_id: NodeId) {
    let added = world.change(leader, vec![learner(node_id)]);
    pass(world, 10);
    assert!(world.outcome(added).is_ok(), "{:?}", world.outcome(added));
    let status = world.status(node_id);
    assert_eq!((status.role, status.failure.map(|error| error.code)), (Role::Learner, None));
    let promoted = world.change(leader, vec![MemberChange::Promote { node_id }]);
    pass(world, 5);
    assert!(world.outcome(promoted).is_ok(), "{:?}", world.outcome(promoted));
    let call = world.propose(node_id, "back");
    pass(world, 5);
    assert!(world.outcome(call).is_ok(), "{:?}", world.outcome(call));
    for other in world.nodes.keys() {
        assert_eq!(world.applied(*other), world.applied(leader), "node {other}");
    }
}

#[test]
fn a_node_that_never_heard_of_its_removal_comes_back_when_it_is_added_again() {
    for restart in [false, true] {
        let mut world = World::formed(3);
        let learns = world.change(1, vec![MemberChange::Demote { node_id: 3 }]);
        pass(&mut world, 5);
        assert!(world.outcome(learns).is_ok());
        remove(&mut world, 1, 3);
        world.settle_without(3);
        assert!(world.status(3).failure.is_none(), "it does not know");
        let call = world.propose(3, "to nobody");
        if restart {
            world.crash(3);
            world.restart(3).unwrap();
        }
        add_again(&mut world, 1, 3);
        assert_eq!(world.status(3).raft_id, 4, "under a new raft id");
        assert!(restart || world.is_done(call), "who called the removed one has an answer");
        world.quiesce();
        world.crash(3);
        world.restart(3).unwrap();
        assert_eq!(world.status(3).raft_id, 4);
    }
}

#[test]
fn a_removed_node_that_is_added_again_comes_back_with_what_it_had() {
    for restart in [false, true] {
        let mut world = World::formed(3);
        world.propose(1, "before");
        world.settle();
        remove(&mut world, 1, 3);
        world.settle();
        world.propose(1, "meanwhile");
        pass(&mut world, 10);
        assert_eq!(world.applied(3), ["before"]);
        let late = world.propose(3, "x");
        assert_eq!(world.code(late), (Code::Removed, Outcome::Rejected));
        if restart {
            world.sync(3);
            world.crash(3);
            world.restart(3).unwrap();
        }
        add_again(&mut world, 1, 3);
        assert_eq!(world.status(3).raft_id, 4, "under a new raft id");
        let installed = |notice: &Notice| matches!(notice, Notice::SnapshotInstalled { .. });
        assert!(!world.node(3).notices.iter().any(installed), "its log continues");
        assert_eq!(world.applied(3), ["before", "meanwhile", "back"]);
        world.quiesce();
        world.crash(3);
        world.restart(3).unwrap();
        pass(&mut world, 5);
        assert_eq!(world.status(3).raft_id, 4);
        assert_eq!(world.applied(3), world.applied(1));
    }
}

#[test]
fn a_leader_that_removed_itself_can_be_added_again() {
    let mut world = World::formed(3);
    remove(&mut world, 1, 1);
    pass(&mut world, 30);
    let leader = [2, 3].into_iter().find(|id| world.status(*id).role == Role::Leader).unwrap();
    add_again(&mut world, leader, 1);
}

#[test]
fn a_node_that_was_removed_and_added_again_while_it_was_away_finds_out() {
    let mut world = World::formed(3);
    world.propose(1, "before");
    world.settle();
    world.crash(3);
    remove(&mut world, 1, 3);
    world.settle();
    let added = world.change(1, vec![learner(3)]);
    world.settle();
    assert!(world.outcome(added).is_ok());
    world.restart(3).unwrap();
    pass(&mut world, 30);
    assert_eq!((world.status(3).role, world.status(3).raft_id), (Role::Learner, 4));
    world.propose(1, "after");
    world.settle();
    assert_eq!(world.applied(3), ["before", "after"]);
}
