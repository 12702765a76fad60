//! Completions: how a call tells that it is done.

use std::ffi::c_void;
use std::sync::Arc;

use libraft::{BatchCompleter, Completer, Completion, Outcome, Result};

use crate::boundary::{self, SizeFirst};
use crate::callback::{self, UserPointer};
use crate::error::{libraft_error, ErrorObject, LIBRAFT_OK};
use crate::handle;
use crate::queue::{libraft_queue, Reservation};

/// What became of one call, or of one entry of a batch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_completion {
    /// What the caller passed with the call.
    pub user_data: *mut c_void,
    /// LIBRAFT_OK, or one of LIBRAFT_ERR_...: the cause.
    pub code: i32,
    /// One of LIBRAFT_OUTCOME_...: what became of the call.
    pub outcome: i32,
    /// Of a proposal: the index of its entry. Of a read: the index up to which the state machine
    /// has applied at least. Of a snapshot: the snapshot's index.
    pub index: u64,
    /// The term of the entry; 0 for other calls.
    pub term: u64,
    /// What the state machine set as the entry's result; NULL if nothing. Borrowed.
    pub result: *const u8,
    /// The length of the result in bytes.
    pub result_len: usize,
    /// NULL if `code` is LIBRAFT_OK, else the error in full. Borrowed: do not free it.
    pub error: *const libraft_error,
    /// The position of the entry in its batch; 0 for other calls.
    pub position: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Called once for each accepted call, with one completion, or for a batch with one for each entry,
/// in order. What it points to is borrowed until the callback returns.
pub type libraft_completion_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        completions: *const libraft_completion,
        completions_count: usize,
    ),
>;

/// How calls complete: by a callback, or through a queue. May be used for any number of calls, and
/// copied. Begin with libraft_completer_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_completer {
    /// The size of this struct in bytes; set by libraft_completer_init.
    pub size: usize,
    /// Called when the call is done; NULL if `queue` is set.
    pub callback: libraft_completion_callback,
    /// Where the completion goes instead; NULL if `callback` is set.
    pub queue: *mut libraft_queue,
    /// 1 if the callback takes microseconds and never blocks: it is then called on the event loop,
    /// which saves a wake-up. 0 for the completion thread.
    pub quick: i32,
    /// Zero.
    pub reserved: i32,
}

// SAFETY: pointers and integers, for which zero is a value; the size first.
unsafe impl SizeFirst for libraft_completer {
    const NAME: &'static str = "libraft_completer";
    const FIRST_SIZE: usize = 32;
}

/// Fills a completer with defaults. Programs call libraft_completer_init, which passes the size.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the struct stays the caller's.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
#[no_mangle]
pub unsafe extern "C" fn libraft_completer_init_sized(
    completer: *mut libraft_completer,
    size: usize,
) -> i32 {
    let default = libraft_completer {
        size: 0,
        callback: None,
        queue: std::ptr::null_mut(),
        quick: 0,
        reserved: 0,
    };
    // SAFETY: the struct is as the crate's contract says.
    unsafe {
        boundary::call(std::ptr::null_mut(), || boundary::init_sized(completer, size, &default))
    }
}

/// Where the completion of one call goes.
pub enum Destination {
    Nowhere,
    Callback {
        callback: unsafe extern "C" fn(*mut c_void, *const libraft_completion, usize),
        user_data: UserPointer,
        quick: bool,
    },
    Queue {
        reservation: Reservation,
        user_data: UserPointer,
    },
}

impl Destination {
    /// Reads a completer; NULL is for callers who do not want to know. `count` completions will
    /// come of the call.
    ///
    /// **Errors**: `InvalidArgument`, `InvalidSize`, `InvalidHandle` of the queue; `Busy` if the
    /// queue is full.
    ///
    /// # Safety
    /// `completer` is NULL or valid for reads of as many bytes as its first field says.
    pub unsafe fn read(
        completer: *const libraft_completer,
        user_data: *mut c_void,
        count: usize,
    ) -> Result<Destination> {
        if completer.is_null() {
            return Ok(Destination::Nowhere);
        }
        // SAFETY: as the caller's.
        let completer = unsafe { boundary::read_sized(completer) }?;
        if completer.reserved != 0 || !(0..=1).contains(&completer.quick) {
            return Err(boundary::invalid(
                "quick must be 0 or 1, and reserved 0; call libraft_completer_init first",
            ));
        }
        let user_data = UserPointer(user_data);
        match (completer.callback, completer.queue.is_null()) {
            (Some(callback), true) => {
                Ok(Destination::Callback { callback, user_data, quick: completer.quick == 1 })
            }
            (None, false) => {
                let queue = handle::get(completer.queue)?;
                Ok(Destination::Queue { reservation: queue.reserve(count)?, user_data })
            }
            _ => Err(boundary::invalid("a completer needs either a callback or a queue")),
        }
    }

    pub fn into_completer(self) -> Completer {
        match self {
            Destination::Nowhere => Completer::quick(|_| ()),
            Destination::Callback { callback, user_data, quick } => {
                let deliver = move |result| call_back_once(callback, user_data, &result);
                if quick {
                    Completer::quick(deliver)
                } else {
                    Completer::new(deliver)
                }
            }
            Destination::Queue { reservation, user_data } => {
                Completer::quick(move |result| reservation.deliver(user_data, vec![result]))
            }
        }
    }

    pub fn into_batch_completer(self) -> BatchCompleter {
        match self {
            Destination::Nowhere => BatchCompleter::quick(|_| ()),
            Destination::Callback { callback, user_data, quick } => {
                let deliver = move |results| call_back(callback, user_data, results);
                if quick {
                    BatchCompleter::quick(deliver)
                } else {
                    BatchCompleter::new(deliver)
                }
            }
            Destination::Queue { reservation, user_data } => {
                BatchCompleter::quick(move |results| reservation.deliver(user_data, results))
            }
        }
    }
}

fn call_back_once(
    callback: unsafe extern "C" fn(*mut c_void, *const libraft_completion, usize),
    user_data: UserPointer,
    result: &Result<Completion>,
) {
    let completion = describe(user_data, 0, result);
    // SAFETY: the host declared the function for this; the completion outlives the call.
    callback::run(|| unsafe { callback(user_data.get(), &completion, 1) });
    release(&completion);
}

fn call_back(
    callback: unsafe extern "C" fn(*mut c_void, *const libraft_completion, usize),
    user_data: UserPointer,
    results: Vec<Result<Completion>>,
) {
    let batch = CompletionBatch::new(user_data, results);
    // SAFETY: the host declared the function for this; the completions outlive the call.
    callback::run(|| unsafe { callback(user_data.get(), batch.as_ptr(), batch.count()) });
}

/// Completions as C sees them, with what they point to.
pub struct CompletionBatch {
    completions: Vec<libraft_completion>,
    results: Vec<Result<Completion>>,
}

// SAFETY: the pointers lead into `results`, whose bytes do not move, and to nobody's thread.
unsafe impl Send for CompletionBatch {}

impl CompletionBatch {
    pub fn new(user_data: UserPointer, results: Vec<Result<Completion>>) -> CompletionBatch {
        let completions = results
            .iter()
            .enumerate()
            .map(|(position, result)| describe(user_data, position, result))
            .collect();
        CompletionBatch { completions, results }
    }

    pub fn as_ptr(&self) -> *const libraft_completion {
        self.completions.as_ptr()
    }

    pub fn count(&self) -> usize {
        self.results.len()
    }
}

impl Drop for CompletionBatch {
    fn drop(&mut self) {
        self.completions.iter().for_each(release);
    }
}

fn describe(
    user_data: UserPointer,
    position: usize,
    result: &Result<Completion>,
) -> libraft_completion {
    let mut completion = libraft_completion {
        user_data: user_data.get(),
        code: LIBRAFT_OK,
        outcome: Outcome::Applied as i32,
        index: 0,
        term: 0,
        result: std::ptr::null(),
        result_len: 0,
        error: std::ptr::null(),
        position: position as u64,
        reserved: [0; 4],
    };
    match result {
        Ok(done) => {
            completion.index = done.index;
            completion.term = done.term;
            completion.result_len = done.result.len();
            if !done.result.is_empty() {
                completion.result = done.result.as_ptr();
            }
        }
        Err(error) => {
            completion.code = error.code.number();
            completion.outcome = error.outcome as i32;
            // Without a free handle the code and the outcome must do.
            let object = Arc::new(ErrorObject::new(error.clone()));
            completion.error = handle::insert::<libraft_error>(object)
                .map_or(std::ptr::null(), |object| object.cast_const());
        }
    }
    completion
}

/// Ends what a completion lent.
fn release(completion: &libraft_completion) {
    if !completion.error.is_null() {
        drop(handle::take(completion.error));
    }
}
