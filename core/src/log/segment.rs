//! A segment: a file of the journal, of a fixed size, written in advance and used again and again.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{is_intact, BatchHeader, BATCH_HEADER_BYTES, BLOCK_BYTES};
use super::codec::Fields;
use super::newest::{Newest, NewestFile};
use super::outline::Outline;
use super::Lsn;
use crate::chain::Chain;
use crate::disk::{Disk, File, OpenMode};
use crate::error::{Code, Error, Result};

/// The folder of the journal below the log's root.
pub(super) const JOURNAL_FOLDER: &str = "journal";
const MAGIC: &[u8; 8] = b"LRJOURNL";
const FORMAT: u32 = 1;
/// The header lies within one sector, so that a power cut leaves the old one or the new one.
const HEADER_BYTES: usize = 512;
const SUFFIX: &str = ".segment";
/// What a file is called while it is being made: it has its name only when it is complete, so that
/// one which is shorter was damaged.
const NEW_SUFFIX: &str = ".segment.new";
/// What is read at once when a segment is scanned.
const CHUNK_BYTES: usize = 1 << 20;
/// What is written and synced at once when a segment is filled with zeros. A barrier that comes
/// meanwhile waits behind it on the disk: with all of a segment at once for tens of milliseconds.
pub(super) const FILL_BYTES: usize = 256 << 10;

/// A file that may become a segment: allocated, and either written before or zero.
#[derive(Clone)]
pub(super) struct SegmentFile {
    /// In its name. Not 0.
    pub number: u64,
    pub path: PathBuf,
    /// For messages.
    pub display: Arc<str>,
    pub file: Arc<dyn File>,
    pub bytes: u64,
}

/// A file in one of its uses.
pub(super) struct Segment {
    pub header: SegmentHeader,
    pub file: SegmentFile,
    outline: Mutex<Outline>,
}

impl Segment {
    pub fn new(header: SegmentHeader, file: SegmentFile, outline: Outline) -> Segment {
        Segment { header, file, outline: Mutex::new(outline) }
    }

    pub fn outline(&self) -> MutexGuard<'_, Outline> {
        self.outline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct SegmentHeader {
    /// Counts the uses of segments; never used twice. 0 in a file that was never used.
    pub sequence: u64,
    pub salt: u64,
    pub checkpoint: CheckpointMark,
    /// The length of the file.
    pub bytes: u64,
    /// The number of the file that the journal was written to before; 0 if there was none.
    pub previous: u64,
}

/// What a file of the journal was when it was opened.
pub(super) enum Found {
    /// It was never used.
    Fresh,
    Used(SegmentHeader),
    /// The header is damaged.
    Unreadable,
}

/// What the checkpoint held, at least, when a segment was put to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct CheckpointMark {
    /// The checkpoint's generation.
    pub generation: u64,
    /// It holds what is needed of everything up to here.
    pub moved_lsn: Lsn,
    /// The oldest segment that was still needed.
    pub oldest_sequence: u64,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        block[..8].copy_from_slice(MAGIC);
        block[12..16].copy_from_slice(&FORMAT.to_le_bytes());
        let numbers = [
            self.sequence,
            self.salt,
            self.checkpoint.generation,
            self.checkpoint.moved_lsn,
            self.checkpoint.oldest_sequence,
            self.bytes,
            self.previous,
        ];
        for (position, number) in numbers.into_iter().enumerate() {
            let at = 16 + 8 * position;
            block[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&block[12..HEADER_BYTES]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// `Ok(None)` if it is no header or a damaged one.
    fn decode(block: &[u8], display: &str) -> Result<Option<SegmentHeader>> {
        let (Some(header), Some(crc)) = (block.get(..HEADER_BYTES), block.get(8..12)) else {
            return Ok(None);
        };
        if &header[..8] != MAGIC || crc32c::crc32c(&header[12..]).to_le_bytes() != crc {
            return Ok(None);
        }
        let mut fields = Fields(&header[12..]);
        let format = fields.u32().unwrap_or(0);
        if format > FORMAT {
            let message = format!(
                "{display} has format {format}, this version reads up to {FORMAT}; \
                 use the version of libraft that wrote it, or a newer one"
            );
            return Err(Error::rejected(Code::NewerFormat, message));
        }
        let mut next = || fields.u64().unwrap_or(0);
        let (sequence, salt) = (next(), next());
        let checkpoint =
            CheckpointMark { generation: next(), moved_lsn: next(), oldest_sequence: next() };
        let (bytes, previous) = (next(), next());
        Ok(Some(SegmentHeader { sequence, salt, checkpoint, bytes, previous }))
    }
}

/// The files of the journal: gives names and makes them.
pub(super) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    next_number: AtomicU64,
}

impl SegmentFiles {
    /// Opens all files of the journal, creating its folder if need be.
    pub fn open(disk: Arc<dyn Disk>) -> Result<(SegmentFiles, Vec<SegmentFile>)> {
        let folder = Path::new(JOURNAL_FOLDER);
        let fail = |what, path: &Path, error| Error::from_io(what, disk.display(path), &error);
        disk.create_dir(folder).map_err(|error| fail("create", folder, error))?;
        let mut files = Vec::new();
        let mut next_number = 1;
        for name in disk.list(folder).map_err(|error| fail("list", folder, error))? {
            if name.ends_with(NEW_SUFFIX) {
                // Its making was interrupted.
                let path = folder.join(&name);
                disk.delete(&path).map_err(|error| fail("delete", &path, error))?;
            }
            let number = name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok());
            let Some(number) = number else { continue };
            next_number = next_number.max(number + 1);
            let path = folder.join(&name);
            let file = disk
                .open(&path, OpenMode::ReadWrite)
                .map_err(|error| fail("open", &path, error))?;
            let bytes = file.len().map_err(|error| fail("measure", &path, error))?;
            let bytes = bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
            let display = disk.display(&path).into();
            files.push(SegmentFile { number, path, display, file, bytes });
        }
        Ok((SegmentFiles { disk, next_number: AtomicU64::new(next_number) }, files))
    }

    /// Makes a file that can hold a segment: all its blocks are allocated, and the first `written`
    /// bytes are written, so that a sync of what overwrites them concerns no metadata. After an
    /// error nothing of it is left. A power cut leaves all of it, or what the next opening deletes.
    pub fn create(&self, bytes: u64, written: u64) -> Result<SegmentFile> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let path = segment_path(number);
        let new = Path::new(JOURNAL_FOLDER).join(format!("{number:08}{NEW_SUFFIX}"));
        let display = self.disk.display(&path);
        let result = self.make(&new, bytes, written.min(bytes)).and_then(|file| {
            self.disk.rename(&new, &path)?;
            self.disk.sync_dir(Path::new(JOURNAL_FOLDER))?;
            Ok(file)
        });
        if result.is_err() {
            // The space goes back; what cannot be deleted now goes at the next opening, or is used.
            let _ = self.disk.delete(&new);
            let _ = self.disk.delete(&path);
        }
        let file = result.map_err(|error| Error::from_io("create", &display, &error))?;
        Ok(SegmentFile { number, path, display: display.into(), file, bytes })
    }

    fn make(&self, path: &Path, bytes: u64, written: u64) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, OpenMode::CreateNew)?;
        let written = match file.allocate(0, bytes) {
            // A file system without allocation: writing does it.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => bytes,
            result => result.map(|()| written)?,
        };
        let zeros = vec![0; FILL_BYTES.min(written as usize)];
        let mut offset = 0;
        while offset < written {
            let count = (written - offset).min(zeros.len() as u64);
            file.write_at(&zeros[..count as usize], offset)?;
            file.sync()?;
            offset += count;
        }
        let header = SegmentHeader { bytes, ..SegmentHeader::default() };
        file.write_at(&header.encode(), 0)?;
        file.sync()?;
        Ok(file)
    }

    /// The file with this number should be there.
    pub fn missing(&self, number: u64) -> Error {
        let message = format!(
            "{} is missing; put it back, restore this node from a backup, or wipe it and let it \
             rejoin",
            self.disk.display(&segment_path(number))
        );
        Error::rejected(Code::Corrupted, message)
    }

    /// Opens the file that names the newest segment, and has it name this one.
    pub fn open_newest(&self, newest: Newest) -> Result<NewestFile> {
        NewestFile::open(&*self.disk, newest)
    }

    /// What the file that names the newest segment says.
    pub fn read_newest(&self) -> Result<Option<Newest>> {
        NewestFile::read(&*self.disk)
    }

    pub fn delete(&self, file: &SegmentFile) -> Result<()> {
        self.disk
            .delete(&file.path)
            .map_err(|error| Error::from_io("delete", &file.display, &error))
    }

    pub fn available_bytes(&self) -> Result<u64> {
        self.disk.available_bytes().map_err(|error| {
            Error::from_io("ask for the space left on", self.disk.display(Path::new("")), &error)
        })
    }
}

fn segment_path(number: u64) -> PathBuf {
    Path::new(JOURNAL_FOLDER).join(format!("{number:08}{SUFFIX}"))
}

impl SegmentFile {
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_at(bytes, offset)
            .map_err(|error| Error::from_io("write", &self.display, &error))
    }

    pub fn write_chain(&self, chain: &Chain, offset: u64) -> Result<()> {
        let mut slices: Vec<IoSlice<'_>> = chain.slices().map(IoSlice::new).collect();
        let written = match slices[..] {
            [ref only] => self.file.write_at(only, offset),
            _ => self.file.write_vectored_at(&mut slices, offset),
        };
        written.map_err(|error| Error::from_io("write", &self.display, &error))
    }

    pub fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|error| Error::from_io("sync", &self.display, &error))
    }

    /// Fills as much of `buffer` as the file has.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.file
            .read_at(buffer, offset)
            .map_err(|error| Error::from_io("read", &self.display, &error))
    }

    /// What it is, by its header. **Errors**: `Corrupted` if it does not have the length that it
    /// was made with; `NewerFormat`; `Io`.
    pub fn identify(&self) -> Result<Found> {
        let length = self.file.len();
        let length = length.map_err(|error| Error::from_io("measure", &self.display, &error))?;
        let mut block = [0; HEADER_BYTES];
        let count = self.read(&mut block, 0)?;
        if count < HEADER_BYTES {
            return Err(self.corrupted(length, "it was cut off"));
        }
        match SegmentHeader::decode(&block, &self.display)? {
            Some(header) if header.bytes != length => {
                let what = format!("it has {length} bytes, and was made with {}", header.bytes);
                Err(self.corrupted(length.min(header.bytes), &what))
            }
            Some(header) if header.sequence == 0 => Ok(Found::Fresh),
            Some(header) => Ok(Found::Used(header)),
            None => Ok(Found::Unreadable),
        }
    }

    pub fn corrupted(&self, offset: u64, what: &str) -> Error {
        let message = format!(
            "{} is damaged at offset {offset}: {what}; restore this node from a backup, or wipe \
             it and let it rejoin",
            self.display
        );
        Error::rejected(Code::Corrupted, message)
    }
}

/// A batch as it lies in a segment.
pub(super) struct ScannedBatch<'a> {
    pub header: BatchHeader,
    /// Where it begins in the file.
    pub offset: u64,
    pub frames: &'a [u8],
}

/// Reads the batches of a segment one after the other.
pub(super) struct Scanner<'a> {
    file: &'a SegmentFile,
    offset: u64,
    window: Vec<u8>,
    window_offset: u64,
}

impl<'a> Scanner<'a> {
    pub fn new(file: &'a SegmentFile) -> Scanner<'a> {
        Scanner { file, offset: BLOCK_BYTES as u64, window: Vec::new(), window_offset: 0 }
    }

    /// Where the next batch would begin.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn skip_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// The next batch; `None` (and no step) if there is no intact batch here with this salt (or any
    /// salt, if `None`).
    pub fn next(&mut self, salt: Option<u64>) -> Result<Option<ScannedBatch<'_>>> {
        let Some(header) = self.intact(salt)? else { return Ok(None) };
        let offset = self.offset;
        self.offset += header.block_bytes();
        let from = (offset - self.window_offset) as usize;
        let frames = &self.window[from + BATCH_HEADER_BYTES..from + header.total_bytes()];
        Ok(Some(ScannedBatch { header, offset, frames }))
    }

    /// Looks for an intact batch with a sequence of at least `sequence` from here to the end.
    pub fn find(&mut self, salt: Option<u64>, sequence: u64) -> Result<Option<(u64, u64)>> {
        while self.offset < self.file.bytes {
            match self.intact(salt)? {
                Some(header) if header.sequence >= sequence => {
                    return Ok(Some((self.offset, header.sequence)));
                }
                _ => self.offset += BLOCK_BYTES as u64,
            }
        }
        Ok(None)
    }

    fn intact(&mut self, salt: Option<u64>) -> Result<Option<BatchHeader>> {
        if self.offset >= self.file.bytes {
            return Ok(None);
        }
        let header = BatchHeader::parse(self.load(BATCH_HEADER_BYTES)?);
        let Some(header) = header else { return Ok(None) };
        let foreign = salt.is_some_and(|salt| salt != header.salt);
        if foreign || header.total_bytes() as u64 > self.file.bytes - self.offset {
            return Ok(None);
        }
        let bytes = self.load(header.total_bytes())?;
        Ok((bytes.len() == header.total_bytes() && is_intact(bytes)).then_some(header))
    }

    /// The next `count` bytes, or fewer at the end of the file.
    fn load(&mut self, count: usize) -> Result<&[u8]> {
        let window_end = self.window_offset + self.window.len() as u64;
        let held = self.offset >= self.window_offset && self.offset + count as u64 <= window_end;
        if !held {
            let wanted = count.max(CHUNK_BYTES) as u64;
            let wanted = wanted.min(self.file.bytes - self.offset) as usize;
            if self.window.len() != wanted {
                // Zeroed by the system, and not byte by byte.
                self.window = vec![0; wanted];
            }
            let filled = self.file.read(&mut self.window, self.offset)?;
            self.window.truncate(filled);
            self.window_offset = self.offset;
        }
        let from = (self.offset - self.window_offset) as usize;
        let to = (from + count).min(self.window.len());
        Ok(&self.window[from..to])
    }
}
