//! The interpreter as the library's threads meet it: it may be busy, ending, or the copy in a
//! forked child.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Once;
use std::time::Duration;

use libraft::{Code, Error};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The interpreter is about to be torn down: no thread of the library may enter it any more.
static ENDED: AtomicBool = AtomicBool::new(false);
/// This process is a forked child of one that had imported the library.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Runs `body` attached to the interpreter, on a thread of the library. A thread that comes too
/// late, when the interpreter is being torn down, stays here for the rest of the process's life,
/// which is short.
pub fn attach<R>(body: impl FnOnce(Python<'_>) -> R) -> R {
    if !ENDED.load(Ordering::Acquire) {
        if let Some(result) = Python::try_attach(body) {
            return result;
        }
    }
    freeze()
}

/// From now on no thread of the library enters the interpreter.
pub fn keep_out() {
    ENDED.store(true, Ordering::Release);
}

/// Calls the program's code. Every callback goes through here.
///
/// Up to version 3.13 the interpreter ends a thread that returns to it (from `time.sleep`, say)
/// while it is torn down by `pthread_exit`, which unwinds the stack. Rust's frames cannot be
/// unwound so: the process would be aborted. The guard is the first that such an unwinding meets,
/// and keeps the thread where it is.
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    extern "C-unwind" {
        fn PyObject_Call(
            callable: *mut ffi::PyObject,
            arguments: *mut ffi::PyObject,
            keywords: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject;
    }
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            freeze();
        }
    }
    let guard = Guard;
    // SAFETY: this thread is attached, as the `Bound`s prove, and both are objects; the result is a
    //     new reference, or NULL with an exception set.
    let result = unsafe {
        let result = PyObject_Call(callable.as_ptr(), arguments.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(callable.py(), result)
    };
    std::mem::forget(guard);
    result
}

fn freeze() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Has forks noticed. A child has none of the library's threads, and locks in any state.
pub fn watch_forks() {
    extern "C" fn in_child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: the handler only touches an atomic, which is allowed in a forked child. Should
        //     this fail, for want of memory, the core still refuses its part.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

pub fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Refuses what cannot work in a forked child.
pub fn check_process() -> Result<(), Error> {
    if !is_forked() {
        return Ok(());
    }
    Err(Error::rejected(
        Code::Forked,
        "this process was forked from one that had imported libraft, and has none of its \
         threads: use multiprocessing's 'spawn', or import libraft in the child only",
    ))
}
