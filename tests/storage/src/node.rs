//! A node's directory with its log and snapshots, opened as a node opens them.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use libraft::directory::Directory;
use libraft::disk::{Disk, File, FileSystem, OpenMode};
use libraft::ids::Uuid;
use libraft::log::{Log, LogOptions, Lsn, RecoveredGroup};
use libraft::snapshot::SnapshotStore;
use libraft::Result;

const CLUSTER: &str = "storage";
const NODE_ID: u64 = 1;
const FREE_BYTES_MIN: u64 = 1 << 20;

pub struct Node {
    pub directory: Directory,
    pub log: Log,
    pub snapshots: SnapshotStore,
    pub recovered: Vec<RecoveredGroup>,
    pub disk: Arc<TightDisk>,
}

/// How a node is opened.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub segment_bytes: u64,
    pub segments_max: usize,
    pub seed: u64,
}

impl Node {
    pub fn open(root: &Path, settings: Settings) -> Result<Node> {
        let incarnation = Uuid((u128::from(settings.seed) << 64 | 1).to_le_bytes());
        let directory = Directory::open(root, None, CLUSTER, NODE_ID, incarnation)?;
        let disk = Arc::new(TightDisk {
            disk: FileSystem::new(directory.log_directory()),
            is_tight: AtomicBool::new(false),
        });
        let options = LogOptions {
            segment_bytes: settings.segment_bytes,
            segments_max: settings.segments_max,
            free_bytes_min: FREE_BYTES_MIN,
            salt_seed: settings.seed,
            checkpoint_directory: Some(directory.log_directory().join("sled")),
        };
        let (log, recovered) = Log::open(disk.clone(), options)?;
        let snapshot_disk = Arc::new(FileSystem::new(directory.snapshot_directory()));
        let snapshots = SnapshotStore::open(snapshot_disk, &recovered, FREE_BYTES_MIN)?;
        Ok(Node { directory, log, snapshots, recovered, disk })
    }

    /// Makes everything durable that was appended; the last position of it.
    pub fn barrier(&mut self) -> Result<Lsn> {
        match self.log.begin_barrier() {
            Some(barrier) => self.log.finish_barrier(barrier.run()),
            None => Ok(self.log.status().durable_lsn),
        }
    }

    /// Does all the housekeeping that is due.
    pub fn chores(&mut self) -> Result<()> {
        while let Some(chore) = self.log.begin_chore(false) {
            self.log.finish_chore(chore.run())?;
        }
        Ok(())
    }

    pub fn close(self) -> Result<()> {
        let Node { directory, log, snapshots, .. } = self;
        log.close()?;
        drop(snapshots);
        directory.release()
    }
}

/// A disk that claims to be full while it is told to: so a checkpoint is made anew, as after a
/// full disk, without one.
pub struct TightDisk {
    disk: FileSystem,
    is_tight: AtomicBool,
}

impl TightDisk {
    pub fn set_tight(&self, is_tight: bool) {
        self.is_tight.store(is_tight, Ordering::Relaxed);
    }
}

impl Disk for TightDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, mode)
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
        match self.is_tight.load(Ordering::Relaxed) {
            true => Ok(0),
            false => self.disk.available_bytes(),
        }
    }

    fn display(&self, path: &Path) -> String {
        self.disk.display(path)
    }
}
