//! A request to the state machine, from the callback to the answer: returned at once, or awaited on
//! an event loop.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use libraft::machine::{MachineError, MachineResult, Opened, PreparedSnapshot, Reply};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;

use crate::arguments::number;
use crate::entry;
use crate::error::of_callback;
use crate::machine::{Prepared, Program};

/// What is to be made of a callback's return value, and who waits for it.
pub enum Ask {
    Open(Reply<Opened>),
    Apply {
        reply: Reply<Vec<Bytes>>,
        count: usize,
    },
    /// A callback that returns nothing, and what is closed by its drop when it has answered.
    Done {
        reply: Reply<()>,
        closer: Option<Box<dyn Send>>,
    },
    Prepare {
        reply: Reply<Box<dyn PreparedSnapshot>>,
        program: Arc<Program>,
    },
    /// `save_snapshot` of a prepared one: a thread waits for it.
    Saved(SyncSender<MachineResult<()>>),
}

/// An answer that is ready to be sent, which is better done without the interpreter's lock.
pub struct Answer(Box<dyn FnOnce() + Send>);

impl Answer {
    pub fn send(self) {
        (self.0)();
    }

    fn of<T: Send + 'static>(reply: Reply<T>, result: MachineResult<T>) -> Answer {
        Answer(Box::new(move || reply.send(result)))
    }
}

impl Ask {
    /// Makes an answer of what the callback returned or raised.
    pub fn answer(self, py: Python<'_>, returned: PyResult<Bound<'_, PyAny>>) -> Answer {
        match self {
            Ask::Open(reply) => {
                let opened = returned.and_then(|value| opened(&value));
                Answer::of(reply, in_words(py, opened))
            }
            Ask::Apply { reply, count } => {
                let results = returned.and_then(|value| entry::results(&value, count));
                Answer::of(reply, in_words(py, results))
            }
            Ask::Done { reply, closer } => {
                let done = in_words(py, returned.map(|_| ()));
                Answer(Box::new(move || {
                    drop(closer);
                    reply.send(done);
                }))
            }
            Ask::Prepare { reply, program } => {
                let prepared = returned.map(|value| {
                    let prepared = Prepared { program, snapshot: Some(value.unbind()) };
                    Box::new(prepared) as Box<dyn PreparedSnapshot>
                });
                Answer::of(reply, in_words(py, prepared))
            }
            Ask::Saved(sender) => {
                let saved = in_words(py, returned.map(|_| ()));
                Answer(Box::new(move || {
                    // The thread waits for nothing else.
                    let _ = sender.try_send(saved);
                }))
            }
        }
    }
}

fn in_words<T>(py: Python<'_>, result: PyResult<T>) -> MachineResult<T> {
    result.map_err(|error| of_callback(py, &error))
}

fn opened(value: &Bound<'_, PyAny>) -> PyResult<Opened> {
    if value.is_none() {
        return Ok(Opened::default());
    }
    let applied_index = number(value, "what open returns, the applied index,")?;
    Ok(Opened { applied_index, blob: Bytes::new() })
}

/// Whether a callback returned something to be awaited. The usual answers are told by their type
/// alone.
pub fn is_awaitable(value: &Bound<'_, PyAny>) -> bool {
    let usual = value.is_none() || value.is_exact_instance_of::<PyList>();
    !usual && value.hasattr(pyo3::intern!(value.py(), "__await__")).unwrap_or(false)
}

/// Has `awaitable` awaited on the event loop. Returns an answer if that cannot be.
pub fn await_on(
    program: &Arc<Program>,
    event_loop: Option<&Py<PyAny>>,
    awaitable: Bound<'_, PyAny>,
    ask: Ask,
) -> Option<Answer> {
    static START: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = awaitable.py();
    let Some(event_loop) = event_loop else {
        // Python warns of a coroutine that nobody awaits; this one is known.
        let _ = awaitable.call_method0("close");
        let error = PyRuntimeError::new_err(
            "a callback returned an awaitable, but start_group was not called from a coroutine: \
             there is no event loop to await it on",
        );
        return Some(ask.answer(py, Err(error)));
    };
    let pending = Pending { ask: Mutex::new(Some(ask)), _program: program.clone() };
    let started = Bound::new(py, pending).and_then(|pending| {
        let start = START.import(py, "libraft.machine", "start_task")?;
        let arguments = (start, &awaitable, &pending);
        match event_loop.bind(py).call_method1("call_soon_threadsafe", arguments) {
            Ok(_) => Ok(None),
            Err(error) => {
                let _ = awaitable.call_method0("close");
                Ok(pending.get().take().map(|ask| ask.answer(py, Err(error))))
            }
        }
    });
    // Without memory for it the request was dropped, which answers it.
    started.unwrap_or(None)
}

/// A request whose callback is being awaited: called with the task when that is done. Dropped
/// without that, with its event loop, say, it answers that it was.
#[pyclass(frozen)]
pub struct Pending {
    ask: Mutex<Option<Ask>>,
    /// It is destroyed after its last callback, also if the group is closed meanwhile.
    _program: Arc<Program>,
}

impl Pending {
    fn take(&self) -> Option<Ask> {
        self.ask.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Pending {
    fn __call__(&self, task: &Bound<'_, PyAny>) {
        let py = task.py();
        let Some(ask) = self.take() else { return };
        // Raises what the callback raised, or that the task was cancelled.
        let answer = ask.answer(py, task.call_method0(pyo3::intern!(py, "result")));
        py.detach(|| answer.send());
    }
}

/// The error of a request that was dropped.
pub fn dropped() -> MachineError {
    MachineError::new("the request was dropped without an answer")
}
