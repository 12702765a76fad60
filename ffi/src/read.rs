//! Linearizable reads.

use std::ffi::c_void;

use crate::boundary::{self, Out};
use crate::completion::{libraft_completer, Destination};
use crate::error::libraft_error;
use crate::group::libraft_group;
use crate::handle;
use crate::wait;

/// Asks for a moment from which reading the application's own state is linearizable: completes once
/// this node's state machine has applied everything that was committed, anywhere, before the call.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: the completion is delivered once, maybe before this returns.
/// **Errors**: then there is no completion. As libraft_group_propose.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_read_index(
    group: *mut libraft_group,
    completer: *const libraft_completer,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let destination = Destination::read(completer, user_data, 1)?;
            group.group.read_index(destination.into_completer())
        })
    }
}

/// As libraft_group_read_index, and waits. `index` may be NULL: up to there the state machine has
/// applied at least.
///
/// **Threads**: any, but not from a callback. Blocks, for as long as the group's proposal timeout
/// at most.
/// **Ownership**: nothing is handed over.
/// **Errors**: as libraft_group_read_index and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_read_index_wait(
    group: *mut libraft_group,
    index: *mut u64,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let index = Out::optional(index, "index")?;
            let done = wait::until_done("libraft_group_read_index_wait", |completer| {
                group.group.read_index(completer)
            })?;
            index.set(done.index);
            Ok(())
        })
    }
}
