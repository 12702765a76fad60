//! A barrier: one write and one sync for everything that was appended before.

use super::journal::{Pending, Writer, Written};
use super::Lsn;
use crate::error::Result;

/// All that was appended since the last barrier, on its way to the disk. At most one exists at a
/// time.
pub struct Barrier {
    pub(super) writer: Writer,
    pub(super) pending: Pending,
}

/// A barrier that has run.
pub struct FinishedBarrier {
    pub(super) writer: Writer,
    pub(super) pending: Pending,
    pub(super) result: Result<Written>,
}

impl Barrier {
    /// Writes and syncs. Does not fail: the error, if any, is in what it returns.
    pub fn run(mut self) -> FinishedBarrier {
        let result = self.writer.write(&mut self.pending);
        FinishedBarrier { writer: self.writer, pending: self.pending, result }
    }
}

impl FinishedBarrier {
    /// Everything appended below this position is durable now; `None` if the barrier failed, or wrote nothing for want
    /// of room.
    pub fn durable_lsn(&self) -> Option<Lsn> {
        let written = self.result.as_ref().ok()?;
        (!written.is_deferred).then_some(self.pending.batch.last_lsn)
    }
}
