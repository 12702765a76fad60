//! Wakes the event loop of a JavaScript environment, from any thread.

use std::ffi::c_void;
use std::ptr;

use napi::bindgen_prelude::{Function, JsValue};
use napi::{check_status, sys, Env, Result};

/// A threadsafe function without arguments. By itself it does not keep the process alive.
///
/// The one of the `napi` crate asserts that an exception can be reported, which is not so in a
/// worker that is being terminated; and an assertion in a callback of Node.js ends the process.
pub struct Wake(sys::napi_threadsafe_function);

// SAFETY: a threadsafe function may be called from any thread.
unsafe impl Send for Wake {}

impl Wake {
    /// `function` is called, on the environment's own thread, after each [`Wake::call`].
    pub fn new(env: &Env, function: &Function<'_, (), ()>) -> Result<Wake> {
        let name = env.create_string("libraft")?;
        let mut raw = ptr::null_mut();
        // SAFETY: all values belong to `env`, and this is its thread.
        check_status!(unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                function.raw(),
                ptr::null_mut(),
                name.raw(),
                0,
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                Some(call_javascript),
                &mut raw,
            )
        })?;
        let wake = Wake(raw);
        wake.keep_alive(env, false)?;
        Ok(wake)
    }

    /// Never blocks.
    pub fn call(&self) {
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: the function lives until `self` is dropped. It can only fail in an environment
        // that is going away, which nobody needs to wake any more.
        unsafe { sys::napi_call_threadsafe_function(self.0, ptr::null_mut(), mode) };
    }

    /// Whether the process lives on as long as the event loop may be woken. Only on the
    /// environment's own thread.
    pub fn keep_alive(&self, env: &Env, on: bool) -> Result<()> {
        // SAFETY: the function lives, and this is the environment's thread.
        check_status!(unsafe {
            if on {
                sys::napi_ref_threadsafe_function(env.raw(), self.0)
            } else {
                sys::napi_unref_threadsafe_function(env.raw(), self.0)
            }
        })
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let mode = sys::ThreadsafeFunctionReleaseMode::release;
        // SAFETY: this was its only user.
        unsafe { sys::napi_release_threadsafe_function(self.0, mode) };
    }
}

/// Called by Node.js on the environment's thread; both pointers are null when it is going away.
unsafe extern "C" fn call_javascript(
    env: sys::napi_env,
    function: sys::napi_value,
    _context: *mut c_void,
    _data: *mut c_void,
) {
    if env.is_null() || function.is_null() {
        return;
    }
    let (mut this, mut result) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: as Node.js promises for this callback. An exception (there is none but when the
    // environment is going away) is left to Node.js.
    unsafe {
        sys::napi_get_undefined(env, &mut this);
        sys::napi_call_function(env, this, function, 0, ptr::null(), &mut result);
    }
}
