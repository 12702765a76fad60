//! What a call returns: a future that can be awaited, or waited for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use libraft::runtime::is_library_thread;
use libraft::{Code, Error};
use pyo3::exceptions::{PyStopIteration, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList};

use crate::arguments::type_name;
use crate::error::{invalid, new_exception, to_exception, wrong_type, OrRaise};
use crate::interpreter;
use crate::mailbox::Mailbox;

/// How long a thread waits before it looks whether a signal (Ctrl-C) wants to be handled.
const BETWEEN_SIGNAL_CHECKS: Duration = Duration::from_millis(100);

/// What a call completes with when it succeeds.
pub enum Value {
    Completion(libraft::Completion),
    Batch(Vec<Result<libraft::Completion, Error>>),
    Index(u64),
    Nothing,
}

/// A call on its way. Completed once, by a thread of the library, which never waits for the
/// interpreter.
#[derive(Default)]
pub struct Call {
    outcome: OnceLock<Result<Value, Error>>,
    waiters: Mutex<Vec<Waiter>>,
    completed: Condvar,
}

/// An asyncio future, and the event loop that it belongs to.
struct Waiter {
    mailbox: Arc<Mailbox>,
    future: Py<PyAny>,
}

impl Call {
    pub fn complete(self: &Arc<Call>, outcome: Result<Value, Error>) {
        // A second completion would be a defect of the core; the first one counts.
        let _ = self.outcome.set(outcome);
        // A thread that is about to wait has looked at the outcome with this lock held.
        let waiters = std::mem::take(&mut *self.waiters());
        self.completed.notify_all();
        for waiter in waiters {
            waiter.mailbox.push(waiter.future, self.clone());
        }
    }

    pub fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Blocks; returns whether the call is done.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut waiters = self.waiters();
        while !self.is_done() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.completed.wait_timeout(waiters, left);
            waiters = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Has `future` told through `mailbox` when the call is done.
    fn tell(self: &Arc<Call>, mailbox: Arc<Mailbox>, future: Py<PyAny>) {
        let mut waiters = self.waiters();
        if !self.is_done() {
            return waiters.push(Waiter { mailbox, future });
        }
        drop(waiters);
        mailbox.push(future, self.clone());
    }

    /// The result, made anew for each who asks: so a future holds no exception, whose frames may
    /// hold the future.
    pub fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.outcome.get() {
            Some(Ok(value)) => value.to_python(py),
            Some(Err(error)) => Err(to_exception(py, error)),
            None => Err(invalid(py, "the call is not done yet")),
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Value {
    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Value::Completion(completion) => {
                Ok(Bound::new(py, Completion(completion.clone()))?.into_any())
            }
            Value::Batch(results) => {
                let list = PyList::empty(py);
                for result in results {
                    match result {
                        Ok(completion) => list.append(Completion(completion.clone()))?,
                        Err(error) => list.append(new_exception(py, error)?)?,
                    }
                }
                Ok(list.into_any())
            }
            Value::Index(index) => Ok(index.into_pyobject(py)?.into_any()),
            Value::Nothing => Ok(py.None().into_bound(py)),
        }
    }
}

/// The result of a call that was made and may not be done: await it, or call `result`.
#[pyclass(frozen, weakref, generic, module = "libraft")]
pub struct Future {
    call: Arc<Call>,
    /// The address of the event loop on which the group's callbacks run, or 0: to block that one
    /// would be to wait for oneself.
    callback_loop: usize,
}

impl Future {
    pub fn new(call: Arc<Call>, callback_loop: usize) -> Future {
        Future { call, callback_loop }
    }
}

#[pymethods]
impl Future {
    /// Whether the call has completed, one way or the other.
    fn done(&self) -> bool {
        self.call.is_done()
    }

    /// The call's result; raises its error. Blocks until the call is done, other threads go on.
    ///
    /// After `timeout` seconds raises TimeoutError; the call goes on. In a callback of a state
    /// machine, which the call may be waiting for, raises WouldDeadlockError.
    #[pyo3(signature = (timeout=None), text_signature = "($self, timeout=None)")]
    pub fn result<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.wait(py, seconds(timeout)?)?;
        self.call.result(py)
    }

    /// As `result`, but returns the error, or None.
    #[pyo3(signature = (timeout=None), text_signature = "($self, timeout=None)")]
    fn exception<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.wait(py, seconds(timeout)?)?;
        match self.call.outcome.get() {
            Some(Err(error)) => new_exception(py, error).map(Some),
            _ => Ok(None),
        }
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        interpreter::check_process().or_raise(py)?;
        if self.call.is_done() {
            let value = self.call.result(py)?.unbind();
            return Ok(Bound::new(py, Ready { value })?.into_any());
        }
        let event_loop = RUNNING_LOOP.import(py, "asyncio", "get_running_loop")?.call0()?;
        let future = event_loop.call_method0(pyo3::intern!(py, "create_future"))?;
        let mailbox = Mailbox::of(&event_loop)?;
        self.call.tell(mailbox, future.clone().unbind());
        future.call_method0(pyo3::intern!(py, "__await__"))
    }

    fn __repr__(&self) -> &'static str {
        match self.call.outcome.get() {
            None => "<libraft.Future pending>",
            Some(Ok(_)) => "<libraft.Future done>",
            Some(Err(_)) => "<libraft.Future failed>",
        }
    }
}

impl Future {
    fn wait(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<()> {
        interpreter::check_process().or_raise(py)?;
        if self.call.is_done() {
            return Ok(());
        }
        if is_library_thread() || runs(py, self.callback_loop)? {
            return Err(to_exception(py, &would_deadlock("result")));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = left.unwrap_or(BETWEEN_SIGNAL_CHECKS).min(BETWEEN_SIGNAL_CHECKS);
            if py.detach(|| self.call.wait(slice)) {
                return Ok(());
            }
            py.check_signals()?;
            if left.is_some_and(|left| left <= slice) {
                return Err(PyTimeoutError::new_err("the call is not done yet; it goes on"));
            }
        }
    }
}

/// Whether the event loop at this address is the one that runs on this thread.
pub fn runs(py: Python<'_>, event_loop: usize) -> PyResult<bool> {
    static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if event_loop == 0 {
        return Ok(false);
    }
    let running = RUNNING_LOOP.import(py, "asyncio", "_get_running_loop")?.call0()?;
    Ok(running.as_ptr() as usize == event_loop)
}

pub fn would_deadlock(what: &str) -> Error {
    Error::rejected(
        Code::WouldDeadlock,
        format!(
            "{what} would wait for the very thread that it is called on: await it, or call it \
             on another thread"
        ),
    )
}

/// A timeout in seconds, as Python has them. None, and more than a clock can count, is for ever.
pub fn seconds(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    let Some(value) = timeout else { return Ok(None) };
    let Ok(seconds) = value.extract::<f64>() else {
        let message = format!("timeout must be a number of seconds, not {}", type_name(value));
        return Err(wrong_type(value.py(), &message));
    };
    if seconds.is_nan() {
        return Err(invalid(value.py(), "timeout is not a number"));
    }
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok())
}

/// An awaitable whose value is there already.
#[pyclass(frozen)]
pub struct Ready {
    pub value: Py<PyAny>,
}

#[pymethods]
impl Ready {
    fn __await__(this: Py<Ready>) -> Py<Ready> {
        this
    }

    fn __iter__(this: Py<Ready>) -> Py<Ready> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        Err(PyStopIteration::new_err((self.value.clone_ref(py),)))
    }
}

/// What an applied proposal completes with.
#[pyclass(frozen, module = "libraft")]
pub struct Completion(libraft::Completion);

#[pymethods]
impl Completion {
    /// The entry's index in the log.
    #[getter]
    fn index(&self) -> u64 {
        self.0.index
    }

    /// The entry's term.
    #[getter]
    fn term(&self) -> u64 {
        self.0.term
    }

    /// What this node's state machine returned for the entry.
    #[getter]
    fn result<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.result)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let result = self.result(py).repr()?.to_string();
        Ok(format!("Completion(index={}, term={}, result={result})", self.0.index, self.0.term))
    }
}
