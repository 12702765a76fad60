//! Snapshots of machines in memory over the public API: when they are taken, what is forgotten after them, how a node
//! starts from one, how one reaches a peer, and what happens when saving, sending or restoring fails.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex};

use libraft::machine::{MachineError, MachineKind};
use libraft::{Code, Completer, GroupOptions, InitialMember, Node, Notice};
use support::proxy::Proxy;
use support::{
    change, cluster_with, eventually, group_options, keeping_nothing, leader, node_options,
    propose, propose_many, read, recorder, reopen, same_texts, status, take_snapshot, Behaviour,
    Folder, Hook, Member, PATIENCE,
};

const IN_MEMORY_KINDS: [MachineKind; 2] = [MachineKind::InMemory, MachineKind::Concurrent];

fn on_demand() -> GroupOptions {
    keeping_nothing(group_options(&[]))
}

fn of_kind(kind: MachineKind) -> Behaviour {
    Behaviour { kind, ..Behaviour::default() }
}

#[test]
fn a_snapshot_is_taken_after_so_many_entries_and_the_log_before_it_is_forgotten() {
    let folder = Folder::new();
    let limits = |options| GroupOptions {
        snapshot_entries: 50,
        retained_entries: 10,
        snapshot_log_bytes: 0,
        ..options
    };
    let members = cluster_with(&folder, 1, |_| Behaviour::default(), limits);
    let (sender, notices) = mpsc::channel();
    let listener = move |notice| {
        let _ = sender.send(notice);
    };
    members[0].group.set_listener(Some(Box::new(listener))).unwrap();
    propose_many(&members[0].group, "entry", 120);
    let (first, snapshot) = eventually("a second snapshot", || {
        let status = status(&members[0].group);
        (status.snapshot_index > 100).then_some((status.first_index, status.snapshot_index))
    });
    assert_eq!(first, snapshot - 10 + 1, "ten entries are kept behind the snapshot");
    // The listener hears of each, on a thread of its own.
    let mut heard = 0;
    while heard < snapshot {
        if let Notice::SnapshotTaken { index, .. } = notices.recv_timeout(PATIENCE).unwrap() {
            assert!(index > heard);
            heard = index;
        }
    }
}

#[test]
fn a_snapshot_is_taken_after_so_many_bytes_of_log() {
    let folder = Folder::new();
    let limits = |options| GroupOptions {
        snapshot_entries: 0,
        snapshot_log_bytes: 64 << 10,
        retained_entries: 0,
        ..options
    };
    let members = cluster_with(&folder, 1, |_| Behaviour::default(), limits);
    let text = "x".repeat(10 << 10);
    for _ in 0..5 {
        propose(&members[0].group, &text).unwrap();
    }
    assert_eq!(status(&members[0].group).first_index, 2, "50 KiB are below the limit");
    for _ in 0..5 {
        propose(&members[0].group, &text).unwrap();
    }
    eventually("a snapshot", || (status(&members[0].group).first_index > 5).then_some(()));
}

#[test]
fn a_snapshot_on_demand_is_of_everything_applied_and_completes_with_its_index() {
    for kind in IN_MEMORY_KINDS {
        let folder = Folder::new();
        let members = cluster_with(&folder, 3, |_| of_kind(kind), keeping_nothing);
        for member in &members {
            let completion = propose(&member.group, "entry").unwrap();
            let index = take_snapshot(&member.group).unwrap();
            assert!(index >= completion.index, "{index} is before {}", completion.index);
            let status = status(&member.group);
            assert_eq!(status.snapshot_index, index);
            assert_eq!(status.first_index, index + 1);
        }
    }
}

#[test]
fn a_restarted_node_starts_from_its_snapshot_and_applies_only_the_tail() {
    for kind in IN_MEMORY_KINDS {
        let folder = Folder::new();
        let members = cluster_with(&folder, 1, |_| of_kind(kind), keeping_nothing);
        propose_many(&members[0].group, "before", 20);
        let snapshot = take_snapshot(&members[0].group).unwrap();
        propose_many(&members[0].group, "after", 3);
        let texts = members[0].probe.texts();
        members[0].node.close().unwrap();

        let again = reopen(&folder, 1, on_demand(), of_kind(kind));
        again.group.wait_ready(PATIENCE).unwrap();
        assert_eq!(again.probe.texts(), texts);
        assert_eq!(again.probe.restores(), 1);
        assert_eq!(again.probe.applied(), [snapshot + 1, snapshot + 2, snapshot + 3]);
        // A second restart, with a snapshot in between, restores the newer one.
        take_snapshot(&again.group).unwrap();
        again.node.close().unwrap();
        let third = reopen(&folder, 1, on_demand(), of_kind(kind));
        third.group.wait_ready(PATIENCE).unwrap();
        assert_eq!((third.probe.texts(), third.probe.applied()), (texts, Vec::new()));
    }
}

/// Lets a follower of three miss entries that the others then forget. Returns the two others.
fn leave_behind(folder: &Folder, away: u64, kind: MachineKind) -> Vec<Member> {
    let mut members = cluster_with(folder, 3, |_| of_kind(kind), keeping_nothing);
    propose(&members[0].group, "seen by all").unwrap();
    members.remove(away as usize - 1).node.close().unwrap();
    eventually("a leader of two", || propose(&members[0].group, "missed").ok());
    propose_many(&members[1].group, "missed too", 10);
    for member in &members {
        read(&member.group).unwrap();
        take_snapshot(&member.group).unwrap();
    }
    members
}

#[test]
fn a_follower_that_was_away_too_long_catches_up_by_a_snapshot() {
    for kind in IN_MEMORY_KINDS {
        let folder = Folder::new();
        let others = leave_behind(&folder, 3, kind);
        let back = reopen(&folder, 3, on_demand(), of_kind(kind));
        back.group.wait_ready(PATIENCE).unwrap();
        assert_eq!(back.probe.texts(), others[0].probe.texts());
        assert_eq!(back.probe.restores(), 1);
        assert!(status(&back.group).first_index > 10);
        // It is a full member again: with it alone beside one other, the group goes on.
        others[0].node.close().unwrap();
        eventually("a proposal at the one that was away", || propose(&back.group, "new").ok());
        same_texts(&others[1].probe, &back.probe);
        // And what it received is what it starts from the next time.
        back.node.close().unwrap();
        let again = reopen(&folder, 3, on_demand(), of_kind(kind));
        again.group.wait_ready(PATIENCE).unwrap();
        assert_eq!(again.probe.texts(), others[1].probe.texts());
    }
}

#[test]
fn a_concurrent_machine_is_saved_while_entries_go_on_being_applied() {
    let folder = Folder::new();
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let hook: Hook = Box::new(move || {
        let _ = entered.send(());
        released.recv().map_err(|_| MachineError::new("the test is over"))
    });
    let before_save = Mutex::new(Some(Arc::new(Mutex::new(hook))));
    let behaviour = |_| Behaviour {
        kind: MachineKind::Concurrent,
        before_save: before_save.lock().unwrap().take(),
        ..Behaviour::default()
    };
    let members = cluster_with(&folder, 1, behaviour, keeping_nothing);
    let before = propose(&members[0].group, "before").unwrap().index;
    let (completer, taken) = support::completer();
    members[0].group.take_snapshot(completer).unwrap();
    has_entered.recv_timeout(PATIENCE).unwrap();
    propose_many(&members[0].group, "meanwhile", 5);
    assert!(taken.try_recv().is_err(), "the snapshot is still being written");
    release.send(()).unwrap();
    let snapshot = taken.recv_timeout(PATIENCE).unwrap().unwrap().index;
    assert_eq!(snapshot, before);
    members[0].node.close().unwrap();

    let again = reopen(&folder, 1, on_demand(), of_kind(MachineKind::Concurrent));
    again.group.wait_ready(PATIENCE).unwrap();
    assert_eq!(again.probe.applied().len(), 5, "what came meanwhile is not in the snapshot");
    assert_eq!(again.probe.texts(), members[0].probe.texts());
}

#[test]
fn a_save_that_fails_is_told_and_the_group_goes_on() {
    for kind in IN_MEMORY_KINDS {
        let folder = Folder::new();
        let fails = Arc::new(AtomicBool::new(true));
        let behaviour = |_| {
            let fails = fails.clone();
            let hook: Hook = Box::new(move || match fails.load(Ordering::SeqCst) {
                true => Err(MachineError::new("the state is out of reach")),
                false => Ok(()),
            });
            Behaviour { before_save: Some(Arc::new(Mutex::new(hook))), ..of_kind(kind) }
        };
        let members = cluster_with(&folder, 1, behaviour, keeping_nothing);
        propose(&members[0].group, "one").unwrap();
        let error = take_snapshot(&members[0].group).unwrap_err();
        assert_eq!(error.code, Code::SaveFailed);
        assert!(error.message.contains("the state is out of reach"), "{}", error.message);
        let before = status(&members[0].group);
        assert!(before.failure.is_none());
        assert_eq!(before.first_index, 2, "nothing is forgotten without a snapshot");
        propose(&members[0].group, "two").unwrap();
        fails.store(false, Ordering::SeqCst);
        take_snapshot(&members[0].group).unwrap();
        members[0].node.close().unwrap();
        let again = reopen(&folder, 1, on_demand(), of_kind(kind));
        again.group.wait_ready(PATIENCE).unwrap();
        assert_eq!(again.probe.texts(), ["one", "two"]);
    }
}

fn failing_restore(kind: MachineKind) -> Behaviour {
    let hook: Hook = Box::new(|| Err(MachineError::new("the shelf is full")));
    Behaviour { before_restore: Some(hook), ..of_kind(kind) }
}

#[test]
fn a_restore_that_fails_stops_the_group_on_that_node_only_until_it_is_opened_again() {
    let folder = Folder::new();
    let kind = MachineKind::InMemory;
    let others = leave_behind(&folder, 3, kind);
    // It received the snapshot of the leader, and cannot take it.
    let back = reopen(&folder, 3, on_demand(), failing_restore(kind));
    let failure = eventually("the failure", || status(&back.group).failure);
    assert_eq!(failure.code, Code::RestoreFailed);
    assert!(failure.message.contains("the shelf is full"), "{}", failure.message);
    assert_eq!(propose(&back.group, "refused").unwrap_err().code, Code::RestoreFailed);
    eventually("the others", || propose(&others[0].group, "goes on").ok());
    back.node.close().unwrap();
    // The snapshot is kept, so the next start tries it again; and again.
    let second = reopen(&folder, 3, on_demand(), failing_restore(kind));
    assert_eq!(second.group.wait_ready(PATIENCE).unwrap_err().code, Code::RestoreFailed);
    second.node.close().unwrap();
    let third = reopen(&folder, 3, on_demand(), of_kind(kind));
    third.group.wait_ready(PATIENCE).unwrap();
    assert_eq!(third.probe.texts(), others[0].probe.texts());
}

#[test]
fn a_restore_of_the_nodes_own_snapshot_that_fails_is_what_waiting_for_the_group_returns() {
    let folder = Folder::new();
    let members = cluster_with(&folder, 1, |_| Behaviour::default(), keeping_nothing);
    propose(&members[0].group, "one").unwrap();
    take_snapshot(&members[0].group).unwrap();
    members[0].node.close().unwrap();
    let again = reopen(&folder, 1, on_demand(), failing_restore(MachineKind::InMemory));
    let error = again.group.wait_ready(PATIENCE).unwrap_err();
    assert_eq!(error.code, Code::RestoreFailed);
    assert!(error.message.contains("the shelf is full"), "{}", error.message);
    again.node.close().unwrap();
    let third = reopen(&folder, 1, on_demand(), Behaviour::default());
    third.group.wait_ready(PATIENCE).unwrap();
    assert_eq!(third.probe.texts(), ["one"]);
}

#[test]
fn a_transfer_that_is_cut_in_the_middle_is_made_again() {
    let folder = Folder::new();
    let members = cluster_with(&folder, 1, |_| Behaviour::default(), keeping_nothing);
    let text = "x".repeat(1 << 20);
    for _ in 0..4 {
        propose(&members[0].group, &text).unwrap();
    }
    take_snapshot(&members[0].group).unwrap();
    // The joiner is reached through a line that breaks twice after two of the four megabytes.
    let proxy = Proxy::start(&folder.address(102), &folder.address(2), 2, 2 << 20);
    let options = libraft::NodeOptions {
        advertised_address: proxy.address.clone(),
        ..node_options(&folder, 2)
    };
    let node = Node::open(options).unwrap();
    let (machine, probe) = recorder(Behaviour::default());
    let group = node.start_group(on_demand(), machine).unwrap();
    let add = libraft::Change::AddLearner { node_id: 2, address: proxy.address.clone() };
    change(&members[0].group, vec![add]).unwrap();
    group.wait_ready(PATIENCE).unwrap();
    assert_eq!(probe.texts(), members[0].probe.texts());
    assert_eq!(proxy.cuts(), 2);
    node.close().unwrap();
    members[0].node.close().unwrap();
}

#[test]
fn a_snapshot_can_be_asked_for_while_the_group_forms_and_is_refused() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let own = InitialMember { node_id: 1, address: folder.address(1) };
    let absent = InitialMember { node_id: 2, address: folder.address(2) };
    let (machine, _probe) = recorder(Behaviour::default());
    let group = node.start_group(group_options(&[own, absent]), machine).unwrap();
    assert_eq!(take_snapshot(&group).unwrap_err().code, Code::Forming);
}

#[test]
fn snapshots_under_load_never_disturb_what_is_replicated() {
    let folder = Folder::new();
    let limits = |options| GroupOptions { snapshot_entries: 20, retained_entries: 5, ..options };
    let members = cluster_with(&folder, 3, |_| Behaviour::default(), limits);
    let leading = leader(&members);
    propose_many(&members[leading].group, "entry", 300);
    for member in &members {
        read(&member.group).unwrap();
        assert_eq!(member.probe.texts().len(), 300);
        assert_eq!(member.probe.texts(), members[leading].probe.texts());
        eventually("compaction", || (status(&member.group).first_index > 200).then_some(()));
    }
    for member in &members {
        member.node.close().unwrap();
    }
    let again: Vec<Member> = (1..=3)
        .map(|node_id| reopen(&folder, node_id, limits(group_options(&[])), Behaviour::default()))
        .collect();
    for member in &again {
        member.group.wait_ready(PATIENCE).unwrap();
        assert_eq!(member.probe.texts(), members[leading].probe.texts());
        assert!(member.probe.applied().len() < 60, "it started from its snapshot");
    }
}

#[test]
fn a_quick_machine_answers_in_order_when_snapshots_take_it_to_another_thread_and_back() {
    let folder = Folder::new();
    let limits = |options| GroupOptions { snapshot_entries: 20, retained_entries: 50, ..options };
    let quick = |_| Behaviour { quick: true, ..Behaviour::default() };
    let members = cluster_with(&folder, 3, quick, limits);
    let leading = leader(&members);
    let (sender, results) = mpsc::channel();
    let propose = |number: usize| {
        let (sender, text) = (sender.clone(), format!("entry {number}"));
        let expected = text.clone();
        let completer = Completer::quick(move |result| {
            let _ = sender.send((expected, result));
        });
        members[leading].group.propose(text.as_bytes(), completer).unwrap();
    };
    let (count, in_flight) = (20_000, 40);
    (0..in_flight).for_each(propose);
    for number in in_flight..count + in_flight {
        let (expected, result) = results.recv_timeout(PATIENCE).unwrap();
        assert_eq!(result.unwrap().result, expected.as_bytes());
        if number < count {
            propose(number);
        }
    }
    for member in &members {
        read(&member.group).unwrap();
        assert_eq!(member.probe.texts().len(), count);
    }
}
