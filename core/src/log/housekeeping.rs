//! Which chore is due, and what follows from one that has run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::CheckpointState;
use super::chore::{Chore, Done, FinishedChore, Moved, Work};
use super::mover::MovePlan;
use super::segment::SegmentFile;
use super::{Log, Lsn};
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};

/// Prepared segments to have: the next one, and the spare one that is kept for hard states and
/// compactions.
const READY_SEGMENTS: usize = 2;
/// More are deleted.
pub(super) const READY_SEGMENTS_MAX: usize = 3;
/// A checkpoint may take this many times its live bytes, and this many bytes more, before it is
/// made anew.
const CHECKPOINT_FACTOR: u64 = 3;
const CHECKPOINT_BYTES_MIN: u64 = 64 << 20;

/// What a log knows about its files.
pub(super) struct Housekeeping {
    pub state: CheckpointState,
    pub generation: u64,
    /// What the checkpoint takes on the disk.
    pub disk_bytes: u64,
    /// As of the last chore.
    pub available_bytes: u64,
    pub garbage: Vec<Vec<u8>>,
    surplus: Vec<SegmentFile>,
    is_under_way: bool,
    /// Waits until what it takes for granted is durable.
    plan: Option<(MovePlan, u64)>,
    is_renewal_due: bool,
    /// What was available when something failed for want of space: it waits until there is more.
    pub starved_at: Option<u64>,
    /// The last chore was a measurement: the next one waits until it is asked for twice.
    was_measured: bool,
    /// The checkpoint is made anew above this.
    disk_bytes_max: u64,
    /// Moves and renewals that failed since a move last succeeded.
    failures: u32,
}

impl Housekeeping {
    pub fn new(
        state: CheckpointState,
        generation: u64,
        disk_bytes: u64,
        surplus: Vec<SegmentFile>,
    ) -> Housekeeping {
        Housekeeping {
            state,
            generation,
            disk_bytes,
            available_bytes: 0,
            garbage: Vec::new(),
            surplus,
            is_under_way: false,
            plan: None,
            is_renewal_due: false,
            starved_at: None,
            was_measured: false,
            disk_bytes_max: 0,
            failures: 0,
        }
    }

    #[cfg(test)]
    pub fn renew(&mut self) {
        self.is_renewal_due = true;
    }

    pub fn starve(&mut self) {
        self.starved_at = Some(self.available_bytes);
    }

    fn is_starved(&mut self) -> bool {
        let available = self.available_bytes;
        self.starved_at.take_if(|at| available > *at);
        self.starved_at.is_some()
    }

    fn checkpoint_is(&mut self, moved: Moved) {
        self.state = moved.state;
        self.disk_bytes = moved.disk_bytes;
        let allowed = moved.state.live_bytes * CHECKPOINT_FACTOR + CHECKPOINT_BYTES_MIN;
        self.is_renewal_due = moved.disk_bytes > allowed.max(self.disk_bytes_max);
    }
}

impl Log {
    /// Takes housekeeping that is due. Run it on a thread that may wait, then hand it to
    /// `finish_chore`. At most one is under way at a time. Ask after every barrier and every chore,
    /// and once per tick: that is how the end of a full disk is noticed. `idle` says that the node
    /// has nothing else to do: then a seal may be due, and waits for the next barrier (see
    /// `wants_barrier`).
    pub fn begin_chore(&mut self, idle: bool) -> Option<Chore> {
        if self.housekeeping.is_under_way || self.failed.is_some() {
            return None;
        }
        let Some(work) = self.due() else {
            if idle && !self.is_sealed && !self.pending.must_sync && self.writer.is_some() {
                self.put_seal();
            }
            return None;
        };
        self.housekeeping.is_under_way = true;
        Some(Chore {
            work,
            files: Arc::clone(&self.files),
            checkpoint: Arc::clone(&self.checkpoint),
            folder: Arc::clone(&self.folder),
            garbage: std::mem::take(&mut self.housekeeping.garbage),
        })
    }

    fn due(&mut self) -> Option<Work> {
        let was_measured = std::mem::take(&mut self.housekeeping.was_measured);
        let measure = || (!was_measured).then_some(Work::Measure);
        if self.housekeeping.is_starved() {
            return measure();
        }
        self.is_deferred = false;
        let segment_bytes = self.options.segment_bytes;
        let ready = self.ready_segments();
        if ready == 0 && self.growth_bytes() >= segment_bytes {
            return Some(Work::Prepare { bytes: segment_bytes });
        }
        if self.housekeeping.is_renewal_due {
            return Some(Work::Renew { generation: self.housekeeping.generation + 1 });
        }
        if let Some((plan, bytes)) = self.planned_move() {
            return Some(Work::Move(plan, bytes));
        }
        if ready < READY_SEGMENTS && self.growth_bytes() >= segment_bytes {
            return Some(Work::Prepare { bytes: segment_bytes });
        }
        while self.ready.len() > READY_SEGMENTS_MAX {
            if let Some(file) = self.ready.pop_back() {
                self.ready_bytes -= file.bytes;
                self.housekeeping.surplus.push(file);
            }
        }
        if !self.housekeeping.surplus.is_empty() {
            return Some(Work::Delete(std::mem::take(&mut self.housekeeping.surplus)));
        }
        let is_short = ready < READY_SEGMENTS || !self.admits(0);
        if is_short || !self.housekeeping.garbage.is_empty() {
            measure()
        } else {
            None
        }
    }

    /// The move that is due, once all that it takes for granted is durable.
    fn planned_move(&mut self) -> Option<(MovePlan, u64)> {
        if self.housekeeping.plan.is_none() && self.live.len() > self.options.segments_max {
            self.housekeeping.plan = Some(self.plan_move());
        }
        let durable_lsn = self.durable_lsn;
        self.housekeeping.plan.take_if(|(plan, _)| {
            plan.durable_from <= durable_lsn || is_on(Bug::MoveBeforeTheRestIsDurable)
        })
    }

    fn plan_move(&self) -> (MovePlan, u64) {
        let segments: Vec<_> = self.live.iter().cloned().collect();
        let last_lsn: Lsn = segments.first().map_or(0, |oldest| oldest.last_lsn);
        let (mut needed, mut bytes) = (BTreeMap::new(), 0);
        for (log_id, group) in &self.groups {
            let (runs, run_bytes) = group.lock().runs_up_to(last_lsn);
            if !runs.is_empty() {
                needed.insert(*log_id, runs);
                bytes += run_bytes;
            }
        }
        (MovePlan { segments, needed, durable_from: self.appended_lsn }, bytes)
    }

    /// Takes the result of a chore. **Errors**: `StorageFailed`, which is final, as in
    /// `finish_barrier`. A full disk is no error: the chore becomes due again.
    pub fn finish_chore(&mut self, finished: FinishedChore) -> Result<()> {
        self.housekeeping.is_under_way = false;
        // What cannot be measured counts as full until it can.
        self.housekeeping.available_bytes = finished.available_bytes.unwrap_or(0);
        match finished.done {
            Done::Prepared(Ok(file)) => self.add_ready(file),
            Done::Prepared(Err(error)) if error.code == Code::NoSpace => {
                self.housekeeping.starve();
            }
            Done::Prepared(Err(error)) => return self.give_up(error),
            Done::Moved(plan, Ok(moved)) => {
                self.housekeeping.checkpoint_is(moved);
                // A renewal alone repairs nothing that the journal has.
                self.housekeeping.failures = 0;
                self.recycle(plan);
            }
            Done::Renewed(generation, Ok(moved)) => {
                self.housekeeping.generation = generation;
                self.housekeeping.disk_bytes_max = 2 * moved.disk_bytes;
                self.housekeeping.checkpoint_is(moved);
            }
            Done::Moved(_, Err(error)) => return self.retry_move(error),
            Done::Renewed(_, Err(error)) => return self.retry_move(error),
            Done::Deleted => {}
            Done::Measured => self.housekeeping.was_measured = true,
        }
        Ok(())
    }

    fn add_ready(&mut self, file: SegmentFile) {
        if file.bytes >= self.options.segment_bytes {
            self.ready_bytes += file.bytes;
            self.ready.push_back(file);
        } else {
            self.housekeeping.surplus.push(file);
        }
    }

    /// The oldest segment is in the checkpoint: its file may be used again.
    fn recycle(&mut self, plan: MovePlan) {
        for log_id in plan.needed.keys() {
            if let Some(group) = self.groups.get(log_id) {
                group.lock().moved(plan.last_lsn());
            }
        }
        if let Some(oldest) = self.live.pop_front() {
            self.add_ready(oldest.segment.file.clone());
        }
    }

    /// A checkpoint that failed is replaced by a copy of what it held before; if that fails as
    /// well, it is final. A full disk is not: it is tried again.
    fn retry_move(&mut self, error: Error) -> Result<()> {
        if error.code == Code::NoSpace {
            // sled does not forget an error, so that once it has met a full disk only a new one
            // will do.
            self.housekeeping.is_renewal_due = true;
            self.housekeeping.starve();
            return Ok(());
        }
        self.housekeeping.failures += 1;
        if self.housekeeping.failures > 2 || error.code == Code::StorageFailed {
            return self.give_up(error);
        }
        self.housekeeping.is_renewal_due = true;
        Ok(())
    }

    fn give_up(&mut self, error: Error) -> Result<()> {
        self.fail(Code::StorageFailed, error.message);
        self.check().map(|_| ())
    }
}
