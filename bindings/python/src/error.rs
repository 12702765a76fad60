//! Errors of the core as exceptions, and exceptions of the program's callbacks as text.

use libraft::machine::MachineError;
use libraft::{Code, Error, Outcome};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The exception for an error of the core.
pub fn to_exception(py: Python<'_>, error: &Error) -> PyErr {
    match new_exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

/// The same, not raised yet.
pub fn new_exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let leader = error.leader.as_ref().map(|leader| (leader.node_id, leader.address.as_str()));
    NEW.import(py, "libraft.errors", "from_core")?.call1((
        error.code.number(),
        error.outcome == Outcome::Unknown,
        error.retriable(),
        error.message.as_str(),
        leader,
    ))
}

/// The error of an argument of the wrong type: an `INVALID_ARGUMENT` that is a `TypeError`, too.
pub fn wrong_type(py: Python<'_>, message: &str) -> PyErr {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let new = NEW.import(py, "libraft.errors", "ArgumentTypeError");
    match new.and_then(|new| new.call1((message,))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

pub fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    to_exception(py, &Error::rejected(Code::InvalidArgument, message))
}

/// `Result` of the core to `PyResult`.
pub trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_exception(py, &error))
    }
}

/// What a callback raised, in words: the exception first, then where it was raised.
pub fn of_callback(py: Python<'_>, error: &PyErr) -> MachineError {
    static DESCRIBE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let text = DESCRIBE
        .import(py, "libraft.errors", "describe")
        // With the traceback in it, which a borrowed value has not.
        .and_then(|describe| describe.call1((error.clone_ref(py).into_value(py),)))
        .and_then(|text| text.extract::<String>());
    MachineError::new(text.unwrap_or_else(|_| error.to_string()))
}
