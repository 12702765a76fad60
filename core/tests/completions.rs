//! Every call completes once, whatever happens meanwhile, and what nobody has taken yet is bounded.

mod support;

use std::net::TcpListener;
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant};

use libraft::machine::{Apply, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply};
use libraft::{BatchCompleter, Change, Code, Completer, GroupOptions, Node, Outcome, StateMachine};
use support::{
    cluster, completer, eventually, group_options, members_of, node_options, propose, recorder,
    Behaviour, Folder, PATIENCE,
};

/// Answers `apply` at once, and whatever else is asked when the test says so, or never.
#[derive(Default)]
struct Sluggard {
    opens: bool,
    opening: Arc<Mutex<Option<Reply<Opened>>>>,
}

impl StateMachine for Sluggard {
    fn kind(&self) -> MachineKind {
        MachineKind::Concurrent
    }

    fn open(&mut self, reply: Reply<Opened>) {
        if self.opens {
            return reply.send(Ok(Opened::default()));
        }
        *self.opening.lock().unwrap() = Some(reply);
    }

    fn apply(&mut self, request: Apply) {
        let results = request.entries.iter().map(|_| Default::default()).collect();
        request.reply.send(Ok(results));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        reply.send(Ok(Box::new(Panics)));
    }

    fn save_snapshot(&mut self, _writer: Box<dyn std::io::Write + Send>, reply: Reply<()>) {
        reply.send(Ok(()));
    }

    fn restore_snapshot(&mut self, _reader: Box<dyn std::io::Read + Send>, reply: Reply<()>) {
        reply.send(Ok(()));
    }
}

struct Panics;

impl PreparedSnapshot for Panics {
    fn save(self: Box<Self>, _writer: &mut (dyn std::io::Write + Send)) -> MachineResult<()> {
        panic!("on purpose");
    }
}

#[test]
fn a_membership_change_that_still_asks_the_new_node_completes_when_its_group_stops() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let add = |node_id| {
        let (completer, receiver) = completer();
        let change = Change::AddLearner { node_id, address: address.clone() };
        members[0].group.change_membership(vec![change], completer).unwrap();
        receiver
    };
    let waiting: Vec<_> = (2..10).map(add).collect();
    members[0].group.stop().unwrap();
    for receiver in waiting {
        let error = receiver.recv_timeout(PATIENCE).expect("it completes").unwrap_err();
        assert_eq!((error.code, error.outcome), (Code::Stopped, Outcome::Rejected));
    }
}

#[test]
fn a_membership_change_that_still_asks_the_new_node_completes_when_its_node_closes() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let add = |node_id| {
        let (completer, receiver) = completer();
        let change = Change::AddVoter { node_id, address: address.clone() };
        members[0].group.change_membership(vec![change], completer).unwrap();
        receiver
    };
    let waiting: Vec<_> = (2..10).map(add).collect();
    // One is being asked now.
    let asked = silent.accept().unwrap();
    let started = Instant::now();
    members[0].node.close().unwrap();
    // Without cutting the connections it would wait for the five seconds that a node has to answer.
    assert!(started.elapsed() < Duration::from_secs(4), "it took {:?}", started.elapsed());
    drop(asked);
    for receiver in waiting {
        let error = receiver.recv_timeout(PATIENCE).expect("it completes").unwrap_err();
        assert_eq!((error.code, error.outcome), (Code::Closed, Outcome::Rejected));
    }
}

#[test]
fn completions_that_nobody_takes_count_against_the_limit_on_what_is_pending() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let (machine, probe) = recorder(Behaviour::default());
    let members = members_of(std::slice::from_ref(&node));
    let options = GroupOptions { pending_count_max: 10, ..group_options(&members) };
    let group = node.start_group(options, machine).unwrap();
    group.wait_ready(PATIENCE).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let blocking = Completer::new(move |_| {
        let _ = released.recv();
    });
    group.propose(b"blocks the completion thread", blocking).unwrap();
    eventually("the first entry to be applied", || (probe.texts().len() == 1).then_some(()));
    let mut accepted = Vec::new();
    let started = Instant::now();
    // Everything is applied at once, but no completion can be called.
    while started.elapsed() < Duration::from_millis(500) {
        let (completer, receiver) = completer();
        if group.propose(b"x", completer).is_ok() {
            accepted.push(receiver);
        }
        std::thread::yield_now();
    }
    assert!((9..=10).contains(&accepted.len()), "{} were accepted", accepted.len());
    release.send(()).unwrap();
    for receiver in accepted {
        receiver.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    eventually("room for another proposal", || propose(&group, "y").ok());
    eventually("nothing to be pending", || {
        let status = group.status().unwrap();
        (status.pending_proposals == 0 && status.pending_bytes == 0).then_some(())
    });
}

#[test]
fn a_completion_finds_room_for_the_next_call_under_a_limit_of_one() {
    fn next(group: libraft::Group, left: u32, quick: bool, done: mpsc::Sender<()>) {
        let again = group.clone();
        let deliver = move |result: Result<_, libraft::Error>| {
            result.unwrap();
            match left {
                0 => done.send(()).unwrap(),
                _ => next(again, left - 1, quick, done),
            }
        };
        let completer = if quick { Completer::quick(deliver) } else { Completer::new(deliver) };
        group.propose(b"again", completer).unwrap();
    }
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let (machine, _probe) = recorder(Behaviour::default());
    let members = members_of(std::slice::from_ref(&node));
    let options = GroupOptions { pending_count_max: 1, ..group_options(&members) };
    let group = node.start_group(options, machine).unwrap();
    group.wait_ready(PATIENCE).unwrap();
    for quick in [false, true] {
        let (sender, receiver) = mpsc::channel();
        next(group.clone(), 50, quick, sender);
        receiver.recv_timeout(PATIENCE).unwrap();
    }
    let (sender, receiver) = mpsc::channel();
    let refused = group.propose_batch(b"ab", &[0, 1, 2], BatchCompleter::new(|_| {}));
    assert_eq!(refused.unwrap_err().code, Code::Busy);
    let completer = BatchCompleter::new(move |results| sender.send(results.len()).unwrap());
    group.propose_batch(b"..b..", &[2, 3], completer).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), 1);
}

#[test]
fn calls_to_a_group_whose_machine_does_not_open_time_out_and_do_not_wait_for_ever() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let opening = Arc::new(Mutex::new(None));
    let machine = Box::new(Sluggard { opens: false, opening: opening.clone() });
    let options = GroupOptions { proposal_timeout_ms: 50, ..group_options(&members) };
    let group = node.start_group(options, machine).unwrap();
    let error = propose(&group, "x").unwrap_err();
    // Nothing was sent to anybody, so nothing can come of it.
    assert_eq!((error.code, error.outcome), (Code::Timeout, Outcome::Rejected));
    let started = Instant::now();
    let error = group.wait_ready(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.code, Code::Timeout);
    assert!(started.elapsed() < Duration::from_secs(4), "it took {:?}", started.elapsed());
    let reply = eventually("open to be called", || opening.lock().unwrap().take());
    reply.send(Ok(Opened::default()));
    group.wait_ready(PATIENCE).unwrap();
    propose(&group, "y").unwrap();
}

#[test]
fn the_longest_timeout_there_is_means_to_wait_and_not_to_panic() {
    let folder = Folder::new();
    let members = cluster(&folder, 1, |_| Behaviour::default());
    members[0].group.wait_ready(Duration::MAX).unwrap();
}

#[test]
fn a_panic_in_saving_beside_apply_fails_that_snapshot_only_and_its_caller_hears_of_it() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let machine = Box::new(Sluggard { opens: true, ..Sluggard::default() });
    let group = node.start_group(group_options(&members), machine).unwrap();
    propose(&group, "x").unwrap();
    for _ in 0..2 {
        let (taken, result) = completer();
        group.take_snapshot(taken).unwrap();
        let error = result.recv_timeout(PATIENCE).expect("it completes").unwrap_err();
        assert_eq!(error.code, Code::SaveFailed);
        assert!(error.message.contains("panic"), "{}", error.message);
    }
    propose(&group, "y").unwrap();
    node.close().unwrap();
}
