//! Which generation of the checkpoint counts.

use std::sync::Arc;

use super::checkpoint::{Changes, CheckpointFolder, CheckpointState, CheckpointStore, STATE_KEY};
use super::segment::CheckpointMark;
use super::Lsn;
use crate::error::{Code, Error, Result};

/// Opens the newest generation that holds what the journal relies on, and deletes the others.
pub(super) fn open(
    folder: &dyn CheckpointFolder,
    mark: CheckpointMark,
) -> Result<(u64, Arc<dyn CheckpointStore>, CheckpointState)> {
    let generations = folder.generations()?;
    let (mut failure, mut chosen, mut found) = (None, None, None);
    for &generation in generations.iter().rev() {
        let opened = folder.open(generation).and_then(|store| {
            let state = CheckpointState::read(&*store)?;
            Ok((store, state))
        });
        match opened {
            Ok((store, Some(state))) if state.moved_lsn >= mark.moved_lsn => {
                chosen = Some((generation, store, state));
                break;
            }
            // One that was never completed, or that has lost what it had.
            Ok((store, state)) => {
                let moved = state.map_or(0, |state| state.moved_lsn);
                found = found.max(Some((moved, store.display())));
                store.close()?;
            }
            Err(error) if error.code == Code::Corrupted => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let (generation, store, state) = match (chosen, failure) {
        (Some(chosen), _) => chosen,
        // The journal still has everything.
        (None, _) if mark.moved_lsn == 0 => {
            let generation = generations.last().map_or(1, |newest| newest + 1);
            let store = folder.open(generation)?;
            let state = CheckpointState::default();
            let mut changes = Changes::default();
            changes.put(STATE_KEY.to_vec(), state.encode());
            store.apply(changes)?;
            store.sync()?;
            (generation, store, state)
        }
        (None, failure) => return Err(lost(folder, mark, failure, found)),
    };
    for other in generations.into_iter().filter(|other| *other != generation) {
        folder.delete(other)?;
    }
    Ok((generation, store, state))
}

/// There is no generation that holds what the journal relies on.
fn lost(
    folder: &dyn CheckpointFolder,
    mark: CheckpointMark,
    failure: Option<Error>,
    found: Option<(Lsn, String)>,
) -> Error {
    let what = match (failure, found) {
        (Some(failure), _) => format!("{}. It", failure.message),
        (None, Some((lsn, display))) => {
            format!("{display} is damaged: it holds what was moved up to position {lsn}, and")
        }
        (None, None) => format!("{} is empty, and", folder.display()),
    };
    let (generation, lsn) = (mark.generation, mark.moved_lsn);
    let message = format!(
        "{what} should hold what was moved up to position {lsn} (generation {generation}); restore \
         this node from a backup, or wipe it and let it rejoin"
    );
    Error::rejected(Code::Corrupted, message)
}
