//! Opens a directory and holds what it finds against what was noted.

use std::fmt;
use std::io::Read;
use std::path::Path;

use libraft::ids::Index;
use libraft::log::{HardState, LogId, Lsn, Record};
use libraft::{Code, Error};

use crate::history::{appended, apply, durable, model_at, Note, SnapshotNote, What};
use crate::model::{content, entry, Model};
use crate::node::{Node, Settings};

/// Why a directory is not what it should be.
#[derive(Debug)]
pub enum Fault {
    /// It says itself what is wrong.
    Refused(Error),
    /// It opens, and holds something else than was written.
    Wrong(String),
    /// It opens, and holds only what was written up to `lsn`, but more was acknowledged.
    Lost { lsn: Lsn },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Refused(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(error) => write!(f, "{:?}: {error}", error.code),
            Fault::Wrong(what) => write!(f, "{what}"),
            Fault::Lost { lsn } => write!(f, "everything behind {lsn} is lost"),
        }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The last position.
    pub lsn: Lsn,
    /// Snapshots read.
    pub snapshots: usize,
}

/// Opens the directory, checks that it holds all that the notes say is durable and nothing that
/// was never written, or truncated; then goes on with it, closes it, and opens it again.
pub fn check(root: &Path, notes: &[Note], settings: Settings) -> Result<Found, Fault> {
    let mut node = Node::open(root, settings)?;
    check_identity(&node, notes)?;
    let lsn = node.log.status().appended_lsn;
    let (first, last) = (durable(notes).last().copied().unwrap_or(0), appended(notes));
    if lsn > last {
        return Err(Fault::Wrong(format!("{lsn} was found, but only {last} was appended")));
    }
    let mut model = model_at(notes, lsn);
    compare(&model, &node, "at opening")?;
    let snapshots = check_snapshots(&model, &node, notes)?;
    go_on(&mut model, &mut node)?;
    node.close()?;
    let node = Node::open(root, Settings { seed: settings.seed + 1, ..settings })?;
    compare(&model, &node, "after it had gone on")?;
    check_snapshots(&model, &node, notes)?;
    node.close()?;
    if lsn < first {
        return Err(Fault::Lost { lsn });
    }
    Ok(Found { lsn, snapshots })
}

fn compare(model: &Model, node: &Node, when: &str) -> Result<(), Fault> {
    match model.difference(&node.log, &node.recovered)? {
        Some(difference) => Err(Fault::Wrong(format!("{when}: {difference}"))),
        None => Ok(()),
    }
}

fn check_identity(node: &Node, notes: &[Note]) -> Result<(), Fault> {
    let boots = notes.iter().filter_map(|note| match note {
        Note::Boot { counter, incarnation } => Some((*counter, *incarnation)),
        _ => None,
    });
    let Some((counter, incarnation)) = boots.last() else { return Ok(()) };
    let identity = node.directory.identity();
    if identity.incarnation != incarnation || identity.boot_counter <= counter {
        let what = format!("boot {counter} of {incarnation} is followed by {identity:?}");
        return Err(Fault::Wrong(what));
    }
    Ok(())
}

/// Every group has the snapshot that it may need, and it is as it was written. Returns how many
/// there are.
fn check_snapshots(model: &Model, node: &Node, notes: &[Note]) -> Result<usize, Fault> {
    let mut count = 0;
    for (log_id, group) in &model.groups {
        // The snapshots of a group go before it does.
        if is_going(notes, *log_id) {
            continue;
        }
        let newest = node.snapshots.newest(group.group_id)?;
        let of_group = |note: &&SnapshotNote| note.log_id == *log_id;
        let own = snapshots(notes).filter(of_group).filter(|note| !note.is_received);
        // What was taken when is known; of the one that a crash interrupted nothing is.
        let acknowledged: Index = own.map(|note| note.index).max().unwrap_or(0);
        let needed = acknowledged.max(group.compacted.0);
        let Some(manifest) = newest else {
            if needed == 0 {
                continue;
            }
            let what = format!("log {log_id} has no snapshot, but needs one at {needed} or later");
            return Err(Fault::Wrong(what));
        };
        count += 1;
        let is_right = match group.unrestored {
            Some((snapshot, _)) => manifest.snapshot == snapshot,
            None => manifest.index >= needed && group.term(manifest.index) == Some(manifest.term),
        };
        if !is_right {
            let (index, id) = (manifest.index, manifest.snapshot);
            let what = format!("log {log_id} would start from snapshot {id} at {index}: {group:?}");
            return Err(Fault::Wrong(what));
        }
        let Some(note) = snapshots(notes).find(|note| note.snapshot == manifest.snapshot) else {
            // It was complete, but not acknowledged yet.
            continue;
        };
        let mut stream = Vec::new();
        let mut reader = node.snapshots.open_reader(group.group_id, manifest.snapshot)?;
        reader.read_to_end(&mut stream).map_err(reading)?;
        if stream != content(note.seed(), note.bytes) {
            return Err(Fault::Wrong(format!("snapshot {} is another one", note.snapshot)));
        }
    }
    Ok(count)
}

fn is_going(notes: &[Note], log_id: LogId) -> bool {
    notes.iter().any(|note| matches!(note, Note::Removing { log_id: id } if *id == log_id))
}

fn snapshots(notes: &[Note]) -> impl Iterator<Item = &SnapshotNote> {
    notes.iter().filter_map(|note| match note {
        Note::Snapshot(note) => Some(note),
        _ => None,
    })
}

/// The error of the library that `Read` has wrapped.
fn reading(error: std::io::Error) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned();
    Fault::Refused(inner.unwrap_or_else(|| Error::rejected(Code::Io, error.to_string())))
}

/// Appends to every group, creates one, and does the housekeeping that follows.
fn go_on(model: &mut Model, node: &mut Node) -> Result<(), Fault> {
    const LENGTHS: [usize; 3] = [0, 700, 5000];
    for log_id in model.groups.keys().copied().collect::<Vec<LogId>>() {
        let group = &model.groups[&log_id];
        let (first, term) = (group.last() + 1, group.last_term() + 1);
        let entries = (first..).zip(LENGTHS).map(|(at, length)| entry(log_id, at, term, length));
        node.log.append(log_id, Record::Entries(entries.collect()), true);
        apply(model, log_id, &What::Entries { first, term, lengths: LENGTHS.to_vec() });
        let hard_state = Record::HardState(HardState { term, vote: 2, commit: first });
        node.log.append(log_id, hard_state.clone(), true);
        apply(model, log_id, &What::Record(hard_state));
        node.barrier()?;
    }
    let group_id = 1 + model.groups.values().map(|group| group.group_id).max().unwrap_or(0);
    let log_id = node.log.create_group(group_id);
    if model.groups.contains_key(&log_id) {
        return Err(Fault::Wrong(format!("log id {log_id} is given out a second time")));
    }
    apply(model, log_id, &What::Created(group_id));
    let appended = node.log.status().appended_lsn;
    let durable = node.barrier()?;
    if durable != appended {
        return Err(Fault::Wrong(format!("a barrier left {appended} at {durable}")));
    }
    node.chores()?;
    Ok(())
}
