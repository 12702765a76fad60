//! Puts records together again whose frames are spread over batches.

use std::borrow::Cow;

use super::codec::{Frame, Kind, Part};
use super::record::LogId;
use super::Lsn;

/// A complete record as the journal holds it.
pub(super) struct RawRecord<'a> {
    pub lsn: Lsn,
    pub log_id: LogId,
    pub kind: Kind,
    pub payload: Cow<'a, [u8]>,
}

/// A record of which the last part is still to come.
#[derive(Default)]
pub(super) struct Assembly {
    partial: Option<Partial>,
}

struct Partial {
    lsn: Lsn,
    kind: Kind,
    payload: Vec<u8>,
}

/// What became of a frame.
pub(super) enum Assembled<'a> {
    Complete(RawRecord<'a>),
    /// More parts must follow.
    Incomplete,
    /// A part without the ones before it.
    Orphan,
}

impl Assembly {
    /// The record that is incomplete, if any: a power cut may have kept the rest from being
    /// written. What comes next then has its position anew.
    pub fn partial_lsn(&self) -> Option<Lsn> {
        self.partial.as_ref().map(|partial| partial.lsn)
    }

    pub fn add<'a>(&mut self, frame: &Frame<'a>) -> Assembled<'a> {
        let Frame { lsn, log_id, kind, part, payload } = *frame;
        match part {
            Part::Whole => {
                self.partial = None;
                let payload = Cow::Borrowed(payload);
                return Assembled::Complete(RawRecord { lsn, log_id, kind, payload });
            }
            Part::First => {
                let payload = payload.to_vec();
                self.partial = Some(Partial { lsn, kind, payload });
                return Assembled::Incomplete;
            }
            Part::Middle | Part::Last => {}
        }
        let Some(partial) = self.partial.as_mut().filter(|partial| partial.lsn == lsn) else {
            return Assembled::Orphan;
        };
        partial.payload.extend_from_slice(payload);
        if part == Part::Middle {
            return Assembled::Incomplete;
        }
        match self.partial.take() {
            Some(Partial { lsn, kind, payload }) => {
                let payload = Cow::Owned(payload);
                Assembled::Complete(RawRecord { lsn, log_id, kind, payload })
            }
            None => Assembled::Orphan,
        }
    }
}
