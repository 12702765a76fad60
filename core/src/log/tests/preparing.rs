//! How the next segment is prepared beside barriers.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::segment::{SegmentFiles, FILL_BYTES};
use super::*;
use crate::disk::{Disk, File, OpenMode};

/// A disk that counts the bytes which are written and not synced.
struct CountingDisk {
    disk: MemoryDisk,
    most: Arc<AtomicUsize>,
}

struct CountingFile {
    file: Arc<dyn File>,
    waiting: AtomicUsize,
    most: Arc<AtomicUsize>,
}

#[test]
fn a_segment_is_prepared_in_pieces_that_hold_up_nobody() {
    let most = Arc::new(AtomicUsize::new(0));
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("journal")).unwrap();
    let disk = Arc::new(CountingDisk { disk, most: most.clone() });
    let files = SegmentFiles::open(disk).unwrap().0;
    let bytes = 5 * FILL_BYTES as u64 + 4096;
    let prepared = files.create(bytes, bytes).unwrap();
    assert_eq!(prepared.file.len().unwrap(), bytes);
    assert_eq!(most.load(Ordering::Relaxed), FILL_BYTES, "bytes that one sync had to write");
}

impl Disk for CountingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let (file, most) = (self.disk.open(path, mode)?, self.most.clone());
        Ok(Arc::new(CountingFile { file, waiting: AtomicUsize::new(0), most }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.disk.delete(path)
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.delete_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn available_bytes(&self) -> io::Result<u64> {
        self.disk.available_bytes()
    }

    fn display(&self, path: &Path) -> String {
        self.disk.display(path)
    }
}

impl File for CountingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let waiting = self.waiting.fetch_add(buffer.len(), Ordering::Relaxed) + buffer.len();
        self.most.fetch_max(waiting, Ordering::Relaxed);
        self.file.write_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.waiting.store(0, Ordering::Relaxed);
        self.file.sync()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.allocate(offset, length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
