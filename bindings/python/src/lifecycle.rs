//! The nodes of this process, from opening to the end of the interpreter.
//!
//! No thread of the library may call the program when the interpreter is gone. So all nodes are
//! closed before: by `atexit`, with the interpreter released meanwhile, for callbacks that run need
//! it to come to an end.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use libraft::ids::GroupId;
use libraft::{Code, Error, NodeOptions};
use pyo3::prelude::*;

use crate::{interpreter, log};

/// How long the end of the interpreter waits for callbacks that are running. Those that take longer
/// are left behind, as in a crash.
const GRACE_AT_EXIT: Duration = Duration::from_secs(3);

/// An open node. Its groups hold it as well; when the last reference goes, it begins to close.
pub struct OpenNode {
    pub node: libraft::Node,
    number: u64,
    started: Arc<Started>,
}

/// What was started on a node.
#[derive(Default)]
struct Started(Mutex<StartedState>);

#[derive(Default)]
struct StartedState {
    groups: BTreeMap<GroupId, libraft::Group>,
    /// The addresses of the event loops that callbacks of its groups run on.
    callback_loops: HashSet<usize>,
    /// The failure of a callback was raised by a close.
    told: bool,
}

static NODES: Mutex<Nodes> =
    Mutex::new(Nodes { open: BTreeMap::new(), opened: 0, closing: 0, ended: false });
static CLOSED: Condvar = Condvar::new();

struct Nodes {
    open: BTreeMap<u64, Weak<OpenNode>>,
    opened: u64,
    /// Nodes that somebody let go of, or that close at exit, and whose threads may not have ended.
    closing: usize,
    ended: bool,
}

impl OpenNode {
    /// Blocks while the log is recovered.
    pub fn open(options: NodeOptions) -> Result<Arc<OpenNode>, Error> {
        interpreter::check_process()?;
        let node = libraft::Node::open(options)?;
        let mut nodes = lock();
        if nodes.ended {
            drop(nodes);
            return Err(Error::rejected(Code::Closed, "the interpreter is coming to its end"));
        }
        nodes.opened += 1;
        let number = nodes.opened;
        let open = Arc::new(OpenNode { node, number, started: Arc::default() });
        nodes.open.insert(number, Arc::downgrade(&open));
        Ok(open)
    }

    /// Remembers a group that was started, in place of one that had its id before, and the address
    /// of the event loop that its callbacks run on, or 0.
    pub fn started(&self, group: libraft::Group, callback_loop: usize) {
        let mut started = self.started.lock();
        started.groups.insert(group.group_id(), group);
        if callback_loop != 0 {
            started.callback_loops.insert(callback_loop);
        }
    }

    pub fn callback_loops(&self) -> HashSet<usize> {
        self.started.lock().callback_loops.clone()
    }

    /// Begins to close; `done` is called when the node is closed. If a callback's failure had
    /// stopped a group, the first close is told of it.
    pub fn close_async(&self, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let started = self.started.clone();
        self.node.close_async(Box::new(move |closed| {
            done(closed.and_then(|()| started.take_failure()));
        }));
    }
}

impl Started {
    fn take_failure(&self) -> Result<(), Error> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.told, true) {
            return Ok(());
        }
        let statuses = state.groups.values().filter_map(|group| group.status().ok());
        let failure = statuses.filter_map(|status| status.failure).find(of_callback);
        failure.map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, StartedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_callback(failure: &Error) -> bool {
    matches!(
        failure.code,
        Code::ApplyFailed | Code::OpenFailed | Code::RestoreFailed | Code::SyncFailed
    )
}

impl Drop for OpenNode {
    fn drop(&mut self) {
        // In a forked child there is nothing to close, and the lock may be held for ever.
        if !interpreter::is_forked() {
            lock().open.remove(&self.number);
            begin_close(&self.node);
        }
    }
}

fn begin_close(node: &libraft::Node) {
    lock().closing += 1;
    node.close_async(Box::new(|_| {
        lock().closing -= 1;
        CLOSED.notify_all();
    }));
}

/// Closes every node that is open. For `atexit`.
#[pyfunction]
pub fn close_all_at_exit(py: Python<'_>) {
    if interpreter::is_forked() {
        return;
    }
    py.detach(|| {
        let deadline = Instant::now() + GRACE_AT_EXIT;
        let mut nodes = lock();
        nodes.ended = true;
        let open: Vec<Arc<OpenNode>> = nodes.open.values().filter_map(Weak::upgrade).collect();
        drop(nodes);
        for node in &open {
            begin_close(&node.node);
        }
        wait_closed(deadline);
        log::finish(deadline);
        interpreter::keep_out();
        // Their drop would begin to close them again.
        std::mem::forget(open);
    });
}

fn wait_closed(deadline: Instant) {
    let mut nodes = lock();
    while nodes.closing > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        nodes = CLOSED.wait_timeout(nodes, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn lock() -> MutexGuard<'static, Nodes> {
    NODES.lock().unwrap_or_else(PoisonError::into_inner)
}
