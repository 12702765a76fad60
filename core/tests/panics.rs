//! What happens when the program's log callback panics on the library's event loop.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex};

use libraft::machine::{Apply, MachineError, Opened, Reply};
use libraft::{Code, GroupOptions, Node, StateMachine};
use support::{
    completer, group_options, members_of, node_options, propose, recorder, Behaviour, Folder,
    PATIENCE,
};
use tracing::span;

static ARMED: AtomicBool = AtomicBool::new(false);

/// Panics on the event loop once it is armed.
struct Grenade;

impl tracing::Subscriber for Grenade {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        let on_loop = std::thread::current().name() == Some("libraft-worker");
        if on_loop && ARMED.swap(false, Ordering::SeqCst) {
            panic!("on purpose");
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Fails to open, or waits with that for ever.
#[derive(Default)]
struct Closed {
    fails: bool,
    asked: Arc<Mutex<Vec<Reply<Opened>>>>,
}

impl StateMachine for Closed {
    fn open(&mut self, reply: Reply<Opened>) {
        match self.fails {
            true => reply.send(Err(MachineError::new("it is closed"))),
            false => self.asked.lock().unwrap().push(reply),
        }
    }

    fn apply(&mut self, _: Apply) {}

    fn save_snapshot(&mut self, _: Box<dyn std::io::Write + Send>, _: Reply<()>) {}

    fn restore_snapshot(&mut self, _: Box<dyn std::io::Read + Send>, _: Reply<()>) {}
}

#[test]
fn a_panic_on_the_event_loop_closes_the_node_and_leaves_nobody_waiting() {
    tracing::subscriber::set_global_default(Grenade).unwrap();
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let (machine, probe) = recorder(Behaviour::default());
    let group = node.start_group(group_options(&members), machine).unwrap();
    propose(&group, "kept").unwrap();
    let options = |group_id| GroupOptions { group_id, ..group_options(&members) };
    let opening = node.start_group(options(2), Box::new(Closed::default())).unwrap();
    let (waits, waiting) = completer();
    opening.propose(b"x", waits).unwrap();

    ARMED.store(true, Ordering::SeqCst);
    let failing = Closed { fails: true, ..Closed::default() };
    node.start_group(options(3), Box::new(failing)).unwrap();
    assert_eq!(waiting.recv_timeout(PATIENCE).unwrap().unwrap_err().code, Code::Closed);
    let (closed, has_closed) = mpsc::channel();
    let again = node.clone();
    std::thread::spawn(move || closed.send(again.close()).unwrap());
    let error = has_closed.recv_timeout(PATIENCE).expect("close returns").unwrap_err();
    assert_eq!(error.code, Code::Panicked);
    assert!(probe.is_dropped());
    opening.stop().unwrap();
    group.stop().unwrap();
    assert_eq!(propose(&group, "x").unwrap_err().code, Code::Closed);
    assert_eq!(node.status().unwrap().failure.unwrap().code, Code::Panicked);

    let node = Node::open(node_options(&folder, 1)).unwrap();
    let (machine, probe) = recorder(Behaviour::default());
    let group = node.start_group(GroupOptions { group_id: 1, ..Default::default() }, machine);
    group.unwrap().wait_ready(PATIENCE).unwrap();
    assert_eq!(probe.texts(), ["kept"]);
    node.close().unwrap();
}
