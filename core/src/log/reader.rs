//! Reads entries from wherever they are, while the log goes on.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::Entry;

use super::checkpoint::{chunk_at, damaged, Checkpoint};
use super::codec::{check_frame, take_entries, Kind, FRAME_HEADER_BYTES};
use super::index::{FrameAt, GroupIndex, Location, Place, Run};
use super::EntryReader;
use crate::error::{Code, Error, Result};
use crate::ids::Index;

/// What an entry counts for in `max_bytes`, beside its data and context.
const ENTRY_OVERHEAD_BYTES: u64 = 16;
/// A record that was moved away while it was read is looked for anew, this often: each time takes a
/// whole segment's life.
const ATTEMPTS_MAX: usize = 4;

pub(super) struct Reader {
    pub group: Arc<GroupIndex>,
    pub checkpoint: Arc<Checkpoint>,
}

/// Entries on their way to the caller.
pub(super) struct Collected {
    entries: Vec<Entry>,
    bytes: u64,
    bytes_max: u64,
    is_full: bool,
}

impl Collected {
    pub(super) fn up_to(bytes_max: u64) -> Collected {
        Collected { entries: Vec::new(), bytes: 0, bytes_max, is_full: false }
    }

    /// Takes an entry unless that would be too much; `false` when no more are wanted.
    fn take(&mut self, entry: Entry) -> bool {
        let bytes = (entry.data.len() + entry.context.len()) as u64 + ENTRY_OVERHEAD_BYTES;
        self.bytes += bytes;
        if self.bytes > self.bytes_max && !self.entries.is_empty() {
            self.is_full = true;
            return false;
        }
        self.entries.push(entry);
        true
    }
}

impl EntryReader for Reader {
    fn read(&self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>> {
        let mut collected = Collected::up_to(max_bytes);
        let mut next = low;
        let mut attempts = 0;
        while next < high && !collected.is_full {
            match self.read_from(next, high - 1, &mut collected) {
                Ok(()) => attempts = 0,
                Err(_) if attempts < ATTEMPTS_MAX => attempts += 1,
                Err(_) if !collected.entries.is_empty() => break,
                Err(error) => return Err(error),
            }
            next = low + collected.entries.len() as u64;
        }
        Ok(collected.entries)
    }
}

impl Reader {
    /// Collects entries from `next` to `last` at most, as far as they lie in one piece; at least
    /// one, unless it is full.
    fn read_from(&self, next: Index, last: Index, collected: &mut Collected) -> Result<()> {
        let place = self.group.lock().find(next);
        match place {
            Place::Nowhere { first, last } => Err(self.not_held(next, first, last)),
            Place::Checkpoint { last: held } => {
                self.read_checkpoint(next, last.min(held), collected)
            }
            Place::Run(run) => self.read_run(&run, next, last.min(run.last), collected),
        }
    }

    fn read_checkpoint(&self, next: Index, last: Index, collected: &mut Collected) -> Result<()> {
        let store = self.checkpoint.store();
        let missing =
            || damaged(&*store, &format!("entry {next} of log {} is missing", self.group.log_id));
        let before = collected.entries.len();
        let (_, payload) = chunk_at(&*store, self.group.log_id, next)?.ok_or_else(missing)?;
        take_entries(&payload, next, last, |entry| collected.take(entry)).ok_or_else(missing)?;
        if collected.entries.len() == before && !collected.is_full {
            return Err(missing());
        }
        Ok(())
    }

    pub(super) fn read_run(
        &self,
        run: &Run,
        next: Index,
        last: Index,
        collected: &mut Collected,
    ) -> Result<()> {
        let payload = match &run.location {
            Location::Pending => return Err(self.not_written(next)),
            Location::Frame(at) => self.read_frame(run, at)?,
            Location::Parts(parts) => {
                let mut payload = Vec::new();
                for at in parts.iter() {
                    payload.extend_from_slice(&self.read_frame(run, at)?);
                }
                Bytes::from(payload)
            }
        };
        let before = collected.entries.len();
        let taken = take_entries(&payload, next, last, |entry| collected.take(entry));
        let found = collected.entries.len() > before || collected.is_full;
        if taken.is_some() && found {
            Ok(())
        } else {
            Err(self.not_written(next))
        }
    }

    /// The payload of a frame, if it is still the one that belongs to the run: its segment may have
    /// been used again.
    fn read_frame(&self, run: &Run, at: &FrameAt) -> Result<Bytes> {
        let mut bytes = vec![0; at.length as usize];
        let count = at.segment.file.read(&mut bytes, u64::from(at.offset))?;
        let frame = check_frame(&bytes[..count]).filter(|frame| {
            (frame.lsn, frame.log_id, frame.kind) == (run.lsn, self.group.log_id, Kind::Entries)
        });
        if frame.is_none() {
            let what = format!("entry {} of log {} is not there", run.first, self.group.log_id);
            return Err(at.segment.file.corrupted(u64::from(at.offset), &what));
        }
        Ok(Bytes::from(bytes).slice(FRAME_HEADER_BYTES..))
    }

    fn not_held(&self, index: Index, first: Index, last: Index) -> Error {
        let log_id = self.group.log_id;
        let message =
            format!("log {log_id} does not hold entry {index}, only entries {first} to {last}");
        Error::rejected(Code::Internal, message)
    }

    fn not_written(&self, index: Index) -> Error {
        let message = format!("entry {index} of log {} is not written yet", self.group.log_id);
        Error::rejected(Code::Internal, message)
    }
}
