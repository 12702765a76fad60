//! The real file system.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, File, OpenMode};

/// A folder of the real file system.
pub struct FileSystem {
    root: PathBuf,
}

impl FileSystem {
    /// `root` must exist when the disk is used. Make it absolute if the process may change its current directory.
    pub fn new(root: PathBuf) -> FileSystem {
        FileSystem { root }
    }
}

impl Disk for FileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).create_new(mode == OpenMode::CreateNew);
        Ok(Arc::new(options.open(self.root.join(path))?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(self.root.join(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(self.root.join(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(self.root.join(path))?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(path))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.root.join(path).try_exists()
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let path = CString::new(self.root.as_os_str().as_bytes())?;
        let mut status = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` ends with a zero byte, and `status` has room for what the call writes.
        if unsafe { libc::statvfs(path.as_ptr(), status.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has filled the struct.
        let status = unsafe { status.assume_init() };
        Ok(status.f_bavail * status.f_frsize)
    }

    fn display(&self, path: &Path) -> String {
        self.root.join(path).display().to_string()
    }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // SAFETY: takes no pointers, and the descriptor is open as long as `self` is borrowed.
        if unsafe { libc::fallocate(self.as_raw_fd(), 0, offset, length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        fs::File::set_len(self, length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
