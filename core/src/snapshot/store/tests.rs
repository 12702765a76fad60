//! What the owner of a store would notice, on a disk in memory.

use std::io::{Read, Write};

use bytes::Bytes;

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::disk::FileSystem;
use crate::ids::{Index, Term};
use crate::log::HardState;
use crate::snapshot::manifest::CHUNK_BYTES;

const GROUP: GroupId = 3;
/// Small, so that damage and crashes can be tried at every byte and step.
const SMALL_CHUNK: u32 = 100;

/// A log of the group that continues any snapshot of term 1 with an index of 1 to `last_index`.
fn log_up_to(last_index: Index) -> RecoveredGroup {
    RecoveredGroup {
        log_id: 1,
        group_id: GROUP,
        hard_state: HardState::default(),
        membership_index: 0,
        membership: Bytes::new(),
        meta: Bytes::new(),
        compacted_index: 0,
        compacted_term: 0,
        last_index,
        terms: vec![(1, 1)],
        unrestored: None,
    }
}

fn open(disk: &MemoryDisk) -> SnapshotStore {
    SnapshotStore::open(Arc::new(disk.clone()), &[log_up_to(1000)], 0).unwrap()
}

fn uuid(number: u8) -> Uuid {
    Uuid([number; 16])
}

fn point(number: u8, index: Index) -> SnapshotPoint {
    let membership = Bytes::from_static(b"members");
    SnapshotPoint { group_id: GROUP, snapshot: uuid(number), index, term: 1, membership }
}

/// A snapshot of this node with the given number and index, whose stream is `content`.
fn put(store: &SnapshotStore, number: u8, index: Index, content: &[u8]) -> Result<Arc<Manifest>> {
    let mut writer = store.begin(point(number, index))?.with_chunk_bytes(SMALL_CHUNK);
    let _ = writer.write_all(content);
    writer.finish()
}

/// The same, as if it came from a peer.
fn receive(store: &SnapshotStore, number: u8, index: Index) -> Result<Arc<Manifest>> {
    let mut writer = store.begin(point(number, index))?.with_chunk_bytes(SMALL_CHUNK);
    let _ = writer.write_all(&content(index as usize));
    writer.finish_as(SnapshotKind::Full, false)
}

fn read(store: &SnapshotStore, number: u8) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open_reader(GROUP, uuid(number)).unwrap().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes that differ from chunk to chunk.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position / 7) as u8 ^ (position / 900) as u8).collect()
}

fn newest_index(store: &SnapshotStore) -> Option<Index> {
    store.newest(GROUP).unwrap().map(|manifest| manifest.index)
}

fn folders(disk: &MemoryDisk) -> Vec<String> {
    disk.list(Path::new(&GROUP.to_string())).unwrap_or_default()
}

#[test]
fn a_snapshot_of_any_length_around_the_chunk_borders_comes_back_as_it_was_written() {
    let chunk = CHUNK_BYTES as usize;
    for length in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 5] {
        let disk = MemoryDisk::new();
        let content = content(length);
        let store = open(&disk);
        let mut writer = store.begin(point(1, 10)).unwrap();
        for piece in content.chunks(300_001) {
            writer.write_all(piece).unwrap();
        }
        let manifest = writer.finish().unwrap();
        assert_eq!(manifest.total_bytes, length as u64);
        assert_eq!(manifest.chunks.len(), length.div_ceil(chunk));
        assert!(read(&store, 1).unwrap() == content, "{length} bytes");

        let reopened = open(&disk.crash(0));
        assert_eq!(reopened.newest(GROUP).unwrap(), Some(manifest));
        assert!(read(&reopened, 1).unwrap() == content, "{length} bytes, after a power cut");
    }
}

#[test]
fn a_store_on_the_real_file_system_keeps_deletes_and_finds_snapshots_again() {
    let root = std::env::temp_dir().join(format!("libraft-{}-store", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).unwrap();
    let open = || {
        let disk = Arc::new(FileSystem::new(root.clone()));
        SnapshotStore::open(disk, &[log_up_to(1000)], 1).unwrap()
    };
    let store = open();
    put(&store, 1, 10, &content(333)).unwrap();
    put(&store, 2, 20, &content(555)).unwrap();
    let mut partial = store.begin(point(3, 30)).unwrap().with_chunk_bytes(SMALL_CHUNK);
    partial.write_all(&content(444)).unwrap();
    // Never dropped, as by `kill -9`.
    std::mem::forget(partial);

    let reopened = open();
    assert_eq!(newest_index(&reopened), Some(20));
    assert_eq!(read(&reopened, 2).unwrap(), content(555));
    let folders = std::fs::read_dir(root.join(GROUP.to_string())).unwrap();
    assert_eq!(folders.count(), 1, "the old and the partial one are gone");
    reopened.remove_group(GROUP).unwrap();
    assert_eq!(newest_index(&open()), None);
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn the_newest_snapshot_is_kept_and_the_older_ones_are_deleted() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, 1, 10, b"ten").unwrap();
    put(&store, 2, 20, b"twenty").unwrap();
    put(&store, 3, 15, b"late").unwrap();
    assert_eq!(newest_index(&store), Some(20));
    assert_eq!(folders(&disk), [uuid(2).to_string()]);
}

#[test]
fn of_two_snapshots_at_one_index_the_one_that_was_finished_last_is_kept() {
    for (first, second) in [(1, 2), (2, 1)] {
        let disk = MemoryDisk::new();
        let store = open(&disk);
        put(&store, first, 10, b"state").unwrap();
        put(&store, second, 10, b"state").unwrap();
        assert_eq!(read(&store, second).unwrap(), b"state");
        assert_eq!(folders(&disk), [uuid(second).to_string()]);
    }
}

#[test]
fn a_pinned_snapshot_is_deleted_only_when_the_last_pin_is_gone() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, 1, 10, &content(250)).unwrap();
    let pin = store.pin(GROUP, uuid(1)).unwrap();
    let mut reader = store.open_reader(GROUP, uuid(1)).unwrap();
    put(&store, 2, 20, b"twenty").unwrap();
    assert_eq!(folders(&disk).len(), 2);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, content(250));
    drop(reader);
    assert_eq!(folders(&disk).len(), 2);
    drop(pin);
    assert_eq!(folders(&disk), [uuid(2).to_string()]);
    assert_eq!(store.pin(GROUP, uuid(1)).err().unwrap().code, Code::InvalidArgument);
}

#[test]
fn a_writer_dropped_before_it_is_finished_leaves_nothing() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let mut writer = store.begin(point(1, 10)).unwrap().with_chunk_bytes(SMALL_CHUNK);
    writer.write_all(&content(250)).unwrap();
    assert_eq!(folders(&disk).len(), 1);
    assert_eq!(store.begin(point(1, 10)).err().unwrap().code, Code::InvalidArgument);
    drop(writer);
    assert!(folders(&disk).is_empty());
    assert_eq!(newest_index(&store), None);
    put(&store, 1, 10, b"again").unwrap();
}

#[test]
fn a_snapshot_removed_while_it_is_written_is_never_complete() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let mut writer = store.begin(point(1, 10)).unwrap();
    store.remove_group(GROUP).unwrap();
    writer.write_all(b"goes on").unwrap();
    assert_eq!(writer.finish().err().unwrap().code, Code::Stopped);
    assert!(folders(&disk).is_empty());
    assert!(store.list(GROUP).is_empty());
}

#[test]
fn a_received_snapshot_counts_when_it_is_installed_and_not_before() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, 1, 10, b"ten").unwrap();
    receive(&store, 2, 500).unwrap();
    assert_eq!(newest_index(&store), Some(10));
    assert_eq!(store.list(GROUP).len(), 2);
    assert!(read(&store, 2).unwrap() == content(500), "it can be restored before it counts");
    store.installed(GROUP, uuid(2));
    assert_eq!(newest_index(&store), Some(500));
    store.collect().unwrap();
    assert_eq!(folders(&disk), [uuid(2).to_string()]);
}

#[test]
fn a_received_snapshot_that_was_refused_is_removed_by_the_next_one_taken_beyond_it() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    receive(&store, 1, 50).unwrap();
    put(&store, 2, 40, b"before").unwrap();
    assert_eq!(store.list(GROUP).len(), 2);
    put(&store, 3, 60, b"beyond").unwrap();
    assert_eq!(folders(&disk), [uuid(3).to_string()]);
}

#[test]
fn removing_what_the_replica_had_no_use_for_never_takes_a_snapshot_that_counts() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    receive(&store, 1, 500).unwrap();
    receive(&store, 2, 510).unwrap();
    store.installed(GROUP, uuid(1));
    // The leader did not hear that the first had arrived, and sent it again.
    store.remove(GROUP, uuid(1)).unwrap();
    store.remove(GROUP, uuid(2)).unwrap();
    assert_eq!(newest_index(&store), Some(500));
    assert_eq!(folders(&disk), [uuid(1).to_string()]);
}

#[test]
fn a_crash_at_any_step_of_receiving_leaves_the_snapshot_that_the_log_continues() {
    for seed in 0..8 {
        for step in 0.. {
            let disk = MemoryDisk::new();
            let store = open(&disk);
            put(&store, 1, 10, &content(333)).unwrap();
            disk.stop_after(step);
            let received = receive(&store, 2, 500);

            let after = disk.crash(seed);
            let reopen = |log| SnapshotStore::open(Arc::new(after.clone()), &[log], 0).unwrap();
            let store = reopen(log_up_to(30));
            let context = format!("seed {seed}, power cut after step {step}");
            assert_eq!(newest_index(&store), Some(10), "{context}");
            assert!(read(&store, 1).unwrap() == content(333), "{context}");
            if received.is_ok() {
                let reset = RecoveredGroup { unrestored: Some((uuid(2), 500)), ..log_up_to(30) };
                let store = reopen(reset);
                assert_eq!(newest_index(&store), Some(500), "{context}");
                assert!(read(&store, 2).unwrap() == content(500), "{context}");
                break;
            }
        }
    }
}

#[test]
fn after_a_restart_the_log_decides_which_snapshot_counts() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, 1, 10, b"ten").unwrap();
    receive(&store, 2, 500).unwrap();
    let reopen =
        |log: RecoveredGroup| SnapshotStore::open(Arc::new(disk.crash(1)), &[log], 0).unwrap();
    let compacted = |index, term: Term| RecoveredGroup {
        compacted_index: index,
        compacted_term: term,
        terms: vec![],
        ..log_up_to(index)
    };

    assert_eq!(newest_index(&reopen(log_up_to(30))), Some(10), "the reset was not recorded");
    assert_eq!(newest_index(&reopen(compacted(500, 1))), Some(500), "the reset was recorded");
    assert_eq!(newest_index(&reopen(compacted(500, 2))), None, "another term");
    assert_eq!(newest_index(&reopen(compacted(100, 1))), None, "neither fits");
    let unrestored = RecoveredGroup { unrestored: Some((uuid(2), 500)), ..compacted(500, 1) };
    assert_eq!(newest_index(&reopen(unrestored)), Some(500), "the reset is not restored");
    let later_terms = RecoveredGroup { terms: vec![(1, 1), (2, 9), (3, 11)], ..log_up_to(30) };
    assert_eq!(newest_index(&reopen(later_terms)), None, "index 10 has another term in the log");
}

#[test]
fn snapshots_of_unknown_groups_are_deleted_unless_the_whole_log_is_gone() {
    let disk = MemoryDisk::new();
    put(&open(&disk), 1, 10, b"ten").unwrap();
    let lost = SnapshotStore::open(Arc::new(disk.clone()), &[], 0).unwrap();
    assert_eq!(newest_index(&lost), None);
    assert_eq!(lost.list(GROUP).len(), 1, "it is all that is left of the group");
    let other = RecoveredGroup { group_id: GROUP + 1, ..log_up_to(10) };
    let orphaned = SnapshotStore::open(Arc::new(disk.clone()), &[other], 0).unwrap();
    assert!(orphaned.list(GROUP).is_empty());
    assert!(disk.list(Path::new("")).unwrap().is_empty());
}

#[test]
fn metadata_takes_the_place_of_the_state_that_an_on_disk_machine_has_taken_over() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    receive(&store, 1, 500).unwrap();
    store.installed(GROUP, uuid(1));
    let metadata = store.put_metadata(point(2, 500)).unwrap();
    assert_eq!(metadata.kind, SnapshotKind::MetadataOnly);
    assert_eq!(folders(&disk), [uuid(2).to_string()]);
    assert_eq!(open(&disk.crash(3)).newest(GROUP).unwrap(), Some(metadata));
    assert!(read(&store, 2).unwrap().is_empty());
}

#[test]
fn any_damaged_byte_of_a_stream_is_found_before_a_byte_of_its_chunk_is_read() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, 1, 10, &content(250)).unwrap();
    let stream = Path::new(&GROUP.to_string()).join(uuid(1).to_string()).join(STREAM_FILE);
    for offset in 0..250 {
        disk.damage(&stream, offset, 3).unwrap();
        let mut bytes = Vec::new();
        let mut reader = store.open_reader(GROUP, uuid(1)).unwrap();
        let error = reader.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(bytes.len() as u64, offset / 100 * 100, "only whole chunks before the damage");
        let (begin, end) = (offset / 100 * 100, (offset / 100 * 100 + 100).min(250));
        let expected =
            format!("{} is damaged between offsets {begin} and {end}", disk.display(&stream));
        assert!(error.to_string().contains(&expected), "{error}");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        disk.damage(&stream, offset, 3).unwrap();
    }
    assert_eq!(read(&store, 1).unwrap(), content(250));
}

#[test]
fn any_damaged_byte_of_a_manifest_fails_its_group_with_the_files_name_until_a_new_one_is_there() {
    let disk = MemoryDisk::new();
    put(&open(&disk), 1, 10, &content(250)).unwrap();
    let manifest = Path::new(&GROUP.to_string()).join(uuid(1).to_string()).join(MANIFEST_FILE);
    let length = disk.open(&manifest, OpenMode::Read).unwrap().len().unwrap();
    for offset in 0..length {
        let damaged = disk.crash(0);
        damaged.damage(&manifest, offset, 3).unwrap();
        let store = open(&damaged);
        let error = store.newest(GROUP).unwrap_err();
        assert_eq!(error.code, Code::Corrupted);
        assert!(error.message.contains(&disk.display(&manifest)), "{error}");
        assert!(error.message.contains("at offset"), "{error}");
        assert_eq!(store.newest(GROUP + 1).unwrap(), None, "other groups go on");
        receive(&store, 2, 20).unwrap();
        store.installed(GROUP, uuid(2));
        store.collect().unwrap();
        assert_eq!(newest_index(&store), Some(20));
        assert_eq!(folders(&damaged), [uuid(2).to_string()]);
    }
}

#[test]
fn a_stream_that_was_cut_or_is_missing_is_found_when_the_store_opens() {
    let disk = MemoryDisk::new();
    put(&open(&disk), 1, 10, &content(250)).unwrap();
    let stream = Path::new(&GROUP.to_string()).join(uuid(1).to_string()).join(STREAM_FILE);
    disk.open(&stream, OpenMode::ReadWrite).unwrap().set_len(249).unwrap();
    let error = open(&disk).newest(GROUP).unwrap_err();
    assert_eq!(error.code, Code::Corrupted);
    assert!(error.message.contains("249 of 250"), "{error}");
    disk.delete(&stream).unwrap();
    let error = open(&disk).newest(GROUP).unwrap_err();
    assert!(error.message.contains(&disk.display(&stream)), "{error}");
}

#[test]
fn a_crash_at_any_step_leaves_the_old_snapshot_or_the_new_one_whole() {
    for seed in 0..8 {
        for step in 0.. {
            let disk = MemoryDisk::new();
            let store = open(&disk);
            put(&store, 1, 10, &content(333)).unwrap();
            disk.stop_after(step);
            let finished = put(&store, 2, 20, &content(555));
            let complete = store.collect().is_ok() && finished.is_ok() && folders(&disk).len() == 1;

            let after = disk.crash(seed);
            let reopened = open(&after);
            let newest = newest_index(&reopened);
            let context = format!("seed {seed}, power cut after step {step}");
            match newest {
                Some(10) => assert!(read(&reopened, 1).unwrap() == content(333), "{context}"),
                Some(20) => assert!(read(&reopened, 2).unwrap() == content(555), "{context}"),
                other => panic!("{context}: newest is {other:?}"),
            }
            assert!(finished.is_err() || newest == Some(20), "{context}: finished, but lost");
            assert_eq!(folders(&after).len(), 1, "{context}: leftovers");
            put(&reopened, 3, 30, b"goes on").unwrap();
            if complete {
                assert!(step > 10, "the steps were not counted");
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_fails_the_snapshot_whatever_the_machine_makes_of_the_error() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, 1, 10, &content(333)).unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 450));
    let error = put(&store, 2, 20, &content(2000)).unwrap_err();
    assert_eq!(error.code, Code::NoSpace);
    assert_eq!(newest_index(&store), Some(10));
    assert_eq!(folders(&disk), [uuid(1).to_string()], "what was written is given back");
    disk.set_capacity(None);
    put(&store, 2, 20, &content(2000)).unwrap();
}

#[test]
fn a_snapshot_leaves_the_free_space_that_the_log_may_need() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(40 << 20));
    let disk_of_store = Arc::new(disk.clone());
    let store = SnapshotStore::open(disk_of_store, &[log_up_to(1000)], 20 << 20).unwrap();
    let mut writer = store.begin(point(1, 10)).unwrap();
    let megabyte = content(1 << 20);
    let written = (0..40).take_while(|_| writer.write_all(&megabyte).is_ok()).count();
    assert!((20..36).contains(&written), "{written} MiB were written");
    let error = writer.finish().unwrap_err();
    assert_eq!(error.code, Code::NoSpace);
    assert!(error.message.contains("must stay so"), "{error}");
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn failing_writes_and_syncs_fail_the_snapshot_and_not_the_store() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, 1, 10, b"ten").unwrap();
    disk.fail_writes(true);
    assert_eq!(put(&store, 2, 20, &content(300)).unwrap_err().code, Code::Io);
    disk.fail_writes(false);
    disk.fail_syncs(true);
    assert_eq!(put(&store, 2, 20, &content(300)).unwrap_err().code, Code::Io);
    disk.fail_syncs(false);
    assert_eq!(newest_index(&store), Some(10));
    put(&store, 2, 20, &content(300)).unwrap();
    assert_eq!(folders(&disk), [uuid(2).to_string()]);
}

#[test]
fn a_writer_and_a_reader_need_one_chunk_of_memory_however_long_the_stream() {
    let store = open(&MemoryDisk::new());
    let mut writer = store.begin(point(1, 10)).unwrap().with_chunk_bytes(4096);
    for _ in 0..100 {
        writer.write_all(&content(10_000)).unwrap();
        assert!(writer.buffered_bytes() <= 4096);
    }
    writer.finish().unwrap();
    let mut reader = store.open_reader(GROUP, uuid(1)).unwrap();
    let mut buffer = [0; 1000];
    while reader.read(&mut buffer).unwrap() > 0 {
        assert!(reader.buffered_bytes() <= 4096);
    }
}

#[test]
fn what_else_lies_in_the_snapshot_directory_is_left_alone() {
    let disk = MemoryDisk::new();
    for folder in ["tmp", "03", "0", "notes", "3/notes"] {
        disk.create_dir(Path::new(folder)).unwrap();
    }
    disk.open(Path::new("identity"), OpenMode::CreateNew).unwrap();
    put(&open(&disk), 1, 10, b"ten").unwrap();
    assert_eq!(newest_index(&open(&disk)), Some(10));
    assert_eq!(disk.list(Path::new("")).unwrap(), ["0", "03", "3", "identity", "notes", "tmp"]);
    assert_eq!(folders(&disk), [uuid(1).to_string(), "notes".to_string()]);
}
