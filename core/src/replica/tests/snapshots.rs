//! Snapshots: when they are taken, what is forgotten, and how one is installed, with a power cut at
//! each step.

use super::world::{learner, options, World};
use crate::error::{Code, Error, Outcome};
use crate::machine::MachineKind;
use crate::replica::{Event, MachineWork, ReplicaOptions, Role};

/// Three nodes, the third of which lags behind a compacted log.
fn lagging() -> World {
    let mut world = World::formed(3);
    world.propose(1, "first");
    world.settle();
    world.crash(3);
    for number in 0..20 {
        world.propose(1, &format!("entry {number}"));
    }
    world.settle();
    let completion = world.call(1);
    world.step(1, Event::TakeSnapshot { completion });
    world.settle();
    let index = world.outcome(completion).as_ref().unwrap().index;
    assert_eq!(index, world.status(1).applied_index);
    assert_eq!(world.status(1).first_index, index + 1, "the log was compacted");
    world.restart(3).unwrap();
    world
}

#[test]
fn a_replica_that_lags_behind_the_log_gets_a_snapshot() {
    let mut world = lagging();
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.applied(3), world.applied(1));
    assert_eq!(world.status(3).first_index, world.status(1).first_index);
    let call = world.propose(3, "after");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn an_installation_survives_a_power_cut_at_every_step() {
    for crash_at in 0..60 {
        let mut world = lagging();
        for step in 0..60 {
            if step == crash_at {
                world.crash(3);
                world.restart(3).unwrap();
            }
            match step % 4 {
                0 => {
                    world.sync(3);
                }
                1 => {
                    world.work(3);
                }
                2 => {
                    world.transfer(1);
                }
                _ => world.tick(1),
            }
            if let Some(packet) = world.network.pop_front() {
                world.deliver(packet);
            }
        }
        for _ in 0..10 {
            world.settle();
        }
        assert_eq!(world.applied(3), world.applied(1), "power cut at step {crash_at}");
        let call = world.propose(3, "after");
        world.settle();
        assert!(world.outcome(call).is_ok(), "power cut at step {crash_at}");
        assert!(world.node(3).durable.unrestored.is_none(), "the restore is recorded");
    }
}

#[test]
fn a_snapshot_that_was_installed_but_not_restored_is_restored_at_the_start() {
    let mut world = lagging();
    for _ in 0..20 {
        world.sync(3);
        world.transfer(1);
        if let Some(packet) = world.network.pop_front() {
            world.deliver(packet);
        } else {
            world.tick(1);
        }
    }
    assert!(world.node(3).durable.unrestored.is_some(), "durable, and not restored");
    world.crash(3);
    world.restart(3).unwrap();
    assert!(matches!(world.node(3).work[0], MachineWork::Restore { .. }));
    assert_eq!(world.status(3).applied_index, 0, "nothing is served before");
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.applied(3), world.applied(1));
}

#[test]
fn snapshots_are_taken_by_entries_and_keep_a_tail() {
    let mut world = World::default();
    let options = ReplicaOptions { snapshot_entries: 10, retained_entries: 4, ..options(1, &[1]) };
    world.add(options).unwrap();
    world.quiesce();
    for number in 0..35 {
        world.propose(1, &number.to_string());
        world.quiesce();
    }
    let status = world.status(1);
    assert!(status.snapshot_index + 10 > status.applied_index, "{status:?}");
    assert_eq!(status.first_index, status.snapshot_index - 4 + 1);
    world.crash(1);
    world.restart(1).unwrap();
    world.quiesce();
    assert_eq!(world.applied(1).len(), 35, "snapshot and tail together are everything");
}

#[test]
fn snapshots_are_taken_by_bytes_of_log() {
    let mut world = World::default();
    world.add(ReplicaOptions { snapshot_log_bytes: 1_000, ..options(1, &[1]) }).unwrap();
    world.quiesce();
    world.propose(1, &"x".repeat(400));
    world.quiesce();
    assert_eq!(world.status(1).first_index, 2);
    world.propose(1, &"x".repeat(600));
    world.quiesce();
    world.quiesce();
    assert!(world.status(1).first_index > 2);
}

#[test]
fn a_snapshot_that_fails_is_reported_and_the_group_goes_on() {
    let mut world = World::of(1);
    world.quiesce();
    world.propose(1, "x");
    world.quiesce();
    let completion = world.call(1);
    world.step(1, Event::TakeSnapshot { completion });
    world.node_mut(1).work.clear();
    let result = Err(Error::rejected(Code::SaveFailed, "the callback failed"));
    world.step(1, Event::SnapshotTaken { result });
    assert_eq!(world.code(completion), (Code::SaveFailed, Outcome::Rejected));
    let call = world.propose(1, "y");
    world.quiesce();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_log_is_never_compacted_beyond_what_an_on_disk_machine_has_synced() {
    let mut world = World::default();
    let kind = MachineKind::OnDisk;
    world.add(ReplicaOptions { machine_kind: kind, ..options(1, &[1]) }).unwrap();
    world.quiesce();
    for number in 0..10 {
        world.propose(1, &number.to_string());
    }
    world.quiesce();
    let completion = world.call(1);
    world.step(1, Event::TakeSnapshot { completion });
    world.quiesce();
    assert_eq!(world.status(1).first_index, 2, "nothing is synced yet");
    world.step(1, Event::MachineSynced { index: 6 });
    assert_eq!(world.status(1).first_index, 7);
}

#[test]
fn an_on_disk_machine_that_is_below_the_log_waits_for_a_snapshot_and_does_not_campaign() {
    let mut world = lagging();
    for _ in 0..5 {
        world.settle();
    }
    world.crash(3);
    world.node_mut(3).options.machine_kind = MachineKind::OnDisk;
    world.node_mut(3).store.clear();
    world.restart(3).unwrap();
    assert_eq!(world.status(3).failure.unwrap().code, Code::RestoreFailed);
    for _ in 0..100 {
        world.tick(3);
    }
    assert_eq!(world.status(3).role, Role::Follower, "it does not campaign");
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!(world.applied(3), world.applied(1), "it got the state");
    assert!(world.status(3).failure.is_none());
}

#[test]
fn a_replica_that_waits_for_a_snapshot_still_votes_for_others() {
    let mut world = lagging();
    for _ in 0..5 {
        world.settle();
    }
    world.crash(3);
    world.node_mut(3).options.machine_kind = MachineKind::OnDisk;
    world.node_mut(3).store.clear();
    world.restart(3).unwrap();
    // It hears the leader, which then goes away before it could help.
    world.tick(1);
    while let Some(packet) = world.network.pop_front() {
        world.deliver(packet);
    }
    world.crash(1);
    for _ in 0..40 {
        world.settle();
    }
    assert_eq!(world.status(2).role, Role::Leader);
    assert_eq!(world.applied(3), world.applied(2), "and is helped by the new leader");
}

#[test]
fn a_machine_that_is_ahead_of_the_commit_index_raises_it() {
    let mut world = World::default();
    let kind = MachineKind::OnDisk;
    world.add(ReplicaOptions { machine_kind: kind, ..options(1, &[1]) }).unwrap();
    world.quiesce();
    world.propose(1, "applied");
    world.quiesce();
    let node = world.node_mut(1);
    node.machine_durable = node.machine.clone();
    // A commit index alone is never synced, so it may be lost with the power.
    node.durable.hard_state.commit = 2;
    world.crash(1);
    world.restart(1).unwrap();
    world.quiesce();
    assert_eq!(world.applied(1), ["applied"], "and it is not applied again");
    let call = world.propose(1, "more");
    world.quiesce();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_machine_that_is_ahead_of_the_log_is_an_error() {
    let mut world = World::of(1);
    world.quiesce();
    world.crash(1);
    let node = world.node_mut(1);
    node.options.machine_kind = MachineKind::OnDisk;
    node.machine.applied_index = 99;
    assert_eq!(world.restart(1).unwrap_err().code, Code::MachineAhead);
}

#[test]
fn the_state_of_an_on_disk_machine_is_streamed_as_it_is_when_a_peer_needs_it() {
    let mut world = World::default();
    let kind = MachineKind::OnDisk;
    world.add(ReplicaOptions { machine_kind: kind, ..options(1, &[1]) }).unwrap();
    world.quiesce();
    world.propose(1, "in the snapshot");
    world.quiesce();
    world.sync_machine(1);
    let completion = world.call(1);
    world.step(1, Event::TakeSnapshot { completion });
    world.quiesce();
    world.propose(1, "after it");
    world.quiesce();
    world.add(ReplicaOptions { machine_kind: kind, ..options(2, &[]) }).unwrap();
    world.change(1, vec![learner(2)]);
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.applied(2), ["in the snapshot", "after it"]);
    assert!(world.node(2).store.values().all(|stored| stored.received.index >= 4));
    assert!(world.node(1).sends.is_empty(), "nothing is sent from the store");
}

#[test]
fn a_transfer_that_failed_is_tried_again() {
    let mut world = lagging();
    let mut sends = 0;
    for _ in 0..40 {
        world.tick(1);
        for send in std::mem::take(&mut world.node_mut(1).sends) {
            sends += 1;
            world.step(1, Event::SnapshotSent { to: send.to, succeeded: false });
        }
        while let Some(packet) = world.network.pop_front() {
            world.deliver(packet);
        }
        world.sync(3);
    }
    assert!(sends > 1, "it was tried {sends} times");
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.applied(3), world.applied(1));
}

#[test]
fn the_log_that_a_peer_needs_after_its_snapshot_is_kept() {
    let mut world = lagging();
    // The transfer takes its time, and the leader takes snapshots meanwhile.
    while world.node(1).sends.is_empty() {
        world.tick(1);
        while let Some(packet) = world.network.pop_front() {
            world.deliver(packet);
        }
        world.sync(3);
    }
    let first = world.status(1).first_index;
    let sends = std::mem::take(&mut world.node_mut(1).sends);
    for round in 0..5 {
        world.propose(1, &format!("meanwhile {round}"));
        world.settle();
        let completion = world.call(1);
        world.step(1, Event::TakeSnapshot { completion });
        world.settle();
        assert!(world.outcome(completion).is_ok());
    }
    assert_eq!(world.status(1).first_index, first, "pinned by the transfer");
    world.node_mut(1).sends = sends;
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.applied(3), world.applied(1));
    let completion = world.call(1);
    world.step(1, Event::TakeSnapshot { completion });
    world.settle();
    assert!(world.status(1).first_index > first, "and let go afterwards");
}

#[test]
fn the_tail_that_is_kept_behind_a_snapshot_is_bounded_in_bytes_too() {
    let options = ReplicaOptions {
        snapshot_log_bytes: 1 << 20,
        retained_entries: 1_000_000,
        ..options(1, &[1])
    };
    let mut world = World::default();
    world.add(options).unwrap();
    world.quiesce();
    let entry = "x".repeat(100_000);
    for _ in 0..100 {
        world.propose(1, &entry);
        world.quiesce();
    }
    let status = world.status(1);
    assert!(status.snapshot_index > 80, "snapshots were taken: {}", status.snapshot_index);
    let kept = status.last_index - status.first_index;
    assert!((10..=25).contains(&kept), "{kept} entries of 100 KB are kept for a limit of 1 MiB");
}
