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
    for (name, length) in files(&disk).into_iter().filter(|(name, _)| name.ends_with(".segment")) {
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
fn a_missing_segment_is_named() {
    for is_sealed in [true, false] {
        let disk = written(is_sealed);
        let (log, _) = open(&disk.crash(1), 2).unwrap();
        assert!(log.live.len() > 2);
        for live in &log.live {
            let damaged = disk.crash(1);
            damaged.delete(&live.segment.file.path).unwrap();
            let error = open(&damaged, 3).err().unwrap();
            assert_eq!(error.code, Code::Corrupted, "{error}");
            let message = format!("{} is missing", live.segment.file.display);
            assert!(error.message.contains(&message), "{error}: {message}");
        }
    }
}

#[test]
fn the_only_segment_is_named_when_it_is_missing() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    log.create_group(1);
    log.barrier().unwrap();
    let segment = log.live.back().unwrap().segment.file.clone();
    let damaged = disk.crash(1);
    damaged.delete(&segment.path).unwrap();
    let error = open(&damaged, 2).err().unwrap();
    assert!(error.message.contains(&*segment.display), "{error}");
}

/// A segment is named before it is put to use, and the process may end in between.
#[test]
fn a_segment_that_was_named_and_never_used_is_not_missed() {
    let disk = written(false);
    let (log, groups) = open(&disk, 2).unwrap();
    let sequence = log.live.back().unwrap().segment.header.sequence;
    let number = log.ready.front().unwrap().number;
    drop(log);
    let files = SegmentFiles::open(Arc::new(disk.clone())).unwrap().0;
    let named = newest::Newest { sequence: sequence + 1, number };
    files.open_newest(named).unwrap();
    let (mut log, again) = open(&disk.crash(1), 3).unwrap();
    assert_eq!(format!("{groups:?}"), format!("{again:?}"));
    // It is a file like others from now on, and may be deleted.
    assert_ne!(log.writer.as_ref().unwrap().newest, named);
    log.append(groups[0].log_id, Record::Meta(bytes::Bytes::from_static(b"after")), true);
    log.barrier().unwrap();
}

#[test]
fn a_file_of_the_newest_segment_that_is_missing_or_damaged_is_made_anew() {
    let disk = written(true);
    let intact = describe(&disk.crash(1)).unwrap();
    let path = Path::new("journal/newest");
    let good = disk.open(path, OpenMode::Read).unwrap();
    let mut sector = vec![0; 512];
    good.read_at(&mut sector, 0).unwrap();
    type Damage = fn(&MemoryDisk, &Path);
    let damages: [Damage; 4] = [
        |disk, path| disk.delete(path).unwrap(),
        |disk, path| disk.damage(path, 20, 3).unwrap(),
        // Another segment, in another file.
        |disk, path| {
            let file = disk.open(path, OpenMode::ReadWrite).unwrap();
            file.write_at(&[0x7f; 16], 16).unwrap();
        },
        |disk, path| disk.open(path, OpenMode::ReadWrite).unwrap().set_len(100).unwrap(),
    ];
    for damage in damages {
        let damaged = disk.crash(1);
        damage(&damaged, path);
        assert_eq!(describe(&damaged).unwrap(), intact);
        let mut made = vec![0; 512];
        damaged.crash(1).open(path, OpenMode::Read).unwrap().read_at(&mut made, 0).unwrap();
        assert!(made == sector);
    }
}

#[test]
fn a_checkpoint_that_lost_what_it_held_is_noticed() {
    let disk = written(true);
    disk.delete_dir(Path::new("checkpoint")).unwrap();
    let error = open(&disk, 2).err().unwrap();
    assert_eq!(error.code, Code::Corrupted, "{error}");
}
