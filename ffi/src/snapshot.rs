//! Snapshots: taking one, and the streams through which a state machine's state goes out and comes
//! in.

use std::ffi::c_void;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libraft::{Code, Error, Result};

use crate::boundary::{self, Out};
use crate::completion::{libraft_completer, Destination};
use crate::error::libraft_error;
use crate::group::libraft_group;
use crate::handle::{self, Handle, Table, Tables};
use crate::wait;

/// Where save_snapshot writes the state, until its request is answered.
pub struct libraft_snapshot_writer {
    _opaque: [u8; 0],
}

/// Whence restore_snapshot reads the state, until its request is answered.
pub struct libraft_snapshot_reader {
    _opaque: [u8; 0],
}

/// Takes a snapshot of this node's state machine now; completes with the snapshot's index when it
/// is durable.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: the completion is delivered once, maybe before this returns.
/// **Errors**: then there is no completion. LIBRAFT_ERR_BUSY, LIBRAFT_ERR_STOPPED,
/// LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. The completion may carry LIBRAFT_ERR_SAVE_FAILED
/// or any of 4xx to 9xx.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_take_snapshot(
    group: *mut libraft_group,
    completer: *const libraft_completer,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let destination = Destination::read(completer, user_data, 1)?;
            group.group.take_snapshot(destination.into_completer())
        })
    }
}

/// As libraft_group_take_snapshot, and waits. `index` may be NULL: the snapshot's index.
///
/// **Threads**: any, but not from a callback. Blocks for as long as the state machine takes to
/// save.
/// **Ownership**: nothing is handed over.
/// **Errors**: as libraft_group_take_snapshot and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_take_snapshot_wait(
    group: *mut libraft_group,
    index: *mut u64,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let index = Out::optional(index, "index")?;
            let done = wait::until_done("libraft_group_take_snapshot_wait", |completer| {
                group.group.take_snapshot(completer)
            })?;
            index.set(done.index);
            Ok(())
        })
    }
}

/// Writes the next `data_len` bytes of the state. All are taken, or it fails.
///
/// **Threads**: any, until the request is answered. Blocks on the disk or the network.
/// **Ownership**: the bytes are copied.
/// **Errors**: LIBRAFT_ERR_NO_SPACE, LIBRAFT_ERR_IO, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. After one of the first two let save_snapshot
/// fail with it.
#[no_mangle]
pub unsafe extern "C" fn libraft_snapshot_writer_write(
    writer: *mut libraft_snapshot_writer,
    data: *const c_void,
    data_len: usize,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let data = boundary::bytes(data, data_len, "data")?;
            handle::get(writer)?.write(data)
        })
    }
}

/// Reads up to `capacity` bytes of the state; `*length` says how many, and 0 is the end.
///
/// **Threads**: any, until the request is answered. Blocks on the disk.
/// **Ownership**: the buffer stays the caller's.
/// **Errors**: LIBRAFT_ERR_IO, LIBRAFT_ERR_CORRUPTED, LIBRAFT_ERR_INVALID_ARGUMENT (also for no
/// capacity), LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. After one of the first two let
/// restore_snapshot fail with it.
#[no_mangle]
pub unsafe extern "C" fn libraft_snapshot_reader_read(
    reader: *mut libraft_snapshot_reader,
    buffer: *mut c_void,
    capacity: usize,
    length: *mut usize,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let length = Out::required(length, "length")?;
            if buffer.is_null() || capacity == 0 || capacity > isize::MAX as usize {
                return Err(boundary::invalid("buffer is NULL or has no capacity"));
            }
            let reader = handle::get(reader)?;
            // The host's buffer may be uninitialized: it becomes a slice of bytes only once it has
            // values.
            buffer.cast::<u8>().write_bytes(0, capacity.min(READ_MAX));
            let buffer =
                std::slice::from_raw_parts_mut(buffer.cast::<u8>(), capacity.min(READ_MAX));
            length.set(reader.read(buffer)?);
            Ok(())
        })
    }
}

/// One call reads no more than this, so that clearing a large buffer costs no more than filling it.
const READ_MAX: usize = 1 << 20;

/// A writer that a host may use from any thread, until it is revoked.
pub struct WriterObject {
    target: Mutex<Option<Target>>,
}

enum Target {
    Owned(Box<dyn Write + Send>),
    /// Lent by [`WriterObject::lend`], which takes it back before its own borrow ends.
    Lent(&'static mut (dyn Write + Send)),
}

impl WriterObject {
    pub fn owned(writer: Box<dyn Write + Send>) -> WriterObject {
        WriterObject { target: Mutex::new(Some(Target::Owned(writer))) }
    }

    /// Lends `writer` to foreign threads for as long as `body` runs.
    pub fn lend<R>(
        writer: &mut (dyn Write + Send),
        body: impl FnOnce(Arc<WriterObject>) -> R,
    ) -> R {
        struct TakeBack(Arc<WriterObject>);
        impl Drop for TakeBack {
            fn drop(&mut self) {
                self.0.revoke();
            }
        }
        // SAFETY: `TakeBack` removes the reference, waiting for whoever uses it, before this
        // function returns or unwinds, and it is never copied out of the lock. So it does not
        // outlive the borrow it comes from.
        let lent = unsafe {
            std::mem::transmute::<&mut (dyn Write + Send), &'static mut (dyn Write + Send)>(writer)
        };
        let object = Arc::new(WriterObject { target: Mutex::new(Some(Target::Lent(lent))) });
        let _take_back = TakeBack(object.clone());
        body(object)
    }

    /// Ends the writer: whoever writes now finishes first, nobody can afterwards.
    pub fn revoke(&self) {
        drop(self.lock().take());
    }

    fn write(&self, data: &[u8]) -> Result<()> {
        let mut target = self.lock();
        let written = match target.as_mut() {
            None => return Err(ended()),
            Some(Target::Owned(writer)) => writer.write_all(data),
            Some(Target::Lent(writer)) => writer.write_all(data),
        };
        written.map_err(|error| stream_error(error, "write to the snapshot"))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Target>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader that a host may use from any thread, until it is revoked.
pub struct ReaderObject {
    source: Mutex<Option<Box<dyn Read + Send>>>,
}

impl ReaderObject {
    pub fn new(reader: Box<dyn Read + Send>) -> ReaderObject {
        ReaderObject { source: Mutex::new(Some(reader)) }
    }

    pub fn revoke(&self) {
        drop(self.lock().take());
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut source = self.lock();
        let reader = source.as_mut().ok_or_else(ended)?;
        loop {
            match reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => return read.map_err(|error| stream_error(error, "read the snapshot")),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Read + Send>>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended() -> Error {
    Error::rejected(Code::InvalidHandle, "the request that lent this stream was answered before")
}

/// The core's own errors travel inside of `io::Error`; others get the code that is nearest.
fn stream_error(error: io::Error, what: &str) -> Error {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return inner.clone();
    }
    let code = match error.kind() {
        io::ErrorKind::StorageFull => Code::NoSpace,
        io::ErrorKind::InvalidData => Code::Corrupted,
        _ => Code::Io,
    };
    Error::rejected(code, format!("cannot {what}: {error}"))
}

impl Handle for libraft_snapshot_writer {
    type Object = WriterObject;
    const NOUN: &'static str = "snapshot writer";
    const KIND: u8 = 9;

    fn table(tables: &Tables) -> &Table<WriterObject> {
        &tables.writers
    }
}

impl Handle for libraft_snapshot_reader {
    type Object = ReaderObject;
    const NOUN: &'static str = "snapshot reader";
    const KIND: u8 = 10;

    fn table(tables: &Tables) -> &Table<ReaderObject> {
        &tables.readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_writer_takes_nothing_once_it_was_taken_back() {
        let mut written = Vec::new();
        let kept = WriterObject::lend(&mut written, |writer| {
            writer.write(b"state").unwrap();
            writer
        });
        assert_eq!(kept.write(b"late").unwrap_err().code, Code::InvalidHandle);
        assert_eq!(written, b"state");
    }

    #[test]
    fn errors_of_the_core_come_through_a_stream_as_they_are() {
        let inner = Error::rejected(Code::Corrupted, "chunk 7");
        let error = stream_error(io::Error::other(inner), "read");
        assert_eq!((error.code, error.message.as_str()), (Code::Corrupted, "chunk 7"));
        let full = stream_error(io::ErrorKind::StorageFull.into(), "write");
        assert_eq!(full.code, Code::NoSpace);
    }
}
