//! The real file system.

use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{Disk, File, OpenMode};

/// What the system takes in one call (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// A folder of the real file system, and all that is below it. Linux.
#[derive(Clone, Debug)]
pub struct FileSystem {
    root: PathBuf,
}

impl FileSystem {
    /// The folder need not exist; `create_dir("")` creates it.
    pub fn new(root: PathBuf) -> FileSystem {
        FileSystem { root }
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        if path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            Ok(self.root.join(path))
        } else {
            let message = format!("{} leaves the folder {}", path.display(), self.root.display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

impl Disk for FileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(SystemFile(open_regular(&mut options, &self.resolve(path)?)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.resolve(from)?, self.resolve(to)?)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.resolve(path)?)
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(self.resolve(path)?)
    }

    /// Syncs the parent of every folder that it creates: a folder that vanishes would take all
    /// below it along.
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        create_durably(&self.resolve(path)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_folder(&self.resolve(path)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.resolve(path)?)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.resolve(path)?.try_exists()
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let path = CString::new(self.root.as_os_str().as_bytes())?;
        let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` is a C string and `answer` is large enough for what statvfs writes.
        if unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: statvfs returned success, so it has filled in the struct.
        let answer = unsafe { answer.assume_init() };
        Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
    }

    fn display(&self, path: &Path) -> String {
        self.root.join(path).display().to_string()
    }
}

/// Opens a regular file and nothing else: what a link of this name led to would be somebody's other file, and a pipe would
/// keep the opener waiting for ever.
pub fn open_regular(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    let no_file = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let file = match options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return no_file("it is a symbolic link, where a file should be");
        }
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return no_file("it is not a regular file");
    }
    Ok(file)
}

/// Makes the name of a folder durable that was there before: whoever made it may not have done so.
pub fn sync_name(folder: &Path) -> io::Result<()> {
    match folder.parent().map(sync_folder) {
        // Nobody who may not look into a folder can sync it.
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.unwrap_or(Ok(())),
    }
}

fn create_durably(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::ErrorKind::NotFound.into()),
    };
    create_durably(parent)?;
    match fs::create_dir(folder) {
        // Another thread may have been quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there and is not a folder", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        result => result?,
    }
    sync_folder(parent)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

struct SystemFile(fs::File);

impl File for SystemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buffer, offset)
    }

    fn write_vectored_at(
        &self,
        mut buffers: &mut [IoSlice<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        while !buffers.is_empty() {
            let count = buffers.len().min(SLICES_MAX);
            let at = libc::off64_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
            let (descriptor, parts) = (self.0.as_raw_fd(), buffers.as_ptr().cast::<libc::iovec>());
            // SAFETY: the descriptor is open as long as `self.0` lives; an IoSlice has the layout of an iovec, and `count`
            // of them are there, which the call only reads.
            match unsafe { libc::pwritev64(descriptor, parts, count as libc::c_int, at) } {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written if written > 0 => {
                    IoSlice::advance_slices(&mut buffers, written as usize);
                    offset += written as u64;
                }
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let offset = libc::off64_t::try_from(offset).map_err(out_of_range)?;
        let length = libc::off64_t::try_from(length).map_err(out_of_range)?;
        loop {
            // `fallocate` and not `posix_fallocate`: the latter writes when the file system cannot
            // allocate. SAFETY: the descriptor is open as long as `self.0` lives; the call touches
            // no memory of ours.
            if unsafe { libc::fallocate64(self.0.as_raw_fd(), 0, offset, length) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("libraft-fs-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn pieces_are_written_one_behind_the_other_however_many() {
        let root = folder("pieces");
        let disk = FileSystem::new(root.clone());
        disk.create_dir(Path::new("")).unwrap();
        let file = disk.open(Path::new("file"), OpenMode::CreateNew).unwrap();
        let pieces: Vec<Vec<u8>> = (0..3 * SLICES_MAX).map(|i| vec![i as u8; i % 7]).collect();
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        file.write_vectored_at(&mut slices, 10).unwrap();
        let expected = pieces.concat();
        let mut written = vec![0xff; expected.len() + 1];
        assert_eq!(file.read_at(&mut written, 10).unwrap(), expected.len());
        assert!(written[..expected.len()] == expected);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_file_is_written_read_renamed_and_deleted() {
        let root = folder("cycle");
        let disk = FileSystem::new(root.clone());
        disk.create_dir(Path::new("a/b")).unwrap();
        let file = disk.open(Path::new("a/b/x"), OpenMode::CreateNew).unwrap();
        file.allocate(0, 8192).unwrap();
        assert_eq!(file.len().unwrap(), 8192);
        file.write_at(b"hello", 4000).unwrap();
        file.sync().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(file.read_at(&mut buffer, 8190).unwrap(), 2);
        assert_eq!(file.read_at(&mut buffer, 9000).unwrap(), 0);
        disk.rename(Path::new("a/b/x"), Path::new("a/y")).unwrap();
        disk.sync_dir(Path::new("a")).unwrap();
        assert_eq!(disk.list(Path::new("a")).unwrap(), ["b", "y"]);
        let file = disk.open(Path::new("a/y"), OpenMode::Read).unwrap();
        assert_eq!(file.read_at(&mut buffer[..5], 4000).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        disk.delete(Path::new("a/y")).unwrap();
        assert!(!disk.exists(Path::new("a/y")).unwrap());
        assert!(disk.available_bytes().unwrap() > 0);
        disk.delete_dir(Path::new("a")).unwrap();
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_left_alone() {
        let root = folder("irregular");
        let disk = FileSystem::new(root.clone());
        disk.create_dir(Path::new("folder")).unwrap();
        fs::write(root.join("victim"), "precious").unwrap();
        std::os::unix::fs::symlink(root.join("victim"), root.join("link")).unwrap();
        let pipe = CString::new(root.join("pipe").as_os_str().as_bytes()).unwrap();
        // SAFETY: `pipe` is a C string.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        for (name, reason) in [("link", "symbolic link"), ("pipe", "not a regular file")] {
            for mode in [OpenMode::Read, OpenMode::ReadWrite] {
                let error = disk.open(Path::new(name), mode).err().unwrap();
                assert!(error.to_string().contains(reason), "{name}: {error}");
            }
        }
        let error = disk.open(Path::new("folder"), OpenMode::Read).err().unwrap();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        let error = disk.create_dir(Path::new("victim/below")).err().unwrap();
        assert!(error.to_string().contains("victim is there and is not a folder"), "{error}");
        assert_eq!(fs::read(root.join("victim")).unwrap(), b"precious");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        let disk = FileSystem::new(folder("leave"));
        for path in ["../x", "/etc/passwd", "a/../../x"] {
            let error = disk.open(Path::new(path), OpenMode::Read).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_reported_as_not_found_and_what_exists_is_not_created_again() {
        let root = folder("missing");
        let disk = FileSystem::new(root.clone());
        disk.create_dir(Path::new("")).unwrap();
        let missing = Path::new("missing");
        let kind = |error: io::Error| error.kind();
        let not_found = io::ErrorKind::NotFound;
        assert_eq!(disk.open(missing, OpenMode::ReadWrite).err().map(kind), Some(not_found));
        assert_eq!(disk.list(missing).err().map(kind), Some(not_found));
        disk.open(missing, OpenMode::CreateNew).unwrap();
        let again = disk.open(missing, OpenMode::CreateNew).err().map(kind);
        assert_eq!(again, Some(io::ErrorKind::AlreadyExists));
        fs::remove_dir_all(root).unwrap();
    }
}
