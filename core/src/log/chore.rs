//! Housekeeping: everything that may block, apart from the barriers.

use std::sync::Arc;

use super::checkpoint::{Checkpoint, CheckpointFolder, CheckpointState};
use super::mover::{copy, MovePlan};
use super::segment::{SegmentFile, SegmentFiles};
use crate::error::{Code, Error, Result};

/// A piece of housekeeping that may block: preparing a segment, moving entries into sled,
/// recycling.
pub struct Chore {
    pub(super) work: Work,
    pub(super) files: Arc<SegmentFiles>,
    pub(super) checkpoint: Arc<Checkpoint>,
    pub(super) folder: Arc<dyn CheckpointFolder>,
    /// Freed here, since that may take long.
    pub(super) garbage: Vec<Vec<u8>>,
}

/// A chore that has run.
pub struct FinishedChore {
    pub(super) done: Done,
    pub(super) available_bytes: Result<u64>,
}

pub(super) enum Work {
    /// Make a file for a segment.
    Prepare { bytes: u64 },
    /// Move the oldest segment; the number is what that may take in the checkpoint.
    Move(MovePlan, u64),
    /// Replace the checkpoint by a copy of it.
    Renew { generation: u64 },
    /// Delete files that are not needed.
    Delete(Vec<SegmentFile>),
    /// Look how much space there is.
    Measure,
}

pub(super) enum Done {
    Prepared(Result<SegmentFile>),
    Moved(MovePlan, Result<Moved>),
    Renewed(u64, Result<Moved>),
    /// Nothing is to be concluded from it.
    Deleted,
    Measured,
}

#[derive(Clone, Copy)]
pub(super) struct Moved {
    pub state: CheckpointState,
    /// What the checkpoint takes on the disk.
    pub disk_bytes: u64,
}

impl Chore {
    pub fn run(self) -> FinishedChore {
        let Chore { work, files, checkpoint, folder, garbage } = self;
        drop(garbage);
        let done = match work {
            Work::Prepare { bytes } => Done::Prepared(files.create(bytes, bytes)),
            Work::Move(plan, bytes) => {
                let result = require_space(&files, &*folder, bytes)
                    .and_then(|()| plan.run(checkpoint.store()))
                    .and_then(|state| moved(&checkpoint, state));
                Done::Moved(plan, result)
            }
            Work::Renew { generation } => {
                Done::Renewed(generation, renew(&checkpoint, &files, &*folder, generation))
            }
            Work::Delete(surplus) => {
                // A file that cannot be deleted is found again at the next opening.
                let _ = surplus.iter().try_for_each(|file| files.delete(file));
                Done::Deleted
            }
            Work::Measure => Done::Measured,
        };
        FinishedChore { done, available_bytes: files.available_bytes() }
    }
}

fn moved(checkpoint: &Checkpoint, state: CheckpointState) -> Result<Moved> {
    Ok(Moved { state, disk_bytes: checkpoint.store().disk_bytes()? })
}

/// A full disk can make sled hang for ever, so it is only given work when there is room for it.
fn require_space(files: &SegmentFiles, folder: &dyn CheckpointFolder, bytes: u64) -> Result<()> {
    let (needed, available) = (2 * bytes + folder.spare_bytes(), files.available_bytes()?);
    if needed <= available {
        return Ok(());
    }
    let message = format!("moving entries needs {needed} bytes of disk, {available} are free");
    Err(Error::rejected(Code::NoSpace, message))
}

/// Makes a new generation from what can be read of the present one, and takes it into use.
fn renew(
    checkpoint: &Checkpoint,
    files: &SegmentFiles,
    folder: &dyn CheckpointFolder,
    generation: u64,
) -> Result<Moved> {
    let old = checkpoint.store();
    let live_bytes = CheckpointState::read(&*old)?.map_or(0, |state| state.live_bytes);
    require_space(files, folder, live_bytes)?;
    if folder.generations()?.contains(&generation) {
        // What an earlier attempt left behind.
        folder.delete(generation)?;
    }
    let new = folder.open(generation)?;
    let copied =
        copy(&*old, &*new).and_then(|state| Ok(Moved { state, disk_bytes: new.disk_bytes()? }));
    let moved = match copied {
        Ok(moved) => moved,
        Err(error) => {
            // The space goes back; if that fails too, the next attempt or opening does it.
            let _ = new.close().and_then(|()| folder.delete(generation));
            return Err(error);
        }
    };
    // A reader that is in the middle of the old one gets an error from it, and then asks the new
    // one.
    checkpoint.replace(new);
    // The new generation is in use and complete: what cannot be closed or deleted now goes at the
    // next opening.
    let _ = old.close().and_then(|()| folder.delete(generation - 1));
    Ok(moved)
}
