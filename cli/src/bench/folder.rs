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
        // One run at a time, so that none takes for abandoned what another has created but not locked yet.
        let turn = File::open(parent)?;
        lock(&turn, libc::LOCK_EX)?;
        remove_abandoned(parent)?;
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path)?;
        let own = File::open(&path)?;
        lock(&own, libc::LOCK_EX)?;
        Ok(Folder { path, _lock: own })
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
        // A run that ends removes its own at any time.
        let Ok(folder) = File::open(entry.path()) else { continue };
        match lock(&folder, libc::LOCK_EX | libc::LOCK_NB) {
            Ok(()) => fs::remove_dir_all(entry.path())?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lock(file: &File, operation: libc::c_int) -> io::Result<()> {
    // SAFETY: a system call on a descriptor that lives during it.
    match unsafe { libc::flock(file.as_raw_fd(), operation) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
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
        let held = File::open(&living).unwrap();
        lock(&held, libc::LOCK_EX).unwrap();

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
