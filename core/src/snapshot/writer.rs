//! Writes a snapshot: what a state machine saves, or what a peer sends.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::io_error;
use super::manifest::{ChunkHash, Manifest, SnapshotKind, SnapshotPoint, CHUNKS_MAX, CHUNK_BYTES};
use super::store::{SnapshotStore, MANIFEST_FILE, NEW_MANIFEST_FILE, STREAM_FILE};
use crate::deliberate::{is_on, Bug};
use crate::disk::{File, OpenMode};
use crate::error::{Code, Error, Result};

/// After how many bytes the stream is synced on the way. A sync of gigabytes at the end would keep
/// the disk from the journal for seconds.
const SYNC_BYTES: u64 = 16 << 20;

/// A snapshot that is being written. Needs the memory of one chunk and its hashes, however long the
/// stream.
///
/// An error of a write is kept: `finish` reports it, whatever the code in between made of it.
/// Dropped before it is finished, it leaves nothing behind.
pub struct SnapshotWriter {
    store: SnapshotStore,
    point: SnapshotPoint,
    folder: PathBuf,
    /// Opened with the first byte: a snapshot without a state has no file.
    file: Option<Arc<dyn File>>,
    chunk: Vec<u8>,
    chunk_bytes: u32,
    chunks: Vec<ChunkHash>,
    written_bytes: u64,
    synced_bytes: u64,
    failure: Option<Error>,
    finished: bool,
}

impl SnapshotWriter {
    pub(super) fn begin(store: SnapshotStore, point: SnapshotPoint) -> Result<SnapshotWriter> {
        point.check()?;
        store.catalog().begin(point.group_id, point.snapshot)?;
        let writer = SnapshotWriter {
            folder: store.folder(point.group_id, point.snapshot),
            store,
            point,
            file: None,
            chunk: Vec::new(),
            chunk_bytes: CHUNK_BYTES,
            chunks: Vec::new(),
            written_bytes: 0,
            synced_bytes: 0,
            failure: None,
            finished: false,
        };
        writer.create_folders()?;
        writer.check_space()?;
        Ok(writer)
    }

    /// Takes chunks of another length, as a peer cuts them. Only before the first byte.
    pub(super) fn with_chunk_bytes(mut self, chunk_bytes: u32) -> SnapshotWriter {
        self.chunk_bytes = chunk_bytes;
        self
    }

    pub(super) fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Takes a whole chunk without gathering it first. False, and nothing is written, if it does
    /// not have this hash.
    pub(super) fn push_chunk(&mut self, chunk: &[u8], hash: &ChunkHash) -> Result<bool> {
        if ChunkHash::of(chunk) != *hash {
            return Ok(false);
        }
        self.store_chunk(chunk, *hash)?;
        Ok(true)
    }

    pub fn point(&self) -> &SnapshotPoint {
        &self.point
    }

    /// The bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.written_bytes + self.chunk.len() as u64
    }

    /// Completes the snapshot of this node's own state: it is durable on return, and takes the
    /// place of older ones.
    ///
    /// **Errors**: the first error of a write; `NoSpace`; `Io`; `Stopped` if the snapshot was
    /// removed in the meantime.
    pub fn finish(self) -> Result<Arc<Manifest>> {
        self.finish_as(SnapshotKind::Full, true)
    }

    /// Completes a snapshot that came from a peer: it is durable on return, but does not count yet.
    pub(super) fn finish_received(self) -> Result<Arc<Manifest>> {
        self.finish_as(SnapshotKind::Full, false)
    }

    /// Completes the snapshot: first the stream is durable, then the manifest, then its name.
    pub(super) fn finish_as(
        mut self,
        kind: SnapshotKind,
        confirmed: bool,
    ) -> Result<Arc<Manifest>> {
        if kind == SnapshotKind::Full {
            self.flush_chunk()?;
            self.open_file()?;
            if confirmed || !is_on(Bug::AnnounceASnapshotBeforeItIsDurable) {
                self.sync()?;
            }
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if kind == SnapshotKind::Full {
            // The stream's name too: with the manifest alone the snapshot would be a damaged one.
            let folder = &self.folder;
            self.store.on_disk("sync", folder, self.store.disk().sync_dir(folder))?;
        }
        let manifest = Arc::new(Manifest {
            group_id: self.point.group_id,
            snapshot: self.point.snapshot,
            index: self.point.index,
            term: self.point.term,
            membership: self.point.membership.clone(),
            kind,
            chunk_bytes: self.chunk_bytes,
            total_bytes: self.written_bytes,
            chunks: std::mem::take(&mut self.chunks),
        });
        self.store_manifest(&manifest)?;
        if !self.store.catalog().complete(manifest.clone(), confirmed) {
            let message =
                format!("snapshot {} was removed while it was written", manifest.snapshot);
            return Err(Error::rejected(Code::Stopped, message));
        }
        self.finished = true;
        Ok(manifest)
    }

    fn create_folders(&self) -> Result<()> {
        let group = self.folder.parent().unwrap_or(Path::new(""));
        let disk = self.store.disk();
        self.store.on_disk("create", &self.folder, disk.create_dir(&self.folder))?;
        // The group's folder is durable when another snapshot in it is.
        if self.store.list(self.point.group_id).is_empty() {
            self.store.on_disk("sync", Path::new(""), disk.sync_dir(Path::new("")))?;
        }
        self.store.on_disk("sync", group, disk.sync_dir(group))
    }

    fn store_manifest(&self, manifest: &Manifest) -> Result<()> {
        let (store, disk) = (&self.store, self.store.disk());
        let (new, path) = (self.folder.join(NEW_MANIFEST_FILE), self.folder.join(MANIFEST_FILE));
        let file = store.on_disk("create", &new, disk.open(&new, OpenMode::CreateNew))?;
        store.on_disk("write", &new, file.write_at(&manifest.encode(), 0))?;
        store.on_disk("sync", &new, file.sync())?;
        store.on_disk("rename", &new, disk.rename(&new, &path))?;
        store.on_disk("sync", &self.folder, disk.sync_dir(&self.folder))
    }

    /// Writes what was gathered as one chunk.
    fn flush_chunk(&mut self) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let stored = self.store_chunk(&chunk, ChunkHash::of(&chunk));
        self.chunk = chunk;
        self.chunk.clear();
        stored
    }

    fn store_chunk(&mut self, chunk: &[u8], hash: ChunkHash) -> Result<()> {
        if self.chunks.len() == CHUNKS_MAX {
            let message = format!("a snapshot has at most {CHUNKS_MAX} chunks, and this one more");
            return Err(Error::rejected(Code::TooLarge, message));
        }
        let file = self.open_file()?;
        let path = self.folder.join(STREAM_FILE);
        self.store.on_disk("write", &path, file.write_at(chunk, self.written_bytes))?;
        self.chunks.push(hash);
        self.written_bytes += chunk.len() as u64;
        if self.written_bytes - self.synced_bytes >= SYNC_BYTES {
            self.sync()?;
            self.check_space()?;
        }
        Ok(())
    }

    fn open_file(&mut self) -> Result<Arc<dyn File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let path = self.folder.join(STREAM_FILE);
        let opened = self.store.disk().open(&path, OpenMode::CreateNew);
        let file = self.store.on_disk("create", &path, opened)?;
        self.file = Some(file.clone());
        Ok(file)
    }

    fn sync(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            self.store.on_disk("sync", &self.folder.join(STREAM_FILE), file.sync())?;
        }
        self.synced_bytes = self.written_bytes;
        Ok(())
    }

    /// A snapshot must not take the space that the log may still need.
    fn check_space(&self) -> Result<()> {
        let available = self.store.disk().available_bytes();
        let available =
            self.store.on_disk("ask for the free space of", Path::new(""), available)?;
        let min = self.store.free_bytes_min();
        if available >= min {
            return Ok(());
        }
        let message = format!(
            "a snapshot does not fit into {}: {available} bytes are free, and {min} must stay \
             so; free space there",
            self.store.disk().display(Path::new(""))
        );
        Err(Error::rejected(Code::NoSpace, message))
    }
}

#[cfg(test)]
impl SnapshotWriter {
    /// The memory that the stream takes here.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.chunk.capacity()
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(io_error(failure));
        }
        if self.chunk.capacity() == 0 {
            self.chunk.reserve_exact(self.chunk_bytes as usize);
        }
        let room = self.chunk_bytes as usize - self.chunk.len();
        let taken = room.min(bytes.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == self.chunk_bytes as usize {
            if let Err(error) = self.flush_chunk() {
                let reported = io_error(&error);
                self.failure = Some(error);
                return Err(reported);
            }
        }
        Ok(taken)
    }

    /// Does nothing: chunks are written when they are full, and made durable by `finish`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        let (group_id, snapshot) = (self.point.group_id, self.point.snapshot);
        if !self.finished {
            self.store.catalog().doom(group_id, snapshot);
        }
        self.store.unpin(group_id, snapshot);
    }
}
