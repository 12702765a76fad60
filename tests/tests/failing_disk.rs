//! A disk that breaks takes its node out of service.

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
