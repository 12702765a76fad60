//! What a node with nothing to do costs its host.

use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::{fresh_directory, process_status};

/// Of an optimised program all that is resident counts: less than 30 MiB. The code of an
/// unoptimised one is several times as large, so there only what was allocated counts, and 4 MiB
/// are left for the code.
const MEASURE: (&str, u64) =
    if cfg!(debug_assertions) { ("RssAnon", 26 << 10) } else { ("VmRSS", 30 << 10) };

#[test]
fn a_node_with_one_idle_group_has_less_than_30_mib_resident() {
    let (name, kib_max) = MEASURE;
    for members in [1, 3] {
        let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), &format!("memory-{members}"));
        let settings = Settings { members, ..Settings::default() };
        let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_list_member"), &directory, settings);
        // It has worked, and has nothing more to do.
        (0..members).for_each(|member| cluster.put(member, 1_000));
        cluster.settle();
        cluster.check();
        for member in 0..members {
            let kib = process_status(cluster.process_id(member), name);
            println!("member {} of {members}: {name} {kib} KiB", member + 1);
            assert!(kib < kib_max, "{name} is {kib} KiB, {kib_max} are allowed");
        }
        drop(cluster);
        let _ = std::fs::remove_dir_all(&directory);
    }
}
