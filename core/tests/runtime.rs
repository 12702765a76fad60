//! The public API over real sockets, threads and files.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use libraft::machine::MachineError;
use libraft::{BatchCompleter, Code, Completer, GroupOptions, InitialMember, Node, Outcome};
use support::{
    cluster, cluster_with, completer, eventually, group_options, leader, members_of, node_options,
    propose, read, recorder, Behaviour, Folder, PATIENCE,
};

fn single_member(node: &Node) -> Vec<InitialMember> {
    members_of(std::slice::from_ref(node))
}

#[test]
fn a_single_node_forms_a_group_applies_proposals_and_has_them_after_reopening() {
    let folder = Folder::new();
    let members = {
        let node = Node::open(node_options(&folder, 1)).unwrap();
        let members = single_member(&node);
        let (machine, probe) = recorder(Behaviour::default());
        let group = node.start_group(group_options(&members), machine).unwrap();
        group.wait_ready(PATIENCE).unwrap();
        let first = propose(&group, "one").unwrap();
        let second = propose(&group, "two").unwrap();
        assert_eq!(&first.result[..], b"one");
        assert!(second.index > first.index);
        assert_eq!(probe.texts(), ["one", "two"]);
        node.close().unwrap();
        assert!(probe.is_dropped());
        members
    };
    let node = Node::open(node_options(&folder, 1)).unwrap();
    assert_eq!(node.status().unwrap().boot_counter, 2);
    let (machine, probe) = recorder(Behaviour::default());
    // The address differs after the restart; the data directory's members win.
    let _ = members;
    let options = GroupOptions { group_id: 1, ..GroupOptions::default() };
    let group = node.start_group(options, machine).unwrap();
    group.wait_ready(PATIENCE).unwrap();
    assert_eq!(probe.texts(), ["one", "two"]);
    node.close().unwrap();
}

#[test]
fn three_nodes_apply_the_same_entries_whoever_proposes_them() {
    let folder = Folder::new();
    let members =
        cluster(&folder, 3, |node_id| Behaviour { quick: node_id == 2, ..Behaviour::default() });
    for round in 0..20 {
        for member in &members {
            let node_id = member.node.status().unwrap().node_id;
            let text = format!("{round} from {node_id}");
            let completion = propose(&member.group, &text).unwrap();
            assert_eq!(&completion.result[..], text.as_bytes());
        }
    }
    for member in &members {
        read(&member.group).unwrap();
    }
    let expected = members[0].probe.texts();
    for member in &members {
        assert_eq!(member.probe.texts().len(), 60);
        assert_eq!(member.probe.texts(), expected);
    }
    for member in &members {
        member.node.close().unwrap();
    }
}

#[test]
fn a_batch_completes_once_with_the_results_in_its_order() {
    let folder = Folder::new();
    let members = cluster(&folder, 3, |_| Behaviour::default());
    for member in &members {
        let (sender, receiver) = mpsc::channel();
        let accepted = member.group.propose_batch(
            b"abbccc",
            &[0, 1, 3, 6],
            BatchCompleter::new(move |results| sender.send(results).unwrap()),
        );
        accepted.unwrap();
        let results = receiver.recv_timeout(PATIENCE).unwrap();
        let texts: Vec<Vec<u8>> =
            results.into_iter().map(|result| result.unwrap().result.to_vec()).collect();
        assert_eq!(texts, [b"a".to_vec(), b"bb".to_vec(), b"ccc".to_vec()]);
        assert!(receiver.recv().is_err(), "the batch completed twice");
    }
}

#[test]
fn a_proposal_from_its_own_completion_goes_on_for_ever_without_a_thread_of_the_program() {
    fn next(group: libraft::Group, left: u32, done: mpsc::Sender<()>) {
        let again = group.clone();
        let completer = Completer::quick(move |result| {
            result.unwrap();
            match left {
                0 => done.send(()).unwrap(),
                _ => next(again, left - 1, done),
            }
        });
        group.propose(b"again", completer).unwrap();
    }
    let folder = Folder::new();
    let members = cluster(&folder, 3, |_| Behaviour { quick: true, ..Behaviour::default() });
    let (sender, receiver) = mpsc::channel();
    next(members[leader(&members)].group.clone(), 500, sender);
    receiver.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn bad_proposals_are_refused_with_a_code_and_a_sentence() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    let group = &members[0].group;
    let refused = |data: &[u8]| group.propose(data, completer().0).unwrap_err();
    assert_eq!(refused(b"").code, Code::EmptyProposal);
    let large = refused(&vec![0; (8 << 20) + 1]);
    assert_eq!(large.code, Code::TooLarge);
    assert!(large.message.contains("8388608"), "{}", large.message);
    let unordered = group.propose_batch(b"abc", &[0, 2, 1], BatchCompleter::new(|_| {}));
    assert_eq!(unordered.unwrap_err().code, Code::InvalidArgument);
}

#[test]
fn what_exceeds_the_pending_limit_is_answered_busy_and_accepted_again_later() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let (machine, _probe) = recorder(Behaviour::default());
    let options = GroupOptions { pending_count_max: 1, ..group_options(&single_member(&node)) };
    let group = node.start_group(options, machine).unwrap();
    // The machine cannot have answered before the second call is made more often than not; either way nothing is lost.
    let mut busy = 0;
    for _ in 0..1000 {
        match propose_later(&group) {
            Ok(receiver) => drop(receiver),
            Err(error) => {
                assert_eq!(error.code, Code::Busy);
                assert!(error.retriable());
                busy += 1;
            }
        }
    }
    assert!(busy > 0);
    eventually("room for another proposal", || propose_later(&group).ok())
        .recv_timeout(PATIENCE)
        .unwrap()
        .unwrap();
}

type Later = mpsc::Receiver<Result<libraft::Completion, libraft::Error>>;

fn propose_later(group: &libraft::Group) -> Result<Later, libraft::Error> {
    let (completer, receiver) = completer();
    group.propose(b"x", completer).map(|()| receiver)
}

#[test]
fn an_apply_that_blocks_for_twenty_election_timeouts_costs_no_election() {
    let folder = Folder::new();
    let release = Arc::new(AtomicBool::new(false));
    let (entered, has_entered) = mpsc::channel();
    let behaviour = |_| {
        let (release, entered) = (release.clone(), entered.clone());
        Behaviour {
            before_apply: Some(Box::new(move || {
                let _ = entered.send(());
                while !release.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Ok(())
            })),
            ..Behaviour::default()
        }
    };
    let patient = |options| GroupOptions { proposal_timeout_ms: 300_000, ..options };
    let members = cluster_with(&folder, 3, behaviour, patient);
    let leading = leader(&members);
    let term = members[leading].group.status().unwrap().term;
    let waiting = propose_later(&members[leading].group).unwrap();
    has_entered.recv_timeout(PATIENCE).unwrap();
    // Twenty election timeouts of the test's nodes are 20 times 10 ticks of 10 ms; a soak blocks
    // for longer.
    let blocked_ms = std::env::var("LIBRAFT_BLOCKED_MS")
        .map_or(2_000, |text| text.parse().expect("LIBRAFT_BLOCKED_MS is a number"));
    let blocked_since = Instant::now();
    while blocked_since.elapsed() < Duration::from_millis(blocked_ms) {
        let status = members[leading].group.status().unwrap();
        assert_eq!(status.term, term, "an election happened");
        std::thread::sleep(Duration::from_millis(10));
    }
    release.store(true, Ordering::SeqCst);
    waiting.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn a_failing_apply_stops_its_group_on_its_node_only_and_the_error_is_kept() {
    let folder = Folder::new();
    let members = cluster(&folder, 3, |node_id| Behaviour {
        before_apply: (node_id == 1)
            .then(|| -> support::Hook { Box::new(|| Err(MachineError::new("the plate is full"))) }),
        ..Behaviour::default()
    });
    eventually("the others to go on", || propose(&members[1].group, "x").ok());
    let failure = eventually("the failure", || members[0].group.status().unwrap().failure);
    assert_eq!(failure.code, Code::ApplyFailed);
    assert!(failure.message.contains("the plate is full"), "{}", failure.message);
    let refused = propose(&members[0].group, "y").unwrap_err();
    assert_eq!(refused.code, Code::ApplyFailed);
    eventually("a proposal at the third member", || propose(&members[2].group, "z").ok());
    assert_eq!(members[2].group.status().unwrap().failure.map(|error| error.code), None);
    for member in &members {
        member.node.close().unwrap();
    }
}

#[test]
fn a_panic_in_apply_is_a_failure_and_not_the_end_of_the_process() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour {
        before_apply: Some(Box::new(|| panic!("on purpose"))),
        ..Behaviour::default()
    });
    let error = propose(&members[0].group, "x").unwrap_err();
    assert_eq!((error.code, error.outcome), (Code::ApplyFailed, Outcome::Unknown));
}

#[test]
fn closing_completes_what_is_pending_and_frees_the_directory() {
    let folder = Folder::new();
    for _ in 0..3 {
        let node = Node::open(node_options(&folder, 1)).unwrap();
        let (machine, probe) = recorder(Behaviour::default());
        let members = vec![InitialMember { node_id: 1, address: "127.0.0.1:1".to_string() }];
        let group = node.start_group(group_options(&members), machine).unwrap();
        let pending: Vec<Later> = (0..200).map(|_| propose_later(&group).unwrap()).collect();
        node.close().unwrap();
        node.close().unwrap();
        assert!(probe.is_dropped());
        for receiver in pending {
            if let Err(error) = receiver.recv_timeout(PATIENCE).unwrap() {
                assert_eq!(error.code, Code::Closed, "{error}");
            }
        }
        let refused = propose_later(&group).unwrap_err();
        assert_eq!(refused.code, Code::Closed);
    }
}

#[test]
fn a_directory_in_use_is_refused_and_named() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let error = Node::open(node_options(&folder, 1)).err().unwrap();
    assert_eq!(error.code, Code::DirectoryInUse);
    assert!(error.message.contains("node-1"), "{}", error.message);
    node.close().unwrap();
    Node::open(node_options(&folder, 1)).unwrap().close().unwrap();
}

#[test]
fn blocking_calls_on_the_librarys_own_threads_are_refused() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    let (sender, receiver) = mpsc::channel();
    let (node, group) = (members[0].node.clone(), members[0].group.clone());
    let completer = Completer::new(move |_| {
        let waited = group.wait_ready(PATIENCE).unwrap_err().code;
        sender.send((waited, node.close().unwrap_err().code)).unwrap();
    });
    members[0].group.propose(b"x", completer).unwrap();
    let codes = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(codes, (Code::WouldDeadlock, Code::WouldDeadlock));
    // The close that was refused there has begun all the same.
    members[0].node.close().unwrap();
}

#[test]
fn a_group_that_becomes_ready_can_be_waited_for_without_a_thread() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let mut members = single_member(&node);
    members.push(InitialMember { node_id: 2, address: folder.address(2) });
    let start = |node: &Node| {
        node.start_group(group_options(&members), recorder(Behaviour::default()).0).unwrap()
    };
    let group = start(&node);
    let (soon, result) = completer();
    group.wait_ready_async(Duration::from_millis(1), soon).unwrap();
    assert_eq!(result.recv_timeout(PATIENCE).unwrap().unwrap_err().code, Code::Timeout);

    let (late, result) = completer();
    group.wait_ready_async(PATIENCE, late).unwrap();
    let other = Node::open(node_options(&folder, 2)).unwrap();
    start(&other);
    result.recv_timeout(PATIENCE).unwrap().unwrap();
    other.close().unwrap();
    node.close().unwrap();
}

#[test]
fn a_stopped_group_starts_again_with_its_data() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    propose(&members[0].group, "kept").unwrap();
    members[0].group.stop().unwrap();
    assert!(members[0].probe.is_dropped());
    assert_eq!(propose(&members[0].group, "x").unwrap_err().code, Code::Stopped);
    let (machine, probe) = recorder(Behaviour::default());
    let options = GroupOptions { group_id: 1, ..GroupOptions::default() };
    let group = members[0].node.start_group(options, machine).unwrap();
    group.wait_ready(PATIENCE).unwrap();
    assert_eq!(probe.texts(), ["kept"]);
}

#[test]
fn a_group_that_runs_cannot_be_started_twice() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    let (machine, _probe) = recorder(Behaviour::default());
    let options = GroupOptions { group_id: 1, ..GroupOptions::default() };
    let error = members[0].node.start_group(options, machine).err().unwrap();
    assert_eq!(error.code, Code::GroupExists);
}

#[test]
fn the_loss_of_the_leader_costs_a_new_term_and_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let mut members = cluster(&folder, 3, |_| Behaviour::default());
    let old = leader(&members);
    let term = members[old].group.status().unwrap().term;
    propose(&members[old].group, "before").unwrap();
    members.remove(old).node.close().unwrap();
    eventually("a proposal at the others", || propose(&members[0].group, "after").ok());
    assert!(members[0].group.status().unwrap().term > term);
    read(&members[1].group).unwrap();
    assert_eq!(members[1].probe.texts()[0], "before");
}
