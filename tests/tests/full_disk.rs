//! A disk that is full at the worst moments: when a member first starts, while it saves a snapshot
//! or receives one, and when it is closed. Nothing is lost, and only the start needs to be repeated.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::fresh_directory;
use libraft_tests::process::Process;
use libraft_tests::trouble::{Disks, Trouble};

const PROGRAM: &str = env!("CARGO_BIN_EXE_list_member");
const PATIENCE: Duration = Duration::from_secs(60);
const SNAPSHOT_ENTRIES: u64 = 50;

fn start(name: &str, members: usize) -> (PathBuf, Disks, Cluster) {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), name);
    let disks = Disks::new(&directory);
    let settings =
        Settings { members, tick_ms: 100, snapshot_entries: SNAPSHOT_ENTRIES, quick: true };
    let mut cluster = Cluster::launch(disks.launch(PROGRAM), &directory, settings);
    cluster.leader();
    (directory, disks, cluster)
}

fn end(directory: &Path, mut cluster: Cluster) {
    cluster.check();
    drop(cluster);
    let _ = std::fs::remove_dir_all(directory);
}

#[test]
fn a_disk_that_is_full_at_the_first_start_is_named_and_the_next_start_works() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "full-start");
    let disks = Disks::new(&directory);
    let launch = disks.launch(PROGRAM);
    let node = directory.join("node");
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
    let _ = std::fs::remove_dir_all(&directory);
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

#[test]
fn a_snapshot_that_finds_the_disk_full_is_taken_when_there_is_space_and_a_close_loses_nothing() {
    let (directory, disks, mut cluster) = start("full-snapshot", 1);
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
    end(&directory, cluster);
}

#[test]
fn a_follower_that_has_no_room_for_the_snapshot_it_needs_gets_it_when_it_has() {
    let (directory, disks, mut cluster) = start("full-receive", 3);
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
    end(&directory, cluster);
}
