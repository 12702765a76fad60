//! The checkpoint: sled, and its renewal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::checkpoint::{group_key, Changes};
use super::super::index::Place;
use super::super::reader::{Collected, Reader};
use super::super::sled_checkpoint::SledCheckpoints;
use super::super::*;
use super::{entries, open, small};
use crate::disk::{FileSystem, MemoryDisk};

/// A folder of the real file system that goes with the test.
pub(super) struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let name = format!("libraft-log-{}-{name}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        folder.clear();
        folder
    }

    fn clear(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }

    pub fn open(&self, options: LogOptions) -> Result<(Log, Vec<RecoveredGroup>)> {
        let options = LogOptions { checkpoint_directory: Some(self.0.join("sled")), ..options };
        Log::open(Arc::new(FileSystem::new(self.0.clone())), options)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Appends `rounds` times eight entries of 1,000 bytes, with barriers and chores.
fn fill(log: &mut Log, log_id: LogId, from: Index, rounds: u64) {
    for round in 0..rounds {
        log.append(log_id, entries(from + round * 8, 8, 1, 1000), true);
        log.barrier().unwrap();
        log.chores().unwrap();
    }
}

#[test]
fn sled_keeps_what_the_journal_recycles_and_can_be_opened_again_after_close() {
    let folder = Folder::new("sled");
    let (mut log, _) = folder.open(small()).unwrap();
    let log_id = log.create_group(1);
    log.append(log_id, entries(1, 1, 1, 200_000), true);
    fill(&mut log, log_id, 2, 60);
    assert!(log.status().segments <= small().segments_max);
    let reader = log.reader(log_id);
    let before = reader.read(1, 482, u64::MAX).unwrap();
    assert_eq!(before.len(), 481);
    log.close().unwrap();
    assert_eq!(reader.read(1, 2, 1).unwrap_err().code, Code::Closed);
    for _ in 0..3 {
        let (log, groups) = folder.open(small()).unwrap();
        assert_eq!(log.read_all(&groups[0]).unwrap(), before);
        log.close().unwrap();
    }
    std::fs::remove_file(folder.0.join("sled/00000001/db")).unwrap();
    let error = folder.open(small()).err().unwrap();
    assert_eq!(error.code, Code::Corrupted, "{error}");
}

/// Fills segments with entries of another log until those of this one are in the checkpoint.
fn push_out(log: &mut Log, log_id: LogId, other: LogId, last: Index) {
    while log.groups[&log_id].lock().checkpointed().1 != last {
        let next = log.groups[&other].lock().last() + 1;
        assert!(next < 10_000, "entry {last} never gets into the checkpoint");
        fill(log, other, next, 1);
    }
}

#[test]
fn what_was_truncated_several_times_within_a_segment_does_not_come_back_from_the_checkpoint() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let (log_id, other) = (log.create_group(1), log.create_group(2));
    log.append(log_id, entries(1, 40, 1, 100), true);
    push_out(&mut log, log_id, other, 40);
    for (first, count, term) in [(30, 5, 2), (20, 10, 3), (25, 6, 4)] {
        log.append(log_id, entries(first, count, term, 100), true);
    }
    log.barrier().unwrap();
    push_out(&mut log, log_id, other, 30);
    let terms = |low| -> Vec<u64> {
        let read = log.reader(log_id).read(low, 31, u64::MAX).unwrap();
        read.iter().map(|entry| entry.term).collect()
    };
    let expected = [vec![1; 19], vec![3; 5], vec![4; 6]].concat();
    assert_eq!(terms(1), expected);
    assert_eq!(terms(20), expected[19..]);
}

#[test]
fn a_log_that_was_dropped_without_close_gives_up_its_lock() {
    let folder = Folder::new("dropped");
    for count in 0..5 {
        let (mut log, groups) = folder.open(small()).unwrap();
        assert_eq!(groups.len(), count);
        log.create_group(1);
        log.barrier().unwrap();
    }
}

#[test]
fn settings_of_sled_that_are_damaged_are_made_anew() {
    let folder = Folder::new("settings");
    let (mut log, _) = folder.open(small()).unwrap();
    let log_id = log.create_group(1);
    fill(&mut log, log_id, 1, 40);
    let before = log.reader(log_id).read(1, 321, u64::MAX).unwrap();
    log.close().unwrap();
    for damage in [&b""[..], b"segment_size: 7", &[255; 63]] {
        std::fs::write(folder.0.join("sled/00000001/conf"), damage).unwrap();
        let (log, groups) = folder.open(small()).unwrap();
        assert!(log.read_all(&groups[0]).unwrap() == before, "{damage:?}");
        log.close().unwrap();
    }
}

#[test]
fn an_opening_of_sled_that_was_interrupted_starts_again_from_what_was_there_before() {
    let folder = Folder::new("interrupted");
    let (mut log, _) = folder.open(small()).unwrap();
    let log_id = log.create_group(1);
    // More than one segment of sled.
    fill(&mut log, log_id, 1, 1300);
    let before = log.reader(log_id).read(1, 10_401, u64::MAX).unwrap();
    log.close().unwrap();
    let sled = |name: &str| folder.0.join("sled").join(name);
    // What a power cut leaves between sled's changes: see `SledCheckpoints::keep`.
    std::fs::create_dir(sled("00000001.before")).unwrap();
    std::fs::copy(sled("00000001/db"), sled("00000001.before/db")).unwrap();
    std::fs::create_dir(sled("00000001.partial")).unwrap();
    let broken = |bytes: usize| std::fs::write(sled("00000001/db"), vec![0; bytes]).unwrap();
    broken(16 << 20);
    let (log, groups) = folder.open(small()).unwrap();
    assert!(log.read_all(&groups[0]).unwrap() == before);
    log.close().unwrap();
    let names = FileSystem::new(folder.0.join("sled")).list(Path::new("")).unwrap();
    assert_eq!(names, ["00000001"], "leftovers");
    // Even if the database itself is gone already.
    std::fs::rename(sled("00000001"), sled("00000001.before")).unwrap();
    let (log, groups) = folder.open(small()).unwrap();
    assert!(log.read_all(&groups[0]).unwrap() == before);
    log.close().unwrap();
}

/// sled zeroes segments at an opening that only the snapshot file of the same opening says are free: a copy without that
/// file was empty for sled.
#[test]
fn an_opening_of_sled_that_was_interrupted_after_another_loses_nothing() {
    const KEYS: u8 = 37;
    let folder = Folder::new("interrupted-again");
    let path = folder.0.join("sled");
    let checkpoints = SledCheckpoints::new(path.clone());
    let holds = |step: u8, after: &str| {
        let store = checkpoints.open(1).unwrap();
        for key in 0..KEYS {
            let value = store.get(&[key]).unwrap();
            assert!(value == Some(vec![step; 32_000]), "key {key} after step {step}, {after}");
        }
        store.close().unwrap();
    };
    let mut copies = 0;
    for step in 0..16u8 {
        let store = checkpoints.open(1).unwrap();
        for key in (0..KEYS).cycle().take(64 + usize::from(step) % 3 * 64) {
            let mut changes = Changes::default();
            changes.put(vec![key], vec![step; 32_000]);
            store.apply(changes).unwrap();
        }
        store.sync().unwrap();
        store.close().unwrap();
        if checkpoints.keep("00000001").unwrap() {
            copies += 1;
            std::fs::remove_file(path.join("00000001/db")).unwrap();
        }
        holds(step, "from the copy");
        // An opening for which there was no room for a copy ended in the middle of a snapshot file.
        let torn = path.join("00000001/snap.7FFFFFFFFFFFFFFF.generating");
        std::fs::write(torn, b"torn").unwrap();
        holds(step, "beside a torn snapshot file");
    }
    assert!(copies > 8, "the database has one segment still");
}

#[test]
fn a_flipped_bit_in_sled_is_an_error_or_harmless_and_never_a_panic_or_a_loss() {
    let folder = Folder::new("flipped");
    let (mut log, _) = folder.open(small()).unwrap();
    let log_id = log.create_group(1);
    fill(&mut log, log_id, 1, 40);
    let before = log.reader(log_id).read(1, 321, u64::MAX).unwrap();
    log.close().unwrap();
    let path = folder.0.join("sled/00000001/db");
    let bytes = std::fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let (mut refused, mut harmless) = (0, 0);
    for position in 0..12 {
        let mut damaged = bytes.clone();
        damaged[used / 12 * position + 3] ^= 16;
        std::fs::write(&path, damaged).unwrap();
        match folder.open(small()) {
            Err(error) => {
                assert!(error.message.contains("sled"), "{error}");
                refused += 1;
            }
            Ok((log, groups)) => {
                assert!(log.read_all(&groups[0]).unwrap() == before, "position {position}");
                harmless += 1;
                log.close().unwrap();
            }
        }
        for name in std::fs::read_dir(folder.0.join("sled/00000001")).unwrap() {
            let name = name.unwrap();
            if name.file_name().to_string_lossy().starts_with("snap.") {
                std::fs::remove_file(name.path()).unwrap();
            }
        }
    }
    assert!(refused > 0 && refused + harmless == 12, "{refused}, {harmless}");
}

#[test]
fn a_checkpoint_that_must_be_renewed_is_copied_while_readers_go_on() {
    let folder = Folder::new("renewed");
    let (mut log, _) = folder.open(small()).unwrap();
    let log_id = log.create_group(1);
    fill(&mut log, log_id, 1, 40);
    let reader = log.reader(log_id);
    let before = reader.read(1, 321, u64::MAX).unwrap();
    log.housekeeping.renew();
    let chore = log.begin_chore(false).unwrap();
    let finished = std::thread::scope(|scope| {
        let running = scope.spawn(|| chore.run());
        while !running.is_finished() {
            assert!(reader.read(1, 321, u64::MAX).unwrap() == before);
        }
        running.join().unwrap()
    });
    log.finish_chore(finished).unwrap();
    assert!(reader.read(1, 321, u64::MAX).unwrap() == before);
    assert!(!folder.0.join("sled/00000001").exists());
    fill(&mut log, log_id, 321, 20);
    log.close().unwrap();
    let (log, groups) = folder.open(small()).unwrap();
    assert_eq!(log.read_all(&groups[0]).unwrap().len(), 480);
    log.close().unwrap();
}

#[test]
fn a_power_cut_during_a_renewal_leaves_the_old_checkpoint_or_the_new_one() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    fill(&mut log, log_id, 1, 40);
    let before = log.reader(log_id).read(1, 321, u64::MAX).unwrap();
    drop(log);
    let mut seen = std::collections::BTreeSet::new();
    for operations in 0..16 {
        let disk = disk.crash(1);
        let (mut log, _) = open(&disk, 2).unwrap();
        log.housekeeping.renew();
        let chore = log.begin_chore(false).unwrap();
        disk.stop_after(operations);
        chore.run();
        let disk = disk.crash(operations);
        let (log, groups) = open(&disk, 3).unwrap();
        assert!(log.read_all(&groups[0]).unwrap() == before, "after {operations}");
        seen.insert(disk.list(Path::new("checkpoint")).unwrap());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn entries_overwritten_in_the_checkpoint_do_not_come_back_from_it() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    fill(&mut log, log_id, 1, 40);
    let (_, checkpointed) = log.groups[&log_id].lock().checkpointed();
    let from = checkpointed / 2 + 3;
    for round in 0..60 {
        log.append(log_id, entries(from + round * 8, 8, 2, 900), true);
        log.barrier().unwrap();
        log.chores().unwrap();
    }
    assert!(log.groups[&log_id].lock().checkpointed().1 > checkpointed);
    let check = |log: &Log| {
        for low in [1, from - 9, from - 1, from, from + 1] {
            let read = log.reader(log_id).read(low, from + 100, u64::MAX).unwrap();
            for (index, entry) in (low..).zip(&read) {
                let expected = if index < from { (index, 1, 1000) } else { (index, 2, 900) };
                assert_eq!((entry.index, entry.term, entry.data.len()), expected);
            }
            assert_eq!(read.len() as u64, from + 100 - low);
        }
    };
    check(&log);
    let (log, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups[0].terms, [(1, 1), (2, from)]);
    check(&log);
}

#[test]
fn a_location_that_is_out_of_date_yields_an_error_and_never_other_entries() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    fill(&mut log, log_id, 1, 60);
    let group = Arc::clone(&log.groups[&log_id]);
    let Place::Run(run) = group.lock().find(473) else { panic!("it is in the journal") };
    let reader = Reader { group, checkpoint: Arc::clone(&log.checkpoint) };
    let read = || reader.read_run(&run, 473, 480, &mut Collected::up_to(u64::MAX));
    read().unwrap();
    // The same group, with records of the same length, in the same place of the segment's next use.
    fill(&mut log, log_id, 481, 200);
    assert_eq!(read().unwrap_err().code, Code::Corrupted);
    assert_eq!(log.reader(log_id).read(473, 481, u64::MAX).unwrap().len(), 8);
}

#[test]
fn a_group_that_the_checkpoint_lost_or_has_an_old_row_of_is_noticed() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let (busy, quiet) = (log.create_group(1), log.create_group(2));
    let hard_state = |term| Record::HardState(HardState { term, vote: 1, commit: 0 });
    log.append(quiet, hard_state(1), true);
    fill(&mut log, busy, 1, 40);
    let old = log.checkpoint.store().get(&group_key(quiet)).unwrap().unwrap();
    log.append(quiet, hard_state(2), true);
    fill(&mut log, busy, 321, 60);
    log.close().unwrap();
    for row in [None, Some(old)] {
        let disk = disk.crash(1);
        let (log, _) = open(&disk, 2).unwrap();
        let mut changes = Changes::default();
        match row {
            Some(row) => changes.put(group_key(quiet), row),
            None => changes.delete(group_key(quiet)),
        }
        let store = log.checkpoint.store();
        store.apply(changes).unwrap();
        store.sync().unwrap();
        assert_eq!(open(&disk, 3).err().unwrap().code, Code::Corrupted);
    }
}
