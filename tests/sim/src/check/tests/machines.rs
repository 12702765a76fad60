use libraft::machine::AppliedEntry;

use super::trial::{change, empty, membership};
use super::*;
use crate::observation::Operation;
use crate::registers::Payload;

/// Entries 2 and 4 are the library's own; 3, 5 and 6 are swaps of the calls 0 to 2. Node 1 has applied all of them.
fn begun() -> Trial {
    let mut trial = Trial::begun();
    for call in 0..3 {
        trial.call(1, call, Operation::Swap { key: 1, value: 10 + call }).unwrap();
    }
    trial.lead(1, 2);
    trial.replicate(
        1,
        &[2, 3],
        &[
            empty(2, 2),
            entry(3, 2, 0, 1, 10),
            change(4, 2, &[1, 2, 3]),
            entry(5, 2, 1, 1, 11),
            entry(6, 2, 2, 1, 12),
        ],
    );
    for index in [3, 5, 6] {
        trial.apply(1, index).unwrap();
    }
    trial
}

#[test]
fn entries_are_applied_without_a_gap() {
    let mut trial = begun();
    for index in [3, 5, 6] {
        trial.apply(2, index).unwrap();
    }
    let mut trial = begun();
    trial.apply(2, 3).unwrap();
    breaks("applied prefix", trial.apply(2, 6));
    breaks("applied prefix", begun().apply(2, 5));
}

#[test]
fn no_entry_is_applied_twice_in_one_life_of_a_machine() {
    let mut trial = begun();
    trial.apply(2, 3).unwrap();
    trial.apply(2, 5).unwrap();
    breaks("applied prefix", trial.apply(2, 5));
    breaks("applied prefix", trial.apply(2, 3));
}

#[test]
fn the_first_to_apply_must_not_leave_a_gap_either() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[2, 3], &[entry(2, 2, 0, 1, 10), entry(3, 2, 1, 1, 11)]);
    breaks("applied prefix", trial.apply(1, 3));
}

#[test]
fn a_machine_is_shown_the_entry_of_the_log() {
    let mut trial = begun();
    let shown = |index, term| {
        let data = Payload { call: 0, key: 1, value: 10 }.encode(3);
        AppliedEntry { index, term, data }
    };
    breaks("state", trial.applies(2, &shown(3, 1), 0, 0));
    trial.apply(3, 3).unwrap();
    breaks("state", trial.applies(3, &shown(4, 2), 0, 0));
    let mut trial = begun();
    trial.apply(2, 3).unwrap();
    breaks("state", trial.applies(2, &shown(5, 2), 0, 0));
}

#[test]
fn all_machines_come_to_the_same_results_and_states() {
    for (result, hash) in [(1, 0), (0, 1)] {
        let mut trial = begun();
        trial.apply(2, 3).unwrap();
        let right = trial.registers(2).clone();
        let data = Payload { call: 0, key: 1, value: 10 }.encode(3);
        let entry = AppliedEntry { index: 3, term: 2, data };
        trial.applies(3, &entry, 0, right.hash).unwrap();
        trial.open_machine(3, 0).unwrap();
        breaks("state", trial.applies(3, &entry, result, right.hash ^ hash));
    }
}

#[test]
fn what_is_applied_is_committed() {
    let mut trial = Trial::begun();
    trial.call(1, 0, Operation::Swap { key: 1, value: 10 }).unwrap();
    trial.lead(1, 2);
    trial.append(1, &[entry(2, 2, 0, 1, 10)]).unwrap();
    breaks("commit quorum", trial.apply(1, 2));
}

#[test]
fn a_machine_on_disk_goes_on_where_it_said() {
    let mut trial = begun();
    trial.open_machine(1, 5).unwrap();
    breaks("applied prefix", trial.apply(1, 5));
    breaks("applied prefix", trial.open_machine(1, 4));
    breaks("applied prefix", trial.open_machine(1, 7));
    trial.open_machine(1, 3).unwrap();
    breaks("applied prefix", trial.apply(1, 6));
}

#[test]
fn a_machine_is_saved_as_it_is() {
    let mut trial = begun();
    let hash = trial.registers(1).hash;
    trial.saved(1, 6, hash).unwrap();
    breaks("snapshot", trial.saved(1, 6, hash ^ 1));
    breaks("snapshot", trial.saved(2, 6, hash));
}

#[test]
fn a_snapshot_is_the_state_at_its_index() {
    let mut trial = begun();
    let hash = trial.registers(1).hash;
    breaks("snapshot", trial.restored(3, 5, hash));
    breaks("snapshot", trial.restored(3, 6, hash ^ 1));
    trial.restored(3, 6, hash).unwrap();
    breaks("applied prefix", trial.apply(3, 5));
}

#[test]
fn a_machine_that_was_used_is_not_restored_to_what_was_before() {
    let mut trial = begun();
    trial.apply(2, 3).unwrap();
    let (early, late) = (trial.registers(2).hash, trial.registers(1).hash);
    trial.apply(2, 5).unwrap();
    breaks("snapshot", trial.restored(2, 3, early));
    trial.restored(2, 6, late).unwrap();
    breaks("snapshot", trial.restored(2, 3, early));
    // One on disk may be ahead of the snapshot that it has to be restored from.
    trial.open_machine(2, 6).unwrap();
    trial.restored(2, 3, early).unwrap();
}

#[test]
fn a_snapshot_that_replaced_the_log_has_all_that_it_replaced() {
    let begun_at = |index| {
        let mut trial = begun();
        trial.commit(1, 6).unwrap();
        let membership = membership(&[1, 2, 3], &[]).to_bytes();
        let hard_state = HardState { term: 2, vote: 0, commit: index };
        trial.reset(3, index, 2, membership, hard_state).unwrap();
        trial.apply(2, 3).unwrap();
        let hash = trial.registers(2).hash;
        trial.restored(3, 3, hash)
    };
    begun_at(4).unwrap();
    breaks("snapshot", begun_at(5));
}
