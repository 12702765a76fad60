//! Ends that can be waited for by a callback: of a node, of a group.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use libraft::{Error, Result};

use crate::callback::{self, UserPointer};
use crate::error::{libraft_error, own_error, LIBRAFT_OK};
use crate::handle;

/// Tells that something was closed or stopped: `code` is LIBRAFT_OK or the error's. `error` is
/// borrowed, and NULL if all went well.
pub type libraft_done_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, code: i32, error: *const libraft_error)>;

/// Begins to close or to stop something, and tells when it is done, but never inside the call: if
/// it was done before, `over` is the error, and `done` is not called.
pub fn begin(
    done: libraft_done_callback,
    user_data: *mut c_void,
    begin: impl FnOnce(Box<dyn FnOnce(Result<()>) + Send>),
    over: impl FnOnce() -> Error,
) -> Result<()> {
    let caller: Arc<Mutex<Option<ThreadId>>> = Arc::new(Mutex::new(Some(thread::current().id())));
    let user_data = UserPointer(user_data);
    let inside = caller.clone();
    begin(Box::new(move |result| {
        let mut inside = inside.lock().unwrap_or_else(PoisonError::into_inner);
        if *inside == Some(thread::current().id()) {
            *inside = None;
            return;
        }
        drop(inside);
        tell(done, user_data, result);
    }));
    let open = caller.lock().unwrap_or_else(PoisonError::into_inner).take().is_some();
    if open {
        Ok(())
    } else {
        Err(over())
    }
}

fn tell(done: libraft_done_callback, user_data: UserPointer, result: Result<()>) {
    let Some(done) = done else { return };
    let code = result.as_ref().map_or_else(|error| error.code.number(), |()| LIBRAFT_OK);
    let error = own_error(result.err()).unwrap_or(std::ptr::null_mut());
    // SAFETY: the host declared the function for this.
    callback::run(|| unsafe { done(user_data.get(), code, error) });
    if !error.is_null() {
        drop(handle::take(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libraft::Code;
    use std::sync::mpsc;

    extern "C" fn count_call(user_data: *mut c_void, _code: i32, _error: *const libraft_error) {
        // SAFETY: the tests pass a sender that outlives the call.
        let sender = unsafe { &*user_data.cast::<mpsc::Sender<ThreadId>>() };
        sender.send(thread::current().id()).unwrap();
    }

    #[test]
    fn done_is_never_called_inside_the_call() {
        let (sender, receiver) = mpsc::channel::<ThreadId>();
        let user_data = (&raw const sender).cast_mut().cast();
        let over = || Error::rejected(Code::Closed, "closed");
        let at_once = begin(Some(count_call), user_data, |tell| tell(Ok(())), over);
        assert_eq!(at_once.unwrap_err().code, Code::Closed);
        assert!(receiver.try_recv().is_err());

        let mut other = None;
        let later = |tell: Box<dyn FnOnce(Result<()>) + Send>| {
            other = Some(thread::spawn(move || tell(Ok(()))));
        };
        begin(Some(count_call), user_data, later, over).unwrap();
        let other = other.unwrap();
        assert_eq!(receiver.recv().unwrap(), other.thread().id());
        other.join().unwrap();
    }
}
