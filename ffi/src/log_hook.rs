//! The log callback: what the library says through `tracing`, for a host's own log.
//!
//! The shared library has a copy of `tracing` of its own, so it never meets a subscriber of its
//! host. A Rust program that links this crate statically shares the copy; if it has set a global
//! subscriber, that one stays, and setting a log callback is an error.

use std::ffi::{c_char, c_void, CString};
use std::sync::Arc;

use libraft::logging::{set_log_listener, LogLevel, LogListener, LogRecord};

use crate::boundary;
use crate::callback::{self, libraft_destroy_callback, OwnedUserData};
use crate::error::libraft_error;

/// Nothing.
pub const LIBRAFT_LOG_OFF: i32 = 0;
/// Something is out of service.
pub const LIBRAFT_LOG_ERROR: i32 = 1;
/// Something went wrong, and was coped with.
pub const LIBRAFT_LOG_WARN: i32 = 2;
/// What an operator wants to know.
pub const LIBRAFT_LOG_INFO: i32 = 3;
/// What a developer wants to know.
pub const LIBRAFT_LOG_DEBUG: i32 = 4;
/// Everything.
pub const LIBRAFT_LOG_TRACE: i32 = 5;

/// Something the library says. The texts are in UTF-8, end with a NUL, and are borrowed for the
/// call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_log_record {
    /// The size of this struct in bytes, as the library knows it.
    pub size: usize,
    /// One of LIBRAFT_LOG_...
    pub level: i32,
    /// The line in the library's source; 0 if it is not known.
    pub line: u32,
    /// The part of the library.
    pub target: *const c_char,
    /// What happened, and to what, as "message key=value ...".
    pub message: *const c_char,
}

/// Called for each log record, from any thread, maybe from several at once, maybe inside a call to
/// the library. It must not block for long, and must not call the library (but for
/// libraft_set_log_callback); what the library says inside of it is lost.
pub type libraft_log_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, record: *const libraft_log_record)>;

/// Sets who hears what the library says, in the whole process, in place of whoever did before:
/// records of `level` and graver ones. A NULL callback ends it. Without a log callback the library
/// says nothing; it never writes to standard output or standard error by itself.
///
/// **Threads**: any, the log callback too; never blocks.
/// **Ownership**: `user_data` is lent until `destroy` (which may be NULL) is called: exactly once,
/// after the last record, when it is replaced, or, if this fails, before it returns. Texts are
/// borrowed for the call.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT if there is no such level; LIBRAFT_ERR_UNSUPPORTED if
/// the program is linked statically and has a subscriber of its own.
#[no_mangle]
pub unsafe extern "C" fn libraft_set_log_callback(
    level: i32,
    callback: libraft_log_callback,
    user_data: *mut c_void,
    destroy: libraft_destroy_callback,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let user_data = OwnedUserData::new(user_data, destroy);
            let level = LogLevel::from_number(level)
                .ok_or_else(|| boundary::invalid(format!("there is no log level {level}")))?;
            let listener = callback.map(|callback| -> LogListener {
                Arc::new(move |record| tell(callback, &user_data, record))
            });
            set_log_listener(level, listener)
        })
    }
}

fn tell(
    callback: unsafe extern "C" fn(*mut c_void, *const libraft_log_record),
    user_data: &OwnedUserData,
    record: &LogRecord,
) {
    let message = c_text(&record.message);
    let target = c_text(record.target);
    let record = libraft_log_record {
        size: size_of::<libraft_log_record>(),
        level: record.level as i32,
        line: record.line,
        target: target.as_ptr(),
        message: message.as_ptr(),
    };
    let user_data = user_data.pointer().get();
    // SAFETY: the host declared the function for this; the record and its texts outlive the call.
    callback::run(|| unsafe { callback(user_data, &record) });
}

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_OK};
    use std::ffi::CStr;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard {
        records: Mutex<Vec<(i32, String)>>,
        destroyed: AtomicI32,
    }

    extern "C" fn hear(user_data: *mut c_void, record: *const libraft_log_record) {
        // SAFETY: the test passes a `Heard` that outlives the hook, and the record is valid for the
        // call.
        let (heard, record) = unsafe { (&*user_data.cast::<Heard>(), &*record) };
        // SAFETY: as above.
        let message = unsafe { CStr::from_ptr(record.message) }.to_str().unwrap().to_string();
        tracing::error!("said inside of the callback, and so not heard");
        heard.records.lock().unwrap().push((record.level, message));
    }

    extern "C" fn count_destroy(user_data: *mut c_void) {
        // SAFETY: as above.
        let heard = unsafe { &*user_data.cast::<Heard>() };
        heard.destroyed.fetch_add(1, Ordering::SeqCst);
    }

    fn set(level: i32, callback: libraft_log_callback, heard: &Heard) -> i32 {
        let user_data = (&raw const *heard).cast_mut().cast();
        // SAFETY: `heard` lives until after the hook is gone.
        unsafe {
            libraft_set_log_callback(
                level,
                callback,
                user_data,
                Some(count_destroy),
                std::ptr::null_mut(),
            )
        }
    }

    #[test]
    fn a_callback_hears_its_level_until_it_is_replaced() {
        let (first, second) = (Heard::default(), Heard::default());
        let say = || {
            tracing::info!(group = 7, name = "a\0b", "snapshot taken");
            tracing::debug!("detail");
        };
        say();
        assert_eq!(set(LIBRAFT_LOG_INFO, Some(hear), &first), LIBRAFT_OK);
        say();
        assert_eq!(set(LIBRAFT_LOG_DEBUG, Some(hear), &second), LIBRAFT_OK);
        assert_eq!(first.destroyed.load(Ordering::SeqCst), 1);
        say();
        assert_eq!(set(LIBRAFT_LOG_OFF, None, &second), LIBRAFT_OK);
        say();
        let told = |heard: &Heard| heard.records.lock().unwrap().clone();
        let info = (LIBRAFT_LOG_INFO, "snapshot taken group=7 name=a\u{FFFD}b".to_string());
        let debug = (LIBRAFT_LOG_DEBUG, "detail".to_string());
        assert_eq!(told(&second), [info.clone(), debug]);
        assert_eq!(told(&first), [info]);
        assert_eq!(second.destroyed.load(Ordering::SeqCst), 2, "once for each time it was set");

        let refused = Heard::default();
        assert_eq!(set(9, Some(hear), &refused), LIBRAFT_ERR_INVALID_ARGUMENT);
        assert_eq!(refused.destroyed.load(Ordering::SeqCst), 1);
    }
}
