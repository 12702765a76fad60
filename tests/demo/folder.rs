//! A folder for one run of the demo, that no other run touches and that none leaves behind for
//! ever.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// `<parent>/<process id>`, beside a file `.lock` that is locked as long as the run lives, however
/// it ends.
pub struct WorkFolder {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    kept: bool,
}

impl WorkFolder {
    /// Creates a folder, and removes those of runs that were killed or failed.
    pub fn create(parent: &Path) -> io::Result<WorkFolder> {
        fs::create_dir_all(parent)?;
        let parent = parent.canonicalize()?;
        let id = std::process::id();
        let lock_path = parent.join(format!("{id}.lock"));
        // A file that a dead process with this number left may be there, and is taken over.
        let lock = File::create(&lock_path)?;
        if !try_lock(&lock)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let path = parent.join(id.to_string());
        remove_if_there(&path)?;
        fs::create_dir(&path)?;
        remove_abandoned(&parent, &lock_path)?;
        Ok(WorkFolder { path, lock_path, _lock: lock, kept: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder for people to look at, until the next run.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed by the next run.
            let _ = fs::remove_dir_all(&self.path);
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

fn remove_abandoned(parent: &Path, own: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        if path == own || path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        // Another run may remove the same at the same time.
        let Ok(lock) = File::open(&path) else { continue };
        if try_lock(&lock)? {
            remove_if_there(&path.with_extension(""))?;
            fs::remove_file(&path).or_else(ignore_missing)?;
        }
    }
    Ok(())
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder).or_else(ignore_missing)
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: a system call on a descriptor that lives during it.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(false),
        _ => Err(error),
    }
}
