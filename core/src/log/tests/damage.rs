//! Flipped bits: a full recovery, or an error that names file and offset.

use std::path::Path;

use super::super::*;
use super::{entries, open, Random};
use crate::disk::{Disk, MemoryDisk, OpenMode};

/// A log with several segments, some of them recycled, two groups, overwritten entries; sealed or
/// not.
fn written(is_sealed: bool) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let (a, b) = (log.create_group(1), log.create_group(2));
    for round in 0..60 {
        log.append(a, entries(round * 4 + 1, 6, round / 10 + 1, 700), true);
        log.append(b, Record::HardState(HardState { term: round, vote: 1, commit: 1 }), true);
        log.barrier().unwrap();
        if round < 50 {
            log.chores().unwrap();
        }
    }
    if is_sealed {
        log.close().unwrap();
    }
    disk.crash(1)
}

fn describe(disk: &MemoryDisk) -> Result<String> {
    let (log, groups) = open(disk, 2)?;
    let mut text = format!("{groups:?}");
    for group in &groups {
        text += &format!("{:?}", log.read_all(group)?);
    }
    Ok(text)
}

fn files(disk: &MemoryDisk) -> Vec<(String, u64)> {
    let folder = Path::new("journal");
    let names = disk.list(folder).unwrap().into_iter();
    names
        .map(|name| {
            let length = disk.open(&folder.join(&name), OpenMode::Read).unwrap().len().unwrap();
            (name, length)
        })
        .collect()
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_journal_is_harmless_or_named() {
    let disk = written(true);
    let intact = describe(&disk).unwrap();
    let mut random = Random(1);
    let (mut harmless, mut named) = (0, 0);
    for (name, length) in files(&disk) {
        let path = Path::new("journal").join(&name);
        // Of every block a bit of what stands first, and one anywhere.
        for block in 0..length / 4096 {
            for within in [random.below(64), random.below(4096)] {
                let offset = block * 4096 + within;
                let bit = random.below(8) as u32;
                let damaged = disk.crash(1);
                damaged.damage(&path, offset, bit).unwrap();
                match describe(&damaged) {
                    Ok(text) => {
                        assert!(text == intact, "{name}, offset {offset}, bit {bit}");
                        harmless += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.code, Code::Corrupted, "{error}");
                        assert!(error.message.contains(&name), "{error}: {name}");
                        assert!(error.message.contains("at offset"), "{error}");
                        named += 1;
                    }
                }
            }
        }
    }
    assert!(harmless > 20 && named > 50, "{harmless}, {named}");
}

#[test]
fn damage_to_the_very_last_batch_of_an_unsealed_journal_passes_for_a_torn_write() {
    let disk = written(false);
    let (log, groups) = open(&disk, 2).unwrap();
    let newest = log.live.back().unwrap();
    let path = newest.segment.file.path.clone();
    disk.damage(&path, newest.end - 4096, 0).unwrap();
    let (_, after) = open(&disk, 3).unwrap();
    assert_eq!(groups[1].hard_state.term - 1, after[1].hard_state.term);
}

#[test]
fn after_a_torn_write_the_log_goes_on_in_a_new_segment_and_recovers_again() {
    let disk = written(false);
    let (log, _) = open(&disk, 2).unwrap();
    let newest = log.live.back().unwrap();
    let (path, end) = (newest.segment.file.path.clone(), newest.end);
    disk.damage(&path, end - 4096, 0).unwrap();
    let (mut log, groups) = open(&disk, 3).unwrap();
    let lsn = log.status().appended_lsn;
    log.append(groups[1].log_id, Record::Meta(bytes::Bytes::from_static(b"after")), true);
    log.barrier().unwrap();
    assert_ne!(log.live.back().unwrap().segment.file.path, path);
    let (log, groups) = open(&disk.crash(5), 4).unwrap();
    assert_eq!(log.status().appended_lsn, lsn + 1);
    assert_eq!(&groups[1].meta[..], b"after");
    // What was cut off stays cut off, even if it becomes readable again.
    disk.damage(&path, end - 4096, 0).unwrap();
    let outcome = open(&disk.crash(5), 5);
    assert!(outcome.is_err() || &outcome.unwrap().1[1].meta[..] == b"after");
}

#[test]
fn a_segment_that_was_cut_off_anywhere_is_named_with_the_place() {
    let disk = written(true);
    let mut random = Random(3);
    for (name, length) in files(&disk) {
        let path = Path::new("journal").join(&name);
        for cut in [0, 1, 511, 512, 4096, random.below(length), length - 1] {
            let damaged = disk.crash(1);
            let file = damaged.open(&path, OpenMode::ReadWrite).unwrap();
            file.set_len(cut).unwrap();
            let error = open(&damaged, 2).err().unwrap();
            assert_eq!(error.code, Code::Corrupted, "{error}");
            let place = format!("{name} is damaged at offset {cut}: ");
            assert!(error.message.contains(&place), "{error}");
        }
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    let disk = written(true);
    let (log, _) = open(&disk, 2).unwrap();
    for live in &log.live {
        let damaged = disk.crash(1);
        damaged.delete(&live.segment.file.path).unwrap();
        let is_newest = Arc::ptr_eq(&live.segment, &log.live.back().unwrap().segment);
        match open(&damaged, 3) {
            Err(error) => assert_eq!(error.code, Code::Corrupted, "{error}"),
            // Nothing tells that a newest segment has ever been there.
            Ok(_) => assert!(is_newest),
        }
    }
}

#[test]
fn a_checkpoint_that_lost_what_it_held_is_noticed() {
    let disk = written(true);
    disk.delete_dir(Path::new("checkpoint")).unwrap();
    let error = open(&disk, 2).err().unwrap();
    assert_eq!(error.code, Code::Corrupted, "{error}");
}
