//! What the library says, on its way to Python's `logging`.
//!
//! Records come from threads that must not wait for the interpreter, so they are put down here, and
//! one thread of the binding hands them over.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libraft::logging::{set_log_listener, LogLevel, LogRecord};
use libraft::runtime::with_signals_blocked;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::interpreter;

/// Records that may wait for `logging`; what comes beyond is counted, and lost.
const RECORDS_MAX: usize = 4096;

static STATE: Mutex<State> = Mutex::new(State {
    records: VecDeque::new(),
    lost: 0,
    started: false,
    ended: false,
    finished: false,
});
static CHANGED: Condvar = Condvar::new();

struct State {
    records: VecDeque<LogRecord>,
    lost: u64,
    started: bool,
    /// The thread is to hand over what there is, and to end.
    ended: bool,
    /// It has.
    finished: bool,
}

/// Begins to listen, once: at the first node.
pub fn start() {
    let mut state = lock();
    if state.started || state.ended {
        return;
    }
    let thread = std::thread::Builder::new().name("libraft-log".to_string());
    // Without the thread, for want of memory, there is no log; the node works all the same.
    if with_signals_blocked(|| thread.spawn(deliver)).is_err() {
        return;
    }
    state.started = true;
    drop(state);
    // What `logging` lets through is its own business, and may change at any time. Finer levels
    // than Debug are for those who work on the library.
    let _ = set_log_listener(LogLevel::Debug, Some(Arc::new(put)));
}

/// Hands over what there is, and ends.
pub fn finish(deadline: Instant) {
    let _ = set_log_listener(LogLevel::Off, None);
    let mut state = lock();
    state.ended = true;
    CHANGED.notify_all();
    // A handler of the program's that blocks must not keep the process.
    while state.started && !state.finished {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn put(record: &LogRecord) {
    let mut state = lock();
    if state.records.len() == RECORDS_MAX {
        state.lost += 1;
        return;
    }
    state.records.push_back(record.clone());
    drop(state);
    CHANGED.notify_one();
}

/// The body of the thread.
fn deliver() {
    loop {
        let mut state = lock();
        while state.records.is_empty() && !state.ended {
            state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let records = std::mem::take(&mut state.records);
        let lost = std::mem::take(&mut state.lost);
        if records.is_empty() {
            state.finished = true;
            CHANGED.notify_all();
            return;
        }
        drop(state);
        interpreter::attach(|py| {
            for record in records {
                emit(py, record.level, record.target, record.line, &record.message);
            }
            if lost > 0 {
                let message = format!("{lost} records were lost: logging did not keep up");
                emit(py, LogLevel::Warn, "libraft", 0, &message);
            }
        });
    }
}

fn emit(py: Python<'_>, level: LogLevel, target: &str, line: u32, message: &str) {
    static EMIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let emitted = EMIT.import(py, "libraft.log", "emit").and_then(|emit| {
        let arguments = (level as i32, target, line, message).into_pyobject(py)?;
        interpreter::call(emit, arguments.cast::<PyTuple>()?)
    });
    if let Err(error) = emitted {
        error.write_unraisable(py, None);
    }
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
