//! What a program passes in, checked: whatever is wrong with it becomes an exception with a code.

use std::path::PathBuf;

use libraft::{Code, Error};
use pyo3::exceptions::PyOverflowError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyMemoryView, PyString};

use crate::error::{invalid, to_exception, wrong_type};

/// A bytes-like object as `bytes`; one that is not `bytes` already is copied.
pub fn bytes<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let py = value.py();
    // A memory view takes what has a buffer, and nothing else: `bytes(5)` and `bytes([1, 2])` would
    // work as well.
    let Ok(view) = PyMemoryView::from(value) else {
        let hint = if value.is_instance_of::<PyString>() { ": encode the text first" } else { "" };
        let message = format!("{what} must be bytes-like, not {}{hint}", type_name(value));
        return Err(wrong_type(py, &message));
    };
    // SAFETY: this thread is attached, and `view` is an object; the result is a new reference, or
    //     NULL with an exception set. What PyBytes_FromObject returns is a bytes object.
    unsafe {
        let bytes = ffi::PyBytes_FromObject(view.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(py, bytes)?.cast_into_unchecked())
    }
}

/// An integer of 64 bits without a sign.
pub fn number(value: &Bound<'_, PyAny>, what: &str) -> PyResult<u64> {
    within(value, what, "between 0 and 2^64 - 1")
}

/// An integer of 64 bits with a sign.
pub fn signed_number(value: &Bound<'_, PyAny>, what: &str) -> PyResult<i64> {
    within(value, what, "between -2^63 and 2^63 - 1")
}

pub fn size(value: &Bound<'_, PyAny>, what: &str) -> PyResult<usize> {
    within(value, what, "between 0 and 2^64 - 1")
}

fn within<'py, T>(value: &Bound<'py, PyAny>, what: &str, range: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let py = value.py();
    value.extract::<T>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(py) {
            return invalid(py, format!("{what} must be {range}"));
        }
        wrong_type(py, &format!("{what} must be an int, not {}", type_name(value)))
    })
}

pub fn boolean(value: &Bound<'_, PyAny>, what: &str) -> PyResult<bool> {
    match value.cast::<PyBool>() {
        Ok(boolean) => Ok(boolean.is_true()),
        Err(_) => {
            Err(wrong_type(value.py(), &format!("{what} must be a bool, not {}", type_name(value))))
        }
    }
}

pub fn text(value: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    let py = value.py();
    let Ok(text) = value.cast::<PyString>() else {
        return Err(wrong_type(py, &format!("{what} must be a str, not {}", type_name(value))));
    };
    text.extract::<String>().map_err(|_| {
        let message = format!("{what} cannot be written in UTF-8: it has a lone surrogate");
        to_exception(py, &Error::rejected(Code::InvalidUtf8, message))
    })
}

/// A str, bytes or os.PathLike.
pub fn path(value: &Bound<'_, PyAny>, what: &str) -> PyResult<PathBuf> {
    value.extract::<PathBuf>().map_err(|_| {
        let message = format!("{what} must be a str or os.PathLike, not {}", type_name(value));
        wrong_type(value.py(), &message)
    })
}

/// The name of an object's type, for messages.
pub fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "?".to_string(), |name| name.to_string())
}
