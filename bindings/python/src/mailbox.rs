//! Where completions wait for an event loop: one wake-up for all that came meanwhile.
//!
//! The library's threads put completions in, and write to a descriptor that the loop watches. They
//! need no lock of the interpreter for that, so a busy program never holds up a heartbeat.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::future::Call;

/// The completions for one event loop. Their number is bounded by the calls that may be pending.
pub struct Mailbox {
    /// An eventfd: readable while there is something to fetch.
    bell: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rung: bool,
    arrived: Vec<(Py<PyAny>, Arc<Call>)>,
}

thread_local! {
    /// The mailbox that was last asked for on this thread, which nearly always is the next one,
    /// too.
    static LAST: RefCell<Option<(Py<PyWeakrefReference>, Arc<Mailbox>)>> =
        const { RefCell::new(None) };
}

impl Mailbox {
    /// The mailbox of this event loop, which is the running one.
    pub fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Mailbox>> {
        let py = event_loop.py();
        let last = LAST.with_borrow(|last| {
            let (known, mailbox) = last.as_ref()?;
            let known = known.bind(py).upgrade()?;
            known.is(event_loop).then(|| mailbox.clone())
        });
        if let Some(mailbox) = last {
            return Ok(mailbox);
        }
        let mailbox = Mailbox::find_or_make(event_loop)?;
        let known = PyWeakrefReference::new(event_loop)?.unbind();
        let replaced = LAST.replace(Some((known, mailbox.clone())));
        // Not while it is borrowed.
        drop(replaced);
        Ok(mailbox)
    }

    fn find_or_make(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Mailbox>> {
        static MAILBOXES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = event_loop.py();
        let mailboxes = MAILBOXES.get_or_try_init(py, || {
            // The loops are the keys, held weakly: a mailbox goes with its loop.
            py.import("weakref")?.call_method0("WeakKeyDictionary").map(Bound::unbind)
        })?;
        let mailboxes = mailboxes.bind(py);
        let found = mailboxes.call_method1("get", (event_loop,))?;
        if let Ok(found) = found.cast::<Reader>() {
            return Ok(found.get().mailbox.clone());
        }
        let mailbox = Arc::new(Mailbox { bell: new_bell()?, state: Mutex::default() });
        let reader = Bound::new(py, Reader { mailbox: mailbox.clone() })?;
        event_loop.call_method1("add_reader", (mailbox.bell.as_raw_fd(), &reader))?;
        mailboxes.set_item(event_loop, reader)?;
        Ok(mailbox)
    }

    pub fn push(&self, future: Py<PyAny>, call: Arc<Call>) {
        let mut state = self.state();
        state.arrived.push((future, call));
        if !state.rung {
            state.rung = true;
            // It cannot be full: nobody writes to a bell that has rung and was not answered.
            let _ = (&self.bell).write(&1u64.to_ne_bytes());
        }
    }

    fn take(&self) -> Vec<(Py<PyAny>, Arc<Call>)> {
        let mut state = self.state();
        if state.rung {
            state.rung = false;
            let _ = (&self.bell).read(&mut [0; 8]);
        }
        std::mem::take(&mut state.arrived)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_bell() -> io::Result<File> {
    // SAFETY: no pointers are passed.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// What the event loop calls when the bell rings.
#[pyclass(frozen)]
struct Reader {
    mailbox: Arc<Mailbox>,
}

#[pymethods]
impl Reader {
    fn __call__(&self, py: Python<'_>) {
        for (future, call) in self.mailbox.take() {
            let future = future.bind(py);
            if let Err(error) = hand_over(future, &call) {
                error.write_unraisable(py, Some(future));
            }
        }
    }
}

/// Completes an asyncio future, unless whoever awaited it was cancelled.
fn hand_over(future: &Bound<'_, PyAny>, call: &Call) -> PyResult<()> {
    let py = future.py();
    let completed = match call.result(py) {
        Ok(value) => future.call_method1(pyo3::intern!(py, "set_result"), (value,)),
        Err(error) => {
            future.call_method1(pyo3::intern!(py, "set_exception"), (error.into_value(py),))
        }
    };
    match completed {
        Err(error) if !future.call_method0("done")?.is_truthy()? => Err(error),
        _ => Ok(()),
    }
}
