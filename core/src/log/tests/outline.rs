//! What the checkpoint learns of a segment whose entries are compacted, and of one whose entries are needed.

use super::super::batch::Batch;
use super::super::codec::{Kind, Part};
use super::super::outline::Outline;
use super::*;

/// A log whose oldest segment is due to be moved: it begins with what a quiet group has, then come
/// entries of another, of which those from `needed_from` on are not compacted.
fn about_to_move(disk: &MemoryDisk, needed_from: Index) -> Log {
    let (mut log, _) = open(disk, 1).unwrap();
    let (quiet, busy) = (log.create_group(1), log.create_group(2));
    let hard_state = HardState { term: 7, vote: 3, commit: 0 };
    log.append(quiet, Record::HardState(hard_state), true);
    let membership = Bytes::from_static(b"one and two");
    log.append(quiet, Record::Membership { index: 0, membership }, true);
    for index in 1.. {
        log.append(busy, entries(index, 1, 1, 10_000), true);
        log.barrier().unwrap();
        if log.status().segments > small().segments_max {
            let compact = Record::Compact { index: needed_from - 1, term: 1 };
            log.append(busy, compact, true);
            log.barrier().unwrap();
            return log;
        }
    }
    unreachable!("the log never has as many segments");
}

/// In the oldest segment, behind the small records, within the content of an entry.
fn damage(disk: &MemoryDisk) {
    disk.damage(Path::new("journal/00000001.segment"), 20_000, 3).unwrap();
}

#[test]
fn compacted_entries_are_not_read_before_their_segment_is_used_again() {
    let disk = MemoryDisk::new();
    let mut log = about_to_move(&disk, 12);
    damage(&disk);
    log.chores().unwrap();
    assert_eq!(log.status().segments, small().segments_max, "the oldest one was moved");
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!(groups[0].hard_state, HardState { term: 7, vote: 3, commit: 0 });
    assert_eq!(groups[0].membership, "one and two");
    assert_eq!(groups[1].compacted_index, 11);
}

#[test]
fn needed_entries_are_read_and_damage_to_them_is_noticed() {
    let disk = MemoryDisk::new();
    let mut log = about_to_move(&disk, 1);
    damage(&disk);
    // What is wrong with the checkpoint is tried again; then it is final.
    let error = log.chores().unwrap_err();
    assert_eq!(error.code, Code::StorageFailed);
    assert!(error.message.contains("00000001.segment is damaged at offset"), "{error}");
}

#[test]
fn the_entries_of_a_moved_outline_have_their_terms() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    let mut index = 0;
    while log.status().segments < 2 * small().segments_max {
        index += 1;
        log.append(log_id, entries(index, 1, 1 + index / 4, 10_000), true);
        // The last segments' entries are kept, and begin within a term.
        let compacted = index.saturating_sub(9);
        log.append(log_id, Record::Compact { index: compacted, term: 1 + compacted / 4 }, true);
        log.barrier().unwrap();
    }
    log.chores().unwrap();
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    let group = &groups[0];
    assert_eq!((group.compacted_index, group.last_index), (index - 9, index));
    assert_eq!(group.compacted_term, 1 + (index - 9) / 4);
    for &(term, first) in &group.terms {
        assert_eq!(term, 1 + first / 4);
    }
    assert_eq!(group.terms.last().map(|(term, _)| *term), Some(1 + index / 4));
}

#[test]
fn a_compacted_entry_that_several_segments_share_is_moved_all_the_same() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1).unwrap();
    let log_id = log.create_group(1);
    log.append(log_id, entries(1, 1, 1, 200_000), true);
    // What follows in the journal has to fit behind it.
    log.append(log_id, entries(2, 1, 1, 100), true);
    log.append(log_id, Record::Compact { index: 2, term: 1 }, true);
    log.barrier().unwrap();
    assert!(log.status().segments > small().segments_max);
    log.chores().unwrap();
    let (_, groups) = open(&disk.crash(1), 2).unwrap();
    assert_eq!((groups[0].compacted_index, groups[0].last_index), (2, 2));
}

#[test]
fn an_outline_stays_small_whatever_its_segment_holds() {
    let mut outline = Outline::of_segment(64 << 20);
    let mut batch = Batch::new();
    let of = (1, 1, Kind::HardState, Part::Whole);
    batch.put(of, |chain| chain.copied().extend([0; 24]));
    let mut most = 0;
    for _ in 0..(64 << 20) / 4096 {
        outline.add(&batch.outline);
        most = most.max(outline.frames().map_or(0, |frames| frames.len()));
    }
    assert!((500_000..=524_288).contains(&most), "{most} bytes of a segment of 64 MiB");
    assert!(outline.frames().is_none(), "it is given up, and not cut off");
}
