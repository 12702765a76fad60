//! A disk in memory that forgets what was not synced.
//!
//! [`MemoryDisk::crash`] gives the disk as a power cut may leave it, chosen by a seed: of every
//! file the unsynced sectors (512 bytes) are kept, dropped, or some of each, and of every folder
//! the unsynced names are kept, lost, or some of each. Errors can be ordered: a full disk, failing writes, failing
//! syncs. Everything is deterministic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, File, OpenMode};

/// What a power cut leaves whole.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. A clone is the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    files: HashMap<u64, Content>,
    next_file: u64,
    /// The names as the running system sees them, and as they would be after a power cut. The
    /// parent of a path is synced when all entries directly below it are the same in both.
    names: BTreeMap<PathBuf, Name>,
    durable_names: BTreeMap<PathBuf, Name>,
    capacity_bytes: Option<u64>,
    fail_writes: bool,
    fail_syncs: bool,
    operations: u64,
    cut_after: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    File(u64),
    Folder,
}

#[derive(Clone, Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    dirty_sectors: BTreeSet<usize>,
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk after a power cut now. This one goes on as if nothing had happened.
    pub fn crash(&self, seed: u64) -> MemoryDisk {
        let mut random = Random(seed);
        let old = self.lock();
        let mut state = State { next_file: old.next_file, ..State::default() };
        state.names = old.durable_names.clone();
        for folder in old.folders() {
            match random.below(3) {
                0 => {}
                1 => state.take_names(&folder, &old.names, &mut |_| true),
                _ => state.take_names(&folder, &old.names, &mut |_| random.below(2) == 0),
            }
        }
        // A name whose folder was lost is lost as well.
        let names = state.names.clone();
        state.names.retain(|path, _| {
            path.ancestors()
                .skip(1)
                .all(|above| above.as_os_str().is_empty() || names.contains_key(above))
        });
        state.durable_names = state.names.clone();
        let mut numbers: Vec<u64> = old.files.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let content = old.files[&number].after_crash(&mut random);
            state.files.insert(number, content);
        }
        state.capacity_bytes = old.capacity_bytes;
        MemoryDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// A copy of the disk as the running system sees it, as a process that dies leaves it: what was not synced may still be
    /// lost later. Ordered errors are not copied. This one goes on as if nothing had happened.
    pub fn image(&self) -> MemoryDisk {
        let mut state = self.lock().clone();
        (state.fail_writes, state.fail_syncs, state.cut_after) = (false, false, None);
        MemoryDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// All files, with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.lock();
        let length = |number: &u64| state.files.get(number).map_or(0, |file| file.current.len());
        let files = state.names.iter().filter_map(|(path, name)| match name {
            Name::File(number) => Some((path.clone(), length(number) as u64)),
            Name::Folder => None,
        });
        files.collect()
    }

    /// The bytes that all files together may take; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// The bytes that all files take.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// From now on writes fail with EIO, or no longer.
    pub fn fail_writes(&self, fail: bool) {
        self.lock().fail_writes = fail;
    }

    /// From now on syncs fail with EIO and lose what they should have made durable, or no longer.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock().fail_syncs = fail;
    }

    /// Every change after `operations` more of them (writes, syncs, allocations, changes of names)
    /// fails with EIO and has no effect: the moment of a power cut, to be followed by
    /// [`MemoryDisk::crash`].
    pub fn stop_after(&self, operations: u64) {
        let mut state = self.lock();
        state.cut_after = Some(state.operations + operations);
    }

    /// How many changes were made so far, as [`MemoryDisk::stop_after`] counts them.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Flips one bit, durably.
    pub fn damage(&self, path: &Path, offset: u64, bit: u32) -> io::Result<()> {
        let mut state = self.lock();
        let number = state.file(path)?;
        let content = state.files.entry(number).or_default();
        let offset = offset as usize;
        for bytes in [&mut content.current, &mut content.durable] {
            let byte = bytes.get_mut(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }
}

impl State {
    fn used_bytes(&self) -> u64 {
        self.files.values().map(|content| content.current.len() as u64).sum()
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Name::File(number)) => Ok(*number),
            Some(Name::Folder) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Counts a change, and refuses it after the moment of the power cut.
    fn change(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.cut_after {
            Some(last) if self.operations > last => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => Ok(()),
        }
    }

    fn require_folder(&self, path: &Path) -> io::Result<()> {
        let is_folder = path.as_os_str().is_empty() || self.names.get(path) == Some(&Name::Folder);
        if is_folder {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let below = |names: &BTreeMap<PathBuf, Name>| -> Vec<PathBuf> {
            let folders = names.iter().filter(|(_, name)| **name == Name::Folder);
            folders.map(|(path, _)| path.clone()).collect()
        };
        let mut folders = vec![PathBuf::new()];
        folders.extend(below(&self.names));
        folders.extend(below(&self.durable_names));
        folders.sort();
        folders.dedup();
        folders
    }

    /// Makes the names directly below `folder` those of `source`, as far as they are `taken`.
    fn take_names(
        &mut self,
        folder: &Path,
        source: &BTreeMap<PathBuf, Name>,
        taken: &mut dyn FnMut(&Path) -> bool,
    ) {
        let is_below = |path: &&PathBuf| path.parent() == Some(folder);
        let mut paths: Vec<PathBuf> =
            self.names.keys().chain(source.keys()).filter(is_below).cloned().collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths.into_iter().filter(|path| taken(path)) {
            match source.get(&path) {
                Some(name) => self.names.insert(path, *name),
                None => self.names.remove(&path),
            };
        }
    }

    fn grow(&mut self, number: u64, length: usize) -> io::Result<()> {
        let used = self.used_bytes();
        let capacity = self.capacity_bytes.unwrap_or(u64::MAX);
        let content = self.files.entry(number).or_default();
        if length <= content.current.len() {
            return Ok(());
        }
        let more = (length - content.current.len()) as u64;
        if used + more > capacity {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        content.resize(length);
        Ok(())
    }
}

impl Content {
    fn resize(&mut self, length: usize) {
        let old = self.current.len();
        self.current.resize(length, 0);
        let (from, to) = (old.min(length), old.max(length));
        self.dirty_sectors.extend(from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES));
    }

    fn after_crash(&self, random: &mut Random) -> Content {
        let mut bytes = self.durable.clone();
        let fate = random.below(4);
        if fate > 0 && !self.dirty_sectors.is_empty() {
            bytes.resize(self.current.len(), 0);
            for &sector in &self.dirty_sectors {
                let from = (sector * SECTOR_BYTES).min(self.current.len());
                let to = (from + SECTOR_BYTES).min(self.current.len());
                if fate == 1 || random.below(2) == 0 {
                    bytes[from..to].copy_from_slice(&self.current[from..to]);
                }
            }
        }
        Content { current: bytes.clone(), durable: bytes, dirty_sectors: BTreeSet::new() }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        let number = match (mode, state.file(path)) {
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                state.require_folder(path.parent().unwrap_or(Path::new("")))?;
                state.change()?;
                let number = state.next_file;
                state.next_file += 1;
                state.files.insert(number, Content::default());
                state.names.insert(path.to_owned(), Name::File(number));
                number
            }
            (_, number) => number?,
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(MemoryFile { disk: self.clone(), number, writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let number = state.file(from)?;
        state.require_folder(to.parent().unwrap_or(Path::new("")))?;
        state.change()?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), Name::File(number));
        Ok(())
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.file(path)?;
        state.change()?;
        state.names.remove(path);
        state.forget_unnamed();
        Ok(())
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.require_folder(path)?;
        state.change()?;
        state.names.retain(|name, _| !name.starts_with(path));
        state.forget_unnamed();
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            match state.names.get(folder) {
                Some(Name::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                Some(Name::Folder) => {}
                None => {
                    state.change()?;
                    state.names.insert(folder.to_owned(), Name::Folder);
                    // As the real one does: a folder is there once the call returns.
                    state.durable_names.insert(folder.to_owned(), Name::Folder);
                }
            }
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.require_folder(path)?;
        state.change()?;
        if state.fail_syncs {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let names = state.names.clone();
        let mut durable = State { names: state.durable_names.clone(), ..State::default() };
        durable.take_names(path, &names, &mut |_| true);
        state.durable_names = durable.names;
        state.forget_unnamed();
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.require_folder(path)?;
        let below = state.names.keys().filter(|name| name.parent() == Some(path));
        let names = below.filter_map(|name| name.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(path.as_os_str().is_empty() || self.lock().names.contains_key(path))
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        let capacity = state.capacity_bytes.unwrap_or(1 << 50);
        Ok(capacity.saturating_sub(state.used_bytes()))
    }

    fn display(&self, path: &Path) -> String {
        format!("memory:{}", path.display())
    }
}

impl State {
    /// Frees the files that have no name, neither now nor after a power cut. (One that is open and
    /// deleted reads as empty; nobody here does that.)
    fn forget_unnamed(&mut self) {
        let names = self.names.values().chain(self.durable_names.values());
        let named: BTreeSet<u64> = names
            .filter_map(|name| match name {
                Name::File(number) => Some(*number),
                Name::Folder => None,
            })
            .collect();
        self.files.retain(|number, _| named.contains(number));
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    number: u64,
    writable: bool,
}

impl MemoryFile {
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.lock();
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.change()?;
        if state.fail_writes {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(state)
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let Some(content) = state.files.get(&self.number) else { return Ok(0) };
        let from = (offset as usize).min(content.current.len());
        let count = buffer.len().min(content.current.len() - from);
        buffer[..count].copy_from_slice(&content.current[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.change()?;
        let (from, to) = (offset as usize, offset as usize + buffer.len());
        state.grow(self.number, to)?;
        let content = state.files.entry(self.number).or_default();
        content.current[from..to].copy_from_slice(buffer);
        content.dirty_sectors.extend(from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        let fail = state.fail_syncs;
        let content = state.files.entry(self.number).or_default();
        let dirty = std::mem::take(&mut content.dirty_sectors);
        if fail {
            // Linux marks the pages clean: no later sync will write them.
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        content.durable.resize(content.current.len(), 0);
        for sector in dirty {
            let from = (sector * SECTOR_BYTES).min(content.current.len());
            let to = (from + SECTOR_BYTES).min(content.current.len());
            content.durable[from..to].copy_from_slice(&content.current[from..to]);
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.change()?.grow(self.number, (offset + length) as usize)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.change()?;
        state.grow(self.number, length as usize)?;
        state.files.entry(self.number).or_default().resize(length as usize);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        Ok(state.files.get(&self.number).map_or(0, |content| content.current.len() as u64))
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &MemoryDisk, path: &str) -> Vec<u8> {
        let file = disk.open(Path::new(path), OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn synced_sectors_survive_and_unsynced_ones_are_kept_dropped_or_torn() {
        let disk = MemoryDisk::new();
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        file.write_at(&[1; 2048], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(&[2; 1024], 512).unwrap();
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let bytes = read(&disk.crash(seed), "f");
            assert_eq!((bytes.len(), bytes[0], bytes[2047]), (2048, 1, 1), "seed {seed}");
            assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            seen.insert((bytes[512], bytes[1024]));
        }
        assert_eq!(seen.len(), 4, "dropped, kept, and both ways of tearing: {seen:?}");
    }

    #[test]
    fn a_name_may_be_lost_until_its_folder_is_synced() {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("d")).unwrap();
        disk.open(Path::new("d/f"), OpenMode::CreateNew).unwrap().sync().unwrap();
        let survives = |disk: &MemoryDisk, seed| disk.crash(seed).exists(Path::new("d/f")).unwrap();
        let count = (0..64).filter(|seed| survives(&disk, *seed)).count();
        assert!(count > 0 && count < 64, "{count}");
        disk.sync_dir(Path::new("d")).unwrap();
        assert!((0..64).all(|seed| survives(&disk, seed)));
        disk.delete(Path::new("d/f")).unwrap();
        let count = (0..64).filter(|seed| survives(&disk, *seed)).count();
        assert!(count > 0 && count < 64, "{count}");
    }

    #[test]
    fn what_a_failed_sync_should_have_written_is_lost_even_if_a_later_one_succeeds() {
        let disk = MemoryDisk::new();
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        file.allocate(0, 512).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(&[7; 512], 0).unwrap();
        disk.fail_syncs(true);
        assert!(file.sync().is_err());
        disk.fail_syncs(false);
        file.sync().unwrap();
        for seed in 0..16 {
            assert_eq!(read(&disk.crash(seed), "f"), vec![0; 512]);
        }
    }

    #[test]
    fn a_full_disk_refuses_growth_but_not_overwriting() {
        let disk = MemoryDisk::new();
        disk.set_capacity(Some(1000));
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        file.allocate(0, 1000).unwrap();
        file.write_at(&[1; 1000], 0).unwrap();
        let error = file.write_at(&[1; 1], 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.available_bytes().unwrap(), 0);
    }
}
