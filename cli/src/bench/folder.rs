//! The folder of one run, which holds gigabytes: it goes with the run, or, if that was killed, with the next one.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const PREFIX: &str = "run-";

/// `<parent>/run-<process id>`, locked as long as the run lives, however it ends.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates it, and removes those of runs that were killed.
    pub fn create(parent: &Path) -> io::Result<Folder> {
        fs::create_dir_all(parent)?;
        remove_abandoned(parent)?;
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path)?;
        let lock = File::open(&path)?;
        // Another run that looks for abandoned ones may have been quicker.
        if !try_lock(&lock)? || !path.exists() {
            return Err(io::Error::other("another run took it for abandoned: start again"));
        }
        Ok(Folder { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("raftctl: {} could not be removed: {error}", self.path.display());
        }
    }
}

fn remove_abandoned(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Another run may remove the same at the same time.
        let Ok(lock) = File::open(entry.path()) else { continue };
        if try_lock(&lock)? {
            fs::remove_dir_all(entry.path()).or_else(ignore_missing)?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_and_what_a_living_one_has_stays() {
        let parent = std::env::temp_dir().join(format!("libraft-bench-{}", std::process::id()));
        let (abandoned, living) = (parent.join("run-1"), parent.join("run-2"));
        for folder in [&abandoned, &living] {
            fs::create_dir_all(folder.join("member-1")).unwrap();
        }
        fs::create_dir_all(parent.join("something else")).unwrap();
        let lock = File::open(&living).unwrap();
        assert!(try_lock(&lock).unwrap());

        let folder = Folder::create(&parent).unwrap();
        assert!(!abandoned.exists());
        assert!(living.exists() && parent.join("something else").exists());
        let path = folder.path().to_path_buf();
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
        fs::remove_dir_all(&parent).unwrap();
    }
}
