//! A checkpoint store over the [`Disk`] trait: all in memory, written as one file at every sync.
//! For small stores, and for tests and simulations, in which sled (which insists on the real file
//! system) cannot take part.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::checkpoint::{Changes, CheckpointFolder, CheckpointStore, Visit};
use super::codec::Fields;
use crate::disk::{Disk, OpenMode};
use crate::error::{Code, Error, Result};

const FOLDER: &str = "checkpoint";
const FILE: &str = "store";
const NEW_FILE: &str = "store.new";

pub(super) struct FileCheckpoints {
    disk: Arc<dyn Disk>,
}

struct FileCheckpoint {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    values: Mutex<Option<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl FileCheckpoints {
    pub fn new(disk: Arc<dyn Disk>) -> FileCheckpoints {
        FileCheckpoints { disk }
    }

    fn folder(generation: u64) -> PathBuf {
        Path::new(FOLDER).join(format!("{generation:08}"))
    }
}

impl CheckpointFolder for FileCheckpoints {
    fn generations(&self) -> Result<Vec<u64>> {
        let folder = Path::new(FOLDER);
        let fail = |error| Error::from_io("list", self.disk.display(folder), &error);
        self.disk.create_dir(folder).map_err(fail)?;
        let names = self.disk.list(folder).map_err(fail)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn open(&self, generation: u64) -> Result<Arc<dyn CheckpointStore>> {
        let folder = FileCheckpoints::folder(generation);
        let fail = |error| Error::from_io("open", self.disk.display(&folder), &error);
        self.disk.create_dir(&folder).map_err(fail)?;
        let path = folder.join(FILE);
        let mut values = BTreeMap::new();
        if self.disk.exists(&path).map_err(fail)? {
            let file = self.disk.open(&path, OpenMode::Read).map_err(fail)?;
            let mut bytes = vec![0; file.len().map_err(fail)? as usize];
            let count = file.read_at(&mut bytes, 0).map_err(fail)?;
            values = decode(&bytes[..count]).ok_or_else(|| {
                let message = format!("{} is damaged at offset 0", self.disk.display(&path));
                Error::rejected(Code::Corrupted, message)
            })?;
        }
        let disk = Arc::clone(&self.disk);
        Ok(Arc::new(FileCheckpoint { disk, folder, values: Mutex::new(Some(values)) }))
    }

    fn delete(&self, generation: u64) -> Result<()> {
        let folder = FileCheckpoints::folder(generation);
        self.disk
            .delete_dir(&folder)
            .map_err(|error| Error::from_io("delete", self.disk.display(&folder), &error))
    }

    fn spare_bytes(&self) -> u64 {
        0
    }

    fn display(&self) -> String {
        self.disk.display(Path::new(FOLDER))
    }
}

impl FileCheckpoint {
    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<Vec<u8>, Vec<u8>>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> Error {
        Error::rejected(Code::Closed, format!("{} is closed", self.display()))
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let (path, new) = (self.folder.join(FILE), self.folder.join(NEW_FILE));
        if self.disk.exists(&new)? {
            self.disk.delete(&new)?;
        }
        let file = self.disk.open(&new, OpenMode::CreateNew)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_dir(&self.folder)
    }
}

impl CheckpointStore for FileCheckpoint {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let values = self.lock();
        let values = values.as_ref().ok_or_else(|| self.closed())?;
        Ok(values.get(key).cloned())
    }

    fn scan(&self, low: &[u8], high: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let values = self.lock();
        let values = values.as_ref().ok_or_else(|| self.closed())?;
        for (key, value) in values.range::<[u8], _>((Bound::Included(low), Bound::Included(high))) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, changes: Changes) -> Result<()> {
        let mut values = self.lock();
        let values = values.as_mut().ok_or_else(|| self.closed())?;
        for (key, value) in changes.values {
            match value {
                Some(value) => values.insert(key, value),
                None => values.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let bytes = encode(self.lock().as_ref().ok_or_else(|| self.closed())?);
        self.write(&bytes).map_err(|error| Error::from_io("write", self.display(), &error))
    }

    fn disk_bytes(&self) -> Result<u64> {
        let values = self.lock();
        let values = values.as_ref().ok_or_else(|| self.closed())?;
        Ok(values.iter().map(|(key, value)| (key.len() + value.len() + 8) as u64).sum())
    }

    fn close(&self) -> Result<()> {
        *self.lock() = None;
        Ok(())
    }

    fn display(&self) -> String {
        self.disk.display(&self.folder.join(FILE))
    }
}

/// A checksum, then for each value the lengths of key and value (four bytes each), key and value.
fn encode(values: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (key, value) in values {
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut fields = Fields(bytes);
    if fields.u32()? != crc32c::crc32c(fields.0) {
        return None;
    }
    let mut values = BTreeMap::new();
    while !fields.0.is_empty() {
        let (key, value) = (fields.u32()? as usize, fields.u32()? as usize);
        values.insert(fields.bytes(key)?.to_vec(), fields.bytes(value)?.to_vec());
    }
    Some(values)
}
