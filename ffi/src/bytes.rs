//! Bytes that the library hands over.

use crate::boundary;
use crate::handle::{self, Handle, Table, Tables};

/// Bytes that belong to the caller, until libraft_bytes_free.
pub struct libraft_bytes {
    _opaque: [u8; 0],
}

impl Handle for libraft_bytes {
    type Object = bytes::Bytes;
    const NOUN: &'static str = "bytes object";
    const KIND: u8 = 5;

    fn table(tables: &Tables) -> &Table<bytes::Bytes> {
        &tables.bytes
    }
}

/// Where the bytes lie; NULL for NULL and for a handle that is not valid.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the bytes live until libraft_bytes_free; they may be read from any thread.
/// **Errors**: none.
#[no_mangle]
pub unsafe extern "C" fn libraft_bytes_data(bytes: *const libraft_bytes) -> *const u8 {
    boundary::value(std::ptr::null(), || {
        handle::get(bytes).map_or(std::ptr::null(), |bytes| bytes.as_ptr())
    })
}

/// How many bytes there are; 0 for NULL and for a handle that is not valid.
///
/// **Threads**: any; never blocks.
/// **Ownership**: nothing is handed over.
/// **Errors**: none.
#[no_mangle]
pub unsafe extern "C" fn libraft_bytes_len(bytes: *const libraft_bytes) -> usize {
    boundary::value(0, || handle::get(bytes).map_or(0, |bytes| bytes.len()))
}

/// Frees the bytes. NULL is allowed.
///
/// **Threads**: any; never blocks.
/// **Ownership**: takes the handle; pointers from libraft_bytes_data end.
/// **Errors**: none; a handle that is not valid is left alone.
#[no_mangle]
pub unsafe extern "C" fn libraft_bytes_free(bytes: *mut libraft_bytes) {
    boundary::value((), || drop(handle::take(bytes)));
}
