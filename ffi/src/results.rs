//! Results: what a state machine says of the entries it applied.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use libraft::{Code, Error, Result};

use crate::boundary;
use crate::error::libraft_error;
use crate::handle::{self, Handle, Table, Tables};

/// Takes the results of the entries of one apply request.
pub struct libraft_results {
    _opaque: [u8; 0],
}

/// The results of one apply request: they lie one behind the other, so that setting one allocates
/// nothing of its own.
pub struct ResultsObject {
    state: Mutex<ResultsState>,
}

#[derive(Default)]
struct ResultsState {
    bytes: Vec<u8>,
    /// Where in `bytes` each entry's result lies.
    ranges: Vec<(usize, usize)>,
}

/// Results of one apply request together, in bytes.
const RESULT_BYTES_MAX: usize = 256 << 20;

impl ResultsObject {
    pub fn new(count: usize) -> ResultsObject {
        let state = ResultsState { bytes: Vec::new(), ranges: vec![(0, 0); count] };
        ResultsObject { state: Mutex::new(state) }
    }

    fn set(&self, position: usize, data: &[u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, count) = (state.bytes.len(), state.ranges.len());
        if position >= count {
            return Err(boundary::invalid(format!(
                "there is no entry at position {position}: the request has {count}"
            )));
        }
        if data.len() > RESULT_BYTES_MAX - start {
            return Err(Error::rejected(
                Code::TooLarge,
                format!("the results of one request may have {RESULT_BYTES_MAX} bytes together"),
            ));
        }
        state.bytes.extend_from_slice(data);
        state.ranges[position] = (start, start + data.len());
        Ok(())
    }

    pub fn finish(&self) -> Vec<Bytes> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ResultsState { bytes, ranges } = std::mem::take(&mut *state);
        let bytes = Bytes::from(bytes);
        ranges.into_iter().map(|(start, end)| bytes.slice(start..end)).collect()
    }
}

impl Handle for libraft_results {
    type Object = ResultsObject;
    const NOUN: &'static str = "results object";
    const KIND: u8 = 8;

    fn table(tables: &Tables) -> &Table<ResultsObject> {
        &tables.results
    }
}

/// Sets the result of the entry at `position` in the request's entries: whoever proposed it gets it
/// with the completion. An entry whose result is not set has an empty one; setting it again
/// replaces it.
///
/// **Threads**: any, until the request is answered; never blocks.
/// **Ownership**: the bytes are copied.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT if there is no such position, LIBRAFT_ERR_TOO_LARGE
/// above 256 MiB for one request, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_results_set(
    results: *mut libraft_results,
    position: usize,
    data: *const c_void,
    data_len: usize,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let data = boundary::bytes(data, data_len, "data")?;
            handle::get(results)?.set(position, data)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_entries_however_they_were_set() {
        let results = ResultsObject::new(4);
        results.set(2, b"two").unwrap();
        results.set(0, b"zero").unwrap();
        results.set(2, b"again").unwrap();
        assert_eq!(results.set(4, b"x").unwrap_err().code, Code::InvalidArgument);
        assert_eq!(results.finish(), ["zero", "", "again", ""]);
    }
}
