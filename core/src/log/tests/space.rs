//! Full disks and failing ones.

use super::super::housekeeping::READY_SEGMENTS_MAX;
use super::super::*;
use super::{entries, open, small};
use crate::disk::MemoryDisk;

const SEGMENT: u64 = 64 << 10;

#[test]
fn a_full_disk_refuses_entries_not_hard_states_and_service_resumes_when_space_returns() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    log.barrier().unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 2 * SEGMENT));
    log.chores().unwrap();
    let hard_state = |term| Record::HardState(HardState { term, vote: 1, commit: 1 });
    let mut next = 1;
    while !log.status().full {
        assert!(next < 1000, "it must become full");
        if log.admits(3000) {
            log.append(log_id, entries(next, 3, 1, 1000), true);
            next += 3;
        } else {
            log.append(log_id, hard_state(0), true);
        }
        log.barrier().unwrap();
        log.chores().unwrap();
    }
    assert!(!log.admits(3000));
    for term in 1..10 {
        log.append(log_id, hard_state(term), true);
        log.barrier().unwrap();
    }
    log.chores().unwrap();
    assert!(!log.admits(3000));
    disk.set_capacity(None);
    log.chores().unwrap();
    assert!(log.admits(3000));
    log.append(log_id, entries(next, 3, 1, 1000), true);
    log.barrier().unwrap();
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!((groups[0].last_index, groups[0].hard_state.term), (next + 2, 9));
}

/// With the smallest segments that a node may have.
fn open_large(disk: &MemoryDisk) -> Log {
    let options = LogOptions { segment_bytes: 1 << 20, segments_max: 2, ..small() };
    Log::open(Arc::new(disk.clone()), options).unwrap().0
}

#[test]
fn a_journal_that_housekeeping_does_not_keep_up_with_is_behind_and_not_full() {
    let mut log = open_large(&MemoryDisk::new());
    let log_id = log.create_group(1);
    log.barrier().unwrap();
    let mut next = 1;
    while log.admits(500_000) {
        assert!(next < 1_000, "the journal must not grow without end");
        log.append(log_id, entries(next, 1, 1, 500_000), true);
        next += 1;
        log.barrier().unwrap();
    }
    assert_eq!(log.admission(500_000), Admission::Behind);
    assert_eq!(log.admission(500_000).refusal().map(|error| error.code), Some(Code::Busy));
    assert!(!log.status().full, "there is space on the disk");
    log.append(log_id, Record::Compact { index: next - 1, term: 1 }, true);
    log.barrier().unwrap();
    log.chores().unwrap();
    assert!(log.admits(500_000), "{:?}", log.status());
}

#[test]
fn an_entry_of_the_largest_size_finds_room_however_small_the_segments_are() {
    let mut log = open_large(&MemoryDisk::new());
    let log_id = log.create_group(1);
    log.barrier().unwrap();
    log.chores().unwrap();
    for index in 1..4 {
        assert_eq!(log.admission(33 << 20), Admission::Admitted);
        log.append(log_id, entries(index, 1, 1, 33 << 20), true);
        log.append(log_id, Record::Compact { index, term: 1 }, true);
        log.barrier().unwrap();
        log.chores().unwrap();
    }
    let segments = log.options.segments_max + READY_SEGMENTS_MAX;
    assert!(log.status().journal_bytes <= (segments as u64) << 20, "{:?}", log.status());
}

#[test]
fn moving_waits_for_space_and_goes_on_when_it_returns() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    for round in 0..70 {
        log.append(log_id, entries(round * 3 + 1, 3, 1, 1000), true);
        log.barrier().unwrap();
    }
    disk.set_capacity(Some(disk.used_bytes()));
    log.chores().unwrap();
    let before = log.status().segments;
    assert!(before > 3);
    disk.set_capacity(None);
    for _ in 0..3 {
        log.chores().unwrap();
    }
    assert!(log.status().segments <= 3, "{:?}", log.status());
    assert_eq!(log.reader(log_id).read(1, 211, u64::MAX).unwrap().len(), 210);
}

#[test]
fn a_failed_sync_is_final() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    log.append(log_id, entries(1, 3, 1, 1000), true);
    log.barrier().unwrap();
    log.append(log_id, entries(4, 3, 1, 1000), true);
    disk.fail_syncs(true);
    assert_eq!(log.barrier().unwrap_err().code, Code::StorageFailed);
    disk.fail_syncs(false);
    log.append(log_id, entries(7, 3, 1, 1000), true);
    assert!(!log.wants_barrier() && log.begin_barrier().is_none() && !log.admits(1));
    assert!(log.begin_chore(true).is_none());
    let operations = disk.operations();
    assert_eq!(log.close().unwrap_err().code, Code::StorageFailed);
    assert_eq!(disk.operations(), operations, "nothing is retried");
    for seed in 0..8 {
        let (_, groups) = open(&disk.crash(seed), 2).unwrap();
        assert_eq!(groups[0].last_index, 3);
    }
}

#[test]
fn a_failed_write_is_final() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    log.create_group(1);
    disk.fail_writes(true);
    assert_eq!(log.barrier().unwrap_err().code, Code::StorageFailed);
}

#[test]
fn a_disk_that_is_full_at_the_first_opening_is_reported_as_such() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(SEGMENT / 2));
    assert_eq!(open(&disk, 1).err().unwrap().code, Code::NoSpace);
}

#[test]
fn a_barrier_that_finds_no_space_loses_nothing_and_is_made_up_for_when_space_returns() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    let before = log.barrier().unwrap();
    log.chores().unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    // More than was admitted, as when somebody else fills the disk.
    log.append(log_id, entries(1, 300, 1, 1000), true);
    let barrier = log.begin_barrier().unwrap();
    log.append(log_id, entries(301, 3, 1, 1000), true);
    assert_eq!(log.finish_barrier(barrier.run()).unwrap(), before);
    assert!(!log.wants_barrier() && log.status().full);
    log.append(log_id, entries(304, 3, 1, 1000), true);
    log.chores().unwrap();
    assert!(!log.wants_barrier());
    disk.set_capacity(None);
    // A measurement is not repeated at once: it is the next tick's.
    log.chores().unwrap();
    log.chores().unwrap();
    assert!(log.wants_barrier());
    assert_eq!(log.barrier().unwrap(), log.status().appended_lsn);
    assert_eq!(log.reader(log_id).read(1, 307, u64::MAX).unwrap().len(), 306);
    let (log, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(log.read_all(&groups[0]).unwrap().len(), 306);
}
