//! A batch: the frames of one barrier, as one unit that is on disk completely or not at all.

use super::codec::{put_frame, Fields, FrameOf, FRAME_HEADER_BYTES};
use super::outline::Outline;
use super::Lsn;
use crate::chain::{Chain, Place};

/// Batches start at multiples of this, and fill it up: a sync never rewrites a block that an
/// earlier one made durable.
pub(super) const BLOCK_BYTES: usize = 4096;
pub(super) const BATCH_HEADER_BYTES: usize = 48;
const MAGIC: u32 = u32::from_le_bytes(*b"RBAT");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// The salt of the segment's present use: what an earlier use left behind never looks valid.
    pub salt: u64,
    /// Counts the batches of the journal, without gaps.
    pub sequence: u64,
    /// The position of the first frame.
    pub first_lsn: Lsn,
    /// What was known to be durable when the batch was written.
    pub durable_lsn: Lsn,
    /// The bytes of all frames.
    pub length: u32,
    pub frames: u32,
}

/// A batch in the making.
pub(super) struct Batch {
    /// The frames, behind room for the header.
    pub bytes: Chain,
    pub frames: u32,
    pub first_lsn: Lsn,
    pub last_lsn: Lsn,
    pub outline: Outline,
}

impl Batch {
    pub fn new() -> Batch {
        let bytes = Chain::from(vec![0; BATCH_HEADER_BYTES]);
        Batch { bytes, frames: 0, first_lsn: 0, last_lsn: 0, outline: Outline::of_batch() }
    }

    /// Makes it empty, and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.copied().resize(BATCH_HEADER_BYTES, 0);
        self.frames = 0;
        self.outline.clear();
    }

    /// Adds a frame; `payload` writes what it holds. All that is no data of entries must be copied.
    pub fn put(&mut self, of: FrameOf, payload: impl FnOnce(&mut Chain)) {
        let start = self.bytes.end();
        put_frame(&mut self.bytes, of, payload);
        let mut payload = self.bytes.slices_from(start, FRAME_HEADER_BYTES);
        self.outline.note(of, payload.next().unwrap_or_default());
        let (lsn, ..) = of;
        if self.frames == 0 {
            self.first_lsn = lsn;
        }
        self.frames += 1;
        self.last_lsn = lsn;
    }

    /// Adds what was put into another one later.
    pub fn extend(&mut self, later: &Batch) {
        self.bytes.append(&later.bytes, BATCH_HEADER_BYTES);
        self.outline.add(&later.outline);
        self.frames += later.frames;
        self.last_lsn = self.last_lsn.max(later.last_lsn);
    }
}

impl BatchHeader {
    /// Completes a batch: `chain` starts with room for the header, then come the frames. It is
    /// filled up to whole blocks.
    pub fn seal(&self, chain: &mut Chain) {
        debug_assert_eq!(chain.len(), BATCH_HEADER_BYTES + self.length as usize);
        let mut header = [0; BATCH_HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[8..16].copy_from_slice(&self.salt.to_le_bytes());
        header[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        header[24..32].copy_from_slice(&self.first_lsn.to_le_bytes());
        header[32..40].copy_from_slice(&self.durable_lsn.to_le_bytes());
        header[40..44].copy_from_slice(&self.length.to_le_bytes());
        header[44..48].copy_from_slice(&self.frames.to_le_bytes());
        let frames = chain.slices_from(Place::default(), BATCH_HEADER_BYTES);
        let crc = frames.fold(crc32c::crc32c(&header[8..]), crc32c::crc32c_append);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        chain.overwrite(Place::default(), &header);
        let filling = chain.len().next_multiple_of(BLOCK_BYTES) - chain.len();
        let copied = chain.copied();
        copied.resize(copied.len() + filling, 0);
    }

    /// The header that `bytes` begins with, if it looks like one. It may still be damaged: see
    /// [`is_intact`].
    pub fn parse(bytes: &[u8]) -> Option<BatchHeader> {
        let mut fields = Fields(bytes);
        if fields.u32()? != MAGIC {
            return None;
        }
        fields.u32()?;
        Some(BatchHeader {
            salt: fields.u64()?,
            sequence: fields.u64()?,
            first_lsn: fields.u64()?,
            durable_lsn: fields.u64()?,
            length: fields.u32()?,
            frames: fields.u32()?,
        })
    }

    /// Header and frames, without the filling.
    pub fn total_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.length as usize
    }

    /// What the batch takes in its segment.
    pub fn block_bytes(&self) -> u64 {
        (self.total_bytes() as u64).next_multiple_of(BLOCK_BYTES as u64)
    }
}

/// Whether `bytes` (header and frames, without the filling) are what was once written.
pub(super) fn is_intact(bytes: &[u8]) -> bool {
    bytes.len() >= BATCH_HEADER_BYTES && crc32c::crc32c(&bytes[8..]).to_le_bytes() == bytes[4..8]
}
