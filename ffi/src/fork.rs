//! A forked child must get an error, not a hang: the threads that its parent's handles rely on do
//! not exist in it, and locks may be held for ever by threads that were not copied.
//!
//! Every handle carries the *epoch* of the process that made it. A child starts the next epoch with
//! empty tables, so it never touches a lock or an object of its parent.

use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::sync::Once;

use crate::handle::Tables;

static EPOCH: AtomicU8 = AtomicU8::new(0);
static TABLES: AtomicPtr<Tables> = AtomicPtr::new(std::ptr::null_mut());
/// The parent's tables, never looked at again; leak checkers shall see that they are not lost.
static ABANDONED: AtomicPtr<Tables> = AtomicPtr::new(std::ptr::null_mut());
static REGISTER: Once = Once::new();

/// Counts the forks between the first process and this one (modulo 256).
pub fn epoch() -> u8 {
    EPOCH.load(Ordering::Acquire)
}

/// The tables of this process. They live until the process ends: a handle may be looked up at any
/// time.
pub fn tables() -> &'static Tables {
    let mut current = TABLES.load(Ordering::Acquire);
    if current.is_null() {
        REGISTER.call_once(register);
        let fresh = Box::into_raw(Box::<Tables>::default());
        match TABLES.compare_exchange(
            std::ptr::null_mut(),
            fresh,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => current = fresh,
            Err(other) => {
                // SAFETY: `fresh` was made by `Box::into_raw` above and was not published.
                drop(unsafe { Box::from_raw(fresh) });
                current = other;
            }
        }
    }
    // SAFETY: what was published is never freed; it is only ever replaced by NULL, in a forked
    // child.
    unsafe { &*current }
}

fn register() {
    // SAFETY: the handler only stores to atomics, which is allowed between fork and exec. A failure
    // (no memory) leaves a child without the check; there is nobody to tell, and nothing else to
    // do.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

extern "C" fn in_child() {
    EPOCH.fetch_add(1, Ordering::AcqRel);
    ABANDONED.store(TABLES.swap(std::ptr::null_mut(), Ordering::AcqRel), Ordering::Release);
}
