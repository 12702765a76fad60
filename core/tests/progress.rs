//! Listeners hear of a snapshot that goes from one node to another.

mod support;

use std::sync::mpsc;

use libraft::{Change, Group, GroupOptions, Node, Notice};
use support::{
    completer, group_options, members_of, node_options, propose, recorder, Behaviour, Folder,
    PATIENCE,
};

fn listen(group: &Group) -> mpsc::Receiver<Notice> {
    let (sender, receiver) = mpsc::channel();
    let listener = move |notice| {
        // The test has ended if nobody listens.
        let _ = sender.send(notice);
    };
    group.set_listener(Some(Box::new(listener))).unwrap();
    receiver
}

fn hear<T>(notices: &mpsc::Receiver<Notice>, wanted: impl Fn(&Notice) -> Option<T>) -> T {
    loop {
        let notice = notices.recv_timeout(PATIENCE).expect("the notice comes");
        if let Some(found) = wanted(&notice) {
            return found;
        }
    }
}

#[test]
fn both_sides_hear_how_far_a_snapshot_is_and_the_newcomer_when_it_is_installed() {
    let folder = Folder::new();
    let first = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&first));
    let (machine, _probe) = recorder(Behaviour::default());
    let group = first.start_group(group_options(&members), machine).unwrap();
    group.wait_ready(PATIENCE).unwrap();
    propose(&group, &"x".repeat(1000)).unwrap();
    let at_leader = listen(&group);

    let second = Node::open(node_options(&folder, 2)).unwrap();
    let (machine, probe) = recorder(Behaviour::default());
    let waits = GroupOptions { group_id: 1, ..GroupOptions::default() };
    let joined = second.start_group(waits, machine).unwrap();
    let at_newcomer = listen(&joined);
    let address = second.status().unwrap().address;
    let (added, result) = completer();
    let change = Change::AddLearner { node_id: 2, address };
    group.change_membership(vec![change], added).unwrap();
    result.recv_timeout(PATIENCE).unwrap().unwrap();

    let sent = hear(&at_leader, |notice| match *notice {
        Notice::SnapshotSending { to: 2, index, bytes } => Some((index, bytes)),
        _ => None,
    });
    let received = hear(&at_newcomer, |notice| match *notice {
        Notice::SnapshotReceiving { from: 1, index, bytes } => Some((index, bytes)),
        _ => None,
    });
    assert_eq!(sent, received);
    assert!(sent.1 > 1000, "the snapshot holds the entry");
    hear(&at_newcomer, |notice| match *notice {
        Notice::SnapshotInstalled { index } => {
            assert_eq!(index, sent.0);
            Some(())
        }
        _ => None,
    });
    assert_eq!(probe.texts().len(), 1);
}
