//! How much a leader lets go to its disk at a time.

use super::world::World;
use crate::error::{Code, Outcome};
use crate::log::Record;

const ENTRY_BYTES: usize = 1 << 20;
/// Eight MiB may be on their way; each proposal counts with its id, and one always may go.
const ON_ITS_WAY_MAX: usize = 9 * ENTRY_BYTES;

fn entry_bytes_on_their_way(world: &World, node_id: u64) -> usize {
    let records = world.node(node_id).unsynced.iter().flat_map(|(_, records)| records);
    let bytes = |record: &Record| match record {
        Record::Entries(entries) => entries.iter().map(|entry| entry.data.len()).sum(),
        _ => 0,
    };
    records.map(bytes).sum()
}

#[test]
fn a_burst_waits_for_the_disk_in_the_queue_and_is_made_in_order() {
    let mut world = World::formed(3);
    let text = |number: u64| format!("{number} {}", "x".repeat(ENTRY_BYTES - 8));
    let calls: Vec<u64> = (0..20).map(|number| world.propose(1, &text(number))).collect();
    assert!(entry_bytes_on_their_way(&world, 1) >= 7 * ENTRY_BYTES, "the disk has work");
    assert!(entry_bytes_on_their_way(&world, 1) <= ON_ITS_WAY_MAX);
    while calls.iter().any(|call| !world.is_done(*call)) {
        world.settle();
        assert!(entry_bytes_on_their_way(&world, 1) <= ON_ITS_WAY_MAX);
    }
    for (number, call) in (0..).zip(calls) {
        assert_eq!(world.outcome(call).as_ref().unwrap().result, text(number));
    }
    assert_eq!(world.applied(3), world.applied(1));
}

#[test]
fn what_followers_hand_over_waits_for_the_disk_too() {
    let mut world = World::formed(3);
    let text = "x".repeat(ENTRY_BYTES - 8);
    let calls: Vec<u64> = (0..20).map(|number| world.propose(2 + number % 2, &text)).collect();
    while let Some(packet) = world.network.pop_front() {
        world.deliver(packet);
        assert!(entry_bytes_on_their_way(&world, 1) <= ON_ITS_WAY_MAX);
    }
    assert!(entry_bytes_on_their_way(&world, 1) >= 7 * ENTRY_BYTES, "the disk has work");
    while calls.iter().any(|call| !world.is_done(*call)) {
        world.settle();
    }
    assert!(calls.iter().all(|call| world.outcome(*call).is_ok()));
}

#[test]
fn a_proposal_that_the_disk_kept_waiting_was_never_made() {
    let mut world = World::formed(3);
    let text = "x".repeat(ENTRY_BYTES - 8);
    let calls: Vec<u64> = (0..12).map(|_| world.propose(1, &text)).collect();
    while !world.is_done(calls[11]) {
        world.tick(1);
        while let Some(packet) = world.network.pop_front() {
            world.deliver(packet);
            world.sync(2);
            world.sync(3);
        }
    }
    assert_eq!(world.code(calls[11]), (Code::Timeout, Outcome::Rejected));
    let late = world.outcome(calls[11]).as_ref().unwrap_err();
    assert!(late.message.contains("its disk lags behind"), "{late}");
    assert_eq!(world.code(calls[0]), (Code::Timeout, Outcome::Unknown), "it is on its way");
}
