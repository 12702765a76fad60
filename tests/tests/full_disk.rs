//! A disk that is full at the worst moments: when a member first starts, under proposals, while it saves a snapshot or
//! receives one, and when it is closed. Nothing is lost, proposals are refused until there is space, and only the first
//! start needs to be repeated.
//!
//! Each test runs twice: with calls that fail as they do on a full disk, and on a small file system that is full.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::fresh_directory;
use libraft_tests::process::Process;
use libraft_tests::tmpfs::in_own_namespace;
use libraft_tests::trouble::{Disks, Trouble};

const PROGRAM: &str = env!("CARGO_BIN_EXE_list_member");
const PATIENCE: Duration = Duration::from_secs(60);
const SNAPSHOT_ENTRIES: u64 = 50;

/// Makes the disks of so many members.
type Kind = fn(&Path, usize) -> Disks;

macro_rules! on_both_kinds_of_disks {
    ($($test:ident,)+) => {
        mod calls_fail {
            use super::*;

            $(#[test]
            fn $test() {
                super::$test(|directory, _| Disks::new(directory));
            })+
        }

        mod a_small_file_system {
            use super::*;

            $(#[test]
            fn $test() {
                let name = concat!("a_small_file_system::", stringify!($test));
                in_own_namespace(name, || super::$test(Disks::small));
            })+
        }
    };
}

on_both_kinds_of_disks! {
    a_disk_that_is_full_at_the_first_start_is_named_and_the_next_start_works,
    a_leader_with_a_full_disk_refuses_proposals_until_there_is_space_and_needs_no_restart,
    a_follower_with_a_full_disk_waits_for_space_while_the_others_go_on,
    a_snapshot_that_finds_the_disk_full_is_taken_when_there_is_space_and_a_close_loses_nothing,
    a_follower_that_has_no_room_for_the_snapshot_it_needs_gets_it_when_it_has,
}

fn start(
    name: &str,
    kind: Kind,
    members: usize,
    snapshot_entries: u64,
) -> (PathBuf, Disks, Cluster) {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), name);
    let disks = kind(&directory, members);
    // Long enough that a busy machine costs no election either.
    let settings = Settings { members, tick_ms: 100, snapshot_entries, quick: true };
    let mut cluster = Cluster::launch(disks.launch(PROGRAM), &directory, settings);
    cluster.leader();
    (directory, disks, cluster)
}

fn end(directory: &Path, disks: Disks, mut cluster: Cluster) {
    (0..cluster.addresses().len()).for_each(|member| cluster.put(member, 10));
    cluster.settle();
    cluster.check();
    drop((cluster, disks));
    let _ = std::fs::remove_dir_all(directory);
}

fn a_disk_that_is_full_at_the_first_start_is_named_and_the_next_start_works(kind: Kind) {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "full-start");
    let disks = kind(&directory, 1);
    let launch = disks.launch(PROGRAM);
    let node = directory.join("node-1");
    let run = || {
        let mut command = launch(0);
        command.arg("1").arg(&node).args(["0", "1", "20", "1=127.0.0.1:0"]);
        let mut process = Process::run(command);
        let first = process.hear(PATIENCE).expect("it says something");
        (process, first)
    };
    disks.set(0, Trouble::Full);
    let (process, first) = run();
    assert!(first.starts_with("failed") && first.contains("No space left"), "{first}");
    process.reap();
    disks.set(0, Trouble::None);
    let (mut process, first) = run();
    assert_eq!(first, "ready");
    assert!(process.say("put hello 0"));
    assert!(process.hear(PATIENCE).is_some_and(|line| line.starts_with("done hello")));
    process.finish();
    drop(disks);
    let _ = std::fs::remove_dir_all(&directory);
}

/// Proposals large enough to fill what a journal has allocated in advance within seconds.
const LARGE_BYTES: u64 = 64 << 10;

fn a_leader_with_a_full_disk_refuses_proposals_until_there_is_space_and_needs_no_restart(
    kind: Kind,
) {
    let (directory, disks, mut cluster) = start("full-leader", kind, 3, 0);
    let (full, term) = cluster.leader();
    disks.set(full, Trouble::Full);
    let follower = (full + 1) % 3;
    for member in [full, follower] {
        let refused = cluster.history.failed_with("NoSpace");
        cluster.until("large proposals are refused for want of space", |cluster| {
            cluster.put_padded(member, 8, LARGE_BYTES);
            cluster.settle();
            cluster.history.failed_with("NoSpace") > refused
        });
    }
    assert_eq!(cluster.history.failed_with("Timeout"), 0, "callers are kept waiting");
    cluster.until("small ones fill up what is left", |cluster| {
        cluster.put(full, 1);
        cluster.settle();
        cluster.node_status(full).is_full
    });
    let (done, refused) = (cluster.history.done(), cluster.history.failed_with("NoSpace"));
    (0..3).for_each(|member| cluster.put(member, 10));
    cluster.settle();
    assert_eq!(cluster.history.done(), done, "a full node took a proposal");
    assert_eq!(
        cluster.history.failed_with("NoSpace"),
        refused + 30,
        "the callers are not told why"
    );
    assert_eq!(cluster.node_status(full).failure, "-", "a full disk is no failure");
    assert_eq!(cluster.leader(), (full, term), "a full disk costs no election");

    disks.set(full, Trouble::None);
    cluster.until("the node notices that there is space", |cluster| {
        !cluster.node_status(full).is_full
    });
    cluster.until("proposals are taken again", |cluster| {
        cluster.put(full, 1);
        cluster.settle();
        cluster.history.done() > done
    });
    end(&directory, disks, cluster);
}

fn a_follower_with_a_full_disk_waits_for_space_while_the_others_go_on(kind: Kind) {
    let (directory, disks, mut cluster) = start("full-follower", kind, 3, 0);
    let (leader, term) = cluster.leader();
    let full = (leader + 1) % 3;
    disks.set(full, Trouble::Full);
    let held_bytes = bytes_below(&cluster.directory(full));
    let proposals = 2 * held_bytes / LARGE_BYTES;
    let done = cluster.history.done() as u64;
    for _ in 0..proposals / 16 + 1 {
        cluster.put_padded(leader, 16, LARGE_BYTES);
        cluster.settle_at(&[leader]);
    }
    let made = cluster.history.done() as u64 - done;
    assert!(made >= proposals, "the others do not go on: {made} of {proposals} were done");
    assert!(bytes_below(&cluster.directory(full)) <= held_bytes, "the disk was not full at all");
    let (ahead, behind) = (cluster.status(leader), cluster.status(full));
    assert!(
        ahead.applied_index >= behind.applied_index + proposals / 2,
        "the follower holds more than its disk does: {behind:?}, the leader {ahead:?}"
    );
    assert_eq!(cluster.node_status(full).failure, "-", "a full disk is no failure");
    assert_eq!(cluster.leader(), (leader, term), "a full disk costs no election");

    disks.set(full, Trouble::None);
    end(&directory, disks, cluster);
}

/// The sizes of all files below a folder. A file may vanish meanwhile.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        };
    }
    bytes
}

/// The folders of snapshots that a member has.
fn snapshots(cluster: &Cluster, member: usize) -> Vec<String> {
    let group = cluster.directory(member).join("snapshots/7");
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("manifest").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn a_snapshot_that_finds_the_disk_full_is_taken_when_there_is_space_and_a_close_loses_nothing(
    kind: Kind,
) {
    let (directory, disks, mut cluster) = start("full-snapshot", kind, 1, SNAPSHOT_ENTRIES);
    cluster.put(0, 2 * SNAPSHOT_ENTRIES);
    cluster.settle();
    cluster.until("there is a snapshot", |cluster| !snapshots(cluster, 0).is_empty());
    disks.set(0, Trouble::Full);
    let before = snapshots(&cluster, 0);
    let done = cluster.history.done();
    for _ in 0..6 {
        cluster.put(0, SNAPSHOT_ENTRIES);
        cluster.settle();
    }
    // What was allocated before is enough for so little.
    assert_eq!(cluster.history.done(), done + 6 * SNAPSHOT_ENTRIES as usize);
    assert_eq!(snapshots(&cluster, 0), before, "the disk was not full at all");
    assert_eq!(cluster.node_status(0).failure, "-", "a full disk is no failure");
    disks.set(0, Trouble::None);
    cluster.until("a snapshot is taken when there is space", |cluster| {
        cluster.put(0, SNAPSHOT_ENTRIES);
        cluster.settle();
        snapshots(cluster, 0) != before
    });
    // Closed while it is full, it seals the journal in what it has.
    disks.set(0, Trouble::Full);
    cluster.put(0, 20);
    cluster.settle();
    cluster.finish();
    disks.set(0, Trouble::None);
    cluster.restart(0);
    cluster.leader();
    end(&directory, disks, cluster);
}

fn a_follower_that_has_no_room_for_the_snapshot_it_needs_gets_it_when_it_has(kind: Kind) {
    let (directory, disks, mut cluster) = start("full-receive", kind, 3, SNAPSHOT_ENTRIES);
    cluster.put(0, 20);
    cluster.settle();
    let (leader, _) = cluster.leader();
    let late = (leader + 1) % 3;
    let before = cluster.status(leader).applied_index;
    cluster.kill(late);
    cluster.history.lost(late);
    // More than the leader keeps for followers that lag.
    for _ in 0..10 {
        cluster.put(leader, SNAPSHOT_ENTRIES);
        cluster.settle();
    }
    let held = snapshots(&cluster, late);
    // It opens, and the disk is full before it hears of the others.
    let others: Vec<usize> = (0..3).filter(|member| *member != late).collect();
    others.iter().for_each(|member| cluster.signal(*member, libc::SIGSTOP));
    cluster.restart(late);
    disks.set(late, Trouble::Full);
    others.iter().for_each(|member| cluster.signal(*member, libc::SIGCONT));
    let (leader, _) = cluster.leader_of(&others);
    let done = cluster.history.done();
    for _ in 0..4 {
        cluster.put(leader, SNAPSHOT_ENTRIES);
        cluster.settle_at(&[leader]);
    }
    assert_eq!(cluster.history.done(), done + 4 * SNAPSHOT_ENTRIES as usize, "the others wait");
    assert_eq!(cluster.node_status(late).failure, "-", "a full disk is no failure");
    let behind = cluster.status(late).applied_index;
    assert!(behind <= before, "it never needed a snapshot: {behind} is beyond {before}");
    assert_eq!(snapshots(&cluster, late), held, "the disk was not full at all");
    disks.set(late, Trouble::None);
    cluster.until("the follower catches up", |cluster| {
        let applied = cluster.status(leader).applied_index;
        cluster.status(late).applied_index == applied
    });
    end(&directory, disks, cluster);
}
