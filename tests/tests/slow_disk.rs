//! A disk on which every sync takes many election timeouts costs no election, and nobody but its
//! own member waits.

use std::time::{Duration, Instant};

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::fresh_directory;
use libraft_tests::trouble::{Disks, Trouble};

const TICK_MS: u64 = 50;
/// Five times as long as the longest time (twenty ticks) that a follower waits for a heartbeat.
const SYNC_MS: u64 = 5 * 20 * TICK_MS;

#[test]
fn a_sync_of_seconds_on_a_follower_costs_no_election_and_the_others_go_on() {
    slow_disk("slow-follower", |leader| (leader + 1) % 3);
}

#[test]
fn a_sync_of_seconds_on_the_leader_costs_no_election_and_the_others_go_on() {
    slow_disk("slow-leader", |leader| leader);
}

fn slow_disk(name: &str, choose: impl Fn(usize) -> usize) {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), name);
    let disks = Disks::new(&directory);
    let launch = disks.launch(env!("CARGO_BIN_EXE_list_member"));
    let settings = Settings { tick_ms: TICK_MS, ..Settings::default() };
    let mut cluster = Cluster::launch(launch, &directory, settings);
    let (leader, term) = cluster.leader();
    let slow = choose(leader);
    let others: Vec<usize> = (0..3).filter(|member| *member != slow).collect();
    (0..3).for_each(|member| cluster.put(member, 10));
    cluster.settle();

    disks.set(slow, Trouble::Slow { ms: SYNC_MS });
    let began = Instant::now();
    let done_before = cluster.history.done();
    // Is done when the slow member itself has stored and applied it.
    cluster.put(slow, 1);
    let mut done_meanwhile = 0;
    while began.elapsed() < Duration::from_millis(2 * SYNC_MS) {
        others.iter().for_each(|member| cluster.put(*member, 5));
        cluster.settle_at(&others);
        for member in 0..3 {
            let status = cluster.status(member);
            let seen = (status.leader, status.term);
            let expected = (leader as u64 + 1, term);
            assert_eq!(seen, expected, "member {} is in an election: {status:?}", member + 1);
        }
        if cluster.history.unanswered(&[slow]) > 0 {
            done_meanwhile = cluster.history.done() - done_before;
        } else {
            let waited_ms = began.elapsed().as_millis();
            assert!(
                waited_ms >= u128::from(SYNC_MS) / 2,
                "the disk was slow for {waited_ms} ms only"
            );
        }
    }
    println!("{name}: {done_meanwhile} proposals were done while one waited for its sync");
    assert!(done_meanwhile >= 100, "the others made only {done_meanwhile} proposals meanwhile");

    disks.set(slow, Trouble::None);
    cluster.settle();
    cluster.check();
    assert_eq!(cluster.leader(), (leader, term), "there was an election in the end");
    drop(cluster);
    let _ = std::fs::remove_dir_all(&directory);
}
