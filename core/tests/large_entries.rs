//! Entries that are larger than a segment of the journal, or than all that it usually has.

mod support;

use std::sync::mpsc;

use libraft::{BatchCompleter, Code, Group, GroupOptions, Node, NodeOptions};
use support::{
    completer, group_options, members_of, node_options, recorder, Behaviour, Folder, PATIENCE,
};

/// As large as a proposal may be by default.
const LARGE_BYTES: usize = 8 << 20;

/// A group on nodes with the smallest journals that there are: usually four segments of 1 MiB.
fn groups(folder: &Folder, count: u64) -> Vec<(Node, Group)> {
    let open = |node_id| {
        // Large entries take their time where everything is unoptimized.
        let options =
            NodeOptions { tick_ms: 100, segments_max: 2, ..node_options(folder, node_id) };
        Node::open(options).expect("the node opens")
    };
    let nodes: Vec<Node> = (1..=count).map(open).collect();
    let options =
        GroupOptions { snapshot_log_bytes: 4 << 20, ..group_options(&members_of(&nodes)) };
    let groups: Vec<(Node, Group)> = nodes
        .into_iter()
        .map(|node| {
            let (machine, _) = recorder(Behaviour::default());
            let group = node.start_group(options.clone(), machine).expect("the group starts");
            (node, group)
        })
        .collect();
    groups.iter().for_each(|(_, group)| group.wait_ready(PATIENCE).expect("the group forms"));
    groups
}

#[test]
fn an_entry_larger_than_the_journal_is_replicated_from_every_member() {
    let folder = Folder::new();
    let entry = vec![7; LARGE_BYTES];
    for (_, group) in &groups(&folder, 3) {
        let (completer, receiver) = completer();
        group.propose(&entry, completer).expect("the proposal is accepted");
        let completion = receiver.recv_timeout(PATIENCE).expect("every proposal completes");
        assert_eq!(completion.expect("it is applied").result.len(), LARGE_BYTES);
    }
}

#[test]
fn of_a_burst_larger_than_the_journal_what_fits_is_made_and_the_rest_is_told_to_come_again() {
    let folder = Folder::new();
    let groups = groups(&folder, 1);
    let (count, entry_bytes) = (200, 1 << 20);
    let data = vec![7; count * entry_bytes];
    let offsets: Vec<usize> = (0..=count).map(|position| position * entry_bytes).collect();
    let (sender, receiver) = mpsc::channel();
    let completer = BatchCompleter::new(move |results| {
        let _ = sender.send(results);
    });
    groups[0].1.propose_batch(&data, &offsets, completer).expect("the batch is accepted");
    let results = receiver.recv_timeout(PATIENCE).expect("every batch completes");
    let made = results.iter().take_while(|result| result.is_ok()).count();
    assert!(made > 0, "what fits is made");
    assert!(made < count, "more than fits was asked for");
    for refused in &results[made..] {
        let error = refused.as_ref().expect_err("there was no room");
        assert_eq!((error.code, error.retriable()), (Code::Busy, true), "{error}");
    }
}
