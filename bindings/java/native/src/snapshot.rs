//! Snapshots: `SnapshotOutputStream.java` and `SnapshotInputStream.java`.

use std::io::{self, Read, Write};

use jni::objects::{JByteArray, JClass};
use jni::strings::JNIString;
use jni::{jni_str, Env, EnvUnowned};

use crate::boundary;

/// Where a snapshot is written to or read from, for as long as the request lasts.
pub enum Stream<'a> {
    Writer(Box<dyn Write + Send>),
    /// A writer that the library wants back.
    Lent(&'a mut (dyn Write + Send)),
    Reader(Box<dyn Read + Send>),
}

/// What is copied at once.
const COPY_BYTES: usize = 64 << 10;

/// # Safety
/// The Java stream passes its pointer under its lock, and no more once the request is answered.
unsafe fn stream<'a>(pointer: i64) -> &'a mut Stream<'a> {
    // SAFETY: as the caller's.
    unsafe { &mut *(pointer as *mut Stream<'a>) }
}

/// Writes a part of an array; throws an `IOException`.
#[no_mangle]
pub extern "system" fn Java_io_libraft_SnapshotOutputStream_write<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    pointer: i64,
    array: JByteArray<'local>,
    start: i32,
    length: i32,
) {
    boundary::run(env, |env| {
        let mut buffer = vec![0; (length as usize).min(COPY_BYTES)];
        let mut done = 0;
        while done < length as usize {
            let part = &mut buffer[..(length as usize - done).min(COPY_BYTES)];
            boundary::read_region(env, &array, start + done as i32, part)?;
            // SAFETY: the caller is the stream that has the pointer.
            let written = match unsafe { stream(pointer) } {
                Stream::Writer(writer) => writer.write_all(part),
                Stream::Lent(writer) => writer.write_all(part),
                Stream::Reader(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            written.or_else(|error| throw(env, &error))?;
            done += part.len();
        }
        Ok(())
    });
}

/// Reads into a part of an array, and returns how much, 0 at the end; throws an `IOException`.
#[no_mangle]
pub extern "system" fn Java_io_libraft_SnapshotInputStream_read<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    pointer: i64,
    array: JByteArray<'local>,
    start: i32,
    length: i32,
) -> i32 {
    boundary::run(env, |env| {
        let mut buffer = vec![0; (length as usize).min(COPY_BYTES)];
        // SAFETY: the caller is the stream that has the pointer.
        let read = match unsafe { stream(pointer) } {
            Stream::Reader(reader) => reader.read(&mut buffer),
            Stream::Writer(_) | Stream::Lent(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        let read = read.or_else(|error| throw(env, &error))?;
        boundary::write_region(env, &array, start, &buffer[..read])?;
        Ok(read as i32)
    })
}

fn throw<T>(env: &mut Env, error: &io::Error) -> jni::errors::Result<T> {
    env.throw_new(jni_str!("java/io/IOException"), JNIString::new(error.to_string()))?;
    Err(jni::errors::Error::JavaException)
}
