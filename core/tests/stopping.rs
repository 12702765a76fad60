//! Stopping a group and closing a node, from everywhere at once.

mod support;

use std::sync::{mpsc, Arc, Mutex};
use std::time::Instant;

use libraft::{Code, GroupOptions, Node};
use support::{
    cluster, completer, group_options, members_of, node_options, propose, recorder, Behaviour,
    Folder, PATIENCE,
};

/// A machine that is inside `apply` until the sender is used.
fn held_up() -> (Behaviour, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let before_apply = Box::new(move || {
        let _ = entered.send(());
        let _ = released.recv();
        Ok(())
    });
    (Behaviour { before_apply: Some(before_apply), ..Behaviour::default() }, has_entered, release)
}

#[test]
fn every_stop_of_a_group_ends_when_its_machine_is_gone_and_not_before() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let (behaviour, entered, release) = held_up();
    let (machine, probe) = recorder(behaviour);
    let group = node.start_group(group_options(&members), machine).unwrap();
    group.propose(b"x", completer().0).unwrap();
    entered.recv_timeout(PATIENCE).unwrap();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..3 {
        let sender = sender.clone();
        group.stop_async(Box::new(move |result| sender.send(result).unwrap()));
    }
    // A call behind them shows that the loop has taken all of them in.
    let (machine, _other) = recorder(Behaviour::default());
    let options = GroupOptions { group_id: 2, ..group_options(&members) };
    node.start_group(options, machine).unwrap().wait_ready(PATIENCE).unwrap();
    assert!(receiver.try_recv().is_err(), "a stop ended while the machine was in use");
    let (machine, _again) = recorder(Behaviour::default());
    let restarted = node.start_group(group_options(&members), machine);
    assert_eq!(restarted.err().unwrap().code, Code::GroupExists);
    let closing = std::thread::spawn({
        let node = node.clone();
        move || node.close()
    });
    release.send(()).unwrap();
    for _ in 0..3 {
        receiver.recv_timeout(PATIENCE).unwrap().unwrap();
        assert!(probe.is_dropped());
    }
    closing.join().unwrap().unwrap();
    group.stop().unwrap();
}

#[test]
fn a_stop_has_ended_after_the_completions_of_what_it_ended() {
    let folder = Folder::new();
    for _ in 0..10 {
        let node = Node::open(node_options(&folder, 1)).unwrap();
        let members = members_of(std::slice::from_ref(&node));
        let (machine, _probe) = recorder(Behaviour::default());
        let group = node.start_group(group_options(&members), machine).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..20 {
            let order = order.clone();
            let completer = libraft::Completer::new(move |_| order.lock().unwrap().push("call"));
            group.propose(b"x", completer).unwrap();
        }
        group.stop().unwrap();
        order.lock().unwrap().push("stop");
        node.close().unwrap();
        let order = order.lock().unwrap();
        assert_eq!((order.len(), order[20]), (21, "stop"));
    }
}

#[test]
fn many_threads_close_while_others_start_stop_and_propose() {
    let folder = Folder::new();
    for _ in 0..5 {
        let node = Node::open(node_options(&folder, 1)).unwrap();
        let members = members_of(std::slice::from_ref(&node));
        let (accepted, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (node, members, accepted) = (node.clone(), &members, accepted.clone());
                scope.spawn(move || {
                    for round in 0..50 {
                        let group_id = 1 + thread * 100 + round;
                        let (machine, _probe) = recorder(Behaviour::default());
                        let options = GroupOptions { group_id, ..group_options(members) };
                        let Ok(group) = node.start_group(options, machine) else { return };
                        let (completer, receiver) = completer();
                        if group.propose(b"x", completer).is_ok() {
                            accepted.send(receiver).unwrap();
                        }
                        match round % 3 {
                            0 => group.stop().unwrap(),
                            1 => group.stop_async(Box::new(|_| {})),
                            _ => {}
                        }
                        if round == 10 + thread {
                            node.close().unwrap();
                        }
                    }
                });
            }
        });
        drop(accepted);
        let mut calls = 0;
        for answer in answers {
            // With a result or an error, but never not at all.
            let _ = answer.recv_timeout(PATIENCE).expect("every accepted call completes");
            assert!(answer.recv().is_err(), "a call completed twice");
            calls += 1;
        }
        assert!(calls > 0);
        node.close().unwrap();
    }
}

#[test]
fn the_last_handle_may_go_inside_a_callback_and_the_directory_is_free_afterwards() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 1, |_| Behaviour::default());
    let member = members.remove(0);
    let (closed, has_closed) = mpsc::channel();
    member.node.close_async(Box::new(move |result| closed.send(result).unwrap()));
    drop(member);
    has_closed.recv_timeout(PATIENCE).unwrap().unwrap();

    let node = Node::open(node_options(&folder, 1)).unwrap();
    let (machine, probe) = recorder(Behaviour::default());
    let options = GroupOptions { group_id: 1, ..GroupOptions::default() };
    let group = node.start_group(options, machine).unwrap();
    let inside = (node.clone(), group.clone());
    let completer = libraft::Completer::new(move |_| drop(inside));
    group.propose(b"x", completer).unwrap();
    drop((node, group));
    // The machine goes with the node, after the callback.
    support::eventually("the machine to go", || probe.is_dropped().then_some(()));
    let node = support::eventually("the directory to be free", || {
        Node::open(node_options(&folder, 1)).ok()
    });
    let (machine, _probe) = recorder(Behaviour::default());
    let options = GroupOptions { group_id: 1, ..GroupOptions::default() };
    let group = node.start_group(options, machine).unwrap();
    propose(&group, "y").unwrap();
    node.close().unwrap();
}

#[test]
fn a_listener_is_dropped_on_the_completion_thread_and_a_panic_there_ends_there() {
    struct Last(mpsc::Sender<Option<String>>);
    impl Drop for Last {
        fn drop(&mut self) {
            let name = std::thread::current().name().map(str::to_string);
            self.0.send(name).unwrap();
            panic!("on purpose");
        }
    }
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    let (sender, receiver) = mpsc::channel();
    let last = Last(sender);
    let listener = move |_| {
        let _ = &last;
    };
    members[0].group.set_listener(Some(Box::new(listener))).unwrap();
    members[0].group.stop().unwrap();
    let name = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(name.as_deref(), Some("libraft-completion"));
    members[0].node.close().unwrap();
}

#[test]
fn a_group_that_could_not_start_holds_up_nobody_who_found_it() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    node.close().unwrap();
    // One thread starts groups on the closed node, and another stops those it finds meanwhile.
    let (sender, found) = mpsc::channel();
    let stopping = std::thread::spawn({
        let node = node.clone();
        move || {
            let mut stopped = 0;
            while stopped < 20 {
                if let Some(group) = node.group(1) {
                    group.stop().unwrap();
                    stopped += 1;
                    sender.send(()).unwrap();
                }
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..20 {
        while found.try_recv().is_err() {
            assert!(Instant::now() < deadline, "a stop does not end");
            let (machine, _probe) = recorder(Behaviour::default());
            let refused = node.start_group(group_options(&members), machine);
            assert_eq!(refused.err().unwrap().code, Code::Closed);
        }
    }
    stopping.join().unwrap();
}
