//! Reads a snapshot, chunk by chunk, and hands out nothing that was not verified.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::io_error;
use super::manifest::{ChunkHash, Manifest, SnapshotKind};
use super::store::{read_full, SnapshotPin, STREAM_FILE};
use crate::disk::{File, OpenMode};
use crate::error::{Code, Error, Result};

/// A snapshot that is being read. Pins it, and needs the memory of one chunk, however long the
/// stream.
pub struct SnapshotReader {
    pin: SnapshotPin,
    path: PathBuf,
    /// A snapshot without a state has no file.
    file: Option<Arc<dyn File>>,
    /// Room for a chunk, and how much of it the present one takes.
    buffer: Vec<u8>,
    filled: usize,
    /// How much of the present chunk was handed out.
    position: usize,
    next_chunk: usize,
}

impl SnapshotReader {
    pub(super) fn open(pin: SnapshotPin) -> Result<SnapshotReader> {
        let (store, manifest) = (pin.store(), pin.manifest());
        let path = store.folder(manifest.group_id, manifest.snapshot).join(STREAM_FILE);
        let file = match manifest.kind {
            SnapshotKind::MetadataOnly => None,
            SnapshotKind::Full => {
                Some(store.on_disk("open", &path, store.disk().open(&path, OpenMode::Read))?)
            }
        };
        Ok(SnapshotReader {
            pin,
            path,
            file,
            buffer: Vec::new(),
            filled: 0,
            position: 0,
            next_chunk: 0,
        })
    }

    pub fn manifest(&self) -> &Arc<Manifest> {
        self.pin.manifest()
    }

    /// The next chunk of the stream, verified; `None` at its end. What `read` has not handed out of
    /// the one before is passed over.
    ///
    /// **Errors**: `Corrupted` with the file and the bytes that are damaged; `Io`.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>> {
        let (manifest, store) = (self.pin.manifest(), self.pin.store());
        (self.position, self.filled) = (0, 0);
        let (Some(hash), Some(file)) = (manifest.chunks.get(self.next_chunk), &self.file) else {
            return Ok(None);
        };
        let (offset, length) = manifest.chunk_range(self.next_chunk);
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        let chunk = &mut self.buffer[..length];
        let read = store.on_disk("read", &self.path, read_full(&**file, chunk, offset))?;
        if read < length || ChunkHash::of(chunk) != *hash {
            return Err(Error::rejected(
                Code::Corrupted,
                format!(
                    "{} is damaged between offsets {offset} and {}: the bytes do not have the \
                     hash that the manifest says",
                    store.disk().display(&self.path),
                    offset + length as u64
                ),
            ));
        }
        self.next_chunk += 1;
        self.filled = length;
        Ok(Some(&self.buffer[..length]))
    }

    /// Passes over the next chunk without reading it.
    pub(super) fn skip_chunk(&mut self) {
        (self.position, self.filled) = (0, 0);
        self.next_chunk = self.manifest().chunks.len().min(self.next_chunk + 1);
    }
}

#[cfg(test)]
impl SnapshotReader {
    /// The memory that the stream takes here.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.filled && !buffer.is_empty() {
            self.next_chunk().map_err(|error| io_error(&error))?;
        }
        let taken = buffer.len().min(self.filled - self.position);
        buffer[..taken].copy_from_slice(&self.buffer[self.position..self.position + taken]);
        self.position += taken;
        Ok(taken)
    }
}
