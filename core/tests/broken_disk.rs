//! A disk that fails takes every group of its node out of service, whatever the group is doing.

mod support;

use std::sync::{Arc, Mutex};

use libraft::machine::{Apply, Opened, Reply};
use libraft::{Code, GroupOptions, Node, StateMachine};
use support::{
    completer, eventually, group_options, members_of, node_options, propose, recorder, Behaviour,
    Folder, PATIENCE,
};

/// Opens when the test says so.
#[derive(Default)]
struct Late {
    opening: Arc<Mutex<Option<Reply<Opened>>>>,
}

impl StateMachine for Late {
    fn open(&mut self, reply: Reply<Opened>) {
        *self.opening.lock().unwrap() = Some(reply);
    }

    fn apply(&mut self, _: Apply) {}

    fn save_snapshot(&mut self, _: Box<dyn std::io::Write + Send>, _: Reply<()>) {}

    fn restore_snapshot(&mut self, _: Box<dyn std::io::Read + Send>, _: Reply<()>) {}
}

/// Makes every write to a file fail, on threads that block signals, or lets it succeed again.
fn let_writes_fail(fail: bool) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is valid for writing and for reading.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit), 0);
        limit.rlim_cur = if fail { 0 } else { limit.rlim_max };
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

#[test]
fn groups_that_open_and_groups_that_are_started_later_are_told_that_the_disk_failed() {
    let folder = Folder::new();
    let node = Node::open(node_options(&folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    let (machine, _probe) = recorder(Behaviour::default());
    let group = node.start_group(group_options(&members), machine).unwrap();
    propose(&group, "kept").unwrap();
    let late = Late::default();
    let opening = late.opening.clone();
    let options = |group_id| GroupOptions { group_id, ..group_options(&members) };
    let second = node.start_group(options(2), Box::new(late)).unwrap();
    let (waits, waiting) = completer();
    second.propose(b"x", waits).unwrap();
    let reply = eventually("open to be called", || opening.lock().unwrap().take());

    let_writes_fail(true);
    let failed = propose(&group, "lost");
    let refused = waiting.recv_timeout(PATIENCE);
    let (machine, _probe_of_third) = recorder(Behaviour::default());
    let third = node.start_group(options(3), machine).unwrap();
    let not_ready = third.wait_ready(PATIENCE);
    let_writes_fail(false);

    assert_eq!(failed.unwrap_err().code, Code::StorageFailed);
    assert_eq!(refused.unwrap().unwrap_err().code, Code::StorageFailed);
    assert_eq!(not_ready.unwrap_err().code, Code::StorageFailed);
    // Its machine opens all the same: too late.
    reply.send(Ok(Opened::default()));
    assert_eq!(second.wait_ready(PATIENCE).unwrap_err().code, Code::StorageFailed);
    assert_eq!(node.close().unwrap_err().code, Code::StorageFailed);
}
