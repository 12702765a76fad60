//! The checkpoint in sled 0.34, used so that its weaknesses cannot hurt: nothing is believed
//! durable before a sync of our own, panics are caught, and what it holds can be made anew while
//! the journal still has it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{mpsc, Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::checkpoint::{Changes, CheckpointFolder, CheckpointStore, Visit};
use crate::disk::{Disk, FileSystem};
use crate::error::{Code, Error, Result};

/// Nodes of sled's tree larger than a quarter of this go to files that it never syncs.
const SEGMENT_BYTES: usize = 8 << 20;
const CACHE_BYTES: u64 = 16 << 20;
/// sled's threads give up its lock within moments; beyond this something is wrong.
const UNLOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// A folder with a folder for each generation.
pub(super) struct SledCheckpoints {
    folder: PathBuf,
}

struct SledCheckpoint {
    folder: PathBuf,
    open: RwLock<Option<OpenSled>>,
}

struct OpenSled {
    database: sled::Db,
    /// Opened before the first write: an error of writing back is reported to descriptors that were
    /// open then.
    file: File,
}

impl SledCheckpoints {
    pub fn new(folder: PathBuf) -> SledCheckpoints {
        SledCheckpoints { folder }
    }
}

impl CheckpointFolder for SledCheckpoints {
    fn generations(&self) -> Result<Vec<u64>> {
        let disk = FileSystem::new(self.folder.clone());
        let fail = |error| Error::from_io("list", self.folder.display(), &error);
        disk.create_dir(Path::new("")).map_err(fail)?;
        let names = disk.list(Path::new("")).map_err(fail)?;
        let mut generations: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        generations.sort_unstable();
        Ok(generations)
    }

    fn open(&self, generation: u64) -> Result<Arc<dyn CheckpointStore>> {
        let folder = self.folder.join(format!("{generation:08}"));
        let fail = |error: io::Error| Error::from_io("open", folder.display(), &error);
        FileSystem::new(folder.clone()).create_dir(Path::new("")).map_err(fail)?;
        let database = match open_database(&folder) {
            Ok(database) => database,
            Err(first) => {
                // The snapshot files only make opening quicker, and are sometimes what is damaged.
                if delete_snapshots(&folder).map_err(fail)? == 0 {
                    return Err(first);
                }
                open_database(&folder)?
            }
        };
        let file = File::options().read(true).write(true).open(folder.join("db")).map_err(fail)?;
        sync_all(&folder, &file).map_err(fail)?;
        let open = RwLock::new(Some(OpenSled { database, file }));
        Ok(Arc::new(SledCheckpoint { folder, open }))
    }

    fn delete(&self, generation: u64) -> Result<()> {
        let folder = self.folder.join(format!("{generation:08}"));
        fs::remove_dir_all(&folder)
            .map_err(|error| Error::from_io("delete", folder.display(), &error))
    }

    fn spare_bytes(&self) -> u64 {
        4 * SEGMENT_BYTES as u64
    }

    fn display(&self) -> String {
        self.folder.display().to_string()
    }
}

fn open_database(folder: &Path) -> Result<sled::Db> {
    guarded(folder, || {
        let config = sled::Config::new()
            .path(folder)
            .flush_every_ms(None)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES);
        config.open()
    })
}

fn delete_snapshots(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path())?;
            count += 1;
        }
    }
    Ok(count)
}

/// What sled itself never syncs: its settings, and the names of its files.
fn sync_all(folder: &Path, file: &File) -> io::Result<()> {
    File::open(folder.join("conf"))?.sync_all()?;
    file.sync_all()?;
    File::open(folder.join("blobs"))?.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Runs a call of sled; a panic in it is an error like any other.
fn guarded<T>(folder: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => {
            Err(Error::from_io("read or write", folder.display(), &error))
        }
        Ok(Err(error)) => {
            let message = format!("{} is damaged: {error}", folder.display());
            Err(Error::rejected(Code::Corrupted, message))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            let text = text.unwrap_or_default();
            let message = format!("{} is damaged: sled panicked: {text}", folder.display());
            Err(Error::rejected(Code::Corrupted, message))
        }
    }
}

impl SledCheckpoint {
    fn read(&self) -> RwLockReadGuard<'_, Option<OpenSled>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        let open = self.read();
        let open = open.as_ref().ok_or_else(|| self.closed())?;
        guarded(&self.folder, || call(&open.database))
    }

    fn closed(&self) -> Error {
        Error::rejected(Code::Closed, format!("{} is closed", self.folder.display()))
    }

    /// Waits until sled's lock is free: threads of its own may hold the file a little longer than
    /// the handle.
    fn wait_unlocked(&self) -> Result<()> {
        let path = self.folder.join("db");
        let fail = |error: io::Error| Error::from_io("close", self.folder.display(), &error);
        let file = File::open(&path).map_err(fail)?;
        let (sender, receiver) = mpsc::channel();
        let wait = move || {
            // SAFETY: takes no pointers; the descriptor is open as long as `file`, which this
            // thread owns.
            let result = match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            };
            drop(file);
            // The receiver may have given up; then nobody is interested.
            let _ = sender.send(result);
        };
        std::thread::Builder::new().name("libraft-unlock".to_string()).spawn(wait).map_err(fail)?;
        match receiver.recv_timeout(UNLOCK_TIMEOUT) {
            Ok(result) => result.map_err(fail),
            Err(_) => {
                let message = format!("{} is still locked by sled", self.folder.display());
                Err(Error::rejected(Code::Internal, message))
            }
        }
    }
}

impl CheckpointStore for SledCheckpoint {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(|database| Ok(database.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, low: &[u8], high: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let open = self.read();
        let open = open.as_ref().ok_or_else(|| self.closed())?;
        let mut range = guarded(&self.folder, || Ok(open.database.range(low..=high)))?;
        while let Some((key, value)) = guarded(&self.folder, || range.next().transpose())? {
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, changes: Changes) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes.values {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.with(|database| database.apply_batch(batch))
    }

    fn sync(&self) -> Result<()> {
        self.with(|database| database.flush())?;
        let open = self.read();
        let open = open.as_ref().ok_or_else(|| self.closed())?;
        open.file.sync_data().map_err(|error| {
            let mut error = Error::from_io("sync", self.folder.display(), &error);
            error.code = Code::StorageFailed;
            error
        })
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.with(|database| database.size_on_disk())
    }

    fn close(&self) -> Result<()> {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(OpenSled { database, file }) = open else { return Ok(()) };
        drop(file);
        guarded(&self.folder, || {
            drop(database);
            Ok(())
        })?;
        self.wait_unlocked()
    }

    fn display(&self) -> String {
        self.folder.display().to_string()
    }
}

impl Drop for SledCheckpoint {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        let _ = self.close();
    }
}
