//! Which library this is.

use std::ffi::{c_char, CStr};

/// The version of the ABI that this header describes. It changes only with the library's SONAME.
pub const LIBRAFT_ABI_VERSION: i32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no NUL"),
    };

/// The version of the library that is loaded, such as "1.2.3".
///
/// **Threads**: any; never blocks.
/// **Ownership**: the text is the library's and lives as long as the process.
/// **Errors**: none.
#[no_mangle]
pub extern "C" fn libraft_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The ABI of the library that is loaded: compare it with LIBRAFT_ABI_VERSION, which the program
/// was compiled with.
///
/// **Threads**: any; never blocks.
/// **Ownership**: nothing is handed over.
/// **Errors**: none.
#[no_mangle]
pub extern "C" fn libraft_abi_version() -> i32 {
    LIBRAFT_ABI_VERSION
}
