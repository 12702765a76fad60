//! Rounds of load with `kill -9` and SIGSTOP of random members: after each, every acknowledged
//! write is on all members, once, in the same order.
//!
//! `LIBRAFT_CRASH_ROUNDS` (20) says how many rounds, `LIBRAFT_CRASH_SEED` which faults.

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::fresh_directory;
use libraft_tests::random::Random;

const MEMBERS: usize = 3;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")),
        Err(_) => default,
    }
}

fn rounds_of_crashes(name: &str, settings: Settings, seed: u64) {
    let rounds = setting("LIBRAFT_CRASH_ROUNDS", 20);
    let seed = setting("LIBRAFT_CRASH_SEED", seed);
    println!("{name}: {rounds} rounds, LIBRAFT_CRASH_SEED={seed}");
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), name);
    let mut random = Random::new(seed);
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_list_member"), &directory, settings);
    for round in 1..=rounds {
        let stopped = random.below(3) == 0;
        let victim = random.below(MEMBERS as u64) as usize;
        for burst in 0..4 {
            for member in 0..MEMBERS {
                cluster.put(member, 10 + random.below(100));
            }
            if burst == 1 && stopped {
                cluster.signal(victim, libc::SIGSTOP);
            } else if burst == 1 {
                cluster.kill(victim);
                cluster.history.lost(victim);
            }
            // A read at another member makes sure that the burst is under way before the next.
            cluster.dump((victim + 1) % MEMBERS);
        }
        if stopped {
            cluster.signal(victim, libc::SIGCONT);
        } else {
            cluster.restart(victim);
        }
        cluster.settle();
        let held = cluster.check();
        println!(
            "round {round}: member {} {}, {} acknowledged, {held} held",
            victim + 1,
            if stopped { "stopped" } else { "killed" },
            cluster.history.done(),
        );
    }
    assert!(cluster.history.done() as u64 >= rounds * 40, "the load hardly got through");
    drop(cluster);
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn what_was_acknowledged_survives_kill_9_on_every_member_once_and_in_order() {
    let settings = Settings { members: MEMBERS, ..Settings::default() };
    rounds_of_crashes("crash", settings, 1);
}

#[test]
fn what_was_acknowledged_survives_kill_9_while_snapshots_compact_the_log() {
    let settings =
        Settings { members: MEMBERS, snapshot_entries: 500, quick: false, ..Settings::default() };
    rounds_of_crashes("crash-with-snapshots", settings, 2);
}
