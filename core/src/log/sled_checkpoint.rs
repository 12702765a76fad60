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
use crate::disk::{Disk, FileSystem, OpenMode};
use crate::error::{Code, Error, Result};

/// Nodes of sled's tree larger than a quarter of this go to files that it never syncs.
const SEGMENT_BYTES: usize = 8 << 20;
const CACHE_BYTES: u64 = 16 << 20;
/// sled's threads give up its lock within moments; beyond this something is wrong.
const UNLOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// sled's file with all segments.
const DATABASE: &str = "db";

/// A folder with a folder for each generation.
pub(super) struct SledCheckpoints {
    folder: PathBuf,
    disk: FileSystem,
}

/// What an opening starts from, while it is under way.
const BEFORE: &str = ".before";
/// The same while it is being made or deleted.
const PARTIAL: &str = ".partial";
const COPY_BYTES: usize = 1 << 20;

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
        SledCheckpoints { disk: FileSystem::new(folder.clone()), folder }
    }

    /// Keeps a copy of a database while sled opens it. For sled zeroes segments then that only its
    /// new snapshot file says are free, and does not sync the name of that first: a power cut in
    /// between could leave neither. A database of one segment has none to zero. Says whether there
    /// is a copy: on a full disk there is not.
    pub(super) fn keep(&self, name: &str) -> io::Result<bool> {
        let (before, partial) = (format!("{name}{BEFORE}"), format!("{name}{PARTIAL}"));
        let (name, before, partial) = (Path::new(name), Path::new(&before), Path::new(&partial));
        if self.disk.exists(partial)? {
            self.disk.delete_dir(partial)?;
        }
        if self.disk.exists(before)? {
            // The last opening did not end.
            if self.disk.exists(name)? {
                self.disk.delete_dir(name)?;
            }
            self.disk.rename(before, name)?;
            self.disk.sync_dir(Path::new(""))?;
        }
        let database = name.join(DATABASE);
        if !self.disk.exists(&database)? {
            return Ok(false);
        }
        if self.disk.open(&database, OpenMode::Read)?.len()? <= SEGMENT_BYTES as u64 {
            return Ok(false);
        }
        match self.copy(name, partial) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.disk.delete_dir(partial)?;
                return Ok(false);
            }
            result => result?,
        }
        self.disk.rename(partial, before)?;
        self.disk.sync_dir(Path::new(""))?;
        Ok(true)
    }

    /// Copies what sled recovers from: the segments, and the snapshot file. A segment may be zeroed
    /// already that only the snapshot file says is not needed; without it sled could take what
    /// follows for torn, and zero that too.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.create_dir(to)?;
        for name in self.disk.list(from)? {
            if name == DATABASE || is_snapshot(&name) {
                self.copy_file(&from.join(&name), &to.join(&name))?;
            }
        }
        self.disk.sync_dir(to)
    }

    fn copy_file(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.disk.open(from, OpenMode::Read)?;
        let to = self.disk.open(to, OpenMode::CreateNew)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0;
        loop {
            let count = from.read_at(&mut buffer, offset)?;
            if count == 0 {
                return to.sync();
            }
            to.write_at(&buffer[..count], offset)?;
            offset += count as u64;
        }
    }

    /// The opening has ended: what it started from must never come back.
    fn forget(&self, name: &str) -> io::Result<()> {
        let (before, partial) = (format!("{name}{BEFORE}"), format!("{name}{PARTIAL}"));
        self.disk.rename(Path::new(&before), Path::new(&partial))?;
        self.disk.sync_dir(Path::new(""))?;
        self.disk.delete_dir(Path::new(&partial))
    }
}

impl CheckpointFolder for SledCheckpoints {
    fn generations(&self) -> Result<Vec<u64>> {
        let fail = |error| Error::from_io("list", self.folder.display(), &error);
        self.disk.create_dir(Path::new("")).map_err(fail)?;
        let names = self.disk.list(Path::new("")).map_err(fail)?;
        let number = |name: &String| name.strip_suffix(BEFORE).unwrap_or(name).parse().ok();
        let mut generations: Vec<u64> = names.iter().filter_map(number).collect();
        generations.sort_unstable();
        generations.dedup();
        Ok(generations)
    }

    fn open(&self, generation: u64) -> Result<Arc<dyn CheckpointStore>> {
        let name = format!("{generation:08}");
        let folder = self.folder.join(&name);
        let fail = |error: io::Error| Error::from_io("open", folder.display(), &error);
        let is_kept = self.keep(&name).map_err(fail)?;
        FileSystem::new(folder.clone()).create_dir(Path::new("")).map_err(fail)?;
        delete_files(&folder, is_incomplete).map_err(fail)?;
        let database = match open_database(&folder) {
            Ok(database) => database,
            Err(first) if first.code != Code::Corrupted => return Err(first),
            Err(_) => {
                delete_files(&folder, is_replaceable).map_err(fail)?;
                open_database(&folder)?
            }
        };
        let file =
            File::options().read(true).write(true).open(folder.join(DATABASE)).map_err(fail)?;
        sync_all(&folder, &file).map_err(fail)?;
        if is_kept {
            self.forget(&name).map_err(fail)?;
        }
        let open = RwLock::new(Some(OpenSled { database, file }));
        Ok(Arc::new(SledCheckpoint { folder, open }))
    }

    fn delete(&self, generation: u64) -> Result<()> {
        let name = format!("{generation:08}");
        for name in [format!("{name}{BEFORE}"), format!("{name}{PARTIAL}"), name] {
            let path = Path::new(&name);
            let result = self.disk.exists(path).and_then(|exists| match exists {
                true => self.disk.delete_dir(path),
                false => Ok(()),
            });
            let fail = |error| Error::from_io("delete", self.disk.display(path), &error);
            result.map_err(fail)?;
        }
        Ok(())
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

fn is_snapshot(name: &str) -> bool {
    name.starts_with("snap.") && !is_incomplete(name)
}

/// A snapshot file that sled was writing when the process ended, and would take for its newest.
fn is_incomplete(name: &str) -> bool {
    name.starts_with("snap.") && name.ends_with(".generating")
}

/// What sled can do without, in case that is what is damaged: its settings, which are always the
/// same here, and the snapshot file. Without that sled reads all segments; should it find too few,
/// what it makes of them holds less than the journal relies on, which whoever opens it sees.
fn is_replaceable(name: &str) -> bool {
    name == "conf" || is_snapshot(name)
}

fn delete_files(folder: &Path, which: fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if which(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What sled itself never syncs: its settings, and the names of its files.
fn sync_all(folder: &Path, file: &File) -> io::Result<()> {
    File::open(folder.join("conf"))?.sync_all()?;
    file.sync_all()?;
    File::open(folder.join("blobs"))?.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Where sled keeps all its data, for messages.
fn database(folder: &Path) -> String {
    folder.join(DATABASE).display().to_string()
}

/// Runs a call of sled; a panic in it is an error like any other.
fn guarded<T>(folder: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => {
            Err(Error::from_io("read or write", folder.display(), &error))
        }
        Ok(Err(error)) => {
            let message = format!("{} is damaged: {error}", database(folder));
            Err(Error::rejected(Code::Corrupted, message))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            let text = text.unwrap_or_default();
            let message = format!("{} is damaged: sled panicked: {text}", database(folder));
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
    #[expect(clippy::disallowed_methods, reason = "simulations have a checkpoint without sled")]
    fn wait_unlocked(&self) -> Result<()> {
        let path = self.folder.join(DATABASE);
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
        database(&self.folder)
    }
}

impl Drop for SledCheckpoint {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        let _ = self.close();
    }
}
