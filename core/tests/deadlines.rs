//! Callbacks that do not end.

mod support;

use libraft::machine::{Apply, Reply};
use libraft::{Code, GroupOptions, Node, StateMachine};
use support::{
    completer, group_options, members_of, node_options, propose, recorder, Behaviour, Folder,
    PATIENCE,
};

/// Never answers `restore_snapshot`.
#[derive(Default)]
struct Dreamer {
    asked: Vec<Reply<()>>,
}

impl StateMachine for Dreamer {
    fn apply(&mut self, request: Apply) {
        let results = request.entries.iter().map(|_| Default::default()).collect();
        request.reply.send(Ok(results));
    }

    fn save_snapshot(&mut self, _writer: Box<dyn std::io::Write + Send>, reply: Reply<()>) {
        reply.send(Ok(()));
    }

    fn restore_snapshot(&mut self, _reader: Box<dyn std::io::Read + Send>, reply: Reply<()>) {
        self.asked.push(reply);
    }
}

#[test]
fn a_restore_that_does_not_end_in_time_takes_its_group_out_of_service_and_close_does_not_wait() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let (machine, _probe) = recorder(Behaviour::default());
    let group = node.start_group(group_options(&members), machine).unwrap();
    propose(&group, "x").unwrap();
    let (taken, result) = completer();
    group.take_snapshot(taken).unwrap();
    result.recv_timeout(PATIENCE).unwrap().unwrap();
    node.close().unwrap();

    let node = Node::open(node_options(&folder, 1)).unwrap();
    let options =
        GroupOptions { group_id: 1, snapshot_restore_timeout_ms: 50, ..GroupOptions::default() };
    let group = node.start_group(options, Box::new(Dreamer::default())).unwrap();
    let error = group.wait_ready(PATIENCE).unwrap_err();
    assert_eq!(error.code, Code::RestoreFailed);
    assert!(error.message.contains("50 ms"), "{}", error.message);
    node.close().unwrap();
}
