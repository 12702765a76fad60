//! Which segment is the newest: without this nothing would tell that one is missing which no other follows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::BLOCK_BYTES;
use super::codec::Fields;
use super::segment::JOURNAL_FOLDER;
use crate::disk::{Disk, File, OpenMode};
use crate::error::{Code, Error, Result};

const FILE: &str = "newest";
const NEW_FILE: &str = "newest.new";
const MAGIC: &[u8; 8] = b"LRNEWEST";
const FORMAT: u32 = 1;
/// All of it lies within one sector, so that a power cut leaves the old one or the new one.
const SECTOR_BYTES: usize = 512;

/// A segment that is there, unless it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Newest {
    /// The use of it; 0 if no segment holds anything.
    pub sequence: u64,
    /// The number of its file.
    pub number: u64,
}

impl Newest {
    fn encode(self) -> Vec<u8> {
        let mut sector = vec![0; SECTOR_BYTES];
        sector[..8].copy_from_slice(MAGIC);
        sector[12..16].copy_from_slice(&FORMAT.to_le_bytes());
        sector[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        sector[24..32].copy_from_slice(&self.number.to_le_bytes());
        let crc = crc32c::crc32c(&sector[12..]);
        sector[8..12].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    /// `Ok(None)` if it is damaged.
    fn decode(sector: &[u8], display: &str) -> Result<Option<Newest>> {
        let intact = sector.len() == SECTOR_BYTES
            && &sector[..8] == MAGIC
            && crc32c::crc32c(&sector[12..]).to_le_bytes() == sector[8..12];
        if !intact {
            return Ok(None);
        }
        let mut fields = Fields(&sector[12..]);
        let format = fields.u32().unwrap_or(0);
        if format > FORMAT {
            let message = format!(
                "{display} has format {format}, this version reads up to {FORMAT}; \
                 use the version of libraft that wrote it, or a newer one"
            );
            return Err(Error::rejected(Code::NewerFormat, message));
        }
        let mut next = || fields.u64().unwrap_or(0);
        Ok(Some(Newest { sequence: next(), number: next() }))
    }
}

/// The file that names it. It is written before the first batch of a segment, which is once per segment, and never
/// grows, so that it needs no space.
pub(super) struct NewestFile {
    file: Arc<dyn File>,
    display: String,
}

impl NewestFile {
    /// What the file says; `None` if it is not there or damaged. Then nothing is known, and nothing is lost: all
    /// segments are there, unless two files were damaged at once.
    pub fn read(disk: &dyn Disk) -> Result<Option<Newest>> {
        let path = path(FILE);
        let display = disk.display(&path);
        let fail = |error| Error::from_io("read", &display, &error);
        if !disk.exists(&path).map_err(fail)? {
            return Ok(None);
        }
        let file = disk.open(&path, OpenMode::Read).map_err(fail)?;
        let mut sector = [0; SECTOR_BYTES];
        let count = file.read_at(&mut sector, 0).map_err(fail)?;
        Newest::decode(&sector[..count], &display)
    }

    /// Opens the file, makes it if it is not there or too short, and has it say `newest`, durably.
    pub fn open(disk: &dyn Disk, newest: Newest) -> Result<NewestFile> {
        let (path, new) = (path(FILE), path(NEW_FILE));
        let display = disk.display(&path);
        let make = || {
            if disk.exists(&path)? {
                let file = disk.open(&path, OpenMode::ReadWrite)?;
                if file.len()? == BLOCK_BYTES as u64 {
                    return Ok(file);
                }
            }
            if disk.exists(&new)? {
                // Its making was interrupted.
                disk.delete(&new)?;
            }
            let file = disk.open(&new, OpenMode::CreateNew)?;
            let mut block = newest.encode();
            block.resize(BLOCK_BYTES, 0);
            file.write_at(&block, 0)?;
            file.sync()?;
            disk.rename(&new, &path)?;
            Ok(file)
        };
        // Whoever made it may have been killed before the name was durable.
        let made = make().and_then(|file| disk.sync_dir(Path::new(JOURNAL_FOLDER)).map(|()| file));
        let file = made.map_err(|error| Error::from_io("create", &display, &error))?;
        let opened = NewestFile { file, display };
        opened.write(newest)?;
        Ok(opened)
    }

    /// Names another segment, durably.
    pub fn write(&self, newest: Newest) -> Result<()> {
        let result = self.file.write_at(&newest.encode(), 0).and_then(|()| self.file.sync());
        result.map_err(|error| Error::from_io("write", &self.display, &error))
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(JOURNAL_FOLDER).join(name)
}
