//! Whatever numbers a program puts into its options: they are refused by name, or they work.

mod support;

use std::time::Duration;

use libraft::{Code, Error, GroupOptions, Node, NodeOptions};
use support::{group_options, members_of, node_options, recorder, Behaviour, Folder, PATIENCE};

const NUMBERS: [u64; 8] = [0, 1, 2, 1 << 32, 1 << 53, (1 << 62) - 1, u64::MAX - 1, u64::MAX];

type Set<Options> = (&'static str, fn(&mut Options, u64));

const NODE: [Set<NodeOptions>; 8] = [
    ("node_id", |options, number| options.node_id = number),
    ("tick_ms", |options, number| options.tick_ms = number),
    ("election_ticks", |options, number| options.election_ticks = number),
    ("heartbeat_ticks", |options, number| options.heartbeat_ticks = number),
    ("apply_threads", |options, number| options.apply_threads = number as usize),
    ("segment_bytes", |options, number| options.segment_bytes = number),
    ("segments_max", |options, number| options.segments_max = number as usize),
    ("free_bytes_min", |options, number| options.free_bytes_min = number),
];

const GROUP: [Set<GroupOptions>; 14] = [
    ("group_id", |options, number| options.group_id = number),
    ("proposal_bytes_max", |options, number| options.proposal_bytes_max = number),
    ("pending_bytes_max", |options, number| options.pending_bytes_max = number),
    ("pending_count_max", |options, number| options.pending_count_max = number),
    ("unapplied_bytes_max", |options, number| options.unapplied_bytes_max = number),
    ("inflight_bytes_max", |options, number| options.inflight_bytes_max = number),
    ("entry_cache_bytes", |options, number| options.entry_cache_bytes = number),
    ("snapshot_entries", |options, number| options.snapshot_entries = number),
    ("snapshot_log_bytes", |options, number| options.snapshot_log_bytes = number),
    ("retained_entries", |options, number| options.retained_entries = number),
    ("proposal_timeout_ms", |options, number| options.proposal_timeout_ms = number),
    ("snapshot_transfer_timeout_ms", |options, number| {
        options.snapshot_transfer_timeout_ms = number;
    }),
    ("snapshot_restore_timeout_ms", |options, number| {
        options.snapshot_restore_timeout_ms = number;
    }),
    ("priority", |options, number| options.priority = number as i64),
];

fn check_refusal(name: &str, number: u64, error: &Error) {
    assert_eq!(error.code, Code::InvalidArgument, "{name} = {number}: {error}");
    // A heartbeat that is too slow for the elections is told with the name of those.
    let is_named = error.message.contains(name) || error.message.contains("election_ticks");
    assert!(is_named, "{name} = {number}: {error}");
}

/// Starts a group of one, twice: the second time the machine may be restored from a snapshot.
fn use_group(node: &Node, options: &GroupOptions) -> Result<(), Error> {
    for _ in 0..2 {
        let (machine, _) = recorder(Behaviour::default());
        let group = node.start_group(options.clone(), machine)?;
        group.wait_ready(Duration::MAX).or_else(|error| match error.code {
            // No deadline is short enough to be wrong, only to be missed.
            Code::Timeout | Code::RestoreFailed => Ok(()),
            _ => Err(error),
        })?;
        let (completer, receiver) = support::completer();
        if group.take_snapshot(completer).is_ok() {
            let _ = receiver.recv_timeout(PATIENCE).expect("it completes");
        }
        group.stop()?;
    }
    Ok(())
}

#[test]
fn a_node_refuses_a_number_by_name_or_works_with_it() {
    for (name, set) in NODE {
        for number in NUMBERS {
            let folder = Folder::new();
            let mut options = node_options(&folder, 1);
            set(&mut options, number);
            match Node::open(options) {
                Ok(node) => {
                    let used =
                        use_group(&node, &group_options(&members_of(std::slice::from_ref(&node))));
                    used.unwrap_or_else(|error| panic!("{name} = {number}: {error}"));
                    node.close().expect("it closes");
                }
                Err(error) => check_refusal(name, number, &error),
            }
        }
    }
}

#[test]
fn a_group_refuses_a_number_by_name_or_works_with_it() {
    for (name, set) in GROUP {
        let folder = Folder::new();
        for number in NUMBERS {
            let node = Node::open(node_options(&folder, 1)).expect("the node opens");
            let mut options = group_options(&members_of(std::slice::from_ref(&node)));
            set(&mut options, number);
            if let Err(error) = use_group(&node, &options) {
                check_refusal(name, number, &error);
            }
            node.close().expect("it closes");
        }
    }
}
