//! Events of a group, for any number of listeners in the program.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use libraft::Notice;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::OrRaise;
use crate::future::{Call, Future, Value};
use crate::interpreter;
use crate::status::role_name;

/// Events that may wait for one listener. It misses what comes beyond; the status says how things
/// stand.
const EVENTS_MAX: usize = 1024;

/// The listeners of a group, as the core sees them: one.
#[derive(Default)]
pub struct EventHub {
    state: Mutex<HubState>,
}

#[derive(Default)]
struct HubState {
    listeners: Vec<Weak<Listener>>,
    ended: bool,
}

#[derive(Default)]
struct Listener {
    state: Mutex<ListenerState>,
}

#[derive(Default)]
struct ListenerState {
    events: VecDeque<Notice>,
    ended: bool,
    waiting: Vec<Arc<Call>>,
}

/// What the core calls. Its drop is the end of the events.
pub struct HubEntrance(pub Arc<EventHub>);

impl HubEntrance {
    pub fn tell(&self, notice: &Notice) {
        let mut state = lock(&self.0.state);
        state.listeners.retain(|listener| match listener.upgrade() {
            Some(listener) => {
                listener.put(Some(notice.clone()));
                true
            }
            None => false,
        });
    }
}

impl Drop for HubEntrance {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.ended = true;
        for listener in state.listeners.drain(..).filter_map(|listener| listener.upgrade()) {
            listener.put(None);
        }
    }
}

impl EventHub {
    pub fn listen(&self) -> EventQueue {
        let listener = Arc::new(Listener::default());
        let mut state = lock(&self.state);
        lock(&listener.state).ended = state.ended;
        // Those that nobody reads any more are let go of here, too: there may be no event for long.
        state.listeners.retain(|listener| listener.strong_count() > 0);
        state.listeners.push(Arc::downgrade(&listener));
        EventQueue(listener)
    }
}

impl Listener {
    /// Another event; or, for None, the end.
    fn put(&self, notice: Option<Notice>) {
        let mut state = lock(&self.state);
        match notice {
            Some(notice) if state.events.len() < EVENTS_MAX => state.events.push_back(notice),
            Some(_) => {}
            None => state.ended = true,
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for call in waiting {
            call.complete(Ok(Value::Nothing));
        }
    }
}

/// The events of one listener; `libraft.Events` iterates over it.
#[pyclass(frozen, module = "libraft._libraft")]
pub struct EventQueue(Arc<Listener>);

#[pymethods]
impl EventQueue {
    /// The next event, or None if there is none yet.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        interpreter::check_process().or_raise(py)?;
        let notice = lock(&self.0.state).events.pop_front();
        notice.map(|notice| to_python(py, &notice)).transpose()
    }

    /// Whether no event will come after those that can be taken.
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        interpreter::check_process().or_raise(py)?;
        Ok(lock(&self.0.state).ended)
    }

    /// Completes when there is an event to take, or the end.
    fn changed(&self, py: Python<'_>) -> PyResult<Future> {
        interpreter::check_process().or_raise(py)?;
        let call = Arc::new(Call::default());
        let mut state = lock(&self.0.state);
        if state.events.is_empty() && !state.ended {
            state.waiting.push(call.clone());
        } else {
            drop(state);
            call.complete(Ok(Value::Nothing));
        }
        Ok(Future::new(call, 0))
    }
}

fn to_python<'py>(py: Python<'py>, notice: &Notice) -> PyResult<Bound<'py, PyAny>> {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let new = NEW.import(py, "libraft.events", "from_core")?;
    // kind, role, term, index, node_id, bytes
    match *notice {
        Notice::Role { role, term } => new.call1(("role", role_name(role), term, 0, 0, 0)),
        Notice::Leader { leader, term } => {
            new.call1(("leader", py.None(), term, 0, leader.unwrap_or(0), 0))
        }
        Notice::Membership { index } => new.call1(("membership", py.None(), 0, index, 0, 0)),
        Notice::SnapshotTaken { index, bytes } => {
            new.call1(("snapshot_taken", py.None(), 0, index, 0, bytes))
        }
        Notice::SnapshotInstalled { index } => {
            new.call1(("snapshot_installed", py.None(), 0, index, 0, 0))
        }
        Notice::SnapshotSending { to, index, bytes } => {
            new.call1(("snapshot_sending", py.None(), 0, index, to, bytes))
        }
        Notice::SnapshotReceiving { from, index, bytes } => {
            new.call1(("snapshot_receiving", py.None(), 0, index, from, bytes))
        }
        Notice::Failed => new.call1(("failed", py.None(), 0, 0, 0, 0)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
