//! Entries on their way to `apply`, and the results on their way back.

use bytes::Bytes;
use libraft::machine::AppliedEntry;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::arguments::{bytes, type_name};
use crate::error::wrong_type;

/// An entry of the log that the state machine is to apply.
#[pyclass(frozen, module = "libraft")]
pub struct Entry {
    /// The entry's index in the log. Indexes ascend, but may leave gaps.
    #[pyo3(get)]
    index: u64,
    /// The entry's term.
    #[pyo3(get)]
    term: u64,
    /// What was proposed.
    #[pyo3(get)]
    data: Py<PyBytes>,
}

#[pymethods]
impl Entry {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let data = self.data.bind(py).repr()?.to_string();
        Ok(format!("Entry(index={}, term={}, data={data})", self.index, self.term))
    }
}

/// All entries of one request, made in one go.
pub fn to_list<'py>(py: Python<'py>, entries: &[AppliedEntry]) -> PyResult<Bound<'py, PyList>> {
    let entries = entries.iter().map(|entry| {
        let data = PyBytes::new(py, &entry.data).unbind();
        Bound::new(py, Entry { index: entry.index, term: entry.term, data })
    });
    PyList::new(py, entries.collect::<PyResult<Vec<_>>>()?)
}

/// What `apply` returned: a sequence with one result for each entry, or None.
pub fn results(value: &Bound<'_, PyAny>, count: usize) -> PyResult<Vec<Bytes>> {
    if value.is_none() {
        return Ok(vec![Bytes::new(); count]);
    }
    let py = value.py();
    let mut flat = Vec::new();
    let mut ends = Vec::with_capacity(count);
    let mut push = |result: &Bound<'_, PyAny>| -> PyResult<()> {
        if let Ok(bytes) = result.cast::<PyBytes>() {
            flat.extend_from_slice(bytes.as_bytes());
        } else if !result.is_none() {
            flat.extend_from_slice(bytes(result, "a result of apply")?.as_bytes());
        }
        ends.push(flat.len());
        Ok(())
    };
    if let Ok(list) = value.cast::<PyList>() {
        list.iter().try_for_each(|result| push(&result))?;
    } else {
        let Ok(results) = value.try_iter() else {
            let message = format!("apply must return a list of results, not {}", type_name(value));
            return Err(wrong_type(py, &message));
        };
        results.into_iter().try_for_each(|result| push(&result?))?;
    }
    if ends.len() != count {
        let message = format!("apply returned {} results for {count} entries", ends.len());
        return Err(crate::error::invalid(py, message));
    }
    let flat = Bytes::from(flat);
    let mut start = 0;
    let cut = |end| {
        let result = flat.slice(start..end);
        start = end;
        result
    };
    Ok(ends.into_iter().map(cut).collect())
}
