//! A peer that catches up with a large snapshot costs neither side memory in proportion.
//!
//! `LIBRAFT_SNAPSHOT_MIB` (1024) is the size of the state.

use std::path::PathBuf;
use std::time::Duration;

use libraft_tests::process::Process;

const PATIENCE: Duration = Duration::from_secs(300);
const GROWTH_MAX_KIB: u64 = 64 << 10;

fn start(directory: &std::path::Path, node_id: u64, bytes: u64, how: &str) -> (Process, String) {
    let arguments = [
        node_id.to_string(),
        directory.join(format!("node-{node_id}")).display().to_string(),
        bytes.to_string(),
        how.to_string(),
    ];
    let mut process = Process::start(env!("CARGO_BIN_EXE_stream_member"), &arguments);
    let address = hear(&mut process);
    (process, address)
}

fn hear(process: &mut Process) -> String {
    let line = process.hear(PATIENCE).expect("the member answers");
    assert!(!line.starts_with("failed"), "{line}");
    line
}

fn memory(process: &mut Process) -> u64 {
    assert!(process.say("memory"));
    hear(process).parse().expect("it answers with KiB")
}

#[test]
fn a_large_state_is_streamed_to_a_newcomer_in_little_memory_on_either_side() {
    let mib = std::env::var("LIBRAFT_SNAPSHOT_MIB")
        .map_or(1024, |mib| mib.parse().expect("LIBRAFT_SNAPSHOT_MIB is a number"));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("snapshot-memory-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("the test's directory can be made");

    let (mut leader, _) = start(&directory, 1, mib << 20, "first");
    let (mut joiner, address) = start(&directory, 2, 0, "joins");
    let before = [memory(&mut leader), memory(&mut joiner)];
    assert!(leader.say(&format!("add 2={address}")));
    assert!(joiner.say("restored"));
    assert!(hear(&mut leader).starts_with("added "));
    assert_eq!(hear(&mut joiner), format!("restored {}", mib << 20));
    let after = [memory(&mut leader), memory(&mut joiner)];
    for side in 0..2 {
        let grown = after[side] - before[side];
        println!("member {} grew by {grown} KiB to {} KiB", side + 1, after[side]);
        assert!(grown < GROWTH_MAX_KIB, "member {} grew by {grown} KiB", side + 1);
    }
    drop((leader, joiner));
    let _ = std::fs::remove_dir_all(&directory);
}
