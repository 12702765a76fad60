//! The disk, as the log, the identity and the snapshot store see it.
//!
//! Everything those three keep goes through these two traits, so that a simulator can lose, tear
//! and damage it. Nothing here is clever: a call is one system call, and an error is the system's
//! error.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub mod file_system;
pub mod memory;

pub use file_system::FileSystem;
pub(crate) use file_system::{open_regular, sync_name};
pub use memory::MemoryDisk;

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    ReadWrite,
    /// For reading and writing; the file must not exist.
    CreateNew,
}

/// A tree of files below one root. Paths are relative to it and never contain `..`.
///
/// **Threads**: every method may be called from any thread. **Durability**: a file's content is
/// durable after [`File::sync`]; that the file is there, or has its new name, after
/// [`Disk::sync_dir`] of the folder that holds it.
pub trait Disk: Send + Sync + 'static {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing the target, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn delete(&self, path: &Path) -> io::Result<()>;
    /// Deletes a folder and all it holds. Not atomic.
    fn delete_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder and the ones above it. It is no error if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable. `""` is the root.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names of the files and folders in a folder, sorted. A missing folder is an error of kind
    /// `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The bytes that an unprivileged process may still allocate here.
    fn available_bytes(&self) -> io::Result<u64>;
    /// A path that a person can find, for messages.
    fn display(&self, path: &Path) -> String;
}

/// An open file. Closed on drop.
pub trait File: Send + Sync {
    /// Fills as much of `buffer` as the file has at `offset`; returns how much, 0 at the end of the
    /// file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buffer` at `offset`.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buffers`, one behind the other, at `offset`. What they refer to may change.
    fn write_vectored_at(&self, buffers: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let pieces: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        self.write_at(&pieces.concat(), offset)
    }
    /// Makes all content written so far durable (`fdatasync`). After an error nothing about it is
    /// known any more.
    fn sync(&self) -> io::Result<()>;
    /// Reserves the blocks of a range, so that writing there needs no space; the length grows to
    /// cover it.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
