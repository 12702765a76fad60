//! A disk that breaks takes its node out of service, and a full one only its proposals, until there
//! is space.

use std::path::{Path, PathBuf};

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::fresh_directory;
use libraft_tests::trouble::{Disks, Trouble};

fn start(name: &str) -> (PathBuf, Disks, Cluster) {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), name);
    let disks = Disks::new(&directory);
    let launch = disks.launch(env!("CARGO_BIN_EXE_list_member"));
    // Long enough that a busy machine costs no election either.
    let settings = Settings { tick_ms: 100, ..Settings::default() };
    let mut cluster = Cluster::launch(launch, &directory, settings);
    cluster.leader();
    (0..3).for_each(|member| cluster.put(member, 10));
    cluster.settle();
    (directory, disks, cluster)
}

fn end(directory: &Path, mut cluster: Cluster) {
    (0..3).for_each(|member| cluster.put(member, 10));
    cluster.settle();
    cluster.check();
    drop(cluster);
    let _ = std::fs::remove_dir_all(directory);
}

#[test]
fn a_leader_whose_sync_fails_reports_it_and_the_others_go_on_without_its_vote() {
    let (directory, disks, mut cluster) = start("broken-leader");
    let (broken, _) = cluster.leader();
    storage_fails(&directory, &disks, cluster, broken);
}

#[test]
fn a_follower_whose_sync_fails_reports_it_and_the_others_go_on_without_its_vote() {
    let (directory, disks, mut cluster) = start("broken-follower");
    let (leader, _) = cluster.leader();
    storage_fails(&directory, &disks, cluster, (leader + 1) % 3);
}

fn storage_fails(directory: &Path, disks: &Disks, mut cluster: Cluster, broken: usize) {
    let others: Vec<usize> = (0..3).filter(|member| *member != broken).collect();
    disks.set(broken, Trouble::Broken);
    (0..3).for_each(|member| cluster.put(member, 10));
    cluster.until("the node reports that its storage failed", |cluster| {
        cluster.node_status(broken).failure == "StorageFailed"
    });
    cluster.settle();
    // The disk works again, but the node may not trust what it wrote: a failed sync is final.
    disks.set(broken, Trouble::None);

    cluster.leader_of(&others);
    others.iter().for_each(|member| cluster.put(*member, 50));
    cluster.settle_at(&others);
    let done = cluster.history.done();
    cluster.put(broken, 20);
    cluster.settle();
    assert_eq!(cluster.history.done(), done, "a node without storage acknowledged a proposal");
    assert!(cluster.history.failed_with("StorageFailed") >= 20, "its callers are not told why");
    assert!(cluster.is_alive(broken), "the host process died of its disk");

    // With one of the others gone, a majority would need the broken node's vote and
    // acknowledgements.
    cluster.kill(others[0]);
    cluster.history.lost(others[0]);
    cluster.put(others[1], 20);
    cluster.settle_at(&others[1..]);
    assert_eq!(cluster.history.done(), done, "the broken node helped to commit");
    assert_eq!(cluster.node_status(broken).failure, "StorageFailed");

    // Started anew, it is a good member again.
    cluster.kill(broken);
    cluster.history.lost(broken);
    cluster.restart(broken);
    cluster.leader();
    cluster.put(broken, 20);
    cluster.settle();
    assert!(cluster.history.done() >= done + 20, "the cluster did not come back");
    cluster.restart(others[0]);
    cluster.leader();
    end(directory, cluster);
}

/// Proposals large enough to fill what a journal has allocated in advance within seconds.
const LARGE_BYTES: u64 = 64 << 10;

#[test]
fn a_leader_with_a_full_disk_refuses_proposals_until_there_is_space_and_needs_no_restart() {
    let (directory, disks, mut cluster) = start("full-leader");
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
    end(&directory, cluster);
}

#[test]
fn a_follower_with_a_full_disk_waits_for_space_while_the_others_go_on() {
    let (directory, disks, mut cluster) = start("full-follower");
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
    end(&directory, cluster);
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
