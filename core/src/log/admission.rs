//! Whether there is room for more entries.

use super::batch::BLOCK_BYTES;
use super::housekeeping::READY_SEGMENTS_MAX;
use super::Log;
use crate::error::{Code, Error};

/// The largest append that must find room in a journal which housekeeping keeps up with, however small its segments
/// are: an entry of the largest size, with its head.
const APPEND_BYTES_MAX: u64 = 40 << 20;

/// Whether a log takes entries now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admitted,
    /// Not before housekeeping has caught up, which takes moments.
    Behind,
    /// Not before there is more space on the disk.
    Full,
}

impl Admission {
    /// The error of a proposal that is not admitted.
    pub fn refusal(self) -> Option<Error> {
        match self {
            Admission::Admitted => None,
            Admission::Behind => Some(Error::rejected(
                Code::Busy,
                "the log cannot be moved out of the journal as quickly as it grows: wait for completions and try again",
            )),
            Admission::Full => Some(Error::rejected(
                Code::NoSpace,
                "the disk of the log is full (free_bytes_min bytes stay free): proposals are accepted again when space \
                 is freed",
            )),
        }
    }
}

impl Log {
    /// Whether `bytes` more of entries may be appended. Asked *before* raft-rs sees a proposal or an append, since
    /// nothing can be undone afterwards. Hard states and compactions are never refused: space is kept for them.
    pub fn admission(&self, bytes: u64) -> Admission {
        if self.failed.is_some() {
            return Admission::Full;
        }
        // Every barrier fills up a block, and every entry has a head of a few bytes.
        let wanted = bytes.saturating_add(bytes / 8).saturating_add(2 * BLOCK_BYTES as u64);
        let spare = self.options.segment_bytes;
        let promised = self.pending.bytes() + self.barrier_bytes + spare;
        let needed = promised.saturating_add(wanted).saturating_sub(self.room + self.ready_bytes);
        if needed <= self.growth_bytes() {
            Admission::Admitted
        } else if needed <= self.allocatable_bytes() {
            Admission::Behind
        } else {
            Admission::Full
        }
    }

    /// Whether [`Log::admission`] is granted.
    pub fn admits(&self, bytes: u64) -> bool {
        self.admission(bytes) == Admission::Admitted
    }

    /// What the journal may still allocate: as much as the disk has, but no more segments than it should ever have.
    pub(super) fn growth_bytes(&self) -> u64 {
        let segment_bytes = self.options.segment_bytes;
        let for_largest = APPEND_BYTES_MAX.div_ceil(segment_bytes) as usize;
        let segments_max = 2 * self.options.segments_max + READY_SEGMENTS_MAX + for_largest;
        let segments = self.live.len() + self.ready_segments();
        let more = segments_max.saturating_sub(segments) as u64 * segment_bytes;
        more.min(self.allocatable_bytes())
    }

    /// What the disk has room for, in whole segments.
    fn allocatable_bytes(&self) -> u64 {
        if self.housekeeping.starved_at.is_some() {
            return 0;
        }
        let segment_bytes = self.options.segment_bytes;
        let free = self.housekeeping.available_bytes.saturating_sub(self.options.free_bytes_min);
        free / segment_bytes * segment_bytes
    }

    pub(super) fn ready_segments(&self) -> usize {
        (self.ready_bytes / self.options.segment_bytes) as usize
    }
}
