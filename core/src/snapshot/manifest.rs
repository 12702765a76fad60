//! What a snapshot is: the file `manifest`. See `docs/format.md`.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, Index, Term, Uuid, NUMBER_LIMIT};

/// The version of the manifest that this library writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
/// The length of the chunks that a new snapshot is cut into; the last one may be shorter.
pub const CHUNK_BYTES: u32 = 1 << 20;
/// The longest chunk that a snapshot from elsewhere may have.
pub const CHUNK_BYTES_MAX: u32 = 4 << 20;
/// The most chunks of one snapshot: 4 TiB of state, and 128 MiB of hashes.
pub const CHUNKS_MAX: usize = 4 << 20;
pub const MEMBERSHIP_BYTES_MAX: usize = 1 << 20;
/// The longest manifest that is read.
pub const MANIFEST_BYTES_MAX: u64 =
    (FIXED_BYTES + MEMBERSHIP_BYTES_MAX + 4 + PART_BYTES + CHUNKS_MAX * 32 + CRC_BYTES) as u64;

const MAGIC: &[u8; 8] = b"raft-snp";
/// Everything before the membership.
const FIXED_BYTES: usize = 8 + 4 + 16 + 8 + 8 + 8 + 4 + 4 + 4;
/// A part before its hashes.
const PART_BYTES: usize = 4 + 8 + 4;
const CRC_BYTES: usize = 4;
const PART_STREAM: u32 = 1;

/// The SHA-256 of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkHash(pub [u8; 32]);

impl ChunkHash {
    pub fn of(chunk: &[u8]) -> ChunkHash {
        ChunkHash(Sha256::digest(chunk).into())
    }
}

impl fmt::Debug for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SnapshotKind {
    /// Holds the state.
    Full = 0,
    /// Holds no state: an on-disk machine keeps its own, and this lets its log be compacted.
    MetadataOnly = 1,
}

/// Which state of which group a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    pub group_id: GroupId,
    /// Names the snapshot for ever; not nil.
    pub snapshot: Uuid,
    /// The last entry whose effect is in it.
    pub index: Index,
    /// The term of that entry.
    pub term: Term,
    /// The membership as of `index`, encoded by the replica.
    pub membership: Bytes,
}

/// A complete snapshot's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub group_id: GroupId,
    pub snapshot: Uuid,
    pub index: Index,
    pub term: Term,
    pub membership: Bytes,
    pub kind: SnapshotKind,
    /// The length of every chunk of the stream but the last, which may be shorter but is not empty.
    pub chunk_bytes: u32,
    /// The length of the stream.
    pub total_bytes: u64,
    /// The hashes of the stream's chunks, in order.
    pub chunks: Vec<ChunkHash>,
}

impl SnapshotPoint {
    /// Refuses what no snapshot can be of, wherever it comes from.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| {
            Err(Error::rejected(
                Code::InvalidArgument,
                format!("snapshot {} of group {}: {what}", self.snapshot, self.group_id),
            ))
        };
        if self.group_id == 0 {
            return wrong("a group id is not 0");
        }
        if self.snapshot.is_nil() {
            return wrong("a snapshot's id is not nil");
        }
        if self.index == 0 || self.index >= NUMBER_LIMIT || self.term >= NUMBER_LIMIT {
            return wrong("the index or the term is out of range");
        }
        if self.membership.len() > MEMBERSHIP_BYTES_MAX {
            return wrong("the membership is too long");
        }
        Ok(())
    }
}

impl Manifest {
    /// The point that the snapshot is of.
    pub fn point(&self) -> SnapshotPoint {
        SnapshotPoint {
            group_id: self.group_id,
            snapshot: self.snapshot,
            index: self.index,
            term: self.term,
            membership: self.membership.clone(),
        }
    }

    /// Where chunk `number` begins in the stream, and its length.
    pub fn chunk_range(&self, number: usize) -> (u64, usize) {
        let offset = number as u64 * self.chunk_bytes as u64;
        let length = (self.total_bytes - offset).min(self.chunk_bytes as u64);
        (offset, length as usize)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(
            FIXED_BYTES + self.membership.len() + PART_BYTES + self.chunks.len() * 32 + 8,
        );
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.snapshot.0);
        bytes.extend_from_slice(&self.group_id.to_le_bytes());
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.term.to_le_bytes());
        bytes.extend_from_slice(&(self.kind as u32).to_le_bytes());
        bytes.extend_from_slice(&self.chunk_bytes.to_le_bytes());
        bytes.extend_from_slice(&(self.membership.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.membership);
        match self.kind {
            SnapshotKind::MetadataOnly => bytes.extend_from_slice(&0u32.to_le_bytes()),
            SnapshotKind::Full => {
                bytes.extend_from_slice(&1u32.to_le_bytes());
                bytes.extend_from_slice(&PART_STREAM.to_le_bytes());
                bytes.extend_from_slice(&self.total_bytes.to_le_bytes());
                bytes.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
                self.chunks.iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a manifest; `place` is where it comes from, for messages.
    ///
    /// **Errors**: `Corrupted`; `NewerFormat`.
    pub fn decode(bytes: &[u8], place: &str) -> Result<Manifest> {
        let damaged = |offset: usize, what: &str| {
            Error::rejected(
                Code::Corrupted,
                format!("{place} is damaged at offset {offset}: {what}; its snapshot is of no use"),
            )
        };
        if bytes.len() < FIXED_BYTES + CRC_BYTES {
            return Err(damaged(bytes.len(), "it ends too early"));
        }
        if &bytes[..8] != MAGIC {
            return Err(damaged(0, "it does not begin as a manifest does"));
        }
        // The checksum is the last four bytes in every version, so that a newer file is told from a
        // damaged one.
        let (body, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return Err(damaged(body.len(), "the checksum does not match"));
        }
        let mut fields = Fields { bytes: body, offset: 8 };
        let version = fields.u32().unwrap_or(0);
        if version > FORMAT_VERSION {
            return Err(newer(place, &format!("format version {version}")));
        }
        match fields.manifest() {
            Some(Parsed::Manifest(manifest)) => Ok(manifest),
            Some(Parsed::Unknown(what)) => Err(newer(place, &what)),
            None => Err(damaged(fields.offset, "the fields contradict each other")),
        }
    }
}

fn newer(place: &str, what: &str) -> Error {
    Error::rejected(
        Code::NewerFormat,
        format!(
            "{place} has {what}, which this libraft does not know: use the newer one that wrote it"
        ),
    )
}

enum Parsed {
    Manifest(Manifest),
    /// Well-formed, but of a kind that only a newer library knows.
    Unknown(String),
}

/// Takes fields off the front of a manifest; `None` if they end too early or make no sense.
struct Fields<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.offset..self.offset.checked_add(length)?)?;
        self.offset += length;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn manifest(&mut self) -> Option<Parsed> {
        let snapshot = Uuid::from_slice(self.take(16)?)?;
        let (group_id, index, term) = (self.u64()?, self.u64()?, self.u64()?);
        let kind = match self.u32()? {
            0 => SnapshotKind::Full,
            1 => SnapshotKind::MetadataOnly,
            other => return Some(Parsed::Unknown(format!("kind {other}"))),
        };
        let chunk_bytes = self.u32()?;
        let membership_bytes = self.u32()? as usize;
        let membership = Bytes::copy_from_slice(self.take(membership_bytes)?);
        let parts = self.u32()?;
        let (total_bytes, chunks) = match (kind, parts) {
            (SnapshotKind::MetadataOnly, 0) => (0, Vec::new()),
            (SnapshotKind::Full, 1) => match self.u32()? {
                PART_STREAM => self.stream(chunk_bytes)?,
                other => return Some(Parsed::Unknown(format!("a part of type {other}"))),
            },
            _ => return Some(Parsed::Unknown(format!("{parts} parts"))),
        };
        let manifest = Manifest {
            group_id,
            snapshot,
            index,
            term,
            membership,
            kind,
            chunk_bytes,
            total_bytes,
            chunks,
        };
        let ends_here = self.offset == self.bytes.len();
        (ends_here && manifest.point().check().is_ok()).then_some(Parsed::Manifest(manifest))
    }

    fn stream(&mut self, chunk_bytes: u32) -> Option<(u64, Vec<ChunkHash>)> {
        let total_bytes = self.u64()?;
        let count = self.u32()? as usize;
        if chunk_bytes == 0 || chunk_bytes > CHUNK_BYTES_MAX || count > CHUNKS_MAX {
            return None;
        }
        if total_bytes.div_ceil(chunk_bytes as u64) != count as u64 {
            return None;
        }
        let hashes = self.take(count * 32)?.chunks_exact(32);
        let hashes = hashes.filter_map(|hash| hash.try_into().ok().map(ChunkHash));
        Some((total_bytes, hashes.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            group_id: 3,
            snapshot: Uuid([5; 16]),
            index: 100,
            term: 4,
            membership: Bytes::from_static(b"members"),
            kind: SnapshotKind::Full,
            chunk_bytes: 10,
            total_bytes: 25,
            chunks: vec![ChunkHash::of(b"a"), ChunkHash::of(b"b"), ChunkHash::of(b"c")],
        }
    }

    fn reseal(bytes: &mut Vec<u8>) {
        bytes.truncate(bytes.len() - CRC_BYTES);
        let crc = crc32c::crc32c(bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let full = manifest();
        assert_eq!(Manifest::decode(&full.encode(), "").unwrap(), full);
        let metadata =
            Manifest { kind: SnapshotKind::MetadataOnly, total_bytes: 0, chunks: vec![], ..full };
        assert_eq!(Manifest::decode(&metadata.encode(), "").unwrap(), metadata);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_manifest_is_found() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = Manifest::decode(&damaged, "3/x/manifest").unwrap_err();
            assert_eq!(error.code, Code::Corrupted, "bit {bit}");
            assert!(error.message.contains("3/x/manifest is damaged at offset"), "{error}");
        }
    }

    #[test]
    fn a_manifest_cut_anywhere_is_found() {
        let bytes = manifest().encode();
        for length in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..length], "").unwrap_err().code, Code::Corrupted);
        }
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused_even_under_a_right_checksum() {
        let wrong = [
            Manifest { total_bytes: 31, ..manifest() },
            Manifest { total_bytes: u64::MAX, ..manifest() },
            Manifest { chunk_bytes: 0, ..manifest() },
            Manifest { chunk_bytes: CHUNK_BYTES_MAX + 1, ..manifest() },
            Manifest { group_id: 0, ..manifest() },
            Manifest { snapshot: Uuid::NIL, ..manifest() },
            Manifest { index: NUMBER_LIMIT, ..manifest() },
            Manifest { term: NUMBER_LIMIT, ..manifest() },
        ];
        for wrong in wrong {
            let error = Manifest::decode(&wrong.encode(), "").unwrap_err();
            assert_eq!(error.code, Code::Corrupted, "{wrong:?}");
        }
        let mut longer = manifest().encode();
        longer.extend_from_slice(b"....");
        reseal(&mut longer);
        assert_eq!(Manifest::decode(&longer, "").unwrap_err().code, Code::Corrupted);
    }

    #[test]
    fn what_only_a_newer_library_knows_is_called_newer_and_not_damaged() {
        let part_count = FIXED_BYTES + manifest().membership.len();
        for offset in [8, 52, part_count, part_count + 4] {
            let mut bytes = manifest().encode();
            bytes[offset] = 9;
            reseal(&mut bytes);
            let error = Manifest::decode(&bytes, "manifest").unwrap_err();
            assert_eq!(error.code, Code::NewerFormat, "offset {offset}");
        }
    }
}
