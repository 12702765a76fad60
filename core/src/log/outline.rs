//! The outline of a segment: what its records change, without the content of its entries.
//!
//! Most entries are compacted before their segment is used again, and then of all that it holds the outline is all that
//! the checkpoint has to learn. Without it housekeeping would read every byte of the journal a second time.

use super::codec::{frames, put_frame, Kind, Part, ENTRIES_HEADER_BYTES};

/// An outline takes at most this part of its segment.
const PART_OF_SEGMENT: u64 = 128;

/// Kept in memory while its segment is being written. It is not known of a segment that was found at an opening, of one
/// that many small records fill, or of one with a record that the next one continues: there the file itself must be
/// read.
#[derive(Default)]
pub(super) struct Outline {
    /// The records as frames, of entries only the heading; `None` if it is not known.
    frames: Option<Vec<u8>>,
    bytes_max: usize,
}

impl Outline {
    /// Of a segment of so many bytes that nothing is written to yet.
    pub fn new(segment_bytes: u64) -> Outline {
        Outline { frames: Some(Vec::new()), bytes_max: (segment_bytes / PART_OF_SEGMENT) as usize }
    }

    /// Adds the frames of a batch.
    pub fn add(&mut self, batch: &[u8]) {
        let bytes_max = self.bytes_max;
        self.frames
            .take_if(|outline| append(outline, batch).is_none() || outline.len() > bytes_max);
    }

    /// The frames, unless they are not known.
    pub fn frames(&self) -> Option<&[u8]> {
        self.frames.as_deref()
    }
}

/// `None` if a record goes on in the next segment.
fn append(outline: &mut Vec<u8>, batch: &[u8]) -> Option<()> {
    for frame in frames(batch) {
        let (bytes, frame) = frame?;
        match (frame.part, frame.kind) {
            (Part::Whole, Kind::Entries) => {
                let heading = frame.payload.get(..ENTRIES_HEADER_BYTES)?;
                let of = (frame.lsn, frame.log_id, frame.kind, frame.part);
                put_frame(outline, of, |buffer| buffer.extend_from_slice(heading));
            }
            (Part::Whole, _) => outline.extend_from_slice(bytes),
            (Part::First, _) => return None,
            // Of a record that an earlier segment begins, and is moved with.
            (Part::Middle | Part::Last, _) => {}
        }
    }
    Some(())
}
