//! Folders for what need not outlive a test.

use std::path::{Path, PathBuf};

/// Shared memory, where a sync costs nothing.
const MEMORY: &str = "/dev/shm";

/// A folder of this process, deleted on drop. Those of processes that were killed are deleted by
/// the next one.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// In memory if the system has such a place, else below `fallback`. Real syncs of thousands of
    /// states would take most of a test's time, and prove nothing: there is no power cut.
    pub fn in_memory(name: &str, fallback: &Path) -> Scratch {
        match Scratch::below(Path::new(MEMORY), name) {
            Ok(scratch) => scratch,
            Err(_) => Scratch::below(fallback, name).expect("the test's directory can be made"),
        }
    }

    fn below(parent: &Path, name: &str) -> std::io::Result<Scratch> {
        let prefix = format!("libraft-storage-{name}-");
        for entry in std::fs::read_dir(parent)?.flatten() {
            let file_name = entry.file_name().to_string_lossy().into_owned();
            let owner = file_name.strip_prefix(&prefix).and_then(|id| id.parse::<u32>().ok());
            if owner.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
                // Somebody else's may not be deleted; that is theirs to do.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let path = parent.join(format!("{prefix}{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path)?;
        Ok(Scratch { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
