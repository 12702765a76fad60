//! Keeps a second node, of this process or another, out of a directory.
//!
//! The lock is `flock(2)` on the file `lock`: the system gives it back when the process dies, and
//! two descriptors exclude each other within one process too. The file is never deleted, since a
//! node that still waited on the deleted one would not exclude a node that made a new one.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::disk::open_regular;
use crate::error::{Code, Error, Result};

/// Holds the lock of one folder until dropped.
pub(super) struct DirectoryLock {
    /// Close-on-exec, as the standard library opens every file.
    file: fs::File,
    path: PathBuf,
    /// The process that took the lock.
    process_id: u32,
}

impl DirectoryLock {
    /// Takes the lock of `folder` or fails at once.
    pub(super) fn acquire(folder: &Path) -> Result<DirectoryLock> {
        let path = folder.join("lock");
        let failed = |error: io::Error| Error::from_io("lock", path.display(), &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // The process id is written into it: not into what a link leads to.
        let mut file = open_regular(&mut options, &path).map_err(failed)?;
        if let Err(error) = flock(&file, libc::LOCK_EX | libc::LOCK_NB) {
            return Err(match error.kind() {
                io::ErrorKind::WouldBlock => in_use(folder, &mut file),
                _ => failed(error),
            });
        }
        // Only for the message of whoever comes next, so it need not be durable, and may fail on a
        // full disk.
        let process_id = std::process::id();
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{process_id}"));
        Ok(DirectoryLock { file, path, process_id })
    }

    pub(super) fn release(self) -> Result<()> {
        self.unlock().map_err(|error| Error::from_io("unlock", self.path.display(), &error))
    }

    /// A forked child shares the lock with its parent: closing the file in the parent would leave
    /// it locked, and unlocking it in the child would take it from the parent. So the parent
    /// unlocks, and the child does not.
    fn unlock(&self) -> io::Result<()> {
        if self.process_id != std::process::id() {
            return Ok(());
        }
        let _ = self.file.set_len(0);
        flock(&self.file, libc::LOCK_UN)
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}

fn flock(file: &fs::File, operation: libc::c_int) -> io::Result<()> {
    loop {
        // SAFETY: takes no pointers, and the descriptor is open as long as `file` is borrowed.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn in_use(folder: &Path, file: &mut fs::File) -> Error {
    let mut text = String::new();
    // A process id is short; whatever else somebody wrote into the file is not read.
    let _ = file.take(32).read_to_string(&mut text);
    let holder = match text.trim().parse::<u32>() {
        Ok(process_id) if process_id == std::process::id() => "another node of this process".into(),
        Ok(process_id) => format!("process {process_id}"),
        Err(_) => "another process".to_string(),
    };
    let message = format!(
        "the directory {} is in use by {holder}: close that node first, or give this one a \
         directory of its own",
        folder.display()
    );
    Error::rejected(Code::DirectoryInUse, message)
}
