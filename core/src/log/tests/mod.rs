//! The log beside a plain model of it.

#![allow(clippy::disallowed_methods)]

mod checkpoint;
mod codec;
mod damage;
mod load;
mod model;
mod outline;
mod preparing;
mod random;
mod space;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::Entry;

use super::*;
use crate::disk::MemoryDisk;
use crate::ids::Term;

/// SplitMix64.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub(super) fn entry(index: Index, term: Term, data: impl Into<Bytes>) -> Entry {
    Entry { index, term, data: data.into(), ..Entry::default() }
}

pub(super) fn entries(first: Index, count: u64, term: Term, bytes: usize) -> Record {
    let data = |index: Index| vec![(index % 251) as u8 ^ term as u8; bytes];
    Record::Entries((first..first + count).map(|index| entry(index, term, data(index))).collect())
}

pub(super) fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        segments_max: 3,
        free_bytes_min: 0,
        salt_seed: 7,
        checkpoint_directory: None,
    }
}

pub(super) fn open(disk: &MemoryDisk, salt_seed: u64) -> Result<(Log, Vec<RecoveredGroup>)> {
    Log::open(Arc::new(disk.clone()), LogOptions { salt_seed, ..small() })
}

impl Log {
    /// Makes everything appended durable.
    pub(super) fn barrier(&mut self) -> Result<Lsn> {
        match self.begin_barrier() {
            Some(barrier) => self.finish_barrier(barrier.run()),
            None => self.check(),
        }
    }

    /// Does the housekeeping that is due.
    pub(super) fn chores(&mut self) -> Result<usize> {
        let mut count = 0;
        while let Some(chore) = self.begin_chore(false) {
            self.finish_chore(chore.run())?;
            count += 1;
            assert!(count < 1000, "chores without end");
        }
        Ok(count)
    }

    pub(super) fn read_all(&self, group: &RecoveredGroup) -> Result<Vec<Entry>> {
        let (low, high) = (group.compacted_index + 1, group.last_index + 1);
        if low == high {
            return Ok(Vec::new());
        }
        self.reader(group.log_id).read(low, high, u64::MAX)
    }
}

#[test]
fn what_was_appended_and_synced_is_there_after_a_reopening() {
    let disk = MemoryDisk::new();
    let (mut log, groups) = open(&disk, 1).unwrap();
    assert!(groups.is_empty());
    let log_id = log.create_group(42);
    let hard_state = HardState { term: 3, vote: 1, commit: 2 };
    log.append(log_id, Record::Compact { index: 1, term: 1 }, true);
    log.append(log_id, entries(2, 10, 3, 100), true);
    log.append(log_id, Record::HardState(hard_state), true);
    let membership = Bytes::from_static(b"members");
    log.append(log_id, Record::Membership { index: 5, membership: membership.clone() }, true);
    let lsn = log.append(log_id, Record::Meta(Bytes::from_static(b"meta")), true);
    assert!(log.wants_barrier());
    assert_eq!(log.barrier().unwrap(), lsn);
    assert!(!log.wants_barrier());
    drop(log);

    let (log, groups) = open(&disk.crash(1), 2).unwrap();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.log_id, group.group_id, group.hard_state), (log_id, 42, hard_state));
    assert_eq!((group.membership_index, &group.membership), (5, &membership));
    assert_eq!((&group.meta[..], group.unrestored), (&b"meta"[..], None));
    assert_eq!((group.compacted_index, group.compacted_term, group.last_index), (1, 1, 11));
    assert_eq!(group.terms, [(3, 2)]);
    let Record::Entries(expected) = entries(2, 10, 3, 100) else { unreachable!() };
    assert_eq!(log.read_all(group).unwrap(), expected);
    let some = log.reader(log_id).read(4, 12, 250).unwrap();
    assert_eq!(some, expected[2..4]);
    assert_eq!(log.reader(log_id).read(4, 12, 0).unwrap(), expected[2..3]);
    for low in [1, 12] {
        let error = log.reader(log_id).read(low, low + 1, 100).unwrap_err();
        assert_eq!(error.code, Code::Internal);
    }
}

#[test]
fn a_commit_alone_costs_no_barrier_but_is_written_with_the_next_one_and_at_close() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    log.append(log_id, entries(1, 3, 1, 10), true);
    log.barrier().unwrap();
    let commit = |commit| Record::HardState(HardState { term: 1, vote: 1, commit });
    log.append(log_id, commit(2), false);
    assert!(!log.wants_barrier());
    log.append(log_id, entries(4, 1, 1, 10), true);
    log.barrier().unwrap();
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups[0].hard_state.commit, 2);
    log.append(log_id, commit(4), false);
    log.close().unwrap();
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups[0].hard_state.commit, 4);
}

#[test]
fn a_removed_group_is_gone_and_a_new_one_with_its_id_inherits_nothing() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let old = log.create_group(5);
    log.append(old, entries(1, 3, 9, 10), true);
    log.append(old, Record::HardState(HardState { term: 9, vote: 9, commit: 3 }), true);
    log.remove_group(old);
    let new = log.create_group(5);
    log.barrier().unwrap();
    assert_ne!(old, new);
    assert!(log.reader(old).read(1, 2, 10).is_err());
    let (mut log, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].log_id, groups[0].last_index), (new, 0));
    assert_eq!(groups[0].hard_state, HardState::default());
    assert!(log.create_group(6) > new);
}

#[test]
fn a_reset_replaces_the_log_and_asks_for_the_restore_until_it_is_done() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(5);
    log.append(log_id, entries(1, 30, 1, 10), true);
    let snapshot = crate::ids::Uuid([3; 16]);
    let hard_state = HardState { term: 4, vote: 0, commit: 20 };
    let membership = Bytes::from_static(b"m");
    let reset = Record::Reset { index: 20, term: 4, membership, snapshot, hard_state };
    log.append(log_id, reset, true);
    log.barrier().unwrap();
    let disk = disk.crash(1);
    let (mut log, groups) = open(&disk, 2).unwrap();
    assert_eq!(groups[0].unrestored, Some((snapshot, 20)));
    assert_eq!((groups[0].last_index, groups[0].compacted_term), (20, 4));
    assert_eq!((groups[0].hard_state, groups[0].membership_index), (hard_state, 20));
    log.append(log_id, Record::Restored { snapshot }, true);
    log.append(log_id, entries(21, 1, 4, 10), true);
    log.barrier().unwrap();
    let (log, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups[0].unrestored, None);
    assert_eq!(log.read_all(&groups[0]).unwrap().len(), 1);
}

#[test]
fn a_record_larger_than_a_segment_is_spread_over_several_and_read_back() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    log.append(log_id, entries(1, 2, 1, 1000), true);
    log.append(log_id, entries(3, 1, 1, 300_000), true);
    log.append(log_id, entries(4, 2, 1, 1000), true);
    log.barrier().unwrap();
    assert_eq!(log.reader(log_id).read(3, 4, 1).unwrap()[0].data.len(), 300_000);
    let (mut log, groups) = open(&disk.crash(1), 2).unwrap();
    let before = log.read_all(&groups[0]).unwrap();
    assert_eq!(before.len(), 5);
    log.chores().unwrap();
    assert!(log.status().segments <= small().segments_max);
    assert_eq!(log.read_all(&groups[0]).unwrap(), before);
    let (log, groups) = open(&disk.crash(2), 3).unwrap();
    assert_eq!(log.read_all(&groups[0]).unwrap(), before);
}

#[test]
fn the_space_of_a_busy_log_stays_bounded_and_entries_that_are_compacted_never_reach_the_checkpoint()
{
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    let quiet = log.create_group(2);
    let hard_state = HardState { term: 7, vote: 3, commit: 0 };
    log.append(quiet, Record::HardState(hard_state), true);
    for round in 0..400 {
        assert!(log.admits(8000));
        log.append(log_id, entries(round * 8 + 1, 8, 1, 1000), true);
        log.append(log_id, Record::Compact { index: round * 8, term: 1 }, true);
        log.barrier().unwrap();
        log.chores().unwrap();
        assert!(disk.used_bytes() < 8 * (64 << 10), "{} in round {round}", disk.used_bytes());
    }
    assert!(log.status().checkpoint_bytes < 1000, "{:?}", log.status());
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups[1].hard_state, hard_state);
    assert_eq!((groups[0].compacted_index, groups[0].last_index), (399 * 8, 400 * 8));
}

#[test]
fn an_idle_log_is_sealed_once() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    log.append(log_id, entries(1, 1, 1, 10), true);
    log.barrier().unwrap();
    log.chores().unwrap();
    assert!(log.begin_chore(true).is_none() && log.wants_barrier());
    let lsn = log.barrier().unwrap();
    assert!(log.begin_chore(true).is_none() && !log.wants_barrier());
    let commit = HardState { term: 1, vote: 1, commit: 1 };
    log.append(log_id, Record::HardState(commit), false);
    assert!(log.begin_chore(true).is_none() && log.wants_barrier(), "what waited goes along");
    let lsn = log.barrier().unwrap().max(lsn);
    log.close().unwrap();
    let operations = disk.operations();
    let (log, groups) = open(&disk, 2).unwrap();
    assert_eq!((log.status().appended_lsn, groups[0].hard_state), (lsn, commit));
    log.close().unwrap();
    // The last batch and the header of its segment are written once more, and synced, and so is which segment it is.
    assert_eq!(disk.operations(), operations + 6, "opening and closing changes nothing else");
}

#[test]
fn what_an_opening_found_survives_a_power_cut_though_its_writer_never_synced_it() {
    for seed in 0..16 {
        let disk = MemoryDisk::new();
        let (mut log, _) = open(&disk, 1).unwrap();
        let log_id = log.create_group(1);
        log.append(log_id, entries(1, 1, 1, 10), true);
        log.barrier().unwrap();
        log.append(log_id, entries(2, 1, 1, 10), true);
        disk.fail_syncs(true);
        assert!(log.barrier().is_err());
        drop(log);
        disk.fail_syncs(false);
        // The system still has what was written, and takes it for synced.
        let (log, groups) = open(&disk, 2).unwrap();
        assert_eq!(groups[0].last_index, 2);
        drop(log);
        let (_, groups) = open(&disk.crash(seed), 3).unwrap();
        assert_eq!(groups[0].last_index, 2, "seed {seed}");
    }
}

#[test]
fn a_gap_takes_the_log_out_of_service_before_it_reaches_the_disk() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    log.append(log_id, entries(1, 3, 1, 10), true);
    log.barrier().unwrap();
    log.append(log_id, entries(5, 1, 1, 10), true);
    assert!(log.begin_barrier().is_none() && !log.admits(1));
    assert_eq!(log.close().unwrap_err().code, Code::Internal);
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups[0].last_index, 3);
}

#[test]
fn a_newer_format_is_recognised() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    log.create_group(1);
    log.barrier().unwrap();
    drop(log);
    let path = Path::new("journal/00000001.segment");
    let file = disk.open(path, crate::disk::OpenMode::ReadWrite).unwrap();
    let mut sector = [0; 512];
    file.read_at(&mut sector, 0).unwrap();
    sector[12] = 2;
    let crc = crc32c::crc32c(&sector[12..]);
    sector[8..12].copy_from_slice(&crc.to_le_bytes());
    file.write_at(&sector, 0).unwrap();
    assert_eq!(open(&disk, 2).err().unwrap().code, Code::NewerFormat);
}
