//! The library's threads: named, deaf to signals, and known to be ours.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Once;
use std::thread::{Builder, JoinHandle};

use crate::error::{Code, Error, Result};

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread belongs to the library: a call that blocks here could wait for itself.
pub fn is_library_thread() -> bool {
    OURS.with(Cell::get)
}

/// Refuses a blocking call on one of the library's own threads.
pub(crate) fn refuse_on_library_thread(what: &str) -> Result<()> {
    if !is_library_thread() {
        return Ok(());
    }
    Err(Error::rejected(
        Code::WouldDeadlock,
        format!("{what} would wait for the very thread it is called on: call it from a thread of your own"),
    ))
}

/// Starts a thread that receives no signals: the host's handlers run on the host's threads.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let with_mark = move || {
        OURS.with(|ours| ours.set(true));
        body();
    };
    let previous = block_signals();
    let spawned = Builder::new().name(name.to_string()).spawn(with_mark);
    restore_signals(&previous);
    spawned.map_err(|error| {
        Error::rejected(Code::Io, format!("the thread {name} could not be started: {error}"))
    })
}

/// Runs `body` deaf to signals, and so every thread that is started meanwhile, also by other libraries.
pub fn with_signals_blocked<R>(body: impl FnOnce() -> R) -> R {
    let previous = block_signals();
    let result = body();
    restore_signals(&previous);
    result
}

/// Blocks every signal on this thread, so that a thread it starts inherits that.
fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut previous = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid for writing; `sigfillset` initialises the first, and `pthread_sigmask`, which cannot fail
    // with SIG_SETMASK, the second.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), previous.as_mut_ptr());
        previous.assume_init()
    }
}

fn restore_signals(previous: &libc::sigset_t) {
    // SAFETY: `previous` was filled in by `pthread_sigmask`.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, previous, std::ptr::null_mut());
    }
}

/// Refuses to open a node in a child of a process that ever opened one: the store behind the log keeps threads and locks
/// for the whole process, which the child has copies of without the threads.
pub(crate) fn refuse_in_forked_child() -> Result<()> {
    if fork_generation() == 0 {
        return Ok(());
    }
    Err(Error::rejected(
        Code::Forked,
        "the process that this one was forked from had opened a node: fork before opening any, or exec in the child",
    ))
}

static FORKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// How many forks lie between the first node's process and this one. A node works only in the process it was opened in:
/// a forked child has none of its threads.
pub(crate) fn fork_generation() -> u64 {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: the handler only touches an atomic, which is allowed in a forked child.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(count_fork)) };
        if failed != 0 {
            tracing::warn!(error = %io::Error::from_raw_os_error(failed), "forks cannot be detected");
        }
    });
    FORKS.load(Ordering::Relaxed)
}
