//! Calls into foreign code.

use std::cell::Cell;
use std::ffi::c_void;

use libraft::{Code, Error, Result};

/// Frees what a callback's `user_data` points to. Called exactly once, when the library will never
/// use it again.
pub type libraft_destroy_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

thread_local! {
    /// How many callbacks deep this thread is.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs foreign code: blocking calls that it makes are refused.
pub fn run<R>(foreign: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            DEPTH.with(|depth| depth.set(depth.get() - 1));
        }
    }
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let _leave = Leave;
    foreign()
}

pub fn is_running() -> bool {
    DEPTH.with(|depth| depth.get() > 0)
}

/// A blocking call inside a callback would wait for the thread that it stands on.
pub fn refuse_to_block(what: &str) -> Result<()> {
    if is_running() {
        return Err(Error::rejected(
            Code::WouldDeadlock,
            format!("{what} blocks, and this is a callback of libraft; use the asynchronous form"),
        ));
    }
    Ok(())
}

/// A pointer that the host gave, for the host: never looked at.
#[derive(Clone, Copy)]
pub struct UserPointer(pub *mut c_void);

// SAFETY: the library does not use what it points to; the header tells hosts that their callbacks,
// and so what `user_data` points to, are used from any thread.
unsafe impl Send for UserPointer {}
// SAFETY: as above.
unsafe impl Sync for UserPointer {}

impl UserPointer {
    /// A method, so that closures capture the whole (and its `Send`) and not the field.
    pub fn get(self) -> *mut c_void {
        self.0
    }
}

/// A host's `user_data` with its `destroy`, which dropping calls: exactly once, whatever way things
/// go.
pub struct OwnedUserData {
    pointer: UserPointer,
    destroy: libraft_destroy_callback,
}

impl OwnedUserData {
    pub fn new(pointer: *mut c_void, destroy: libraft_destroy_callback) -> OwnedUserData {
        OwnedUserData { pointer: UserPointer(pointer), destroy }
    }

    /// A method, so that closures capture the whole: its drop must come with theirs.
    pub fn pointer(&self) -> UserPointer {
        self.pointer
    }
}

impl Drop for OwnedUserData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy.take() {
            // SAFETY: the host declared the function for this pointer; it is called once.
            run(|| unsafe { destroy(self.pointer.get()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_is_refused_inside_a_callback_only() {
        assert!(refuse_to_block("x").is_ok());
        run(|| {
            run(|| assert_eq!(refuse_to_block("x").unwrap_err().code, Code::WouldDeadlock));
            assert_eq!(refuse_to_block("x").unwrap_err().code, Code::WouldDeadlock);
        });
        assert!(refuse_to_block("x").is_ok());
        let caught = std::panic::catch_unwind(|| run(|| panic!("planted")));
        assert!(caught.is_err());
        assert!(refuse_to_block("x").is_ok(), "a panic leaves the callback, too");
    }
}
