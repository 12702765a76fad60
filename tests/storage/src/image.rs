//! A disk between syncs: what is durable of a recording, and what a power cut may or may not leave.
//!
//! The rules are those of POSIX at their weakest. A sync of a file makes its content and length
//! durable, a sync of a folder the names in it, and nothing else is: what was not synced survives
//! in any combination, written data by sectors of 512 bytes. A name is changed as a whole.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use libraft_tests::random::Random;

use crate::recording::Operation;

const SECTOR_BYTES: usize = 512;
const ROOT: Place = 0;

/// Names a file or folder of the image; inodes are used again.
type Place = usize;

pub struct Image {
    places: Vec<Content>,
    inodes: HashMap<u64, Place>,
    /// The number of the next operation.
    now: u64,
    /// Where each sync that is under way began.
    syncs: HashMap<u64, u64>,
}

enum Content {
    File(File),
    Folder(Folder),
}

#[derive(Default)]
struct File {
    /// Shared with the states made of it.
    durable: Arc<Vec<u8>>,
    pending: Vec<(u64, Change)>,
}

enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate(usize),
    Allocate(usize),
}

#[derive(Default)]
struct Folder {
    durable: BTreeMap<String, Place>,
    /// As the running system sees it.
    live: BTreeMap<String, Place>,
    pending: Vec<(u64, NameChange)>,
}

#[derive(Clone)]
enum NameChange {
    Add { name: String, place: Place },
    Remove { name: String },
    Move { from: String, to: String, place: Place },
}

/// What a power cut takes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// All of it.
    Everything,
    /// Nothing, as when only the process dies.
    Nothing,
    /// What came after some moment; the write at that moment is torn.
    Suffix,
    /// Each change, with a chance.
    Changes,
    /// Each sector and each other change, with a chance; of a file that grew, maybe the growth.
    Sectors,
    /// The bytes, but neither lengths nor names.
    Bytes,
    /// The names, but not what is in files.
    Names,
}

impl Loss {
    pub const ALL: [Loss; 7] = [
        Loss::Everything,
        Loss::Nothing,
        Loss::Suffix,
        Loss::Changes,
        Loss::Sectors,
        Loss::Bytes,
        Loss::Names,
    ];
}

/// A tree of files, by path; folders have no content. The root is left out.
#[derive(Clone, Default)]
pub struct Tree(pub BTreeMap<String, Option<Arc<Vec<u8>>>>);

impl Image {
    /// The disk as it is: all of it durable.
    pub fn of(root: &Path) -> io::Result<Image> {
        let mut image =
            Image { places: Vec::new(), inodes: HashMap::new(), now: 1, syncs: HashMap::new() };
        image.enter(root)?;
        Ok(image)
    }

    fn enter(&mut self, path: &Path) -> io::Result<Place> {
        let (place, metadata) = (self.places.len(), fs::metadata(path)?);
        self.inodes.insert(metadata.ino(), place);
        if metadata.is_file() {
            let durable = Arc::new(fs::read(path)?);
            self.places.push(Content::File(File { durable, pending: Vec::new() }));
            return Ok(place);
        }
        self.places.push(Content::Folder(Folder::default()));
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            names.insert(
                entry.file_name().to_string_lossy().into_owned(),
                self.enter(&entry.path())?,
            );
        }
        let folder = Folder { durable: names.clone(), live: names, pending: Vec::new() };
        self.places[place] = Content::Folder(folder);
        Ok(place)
    }

    /// Plays one operation.
    pub fn play(&mut self, operation: &Operation) {
        let now = self.now;
        self.now += 1;
        match operation {
            Operation::Create { path, file } => {
                let place = self.put(*file, Content::File(File::default()));
                self.add(path, place, now);
            }
            Operation::MakeDirectory { path, file } => {
                let place = self.put(*file, Content::Folder(Folder::default()));
                self.add(path, place, now);
            }
            Operation::Write { file, offset, data } => {
                let change = Change::Write { offset: *offset as usize, data: data.clone() };
                self.file(*file).pending.push((now, change));
            }
            Operation::Truncate { file, length } => {
                self.file(*file).pending.push((now, Change::Truncate(*length as usize)));
            }
            Operation::Allocate { file, end } => {
                self.file(*file).pending.push((now, Change::Allocate(*end as usize)));
            }
            Operation::SyncBegin { number, .. } => {
                self.syncs.insert(*number, now);
            }
            Operation::SyncEnd { file, number, succeeded } => {
                let began = self.syncs.remove(number).expect("a sync that ends has begun");
                assert!(*succeeded, "a sync failed while it was recorded");
                self.sync(*file, began);
            }
            Operation::Rename { path, target } => self.rename(path, target, now),
            Operation::Unlink { path } => {
                let (folder, name) = self.parent(path);
                folder.live.remove(&name).expect("what is deleted was there");
                folder.pending.push((now, NameChange::Remove { name }));
            }
            Operation::SyncRange { .. } | Operation::Note(_) => {}
        }
    }

    fn put(&mut self, inode: u64, content: Content) -> Place {
        self.places.push(content);
        self.inodes.insert(inode, self.places.len() - 1);
        self.places.len() - 1
    }

    fn add(&mut self, path: &str, place: Place, now: u64) {
        let (folder, name) = self.parent(path);
        folder.live.insert(name.clone(), place);
        folder.pending.push((now, NameChange::Add { name, place }));
    }

    fn rename(&mut self, path: &str, target: &str, now: u64) {
        let ((from_folder, _), (to_folder, to)) = (split(path), split(target));
        assert_eq!(from_folder, to_folder, "a file is moved to another folder");
        let (folder, from) = self.parent(path);
        let place = folder.live.remove(&from).expect("what is renamed was there");
        folder.live.insert(to.to_string(), place);
        folder.pending.push((now, NameChange::Move { from, to: to.to_string(), place }));
    }

    /// The folder that holds `path`, and the last part of it.
    fn parent(&mut self, path: &str) -> (&mut Folder, String) {
        let (above, name) = split(path);
        let mut place = ROOT;
        for part in above.split('/').filter(|part| !part.is_empty()) {
            place = match &self.places[place] {
                Content::Folder(folder) => match folder.live.get(part) {
                    Some(place) => *place,
                    None => panic!("{path}: the recorder has not seen how {part} came to be"),
                },
                Content::File(_) => panic!("{path}: {part} is no folder"),
            };
        }
        match &mut self.places[place] {
            Content::Folder(folder) => (folder, name.to_string()),
            Content::File(_) => panic!("{path} is below a file"),
        }
    }

    fn file(&mut self, inode: u64) -> &mut File {
        match self.inodes.get(&inode).map(|place| &mut self.places[*place]) {
            Some(Content::File(file)) => file,
            _ => panic!("inode {inode} is no file that the recorder has seen"),
        }
    }

    fn sync(&mut self, inode: u64, began: u64) {
        let place = *self.inodes.get(&inode).expect("what is synced was seen before");
        match &mut self.places[place] {
            Content::File(file) => {
                let count = file.pending.partition_point(|(when, _)| *when < began);
                let durable = Arc::make_mut(&mut file.durable);
                for (_, change) in file.pending.drain(..count) {
                    change.apply(durable);
                }
            }
            Content::Folder(folder) => {
                let count = folder.pending.partition_point(|(when, _)| *when < began);
                for (_, change) in folder.pending.drain(..count) {
                    change.apply(&mut folder.durable);
                }
            }
        }
    }

    /// A state that a power cut now may leave.
    pub fn cut(&self, loss: Loss, random: &mut Random) -> Tree {
        let mut survival = Survival { loss, chance: 1 + random.below(9), torn_at: 0, random };
        if loss == Loss::Suffix {
            let mut moments = self.pending_moments();
            moments.sort_unstable();
            let count = moments.len().max(1) as u64;
            let chosen = survival.random.below(count) as usize;
            survival.torn_at = moments.get(chosen).copied().unwrap_or(u64::MAX);
        }
        let mut tree = Tree::default();
        self.survive(ROOT, "", &mut survival, &mut tree);
        tree
    }

    fn pending_moments(&self) -> Vec<u64> {
        let of = |content: &Content| -> Vec<u64> {
            match content {
                Content::File(file) => file.pending.iter().map(|(when, _)| *when).collect(),
                Content::Folder(folder) => folder.pending.iter().map(|(when, _)| *when).collect(),
            }
        };
        self.places.iter().flat_map(of).collect()
    }

    fn survive(&self, place: Place, path: &str, survival: &mut Survival<'_>, tree: &mut Tree) {
        match &self.places[place] {
            Content::File(file) => {
                tree.0.insert(path.to_string(), Some(survival.file(file)));
            }
            Content::Folder(folder) => {
                if place != ROOT {
                    tree.0.insert(path.to_string(), None);
                }
                let mut names = folder.durable.clone();
                for (when, change) in &folder.pending {
                    if survival.keeps_name(*when) {
                        change.apply(&mut names);
                    }
                }
                for (name, place) in names {
                    let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                    self.survive(place, &path, survival, tree);
                }
            }
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, data } => overwrite(bytes, *offset, data),
            Change::Truncate(length) => bytes.resize(*length, 0),
            Change::Allocate(end) => grow(bytes, *end),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Place>) {
        match self {
            NameChange::Add { name, place } => {
                names.insert(name.clone(), *place);
            }
            NameChange::Remove { name } => {
                names.remove(name);
            }
            NameChange::Move { from, to, place } => {
                names.remove(from);
                names.insert(to.clone(), *place);
            }
        }
    }
}

fn grow(bytes: &mut Vec<u8>, end: usize) {
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    grow(bytes, offset + data.len());
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

/// Draws what survives of what was not synced.
struct Survival<'a> {
    loss: Loss,
    /// Of ten changes, so many survive where chance decides.
    chance: u64,
    /// For [`Loss::Suffix`].
    torn_at: u64,
    random: &'a mut Random,
}

impl Survival<'_> {
    fn draw(&mut self) -> bool {
        self.random.below(10) < self.chance
    }

    fn keeps_name(&mut self, when: u64) -> bool {
        match self.loss {
            Loss::Everything | Loss::Names => false,
            Loss::Nothing | Loss::Bytes => true,
            Loss::Suffix => when < self.torn_at,
            Loss::Changes | Loss::Sectors => self.draw(),
        }
    }

    fn file(&mut self, file: &File) -> Arc<Vec<u8>> {
        if file.pending.is_empty() {
            return file.durable.clone();
        }
        let mut bytes = file.durable.to_vec();
        for (when, change) in &file.pending {
            self.change(&mut bytes, *when, change);
        }
        let grew = bytes.len() > file.durable.len();
        if self.loss == Loss::Sectors && grew && self.random.below(4) == 0 {
            bytes.truncate(file.durable.len());
        }
        Arc::new(bytes)
    }

    fn change(&mut self, bytes: &mut Vec<u8>, when: u64, change: &Change) {
        match (self.loss, change) {
            (Loss::Everything, _) => {}
            (Loss::Suffix, _) if when > self.torn_at => {}
            (Loss::Suffix, Change::Write { offset, data }) if when == self.torn_at => {
                let sectors = self.random.below((data.len() / SECTOR_BYTES) as u64 + 1) as usize;
                overwrite(bytes, *offset, &data[..sectors * SECTOR_BYTES]);
            }
            (Loss::Bytes, Change::Write { offset, data }) => grow(bytes, offset + data.len()),
            (Loss::Sectors, Change::Write { offset, data }) => self.sectors(bytes, *offset, data),
            (Loss::Changes | Loss::Sectors, _) if !self.draw() => {}
            _ => change.apply(bytes),
        }
    }

    fn sectors(&mut self, bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
        let mut at = offset;
        while at < offset + data.len() {
            let end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let end = end.min(offset + data.len());
            if self.draw() {
                overwrite(bytes, at, &data[at - offset..end - offset]);
            }
            at = end;
        }
    }
}

impl Tree {
    /// Reads what is below `root`.
    pub fn read(root: &Path) -> io::Result<Tree> {
        let mut tree = Tree::default();
        tree.enter(root, "")?;
        Ok(tree)
    }

    fn enter(&mut self, folder: &Path, path: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            if entry.file_type()?.is_dir() {
                self.0.insert(path.clone(), None);
                self.enter(&entry.path(), &path)?;
            } else {
                self.0.insert(path, Some(Arc::new(fs::read(entry.path())?)));
            }
        }
        Ok(())
    }

    /// Writes it into `root`, which is made anew.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        match fs::remove_dir_all(root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(root)?,
        }
        for (path, content) in &self.0 {
            match content {
                None => fs::create_dir(root.join(path))?,
                Some(bytes) => write_sparse(&root.join(path), bytes)?,
            }
        }
        Ok(())
    }

    /// Tells trees apart.
    pub fn checksum(&self) -> u32 {
        let mut crc = 0;
        for (path, content) in &self.0 {
            crc = crc32c::crc32c_append(crc, path.as_bytes());
            crc = crc32c::crc32c_append(crc, content.as_ref().map_or(&b"/"[..], |bytes| bytes));
        }
        crc
    }
}

/// Leaves out blocks of zeros, of which the files of a log have many.
fn write_sparse(path: &Path, bytes: &[u8]) -> io::Result<()> {
    const BLOCK_BYTES: usize = 4096;
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let file = fs::File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        if block != &ZEROS[..block.len()] {
            file.write_all_at(block, (number * BLOCK_BYTES) as u64)?;
        }
    }
    Ok(())
}
