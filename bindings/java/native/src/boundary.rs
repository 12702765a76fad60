//! The way in: what every native method goes through.
//!
//! An answer is a `byte[]`: null if all is well and there is nothing to say; else a zero and the
//! data, or a one and the error. Panics end here. Only what the virtual machine itself throws (it
//! has no memory for an array, say) is thrown.

use std::panic::{catch_unwind, AssertUnwindSafe};

use jni::errors::ThrowRuntimeExAndDefault;
use jni::objects::JByteArray;
use jni::{Env, EnvUnowned};
use libraft::{Code, Error};

use crate::error;
use crate::flat::Writer;

const DATA: u8 = 0;
const FAILED: u8 = 1;

/// What went wrong in a native method.
pub enum Trouble {
    Library(Error),
    /// An exception may be pending.
    Java(jni::errors::Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Library(error)
    }
}

impl From<jni::errors::Error> for Trouble {
    fn from(error: jni::errors::Error) -> Trouble {
        Trouble::Java(error)
    }
}

/// A writer for the data of an answer.
pub fn data() -> Writer {
    let mut writer = Writer::default();
    writer.byte(DATA);
    writer
}

/// Answers with what `body` writes, beginning with [`data`], or with nothing.
pub fn answer<'local>(
    mut env: EnvUnowned<'local>,
    body: impl FnOnce(&mut Env<'local>) -> Result<Option<Writer>, Trouble>,
) -> JByteArray<'local> {
    let outcome = env.with_env(|env| -> jni::errors::Result<_> {
        let answered = catch_unwind(AssertUnwindSafe(|| body(env))).unwrap_or_else(|_| {
            let message = "a panic in the native half of libraft: please report it";
            Err(Trouble::Library(Error::unknown(Code::Panicked, message)))
        });
        let writer = match answered {
            Ok(None) => return Ok(JByteArray::default()),
            Ok(Some(writer)) => writer,
            Err(Trouble::Library(error)) => {
                let mut writer = Writer::default();
                writer.byte(FAILED);
                error::write(&mut writer, &error);
                writer
            }
            Err(Trouble::Java(error)) => return Err(error),
        };
        new_array(env, &writer.finish())
    });
    outcome.resolve::<ThrowRuntimeExAndDefault>()
}

/// Runs a native method that answers with a number, or throws.
pub fn run<'local, T: Default>(
    mut env: EnvUnowned<'local>,
    body: impl FnOnce(&mut Env<'local>) -> jni::errors::Result<T>,
) -> T {
    env.with_env(body).resolve::<ThrowRuntimeExAndDefault>()
}

pub fn new_array<'local>(
    env: &mut Env<'local>,
    bytes: &[u8],
) -> jni::errors::Result<JByteArray<'local>> {
    let array = JByteArray::new(env, bytes.len())?;
    // SAFETY: i8 and u8 have the same size and alignment, and every bit pattern is a value of both.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<i8>(), bytes.len()) };
    array.set_region(env, 0, bytes)?;
    Ok(array)
}

/// Fills `buffer` from the array, beginning at `start`.
pub fn read_region(
    env: &Env,
    array: &JByteArray,
    start: i32,
    buffer: &mut [u8],
) -> jni::errors::Result<()> {
    // SAFETY: as in `new_array`.
    let buffer =
        unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<i8>(), buffer.len()) };
    array.get_region(env, start, buffer)
}

/// Overwrites a part of the array, beginning at `start`.
pub fn write_region(
    env: &Env,
    array: &JByteArray,
    start: i32,
    bytes: &[u8],
) -> jni::errors::Result<()> {
    // SAFETY: as in `new_array`.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<i8>(), bytes.len()) };
    array.set_region(env, start, bytes)
}

/// All of an array.
pub fn read_array(env: &Env, array: &JByteArray) -> jni::errors::Result<Vec<u8>> {
    let mut bytes = vec![0; array.len(env)?];
    read_region(env, array, 0, &mut bytes)?;
    Ok(bytes)
}

/// The object behind a pointer that the Java half keeps.
///
/// # Safety `pointer` came from [`into_pointer`] of a `T` and was not taken back. The Java half
/// sees to that: only its own classes know the pointer, pass it from methods of the object that
/// owns it, and give it back when that object is gone.
pub unsafe fn borrow<'a, T>(pointer: i64) -> &'a T {
    // SAFETY: as the caller's.
    unsafe { &*(pointer as *const T) }
}

pub fn into_pointer<T>(object: T) -> u64 {
    Box::into_raw(Box::new(object)) as u64
}

/// # Safety
/// As of [`borrow`], and nobody uses the pointer any more.
pub unsafe fn take_back<T>(pointer: i64) -> Box<T> {
    // SAFETY: as the caller's.
    unsafe { Box::from_raw(pointer as *mut T) }
}
