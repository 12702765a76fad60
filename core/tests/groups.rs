//! Many groups on one node: each with its data, all in one log.

mod support;

use std::sync::mpsc;

use libraft::{BatchCompleter, Code, Completer, Group, GroupOptions, InitialMember, Node};
use support::{
    completer, eventually, group_options, keeping_nothing, members_of, node_options, propose, read,
    recorder, same_texts, status, take_snapshot, Behaviour, Folder, Probe, PATIENCE,
};

const GROUPS: u64 = 50;

fn start(node: &Node, members: &[InitialMember], group_id: u64) -> (Group, Probe) {
    let (machine, probe) = recorder(Behaviour::default());
    let options = GroupOptions { group_id, ..keeping_nothing(group_options(members)) };
    (node.start_group(options, machine).unwrap(), probe)
}

fn start_all(node: &Node, members: &[InitialMember]) -> Vec<(Group, Probe)> {
    let groups: Vec<_> = (1..=GROUPS).map(|group_id| start(node, members, group_id)).collect();
    groups.iter().for_each(|(group, _)| group.wait_ready(PATIENCE).unwrap());
    groups
}

/// Proposes one entry in every group at once, and waits for all.
fn propose_everywhere(groups: &[(Group, Probe)], name: &str) {
    let (sender, receiver) = mpsc::channel();
    for (group, _) in groups {
        let sender = sender.clone();
        let text = format!("{name} of {}", group.group_id());
        let done = Completer::new(move |result| sender.send(result.map(|_| ())).unwrap());
        group.propose(text.as_bytes(), done).unwrap();
    }
    for _ in groups {
        receiver.recv_timeout(PATIENCE).unwrap().unwrap();
    }
}

fn assert_own_data(group: &Group, probe: &Probe, names: &[&str]) {
    let own = |name: &&str| format!("{name} of {}", group.group_id());
    assert_eq!(probe.texts(), names.iter().map(own).collect::<Vec<_>>());
}

#[test]
fn fifty_groups_on_one_node_keep_their_data_apart_through_stops_and_restarts() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let groups = start_all(&node, &members);
    assert_eq!(node.status().unwrap().groups, GROUPS);
    propose_everywhere(&groups, "first");
    propose_everywhere(&groups, "second");
    // Some snapshot and compact, so that the shared log forgets parts of some groups only.
    for (group, _) in groups.iter().step_by(5) {
        take_snapshot(group).unwrap();
    }
    // Some are stopped and started again, while the others work on.
    for (group, probe) in groups.iter().step_by(3) {
        group.stop().unwrap();
        assert!(probe.is_dropped());
    }
    assert_eq!(node.status().unwrap().groups, GROUPS - GROUPS.div_ceil(3));
    let running: Vec<_> = groups.iter().enumerate().filter(|(at, _)| at % 3 != 0).collect();
    for (_, (group, _)) in &running {
        propose(group, &format!("third of {}", group.group_id())).unwrap();
    }
    for (group, _) in groups.iter().step_by(3) {
        let (again, probe) = start(&node, &[], group.group_id());
        again.wait_ready(PATIENCE).unwrap();
        assert_own_data(&again, &probe, &["first", "second"]);
        propose(&again, &format!("third of {}", group.group_id())).unwrap();
        assert_eq!(propose(group, "by the old handle").unwrap_err().code, Code::Stopped);
    }
    node.close().unwrap();

    let node = Node::open(node_options(&folder, 1)).unwrap();
    // In another order than they were made in.
    let mut groups: Vec<_> =
        (1..=GROUPS).rev().map(|group_id| start(&node, &[], group_id)).collect();
    groups.reverse();
    for (group, probe) in &groups {
        group.wait_ready(PATIENCE).unwrap();
        assert_own_data(group, probe, &["first", "second", "third"]);
    }
    node.close().unwrap();
}

#[test]
fn fifty_groups_of_three_nodes_survive_the_loss_of_one() {
    let folder = Folder::new();
    let mut nodes: Vec<Node> =
        (1..=3).map(|node_id| Node::open(node_options(&folder, node_id)).unwrap()).collect();
    let members = members_of(&nodes);
    let mut all: Vec<Vec<(Group, Probe)>> = nodes
        .iter()
        .map(|node| (1..=GROUPS).map(|group_id| start(node, &members, group_id)).collect())
        .collect();
    for groups in &all {
        groups.iter().for_each(|(group, _)| group.wait_ready(PATIENCE).unwrap());
        propose_everywhere(groups, "entry");
    }
    nodes.pop().unwrap().close().unwrap();
    drop(all.pop());
    for (group, _) in &all[0] {
        eventually("a proposal without the third", || propose(group, "without it").ok());
    }
    let node = Node::open(node_options(&folder, 3)).unwrap();
    let back = start_all(&node, &[]);
    for ((group, probe), (_, ahead)) in back.iter().zip(&all[0]) {
        read(group).unwrap();
        same_texts(probe, ahead);
        assert!(probe.texts().len() >= 4);
    }
    for node in nodes.iter().chain([&node]) {
        node.close().unwrap();
    }
}

#[test]
fn a_group_that_is_stopped_under_load_completes_every_call_once_and_loses_nothing_acknowledged() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let (neighbour, _beside) = start(&node, &members, 2);
    for round in 0..5 {
        let (group, probe) = start(&node, &members, 1);
        group.wait_ready(PATIENCE).unwrap();
        let (sender, receiver) = mpsc::channel();
        let mut accepted = 0;
        for batch in 0..50 {
            let sender = sender.clone();
            let data = format!("{round:02}{batch:02}").repeat(10);
            let offsets: Vec<usize> = (0..=10).map(|entry| entry * 4).collect();
            let done = BatchCompleter::new(move |results| sender.send(results).unwrap());
            group.propose_batch(data.as_bytes(), &offsets, done).unwrap();
            accepted += 10;
        }
        let (one, one_done) = completer();
        group.read_index(one).unwrap();
        group.stop().unwrap();
        drop(sender);
        let results: Vec<_> = receiver.iter().flatten().collect();
        assert_eq!(results.len(), accepted, "each completes, and none twice");
        let acknowledged = results.iter().filter(|result| result.is_ok()).count();
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(error.code, Code::Stopped, "{error}");
        }
        if let Err(error) = one_done.recv_timeout(PATIENCE).unwrap() {
            assert_eq!(error.code, Code::Stopped, "{error}");
        }
        assert!(probe.texts().len() >= acknowledged);
        propose(&neighbour, "not concerned").unwrap();

        let (again, probe) = start(&node, &[], 1);
        again.wait_ready(PATIENCE).unwrap();
        let own = format!("{round:02}");
        let kept = probe.texts().into_iter().filter(|text| text.starts_with(&own)).count();
        assert!((acknowledged..=accepted).contains(&kept), "{kept} of {acknowledged}");
        assert!(status(&again).failure.is_none());
        again.stop().unwrap();
    }
    node.close().unwrap();
}
