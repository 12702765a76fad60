//! A C program has SIGPIPE at its default action: it ends the process. Writing to a peer that is
//! gone must not raise it.

use std::process::Command;

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::{fresh_directory, process_status};

const ROUNDS: usize = 8;

#[test]
fn a_peer_killed_under_load_does_not_kill_a_host_that_has_sigpipe_at_its_default() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "sigpipe");
    let launch = |_| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_list_member"));
        command.env("LIST_MEMBER_SIGPIPE", "default");
        command
    };
    let mut cluster = Cluster::launch(Box::new(launch), &directory, Settings::default());
    let (leader, _) = cluster.leader();
    for member in 0..3 {
        let mask = 1 << (libc::SIGPIPE - 1);
        for actions in ["SigIgn", "SigCgt"] {
            let set = process_status(cluster.process_id(member), actions) & mask;
            assert_eq!(set, 0, "SIGPIPE is not at its default action in member {}", member + 1);
        }
    }
    for round in 0..ROUNDS {
        // Followers, as a rule: the leader has the most to write to them.
        let victim = (leader + 1 + round % 2) % 3;
        let survivors: Vec<usize> = (0..3).filter(|member| *member != victim).collect();
        (0..3).for_each(|member| cluster.put_padded(member, 100, 16 << 10));
        cluster.kill(victim);
        cluster.history.lost(victim);
        survivors.iter().for_each(|member| cluster.put_padded(*member, 100, 16 << 10));
        cluster.settle_at(&survivors);
        for survivor in survivors {
            assert!(cluster.is_alive(survivor), "member {} died with its peer", survivor + 1);
        }
        cluster.restart(victim);
        cluster.leader();
    }
    cluster.check();
    drop(cluster);
    let _ = std::fs::remove_dir_all(&directory);
}
