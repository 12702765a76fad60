//! Threads of the library that call Java.
//!
//! They are attached as daemons, so that they do not keep the virtual machine alive, and detach
//! themselves when they end. The `jni` crate attaches threads that do keep it alive, hence the call
//! below.

use std::ffi::{c_void, CString};
use std::ptr;
use std::sync::OnceLock;

use jni::errors::{Error, JniError, Result};
use jni::sys::{jint, JavaVM as RawVm, JavaVMAttachArgs, JNI_OK, JNI_VERSION_1_8};
use jni::{Env, JavaVM};

static VM: OnceLock<JavaVM> = OnceLock::new();

/// Local references that a call to Java may have; there is room for more than any needs.
const LOCAL_REFERENCES: usize = 16;

/// Called by the virtual machine when it loads the library.
///
/// # Safety
/// `vm` is the running virtual machine.
#[no_mangle]
pub unsafe extern "system" fn JNI_OnLoad(vm: *mut RawVm, _reserved: *mut c_void) -> jint {
    // SAFETY: as the caller's.
    VM.get_or_init(|| unsafe { JavaVM::from_raw(vm) });
    JNI_VERSION_1_8
}

/// Calls Java from any thread, in a frame of local references of its own.
pub fn with_env<T>(body: impl FnOnce(&mut Env) -> Result<T>) -> Result<T> {
    let vm = VM.get().ok_or(Error::UninitializedJavaVM)?;
    if !vm.is_thread_attached()? {
        attach(vm)?;
    }
    vm.with_local_frame(LOCAL_REFERENCES, body)
}

fn attach(vm: &JavaVM) -> Result<()> {
    let name = std::thread::current().name().unwrap_or("libraft").to_owned();
    let name = CString::new(name).unwrap_or_default();
    let mut arguments = JavaVMAttachArgs {
        version: JNI_VERSION_1_8,
        name: name.as_ptr().cast_mut(),
        group: ptr::null_mut(),
    };
    let mut env: *mut c_void = ptr::null_mut();
    let raw = vm.get_raw();
    // SAFETY: `raw` is the running virtual machine; the arguments outlive the call, which copies
    // the name.
    let attached = unsafe {
        ((**raw).v1_4.AttachCurrentThreadAsDaemon)(raw, &mut env, (&raw mut arguments).cast())
    };
    if attached != JNI_OK {
        return Err(Error::JniCall(JniError::Other(attached)));
    }
    ATTACHED.with(|attached| attached.0.set(true));
    Ok(())
}

thread_local! {
    static ATTACHED: Attached = const { Attached(std::cell::Cell::new(false)) };
}

/// Detaches its thread when it ends.
struct Attached(std::cell::Cell<bool>);

impl Drop for Attached {
    fn drop(&mut self) {
        let (true, Some(vm)) = (self.0.get(), VM.get()) else { return };
        let raw = vm.get_raw();
        // SAFETY: `raw` is the virtual machine that this thread was attached to, here, and no Java
        // frame is left on a thread that ends.
        unsafe { ((**raw).v1_1.DetachCurrentThread)(raw) };
    }
}
