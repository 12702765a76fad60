//! The journal's writing end: puts batches into segments, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::{Batch, BatchHeader, BATCH_HEADER_BYTES, BLOCK_BYTES};
use super::codec::{frame_length, parse_frame, Part, FRAME_HEADER_BYTES};
use super::index::{FrameAt, GroupIndex, Location};
use super::newest::{Newest, NewestFile};
use super::outline::Outline;
use super::segment::{CheckpointMark, Segment, SegmentFile, SegmentFiles, SegmentHeader};
use super::Lsn;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};

/// What waits for a barrier.
pub(super) struct Pending {
    pub batch: Batch,
    /// Whether anything among it must be synced now.
    pub must_sync: bool,
    /// The records of entries among it, ascending.
    pub runs: Vec<PendingRun>,
}

pub(super) struct PendingRun {
    pub group: Arc<GroupIndex>,
    pub lsn: Lsn,
    /// Where the frame lies in the batch.
    pub start: usize,
    pub length: usize,
}

impl Pending {
    pub fn new() -> Pending {
        Pending { batch: Batch::new(), must_sync: false, runs: Vec::new() }
    }

    /// Makes it empty, and keeps its memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.must_sync = false;
        self.runs.clear();
    }

    /// Adds what was appended later.
    pub fn extend(&mut self, later: &mut Pending) {
        let shift = self.batch.bytes.len() - BATCH_HEADER_BYTES;
        self.batch.extend(&later.batch);
        self.must_sync |= later.must_sync;
        self.runs
            .extend(later.runs.drain(..).map(|run| PendingRun { start: run.start + shift, ..run }));
        later.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.batch.frames == 0
    }

    pub fn bytes(&self) -> u64 {
        if self.is_empty() {
            0
        } else {
            self.batch.bytes.len() as u64
        }
    }
}

/// A segment that holds records which the checkpoint does not.
#[derive(Clone)]
pub(super) struct LiveSegment {
    pub segment: Arc<Segment>,
    /// Behind its last batch.
    pub end: u64,
    /// The last record that begins in it.
    pub last_lsn: Lsn,
}

/// Owns the end of the journal. Travels with the barrier, so that only one can write.
pub(super) struct Writer {
    pub files: Arc<SegmentFiles>,
    /// The segment in use, if one was put to use since the log was opened: writing never goes on
    /// where a cut may be.
    pub active: Option<LiveSegment>,
    pub next_sequence: u64,
    pub next_batch: u64,
    pub salt_seed: u64,
    pub segment_bytes: u64,
    /// Prepared files, with the ones first that should be used first.
    pub ready: VecDeque<SegmentFile>,
    pub checkpoint: CheckpointMark,
    /// Names the newest segment: for the next opening.
    pub newest_file: NewestFile,
    pub newest: Newest,
    pub durable_lsn: Lsn,
    /// For barriers that take several batches.
    pub scratch: Batch,
}

/// What a barrier has done.
#[derive(Default)]
pub(super) struct Written {
    /// Where the entries lie now, in the order of [`Pending::runs`].
    pub locations: Vec<Location>,
    /// The segments written to, as they are now.
    pub segments: Vec<LiveSegment>,
    /// Nothing was written, for want of space.
    pub is_deferred: bool,
    /// The space on the disk, measured when a segment was put to use.
    pub available_bytes: Option<u64>,
}

impl Writer {
    /// What still fits into the segment in use.
    pub fn room(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.segment.file.bytes - active.end)
    }

    /// Writes and syncs what is pending: as one batch, unless the segment in use has no room for
    /// it.
    pub fn write(&mut self, pending: &mut Pending) -> Result<Written> {
        let bytes = (pending.batch.bytes.len() as u64).next_multiple_of(BLOCK_BYTES as u64);
        let mut written = Written::default();
        if self.room() < bytes {
            match self.provide(bytes) {
                Err(error) if error.code == Code::NoSpace => {
                    written.is_deferred = true;
                    written.available_bytes = self.files.available_bytes().ok();
                    return Ok(written);
                }
                result => result?,
            }
            let fits_alone = bytes <= self.segment_bytes - BLOCK_BYTES as u64;
            if self.active.is_some() || !fits_alone {
                return self.write_in_pieces(pending, written);
            }
            self.activate(&mut written)?;
            if self.room() < bytes {
                return self.write_in_pieces(pending, written);
            }
        }
        let Some(active) = &self.active else { return Err(no_segment()) };
        let (segment, base) = (Arc::clone(&active.segment), active.end);
        self.write_batch(&mut pending.batch, &mut written)?;
        let frame_at = |run: &PendingRun| FrameAt {
            segment: Arc::clone(&segment),
            offset: (base + run.start as u64) as u32,
            length: run.length as u32,
        };
        written.locations = pending.runs.iter().map(|run| Location::Frame(frame_at(run))).collect();
        Ok(written)
    }

    /// Makes sure that there are segments for `bytes` beyond the one in use, before anything is
    /// written.
    fn provide(&mut self, bytes: u64) -> Result<()> {
        let head = (BLOCK_BYTES + BATCH_HEADER_BYTES) as u64;
        let one_is_enough = bytes + head <= self.segment_bytes;
        // Where frames do not fit into what is left of a segment, as much as a half of it may stay
        // empty.
        let needed = if one_is_enough { bytes } else { 2 * bytes + self.segment_bytes };
        while self.ready.iter().map(|file| file.bytes).sum::<u64>() < needed {
            // Housekeeping has not kept up.
            let file = self.files.create(self.segment_bytes, 0)?;
            self.ready.push_back(file);
        }
        Ok(())
    }

    /// Writes one batch into the segment in use, which has room for it, and syncs it.
    fn write_batch(&mut self, batch: &mut Batch, written: &mut Written) -> Result<()> {
        let Some(active) = &mut self.active else { return Err(no_segment()) };
        let header = BatchHeader {
            salt: active.segment.header.salt,
            sequence: self.next_batch,
            first_lsn: batch.first_lsn,
            durable_lsn: self.durable_lsn,
            length: (batch.bytes.len() - BATCH_HEADER_BYTES) as u32,
            frames: batch.frames,
        };
        header.seal(&mut batch.bytes);
        let file = &active.segment.file;
        file.write_chain(&batch.bytes, active.end)?;
        let synced = if is_on(Bug::SkipTheSync) { Ok(()) } else { file.sync() };
        if synced.is_err() && !is_on(Bug::PassOverAFailedSync) {
            return synced;
        }
        active.segment.outline().add(&batch.outline);
        active.end += batch.bytes.len() as u64;
        active.last_lsn = batch.last_lsn;
        self.next_batch += 1;
        self.durable_lsn = batch.last_lsn;
        written.segments.retain(|live| !Arc::ptr_eq(&live.segment, &active.segment));
        written.segments.push(active.clone());
        Ok(())
    }

    /// Puts the next segment to use, once it is known durably that it is the newest. Its header is durable with its
    /// first batch.
    fn activate(&mut self, written: &mut Written) -> Result<()> {
        let file = self.ready.pop_front().ok_or_else(no_segment)?;
        written.available_bytes = self.files.available_bytes().ok();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let salt = salt(self.salt_seed, sequence);
        let (checkpoint, bytes) = (self.checkpoint, file.bytes);
        let previous = self.newest.number;
        let header = SegmentHeader { sequence, salt, checkpoint, bytes, previous };
        self.newest = Newest { sequence, number: file.number };
        self.newest_file.write(self.newest)?;
        file.write(&header.encode(), 0)?;
        let segment = Arc::new(Segment::new(header, file, Outline::of_segment(bytes)));
        self.active = Some(LiveSegment { segment, end: BLOCK_BYTES as u64, last_lsn: 0 });
        Ok(())
    }

    /// Spreads what is pending over as many segments as it takes. Each batch is synced before the
    /// next is written: so a valid batch behind a bad one is always a sign of damage.
    fn write_in_pieces(&mut self, pending: &mut Pending, mut written: Written) -> Result<Written> {
        let mut piece = std::mem::replace(&mut self.scratch, Batch::new());
        piece.clear();
        let flat = pending.batch.bytes.flat();
        let mut rest = &flat[BATCH_HEADER_BYTES..];
        let mut position = BATCH_HEADER_BYTES;
        let mut runs = pending.runs.iter().peekable();
        while let Some(length) = frame_length(rest) {
            let parts = self.write_frame(&rest[..length], &mut piece, &mut written)?;
            if runs.next_if(|run| run.start == position).is_some() {
                let location = match <[FrameAt; 1]>::try_from(parts) {
                    Ok([part]) => Location::Frame(part),
                    Err(parts) => Location::Parts(parts.into()),
                };
                written.locations.push(location);
            }
            rest = &rest[length..];
            position += length;
        }
        self.flush(&mut piece, &mut written)?;
        self.scratch = piece;
        Ok(written)
    }

    fn write_frame(
        &mut self,
        frame: &[u8],
        piece: &mut Batch,
        written: &mut Written,
    ) -> Result<Vec<FrameAt>> {
        let parsed = parse_frame(frame).ok_or_else(|| internal("a pending frame is damaged"))?;
        let most = self.segment_bytes as usize - BLOCK_BYTES - BATCH_HEADER_BYTES;
        let mut at = Vec::with_capacity(1);
        let mut payload = parsed.payload;
        loop {
            let room = (self.room() as usize).saturating_sub(piece.bytes.len());
            let is_first = at.is_empty();
            let needed = payload.len() + FRAME_HEADER_BYTES;
            if room >= needed {
                let part = if is_first { Part::Whole } else { Part::Last };
                at.push(self.put_part(piece, &parsed, part, payload)?);
                return Ok(at);
            }
            if room > FRAME_HEADER_BYTES + BLOCK_BYTES && needed > most {
                let (now, later) = payload.split_at(room - FRAME_HEADER_BYTES);
                let part = if is_first { Part::First } else { Part::Middle };
                at.push(self.put_part(piece, &parsed, part, now)?);
                payload = later;
            }
            self.flush(piece, written)?;
            self.activate(written)?;
        }
    }

    fn put_part(
        &mut self,
        piece: &mut Batch,
        frame: &super::codec::Frame<'_>,
        part: Part,
        payload: &[u8],
    ) -> Result<FrameAt> {
        let Some(active) = &self.active else { return Err(no_segment()) };
        let start = piece.bytes.len();
        piece.put((frame.lsn, frame.log_id, frame.kind, part), |chain| {
            chain.copied().extend_from_slice(payload)
        });
        Ok(FrameAt {
            segment: Arc::clone(&active.segment),
            offset: (active.end + start as u64) as u32,
            length: (piece.bytes.len() - start) as u32,
        })
    }

    fn flush(&mut self, piece: &mut Batch, written: &mut Written) -> Result<()> {
        if piece.frames > 0 {
            self.write_batch(piece, written)?;
            piece.clear();
        }
        Ok(())
    }
}

/// SplitMix64 of a seed, which is fresh at each opening, and a number that is never used twice.
fn salt(seed: u64, sequence: u64) -> u64 {
    if is_on(Bug::SameSaltAfterRecycling) {
        return 0;
    }
    let mut z = seed ^ sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn internal(message: &str) -> Error {
    Error::rejected(Code::Internal, format!("the journal: {message}; please report this"))
}

fn no_segment() -> Error {
    internal("there is no segment to write to")
}
