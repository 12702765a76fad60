//! A folder of a node's disk: the production code's disk in memory, whose every change goes into the trace.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libraft::disk::{Disk, File, MemoryDisk, OpenMode};

use crate::hub::Hub;

/// See the module.
#[derive(Clone)]
pub struct Folder {
    hub: Hub,
    disk: MemoryDisk,
    root: PathBuf,
}

impl Folder {
    pub fn new(hub: &Hub, disk: &MemoryDisk, root: &str) -> io::Result<Folder> {
        let root = PathBuf::from(root);
        disk.create_dir(&root)?;
        Ok(Folder { hub: hub.clone(), disk: disk.clone(), root })
    }

    fn path(&self, path: &Path) -> PathBuf {
        match path.as_os_str().is_empty() {
            true => self.root.clone(),
            false => self.root.join(path),
        }
    }

    fn traced(&self, kind: u64, path: &Path) -> PathBuf {
        let path = self.path(path);
        let mut core = self.hub.core();
        core.trace.number(kind);
        core.trace.bytes(path.as_os_str().as_encoded_bytes());
        path
    }
}

impl Disk for Folder {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(&self.traced(mode as u64, path), mode)?;
        Ok(Arc::new(Traced { hub: self.hub.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(&self.traced(11, from), &self.traced(12, to))
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.disk.delete(&self.traced(13, path))
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.delete_dir(&self.traced(14, path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(&self.traced(15, path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(&self.traced(16, path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(&self.path(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(&self.path(path))
    }

    fn available_bytes(&self) -> io::Result<u64> {
        self.disk.available_bytes()
    }

    fn display(&self, path: &Path) -> String {
        self.disk.display(&self.path(path))
    }
}

struct Traced {
    hub: Hub,
    file: Arc<dyn File>,
}

impl Traced {
    fn trace(&self, kind: u64, offset: u64) {
        let mut core = self.hub.core();
        core.trace.number(kind);
        core.trace.number(offset);
    }
}

impl File for Traced {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.trace(21, offset);
        self.hub.core().trace.bytes(buffer);
        self.file.write_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.trace(22, 0);
        self.file.sync()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.trace(23, offset ^ length);
        self.file.allocate(offset, length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.trace(24, length);
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
