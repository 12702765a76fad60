//! Snapshots: the state of a group at an index, kept on this node's disk and sent to peers.
//!
//! The [`SnapshotStore`] holds the snapshots of every group of a node. A snapshot is a [`Manifest`]
//! and the stream that the state machine wrote, cut into chunks that are known by their hash; see
//! `docs/format.md`. A [`SnapshotWriter`] makes one, a [`SnapshotReader`] reads it, and neither
//! hands on a byte that was not verified.
//!
//! What comes later has its place: named files and incremental snapshots are further parts of a
//! manifest; custom storage and a file-system adaptor stand behind the `Disk` that a store is
//! opened with.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::io;

use crate::error::{Code, Error};

mod catalog;
pub mod exchange;
mod line;
pub mod manifest;
pub mod reader;
pub mod receiver;
pub mod sender;
pub mod store;
pub mod writer;

pub use exchange::Begin;
pub use manifest::{ChunkHash, Manifest, SnapshotKind, SnapshotPoint};
pub use reader::SnapshotReader;
pub use receiver::receive_snapshot;
pub use sender::{send_snapshot, Source};
pub use store::{SnapshotPin, SnapshotStore};
pub use writer::SnapshotWriter;

/// The error as `Read` and `Write` report it; what went wrong stays readable in its text.
fn io_error(error: &Error) -> io::Error {
    let kind = match error.code {
        Code::NoSpace => io::ErrorKind::StorageFull,
        Code::PermissionDenied => io::ErrorKind::PermissionDenied,
        Code::Corrupted => io::ErrorKind::InvalidData,
        Code::Timeout => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.clone())
}
