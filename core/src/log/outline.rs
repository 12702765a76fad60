//! The outline of a segment: what its records change, without the content of its entries.
//!
//! Most entries are compacted before their segment is used again, and then of all that it holds the outline is all that
//! the checkpoint has to learn. Without it housekeeping would read every byte of the journal a second time.

use std::borrow::Cow;

use super::codec::{put_frame, FrameOf, Kind, Part, ENTRIES_HEADER_BYTES};
use crate::chain::Chain;

/// An outline takes at most this part of its segment.
const PART_OF_SEGMENT: u64 = 128;
/// That of a batch takes at most this.
const BATCH_BYTES_MAX: usize = 64 << 10;

/// Kept in memory while its segment is being written. It is not known of a segment that was found at an opening, of one
/// that many small records fill, or of one with a record that the next one continues: there the file itself must be
/// read.
#[derive(Default)]
pub(super) struct Outline {
    /// The records as frames, of entries only the heading; `None` if it is not known.
    frames: Option<Chain>,
    bytes_max: usize,
}

impl Outline {
    /// Of a segment of so many bytes that nothing is written to yet.
    pub fn of_segment(segment_bytes: u64) -> Outline {
        let bytes_max = (segment_bytes / PART_OF_SEGMENT) as usize;
        Outline { frames: Some(Chain::default()), bytes_max }
    }

    /// Of a batch that is empty yet.
    pub fn of_batch() -> Outline {
        Outline { frames: Some(Chain::default()), bytes_max: BATCH_BYTES_MAX }
    }

    /// Makes it that of an empty batch again.
    pub fn clear(&mut self) {
        self.frames.get_or_insert_default().clear();
    }

    /// Adds a frame with this payload, of which that of entries may end behind the heading.
    pub fn note(&mut self, of: FrameOf, payload: &[u8]) {
        let (_, _, kind, part) = of;
        let payload = match (part, kind) {
            // The next segment continues it.
            (Part::First, _) => return self.frames = None,
            // An earlier segment began it, and is moved with it.
            (Part::Middle | Part::Last, _) => return,
            (Part::Whole, Kind::Entries) => payload.get(..ENTRIES_HEADER_BYTES),
            (Part::Whole, _) => Some(payload),
        };
        let Some(payload) = payload else { return self.frames = None };
        if let Some(frames) = &mut self.frames {
            put_frame(frames, of, |chain| chain.copied().extend_from_slice(payload));
            self.limit();
        }
    }

    /// Adds that of a batch.
    pub fn add(&mut self, batch: &Outline) {
        match (&mut self.frames, &batch.frames) {
            (Some(frames), Some(later)) => {
                frames.append(later, 0);
                self.limit();
            }
            _ => self.frames = None,
        }
    }

    fn limit(&mut self) {
        self.frames.take_if(|frames| frames.len() > self.bytes_max);
    }

    /// The frames, unless they are not known.
    pub fn frames(&self) -> Option<Cow<'_, [u8]>> {
        self.frames.as_ref().map(Chain::flat)
    }
}
