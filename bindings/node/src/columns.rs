//! Many entries, or completions, in one piece of memory, so that they cross into JavaScript at
//! once.
//!
//! One `ArrayBuffer`, little-endian as all machines that this runs on: `count` indexes and `count`
//! terms (u64), `count + 1` offsets into the bytes and `count` call ids (u32), and then the bytes
//! of all, one behind the other. JavaScript makes views of it (`lib/columns.ts`). The memory is
//! JavaScript's own: what it keeps is never touched again.

use std::ffi::c_void;
use std::ptr;

use napi::bindgen_prelude::{ArrayBuffer, FromNapiValue};
use napi::{check_status, sys, Env, Error, Result};

/// One line of the table.
pub struct Row<'a> {
    pub index: u64,
    pub term: u64,
    pub call: u32,
    pub bytes: &'a [u8],
}

pub fn array_buffer<'env, 'a>(
    env: &'env Env,
    rows: impl ExactSizeIterator<Item = Row<'a>> + Clone,
) -> Result<ArrayBuffer<'env>> {
    let count = rows.len();
    let total: usize = rows.clone().map(|row| row.bytes.len()).sum();
    if u32::try_from(total).is_err() {
        return Err(Error::from_reason(format!("{total} bytes at once are more than 4 GiB")));
    }
    let offsets_at = count * 16;
    let calls_at = offsets_at + (count + 1) * 4;
    let bytes_at = calls_at + count * 4;
    filled(env, bytes_at + total, |buffer| {
        let mut end = bytes_at;
        put(buffer, offsets_at, &0u32.to_le_bytes());
        for (position, row) in rows.enumerate() {
            put(buffer, position * 8, &row.index.to_le_bytes());
            put(buffer, (count + position) * 8, &row.term.to_le_bytes());
            put(buffer, calls_at + position * 4, &row.call.to_le_bytes());
            put(buffer, end, row.bytes);
            end += row.bytes.len();
            let offset = (end - bytes_at) as u32;
            put(buffer, offsets_at + (position + 1) * 4, &offset.to_le_bytes());
        }
    })
}

fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    buffer[at..at + bytes.len()].copy_from_slice(bytes);
}

/// An `ArrayBuffer` of JavaScript's own memory, zeroed, then filled.
pub fn filled<'env>(
    env: &'env Env,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Result<ArrayBuffer<'env>> {
    let (mut data, mut value) = (ptr::null_mut::<c_void>(), ptr::null_mut());
    // SAFETY: this is the environment's thread, and both outputs are valid for writing.
    check_status!(unsafe {
        sys::napi_create_arraybuffer(env.raw(), length, &mut data, &mut value)
    })?;
    if length > 0 {
        // SAFETY: Node.js has just made `length` bytes there, which nobody else knows of yet.
        fill(unsafe { std::slice::from_raw_parts_mut(data.cast(), length) });
    }
    // SAFETY: `value` is the ArrayBuffer made above.
    unsafe { ArrayBuffer::from_napi_value(env.raw(), value) }
}
