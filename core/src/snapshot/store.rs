//! The snapshots of a node on its disk: `<group id>/<snapshot id>/{manifest,stream}`.
//!
//! A snapshot exists from the moment its manifest has its name; a folder without one is partial,
//! and is deleted at start. Of each group the newest snapshot is kept, and what is pinned.
//!
//! A snapshot that came from a peer does not count until the log says, durably, that this replica's
//! state was replaced by it: a crash before that leaves a log which continues the older snapshot,
//! and that one must still be there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::catalog::Catalog;
use super::manifest::{Manifest, SnapshotKind, SnapshotPoint, MANIFEST_BYTES_MAX};
use super::reader::SnapshotReader;
use super::writer::SnapshotWriter;
use crate::disk::{Disk, OpenMode};
use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, Uuid};
use crate::log::RecoveredGroup;

pub(super) const MANIFEST_FILE: &str = "manifest";
pub(super) const NEW_MANIFEST_FILE: &str = "manifest.new";
pub(super) const STREAM_FILE: &str = "stream";

/// The snapshots of every group of a node. Clones are the same store.
///
/// **Threads**: every method may be called from any thread. `newest`, `list`, `pin` and `installed`
/// never touch the disk; the others do, and belong on a thread that may wait.
#[derive(Clone)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    free_bytes_min: u64,
    catalog: Mutex<Catalog>,
}

impl SnapshotStore {
    /// Opens the store at the root of `disk`, the node's snapshot directory, and deletes what is
    /// partial, stale or of a group that the log does not know.
    ///
    /// `recovered` is what the log holds: a snapshot counts only if it fits. New snapshots leave
    /// `free_bytes_min` bytes of the disk free. A damaged snapshot fails its group only, when the
    /// group asks for its newest.
    ///
    /// **Errors**: `NewerFormat`; `Io`; `PermissionDenied`; `NoSpace`.
    pub fn open(
        disk: Arc<dyn Disk>,
        recovered: &[RecoveredGroup],
        free_bytes_min: u64,
    ) -> Result<SnapshotStore> {
        let catalog = Mutex::new(Catalog::default());
        let store = SnapshotStore { shared: Arc::new(Shared { disk, free_bytes_min, catalog }) };
        for name in store.list_folder(Path::new(""))? {
            if let Some(group_id) = group_named(&name) {
                store.scan_group(group_id, recovered)?;
            }
        }
        store.collect()?;
        Ok(store)
    }

    /// Begins a snapshot of this node's own state. Nothing is kept if the writer is dropped before
    /// it is finished.
    ///
    /// **Errors**: `InvalidArgument` for a point that cannot be, or a snapshot that exists;
    /// `NoSpace`; `Io`; `PermissionDenied`.
    pub fn begin(&self, point: SnapshotPoint) -> Result<SnapshotWriter> {
        SnapshotWriter::begin(self.clone(), point)
    }

    /// Keeps a snapshot without a state, by which the log of an on-disk machine is compacted.
    /// Durable on return.
    pub fn put_metadata(&self, point: SnapshotPoint) -> Result<Arc<Manifest>> {
        SnapshotWriter::begin(self.clone(), point)?.finish_as(SnapshotKind::MetadataOnly, true)
    }

    /// The newest snapshot from which this replica's state machine can start.
    ///
    /// **Errors**: `Corrupted` if a snapshot of the group is damaged, and no newer one was
    /// completed since.
    pub fn newest(&self, group_id: GroupId) -> Result<Option<Arc<Manifest>>> {
        self.catalog().newest(group_id)
    }

    /// Every complete snapshot of a group, oldest first, received ones included.
    pub fn list(&self, group_id: GroupId) -> Vec<Arc<Manifest>> {
        self.catalog().list(group_id)
    }

    /// A received snapshot counts from now on: call it when the log's reset record that names it is
    /// durable. The older ones are deleted by the next `collect`.
    pub fn installed(&self, group_id: GroupId, snapshot: Uuid) {
        self.catalog().confirm(group_id, snapshot);
    }

    /// Keeps a snapshot from being deleted until the pin is dropped.
    ///
    /// **Errors**: `InvalidArgument` if there is no such complete snapshot.
    pub fn pin(&self, group_id: GroupId, snapshot: Uuid) -> Result<SnapshotPin> {
        match self.catalog().pin(group_id, snapshot) {
            Some(manifest) => Ok(SnapshotPin { store: self.clone(), manifest }),
            None => Err(Error::rejected(
                Code::InvalidArgument,
                format!(
                    "there is no snapshot {snapshot} of group {group_id} on this node (any more)"
                ),
            )),
        }
    }

    /// Opens a snapshot for reading, and pins it for as long.
    ///
    /// **Errors**: those of `pin`; `Corrupted`; `Io`.
    pub fn open_reader(&self, group_id: GroupId, snapshot: Uuid) -> Result<SnapshotReader> {
        SnapshotReader::open(self.pin(group_id, snapshot)?)
    }

    /// Deletes a received snapshot for which the replica had no use, as soon as nothing pins it.
    /// One that counts stays: a peer may have sent again what was installed long ago.
    pub fn remove(&self, group_id: GroupId, snapshot: Uuid) -> Result<()> {
        self.catalog().doom_unconfirmed(group_id, snapshot);
        self.collect()
    }

    /// As `remove`, but leaves the deleting to the next [`SnapshotStore::collect`], and never blocks.
    pub fn forget(&self, group_id: GroupId, snapshot: Uuid) {
        self.catalog().doom_unconfirmed(group_id, snapshot);
    }

    /// Whether the snapshot is complete here. Never blocks.
    pub fn holds(&self, group_id: GroupId, snapshot: Uuid) -> bool {
        self.list(group_id).iter().any(|held| held.snapshot == snapshot)
    }

    /// Deletes every snapshot of a group. Call it before the log forgets the group.
    pub fn remove_group(&self, group_id: GroupId) -> Result<()> {
        self.catalog().doom_group(group_id);
        self.collect()
    }

    /// Deletes what is not needed any more and not pinned. Happens by itself when a snapshot is
    /// finished, removed or unpinned. What cannot be deleted is tried again with the next.
    pub fn collect(&self) -> Result<()> {
        let doomed = self.catalog().take_doomed();
        let mut result = Ok(());
        for (group_id, snapshot) in doomed {
            let deleted = self.delete(group_id, snapshot);
            self.catalog().deleted(group_id, snapshot, deleted.is_ok());
            result = result.and(deleted);
        }
        result
    }

    /// The snapshot of this point, if it is complete here: a peer that did not hear so sends it
    /// again.
    pub(super) fn complete(&self, point: &SnapshotPoint) -> Option<Arc<Manifest>> {
        let manifests = self.list(point.group_id);
        manifests.into_iter().find(|held| held.kind == SnapshotKind::Full && held.point() == *point)
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    pub(super) fn free_bytes_min(&self) -> u64 {
        self.shared.free_bytes_min
    }

    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // Every change of the catalog is complete when it can panic, so what a panicking thread
        // left is sound.
        self.shared.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a writer's or reader's use of the files. An error shows up again at the next `collect`
    /// that is asked for.
    pub(super) fn unpin(&self, group_id: GroupId, snapshot: Uuid) {
        self.catalog().unpin(group_id, snapshot);
        self.collect_quietly();
    }

    pub(super) fn collect_quietly(&self) {
        if let Err(error) = self.collect() {
            tracing::warn!(%error, "an old snapshot could not be deleted; it is tried again later");
        }
    }

    fn scan_group(&self, group_id: GroupId, recovered: &[RecoveredGroup]) -> Result<()> {
        let held = recovered.iter().find(|held| held.group_id == group_id);
        // A log without any group is lost rather than empty: then its snapshots may be all there
        // is.
        let orphaned = held.is_none() && !recovered.is_empty();
        let names = self.list_folder(Path::new(&group_id.to_string()))?;
        for snapshot in names.iter().filter_map(|name| snapshot_named(name)) {
            let manifest = self.folder(group_id, snapshot).join(MANIFEST_FILE);
            if orphaned || !self.on_disk("read", &manifest, self.disk().exists(&manifest))? {
                self.delete(group_id, snapshot)?;
                continue;
            }
            let found = match self.load(group_id, snapshot) {
                Ok(manifest) => {
                    let fits = held.is_some_and(|held| fits(held, &manifest));
                    Ok((manifest, fits))
                }
                Err(error) if matches!(error.code, Code::Corrupted | Code::Io) => {
                    tracing::error!(%error, "a snapshot cannot be read");
                    Err(error)
                }
                Err(error) => return Err(error),
            };
            self.catalog().found(group_id, snapshot, found);
        }
        self.catalog().doom_older(group_id, None);
        if orphaned {
            self.delete_if_empty(Path::new(&group_id.to_string()))?;
        }
        Ok(())
    }

    fn delete_if_empty(&self, folder: &Path) -> Result<()> {
        if self.list_folder(folder)?.is_empty() {
            self.on_disk("delete", folder, self.disk().delete_dir(folder))?;
        }
        Ok(())
    }

    fn load(&self, group_id: GroupId, snapshot: Uuid) -> Result<Manifest> {
        let folder = self.folder(group_id, snapshot);
        let path = folder.join(MANIFEST_FILE);
        let place = self.disk().display(&path);
        let damaged = |place: &str, what: String| {
            Error::rejected(Code::Corrupted, format!("{place} is damaged: {what}"))
        };
        let file = self.on_disk("open", &path, self.disk().open(&path, OpenMode::Read))?;
        let length = self.on_disk("read", &path, file.len())?;
        if length > MANIFEST_BYTES_MAX {
            return Err(damaged(&place, format!("it has {length} bytes, more than any manifest")));
        }
        let mut bytes = vec![0; length as usize];
        let read = self.on_disk("read", &path, read_full(&*file, &mut bytes, 0))?;
        let manifest = Manifest::decode(&bytes[..read], &place)?;
        if (manifest.group_id, manifest.snapshot) != (group_id, snapshot) {
            return Err(damaged(&place, "it belongs to another snapshot".to_string()));
        }
        if manifest.kind == SnapshotKind::Full {
            let path = folder.join(STREAM_FILE);
            let length = match self.disk().open(&path, OpenMode::Read) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
                opened => {
                    let stream = self.on_disk("open", &path, opened)?;
                    self.on_disk("read", &path, stream.len())?
                }
            };
            if length != manifest.total_bytes {
                let what = format!("it has {length} of {} bytes", manifest.total_bytes);
                return Err(damaged(&self.disk().display(&path), what));
            }
        }
        Ok(manifest)
    }

    /// Deletes a snapshot's folder: the manifest first, so that a crash leaves a partial snapshot
    /// and not a damaged one.
    fn delete(&self, group_id: GroupId, snapshot: Uuid) -> Result<()> {
        let folder = self.folder(group_id, snapshot);
        let manifest = folder.join(MANIFEST_FILE);
        let stream = folder.join(STREAM_FILE);
        let complete = self.on_disk("read", &manifest, self.disk().exists(&manifest))?;
        if complete && self.on_disk("read", &stream, self.disk().exists(&stream))? {
            self.on_disk("delete", &manifest, self.disk().delete(&manifest))?;
            self.on_disk("sync", &folder, self.disk().sync_dir(&folder))?;
        }
        if self.on_disk("read", &folder, self.disk().exists(&folder))? {
            self.on_disk("delete", &folder, self.disk().delete_dir(&folder))?;
        }
        Ok(())
    }

    pub(super) fn folder(&self, group_id: GroupId, snapshot: Uuid) -> PathBuf {
        Path::new(&group_id.to_string()).join(snapshot.to_string())
    }

    /// The result of a call to the disk, with an error that says on what it failed.
    pub(super) fn on_disk<T>(
        &self,
        action: &str,
        path: &Path,
        result: std::io::Result<T>,
    ) -> Result<T> {
        result.map_err(|error| Error::from_io(action, self.disk().display(path), &error))
    }

    fn list_folder(&self, path: &Path) -> Result<Vec<String>> {
        self.on_disk("list", path, self.disk().list(path))
    }
}

/// Keeps a snapshot's files on the disk. **Threads**: dropping the last pin of an old snapshot
/// deletes its files, so drop it on a thread that may wait.
pub struct SnapshotPin {
    store: SnapshotStore,
    manifest: Arc<Manifest>,
}

impl SnapshotPin {
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    pub(super) fn store(&self) -> &SnapshotStore {
        &self.store
    }
}

impl Drop for SnapshotPin {
    fn drop(&mut self) {
        self.store.unpin(self.manifest.group_id, self.manifest.snapshot);
    }
}

/// Whether a state machine restored from the snapshot can go on with this log: the log continues
/// from exactly the entry that the snapshot ends with, or was reset to it.
fn fits(held: &RecoveredGroup, manifest: &Manifest) -> bool {
    if let Some((snapshot, _)) = held.unrestored {
        return snapshot == manifest.snapshot;
    }
    if manifest.index == held.compacted_index {
        return manifest.term == held.compacted_term;
    }
    let inside = manifest.index > held.compacted_index && manifest.index <= held.last_index;
    let run = held.terms.iter().rev().find(|(_, first)| *first <= manifest.index);
    inside && run.is_some_and(|(term, _)| *term == manifest.term)
}

fn group_named(name: &str) -> Option<GroupId> {
    let group_id: GroupId = name.parse().ok()?;
    (group_id != 0 && group_id.to_string() == name).then_some(group_id)
}

fn snapshot_named(name: &str) -> Option<Uuid> {
    let snapshot = Uuid(uuid::Uuid::parse_str(name).ok()?.into_bytes());
    (snapshot.to_string() == name).then_some(snapshot)
}

/// Reads until the buffer is full or the file ends; returns how much.
pub(super) fn read_full(
    file: &dyn crate::disk::File,
    buffer: &mut [u8],
    offset: u64,
) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64)? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
