//! Proposals.

use std::ffi::c_void;

use crate::boundary::{self, Out};
use crate::bytes::libraft_bytes;
use crate::completion::{libraft_completer, Destination};
use crate::error::libraft_error;
use crate::group::libraft_group;
use crate::handle;
use crate::wait;

/// Proposes one entry of `data_len` bytes. It completes when this node's state machine has applied
/// it. Any member may propose; followers forward to the leader. `completer` may be NULL for callers
/// who do not want to know.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: the bytes are copied; the completion is delivered once, maybe before this
/// returns.
/// **Errors**: then there is no completion. LIBRAFT_ERR_EMPTY_PROPOSAL, LIBRAFT_ERR_TOO_LARGE,
/// LIBRAFT_ERR_BUSY, LIBRAFT_ERR_NO_SPACE, LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED,
/// LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_HANDLE,
/// LIBRAFT_ERR_FORKED. A completion may carry any of 2xx to 9xx.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_propose(
    group: *mut libraft_group,
    data: *const c_void,
    data_len: usize,
    completer: *const libraft_completer,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let data = boundary::bytes(data, data_len, "data")?;
            let destination = Destination::read(completer, user_data, 1)?;
            group.group.propose(data, destination.into_completer())
        })
    }
}

/// Proposes `count` entries at once: entry i is the bytes from `offsets[i]` up to `offsets[i + 1]`
/// of `data`; there are `count + 1` offsets, which never descend. All entries are accepted or none;
/// each is applied, or not, by itself. One call of the completer brings all completions, in order.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: the bytes and offsets are copied; the completion is delivered once, maybe before
/// this returns.
/// **Errors**: as libraft_group_propose; LIBRAFT_ERR_INVALID_ARGUMENT if the offsets descend or
/// there are no entries.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_propose_batch(
    group: *mut libraft_group,
    data: *const c_void,
    offsets: *const usize,
    count: usize,
    completer: *const libraft_completer,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let offsets = offsets_of(offsets, count)?;
            let data = boundary::bytes(data, offsets[count], "data")?;
            let destination = Destination::read(completer, user_data, count)?;
            group.group.propose_batch(data, offsets, destination.into_batch_completer())
        })
    }
}

/// Proposes one entry and waits until it is applied here, for as long as the group's proposal
/// timeout at most. The outputs may be NULL: the entry's index and term, and what the state machine
/// set as its result.
///
/// **Threads**: any, but not from a callback. Blocks.
/// **Ownership**: the bytes are copied; `*result` is the caller's, until libraft_bytes_free.
/// **Errors**: as libraft_group_propose and its completion; LIBRAFT_ERR_WOULD_DEADLOCK. The error's
/// outcome says whether the entry may yet be applied.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_propose_wait(
    group: *mut libraft_group,
    data: *const c_void,
    data_len: usize,
    index: *mut u64,
    term: *mut u64,
    result: *mut *mut libraft_bytes,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let data = boundary::bytes(data, data_len, "data")?;
            let index = Out::optional(index, "index")?;
            let term = Out::optional(term, "term")?;
            let result = Out::optional(result, "result")?;
            let done = wait::until_done("libraft_group_propose_wait", |completer| {
                group.group.propose(data, completer)
            })?;
            index.set(done.index);
            term.set(done.term);
            if result.is_wanted() {
                // The entry is applied: a lack of handles must not look as if it were not.
                result.set(handle::insert(done.result).unwrap_or(std::ptr::null_mut()));
            }
            Ok(())
        })
    }
}

/// # Safety
/// `offsets` is NULL or valid for reads of `count + 1` values for `'a`.
unsafe fn offsets_of<'a>(offsets: *const usize, count: usize) -> libraft::Result<&'a [usize]> {
    if count == 0 || count == usize::MAX {
        return Err(boundary::invalid("a batch needs entries"));
    }
    // SAFETY: as the caller's.
    let offsets = unsafe { boundary::array(offsets, count + 1, "offsets") }?;
    if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err(boundary::invalid(format!(
            "offsets descend from {} to {} at entry {at}",
            offsets[at],
            offsets[at + 1]
        )));
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_must_not_descend() {
        // SAFETY: the arrays have as many values as is said.
        unsafe {
            assert!(offsets_of([0, 3, 3, 9].as_ptr(), 3).is_ok());
            let message = offsets_of([0, 3, 2].as_ptr(), 2).unwrap_err().message;
            assert_eq!(message, "offsets descend from 3 to 2 at entry 1");
            assert!(offsets_of([0].as_ptr(), 0).is_err());
            assert!(offsets_of([0].as_ptr(), usize::MAX).is_err());
            assert!(offsets_of(std::ptr::null(), 1).is_err());
        }
    }
}
