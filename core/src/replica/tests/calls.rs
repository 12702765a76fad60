//! What becomes of calls: each completes once, and says the truth.

use bytes::Bytes;

use super::world::{options, World};
use crate::error::{Code, Error, Outcome};
use crate::log::Admission;
use crate::replica::{Event, PeerMessage, ReplicaOptions, Role};

#[test]
fn three_nodes_form_elect_replicate_and_read() {
    let mut world = World::formed(3);
    let own = world.propose(1, "own");
    let forwarded = world.propose(2, "forwarded");
    let read = world.read_index(3);
    world.settle();
    assert_eq!(world.outcome(own).as_ref().unwrap().result, "own");
    assert_eq!(world.outcome(forwarded).as_ref().unwrap().result, "forwarded");
    assert!(world.outcome(read).is_ok());
    for node_id in 1..=3 {
        assert_eq!(world.applied(node_id), ["own", "forwarded"]);
    }
}

#[test]
fn a_group_of_one_serves_without_a_tick() {
    let mut world = World::of(1);
    world.quiesce();
    let call = world.propose(1, "x");
    world.quiesce();
    assert_eq!(world.outcome(call).as_ref().unwrap().index, 3);
}

#[test]
fn empty_and_too_large_proposals_are_refused() {
    let mut world = World::formed(3);
    let empty = world.propose(1, "");
    assert_eq!(world.code(empty), (Code::EmptyProposal, Outcome::Rejected));
    let large = world.propose(2, &"x".repeat((1 << 20) + 1));
    assert_eq!(world.code(large), (Code::TooLarge, Outcome::Rejected));
}

#[test]
fn limits_on_pending_calls_and_bytes_are_answered_busy() {
    let mut world = World::default();
    let limits =
        ReplicaOptions { pending_count_max: 3, pending_bytes_max: 10, ..options(1, &[1, 2, 3]) };
    world.add(limits).unwrap();
    let first = world.propose(1, "12345678");
    let bytes = world.propose(1, "123");
    assert_eq!(world.code(bytes), (Code::Busy, Outcome::Rejected));
    world.read_index(1);
    world.propose(1, "1");
    let count = world.propose(1, "1");
    assert_eq!(world.code(count), (Code::Busy, Outcome::Rejected));
    assert!(!world.is_done(first));
}

#[test]
fn a_proposal_that_never_left_is_rejected_when_its_time_is_over() {
    let mut world = World::of(3);
    let call = world.propose(1, "x");
    let read = world.read_index(1);
    for _ in 0..60 {
        world.tick(1);
    }
    assert_eq!(world.code(call), (Code::Timeout, Outcome::Rejected));
    assert_eq!(world.code(read), (Code::Timeout, Outcome::Rejected));
}

#[test]
fn a_proposal_that_left_is_unknown_when_its_time_is_over() {
    let mut world = World::formed(3);
    let own = world.propose(1, "own");
    let forwarded = world.propose(2, "forwarded");
    world.network.clear();
    for _ in 0..60 {
        world.tick(1);
        world.tick(2);
        world.network.clear();
    }
    assert_eq!(world.code(own), (Code::Timeout, Outcome::Unknown));
    assert_eq!(world.code(forwarded), (Code::Timeout, Outcome::Unknown));
}

#[test]
fn a_forward_to_a_leader_that_is_none_any_more_is_refused() {
    let mut world = World::formed(3);
    let call = world.propose(3, "late");
    let forward = world.network.pop_back().unwrap();
    world.elect_by_transfer(2);
    world.deliver(forward);
    world.settle();
    let error = world.outcome(call).as_ref().unwrap_err();
    assert_eq!(error.outcome, Outcome::Rejected);
    assert!(matches!(error.code, Code::NotLeader | Code::Overwritten), "{error:?}");
    assert!(!world.applied(1).contains(&"late".to_string()));
}

#[test]
fn a_forward_that_could_not_be_sent_is_rejected_at_once() {
    let mut world = World::formed(3);
    let forwarded = world.propose(2, "not sent");
    let envelope = world.network.pop_back().unwrap().envelope;
    world.step(2, Event::NotSent { envelope });
    assert_eq!(world.code(forwarded), (Code::Unreachable, Outcome::Rejected));
    assert!(world.outcome(forwarded).as_ref().unwrap_err().retriable());
    world.settle();
    assert!(world.applied(1).is_empty());
}

#[test]
fn what_a_later_leader_overwrote_is_rejected() {
    let mut world = World::formed(3);
    let call = world.propose(1, "overwritten");
    let forwarded = world.propose(3, "lost on its way");
    world.network.clear();
    world.sync(1);
    // Node 1 is cut off with its entry; another one is elected.
    for _ in 0..30 {
        for node_id in [2, 3] {
            world.tick(node_id);
            world.sync(node_id);
        }
        world.network.retain(|packet| packet.to != 1 && packet.from != 1);
        while let Some(packet) = world.network.pop_front() {
            if packet.to != 1 {
                world.deliver(packet);
            }
            for node_id in [2, 3] {
                world.sync(node_id);
            }
        }
    }
    assert!([2, 3].iter().any(|id| world.status(*id).role == Role::Leader));
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.code(call), (Code::Overwritten, Outcome::Rejected));
    assert_eq!(world.code(forwarded), (Code::Overwritten, Outcome::Rejected));
    assert!(world.applied(1).is_empty());
}

#[test]
fn a_restarted_node_does_not_complete_calls_of_its_former_life() {
    let mut world = World::formed(3);
    let before = world.propose(1, "before");
    world.sync(1);
    world.quiesce();
    assert!(world.outcome(before).is_ok());
    world.crash(1);
    world.restart(1).unwrap();
    for _ in 0..30 {
        world.settle();
    }
    // The first of its new life has the sequence number of the first of its old one.
    let after = world.propose(1, "after");
    for _ in 0..3 {
        world.settle();
    }
    assert_eq!(world.outcome(after).as_ref().unwrap().result, "after");
    assert_eq!(world.applied(1), ["before", "after"]);
}

#[test]
fn stopping_answers_all_calls() {
    let mut world = World::formed(3);
    let left = world.propose(1, "left");
    let read = world.read_index(1);
    let replica = world.node_mut(1).replica.as_mut().unwrap();
    replica.step(Event::Propose {
        proposals: vec![(Bytes::from("queued").into(), 900)],
        timeout_ticks: 9,
    });
    world.calls.insert(900, 1);
    world.step(1, Event::Stop { error: Error::unknown(Code::Stopped, "the group was stopped") });
    assert_eq!(world.code(left), (Code::Stopped, Outcome::Unknown));
    assert_eq!(world.code(read), (Code::Stopped, Outcome::Rejected));
    assert_eq!(world.code(900), (Code::Stopped, Outcome::Rejected));
    assert_eq!(world.status(1).role, Role::Stopped);
    let late = world.propose(1, "late");
    assert_eq!(world.code(late), (Code::Stopped, Outcome::Rejected));
}

#[test]
fn a_failed_machine_or_disk_stops_the_replica_with_its_code() {
    for code in [Code::ApplyFailed, Code::StorageFailed] {
        let mut world = World::formed(3);
        let call = world.propose(1, "x");
        let error = Error::unknown(code, "it failed");
        let event = match code {
            Code::ApplyFailed => Event::MachineFailed { error },
            _ => Event::StorageFailed { error },
        };
        world.step(1, event);
        assert_eq!(world.code(call), (code, Outcome::Unknown));
        assert_eq!(world.status(1).failure.unwrap().code, code);
        world.network.clear();
        for _ in 0..30 {
            world.tick(1);
        }
        assert!(world.network.is_empty(), "it says nothing any more");
    }
}

#[test]
fn a_wrong_number_of_results_stops_the_replica() {
    let mut world = World::of(1);
    world.quiesce();
    let call = world.propose(1, "x");
    world.sync(1);
    world.step(1, Event::Applied { results: vec![] });
    assert_eq!(world.code(call), (Code::ApplyFailed, Outcome::Unknown));
}

#[test]
fn a_machine_that_lags_makes_the_leader_busy() {
    let mut world = World::default();
    world.add(ReplicaOptions { unapplied_bytes_max: 300, ..options(1, &[1]) }).unwrap();
    world.quiesce();
    let slow = world.propose(1, &"x".repeat(400));
    world.sync(1);
    let refused = world.propose(1, "y");
    assert_eq!(world.code(refused), (Code::Busy, Outcome::Rejected));
    world.quiesce();
    assert!(world.outcome(slow).is_ok());
    let call = world.propose(1, "z");
    world.quiesce();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_full_disk_refuses_proposals_and_service_resumes_with_space() {
    let mut world = World::formed(3);
    world.step(1, Event::Space { admission: Admission::Full });
    let own = world.propose(1, "own");
    assert_eq!(world.code(own), (Code::NoSpace, Outcome::Rejected));
    let forwarded = world.propose(2, "forwarded");
    world.quiesce();
    assert_eq!(world.code(forwarded), (Code::NoSpace, Outcome::Rejected));
    world.step(1, Event::Space { admission: Admission::Admitted });
    let call = world.propose(2, "again");
    world.settle();
    assert!(world.outcome(call).is_ok());
}

#[test]
fn a_follower_without_space_lets_appends_pass_until_it_has_some() {
    let mut world = World::formed(3);
    world.step(3, Event::Space { admission: Admission::Full });
    let call = world.propose(1, "x");
    world.settle();
    assert!(world.outcome(call).is_ok(), "two of three are enough");
    assert!(world.applied(3).is_empty());
    world.step(3, Event::Space { admission: Admission::Admitted });
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.applied(3), ["x"]);
}

#[test]
fn reads_wait_for_a_leader_that_has_committed_in_its_term() {
    let mut world = World::formed(3);
    world.crash(1);
    let read = world.read_index(2);
    for _ in 0..20 {
        world.settle();
    }
    assert!(world.outcome(read).is_ok(), "it was asked for again after the election");
    assert!(world.floors[&read] <= world.outcome(read).as_ref().unwrap().index);
}

#[test]
fn a_leader_that_is_cut_off_serves_no_reads() {
    let mut world = World::formed(3);
    let read = world.read_index(1);
    for _ in 0..60 {
        world.network.clear();
        world.tick(1);
    }
    assert_eq!(world.code(read), (Code::Timeout, Outcome::Rejected));
    assert_ne!(world.status(1).role, Role::Leader, "check-quorum made it step down");
}

#[test]
fn entries_that_are_no_longer_in_memory_are_read_and_sent() {
    let mut world = World::default();
    for node_id in 1..=3 {
        let small = ReplicaOptions { entry_cache_bytes: 1, ..options(node_id, &[1, 2, 3]) };
        world.add(small).unwrap();
    }
    world.settle();
    world.elect(1);
    world.crash(3);
    for number in 0..300 {
        world.propose(1, &format!("{number} {}", "x".repeat(4_000)));
        world.quiesce();
    }
    world.restart(3).unwrap();
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!(world.applied(3).len(), 300);
    assert_eq!(world.applied(3), world.applied(1));
}

#[test]
fn bytes_in_flight_to_a_peer_that_does_not_answer_are_bounded() {
    for size in [100, 20_000, 900_000] {
        let mut world = World::default();
        let inflight_bytes_max = 4 << 20;
        for node_id in 1..=3 {
            world
                .add(ReplicaOptions { inflight_bytes_max, ..options(node_id, &[1, 2, 3]) })
                .unwrap();
        }
        world.settle();
        world.elect(1);
        for _ in 0..300 {
            world.propose(1, &"x".repeat(size));
            world.sync(1);
        }
        let entries = |packet: &super::world::Packet| match &packet.envelope.body {
            PeerMessage::Raft(message) if packet.to == 3 => {
                message.entries.iter().map(|entry| entry.data.len() as u64).sum()
            }
            _ => 0,
        };
        let bytes: u64 = world.network.iter().map(entries).sum();
        assert!(bytes > 0 && bytes <= inflight_bytes_max, "{bytes} bytes in entries of {size}");
        for _ in 0..20 {
            world.settle();
        }
        assert_eq!(world.applied(3), world.applied(1), "and all arrive in the end");
    }
}

#[test]
fn proposals_beyond_the_limit_of_uncommitted_bytes_are_answered_busy() {
    let mut world = World::default();
    for node_id in 1..=3 {
        world
            .add(ReplicaOptions { pending_bytes_max: 1_000, ..options(node_id, &[1, 2, 3]) })
            .unwrap();
    }
    world.settle();
    world.elect(1);
    let first = world.propose(2, &"x".repeat(900));
    let second = world.propose(3, &"x".repeat(900));
    while let Some(position) = world.network.iter().position(|packet| packet.to == 1) {
        let packet = world.network.remove(position).unwrap();
        world.deliver(packet);
    }
    let third = world.propose(1, "fits");
    world.settle();
    assert!(world.outcome(first).is_ok());
    assert_eq!(world.code(second), (Code::Busy, Outcome::Rejected));
    assert!(world.outcome(third).is_ok());
}

#[test]
fn a_leader_does_not_append_more_than_it_can_send_from_memory() {
    let mut world = World::formed(3);
    let before = world.status(1).last_index;
    let calls: Vec<u64> = (0..40)
        .map(|_| {
            let call = world.propose(1, &"x".repeat(1_000_000));
            world.sync(1);
            call
        })
        .collect();
    let appended = world.status(1).last_index - before;
    assert!((24..=26).contains(&appended), "{appended} MB without an answer from anybody");
    for _ in 0..5 {
        world.settle();
    }
    assert!(calls.iter().all(|call| world.outcome(*call).is_ok()), "the others only waited");
}

#[test]
fn a_read_waits_until_this_nodes_machine_has_applied_what_was_committed_before_it() {
    let mut world = World::formed(3);
    let write = world.propose(1, "x");
    // Everything happens but the work of node 3's machine.
    let go_on = |world: &mut World| {
        for _ in 0..20 {
            for node_id in 1..=3 {
                world.sync(node_id);
            }
            world.work(1);
            while let Some(packet) = world.network.pop_front() {
                world.deliver(packet);
            }
        }
    };
    go_on(&mut world);
    assert!(world.outcome(write).is_ok());
    let read = world.read_index(3);
    go_on(&mut world);
    assert!(!world.is_done(read), "its machine has not applied the write");
    world.work(3);
    assert_eq!(world.outcome(read).as_ref().unwrap().index, 3);
}

#[test]
fn a_call_that_a_snapshot_may_contain_is_unknown_at_once() {
    let mut world = World::formed(3);
    let call = world.propose(3, "of node 3");
    // The leader gets it; node 3 hears nothing until the log begins behind it.
    world.settle_without(3);
    assert_eq!(world.applied(1), ["of node 3"]);
    let completion = world.call(1);
    world.step(1, Event::TakeSnapshot { completion });
    world.settle_without(3);
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!(world.code(call), (Code::OutcomeLost, Outcome::Unknown));
    assert_eq!(world.applied(3), world.applied(1));
}

#[test]
fn a_replica_that_is_opened_again_in_the_same_boot_does_not_take_an_old_entry_for_a_new_call() {
    let mut world = World::formed(3);
    world.propose(2, "before the stop");
    // The leader appends it, and the follower hears no more of it.
    while let Some(packet) = world.network.pop_front() {
        world.deliver(packet);
    }
    let used = world.node(2).replica.as_ref().unwrap().next_sequence();
    world.crash(2);
    let options = &mut world.node_mut(2).options;
    options.boot_counter -= 1;
    options.first_sequence = used;
    world.restart(2).unwrap();
    world.settle();
    let call = world.propose(2, "after it");
    world.settle();
    assert_eq!(world.outcome(call).as_ref().unwrap().result, "after it");
    assert_eq!(world.applied(3), ["before the stop", "after it"]);
}
