//! What is found at opening: the checkpoint first, then what the journal has beyond it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::assembly::{Assembled, Assembly, RawRecord};
use super::batch::{BATCH_HEADER_BYTES, BLOCK_BYTES};
use super::checkpoint::{
    chunk_at, damaged, group_key, log_id_in, row_crc, CheckpointFolder, CheckpointState,
    CheckpointStore,
};
use super::codec::{decode_change, entries_header, frames, Change, Frame, Kind};
use super::generation;
use super::index::{FrameAt, GroupIndex, Location};
use super::journal::LiveSegment;
use super::newest::Newest;
use super::outline::Outline;
use super::record::{LogId, RecoveredGroup};
use super::segment::{CheckpointMark, Found, Scanner, Segment, SegmentFile, SegmentFiles};
use super::Lsn;
use crate::deliberate::{is_on, Bug};
use crate::disk::Disk;
use crate::error::{Code, Error, Result};

/// All that was found.
pub(super) struct Recovered {
    pub files: SegmentFiles,
    /// Of the files that are there.
    numbers: BTreeSet<u64>,
    pub groups: BTreeMap<LogId, RecoveredGroup>,
    pub indexes: BTreeMap<LogId, Arc<GroupIndex>>,
    /// Oldest first.
    pub live: VecDeque<LiveSegment>,
    /// Files without anything that is needed.
    pub free: Vec<SegmentFile>,
    pub next_sequence: u64,
    pub next_batch: u64,
    pub last_lsn: Lsn,
    pub next_log_id: LogId,
    pub is_sealed: bool,
    pub store: Arc<dyn CheckpointStore>,
    pub generation: u64,
    pub state: CheckpointState,
}

/// Recovers a log. On the disk an interrupted change is completed or undone, and what was found is
/// made durable.
pub(super) fn recover(disk: Arc<dyn Disk>, folder: &dyn CheckpointFolder) -> Result<Recovered> {
    let (files, found) = SegmentFiles::open(disk)?;
    let numbers: BTreeSet<u64> = found.iter().map(|file| file.number).collect();
    let (mut segments, mut fresh, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for file in found {
        match file.identify()? {
            Found::Used(header) => {
                let segment = Segment::new(header, file, Outline::default());
                segments.push(Arc::new(segment));
            }
            Found::Fresh => fresh.push(file),
            Found::Unreadable => unreadable.push(file),
        }
    }
    segments.sort_by_key(|segment| segment.header.sequence);
    require_newest(&files, &segments, &numbers)?;
    let mark = segments.last().map_or(CheckpointMark::default(), |newest| newest.header.checkpoint);
    let (generation, store, state) = generation::open(folder, mark)?;
    let mut recovered = Recovered {
        files,
        numbers,
        groups: BTreeMap::new(),
        indexes: BTreeMap::new(),
        live: VecDeque::new(),
        free: fresh,
        next_sequence: segments.last().map_or(1, |newest| newest.header.sequence + 1),
        next_batch: 1,
        last_lsn: state.moved_lsn,
        next_log_id: state.next_log_id.max(1),
        is_sealed: true,
        store,
        generation,
        state,
    };
    recovered.load_groups()?;
    recovered.replay(segments, unreadable)?;
    if recovered.state.rows > 0 && is_on(Bug::ReplayTheCheckpointOverTheJournal) {
        recovered.load_groups()?;
    }
    recovered.verify_checkpoint()?;
    Ok(recovered)
}

/// A segment that no other follows is missed only because it is named elsewhere. One that is named and was not put to
/// use any more, since the process ended, is there all the same.
fn require_newest(
    files: &SegmentFiles,
    segments: &[Arc<Segment>],
    numbers: &BTreeSet<u64>,
) -> Result<()> {
    let Some(newest) = files.read_newest()? else { return Ok(()) };
    let is_used = segments.last().is_some_and(|last| last.header.sequence >= newest.sequence);
    if newest.sequence == 0 || is_used || numbers.contains(&newest.number) {
        return Ok(());
    }
    Err(files.missing(newest.number))
}

impl Recovered {
    /// The segment that holds the end of the journal.
    pub fn newest(&self) -> Newest {
        self.live.back().map_or(Newest::default(), |live| Newest {
            sequence: live.segment.header.sequence,
            number: live.segment.file.number,
        })
    }

    fn load_groups(&mut self) -> Result<()> {
        let (mut rows, mut rows_crc) = (0, 0);
        let (groups, indexes) = (&mut self.groups, &mut self.indexes);
        let store = Arc::clone(&self.store);
        store.scan(&group_key(0), &group_key(LogId::MAX), &mut |key, row| {
            let damaged = || damaged(&*store, "the row of a group");
            let log_id = log_id_in(key).ok_or_else(damaged)?;
            let group = RecoveredGroup::decode(log_id, row).ok_or_else(damaged)?;
            let index = GroupIndex::new(log_id, group.compacted_index, group.last_index);
            indexes.insert(log_id, Arc::new(index));
            groups.insert(log_id, group);
            rows += 1;
            rows_crc ^= row_crc(log_id, row);
            Ok(true)
        })?;
        if (rows, rows_crc) != (self.state.rows, self.state.rows_crc) {
            return Err(damaged(&*store, "rows of groups are missing or old"));
        }
        Ok(())
    }

    /// Replays the segments that hold records beyond the checkpoint, and sorts out which files are
    /// free.
    fn replay(&mut self, segments: Vec<Arc<Segment>>, unreadable: Vec<SegmentFile>) -> Result<()> {
        let start = self.first_needed(&segments)?;
        let mut replay = Replay {
            assembly: Assembly::default(),
            parts: Vec::new(),
            end: None,
            last_batch: None,
            sequence: 0,
        };
        for (position, segment) in segments.iter().enumerate() {
            let replayed = position >= start && {
                let result = self.replay_segment(segment, &mut replay);
                result.map_err(|error| self.blame_header(&unreadable, error))?
            };
            if !replayed {
                self.free.push(segment.file.clone());
            }
        }
        if self.live.is_empty() && self.state.moved_lsn > 0 {
            let message = "the segments of the journal are missing; restore this node from a \
                           backup, or wipe it and let it rejoin";
            return Err(Error::rejected(Code::Corrupted, message));
        }
        if let Some(lsn) = replay.assembly.partial_lsn() {
            self.forget_partial(lsn);
        }
        self.check_tail(&segments, start, &replay, &unreadable)?;
        self.settle_tail(&replay)?;
        self.free.extend(unreadable);
        Ok(())
    }

    /// Makes the last batch durable: its writer may have been killed before the sync, or the sync
    /// may have failed, and then it is only in the system's cache. A sync alone would not do, since
    /// after a failed one the system takes it for written.
    fn settle_tail(&self, replay: &Replay) -> Result<()> {
        let (Some(live), Some(begin)) = (self.live.back(), replay.last_batch) else {
            return Ok(());
        };
        let file = &live.segment.file;
        let mut bytes = vec![0; (live.end - begin) as usize];
        let count = file.read(&mut bytes, begin)?;
        file.write(&bytes[..count], begin)?;
        file.write(&live.segment.header.encode(), 0)?;
        file.sync()
    }

    /// A gap in the journal may be a whole segment that is not recognised any more: then that is
    /// the damage to be told.
    fn blame_header(&self, unreadable: &[SegmentFile], gap: Error) -> Error {
        let holds_next = |file: &&SegmentFile| {
            let found = Scanner::new(file).find(None, self.next_batch);
            matches!(found, Ok(Some((_, sequence))) if sequence == self.next_batch)
        };
        match unreadable.iter().find(holds_next) {
            Some(file) => file.corrupted(0, "the header is unreadable"),
            None => gap,
        }
    }

    /// Whether the file that the journal was written to before is not there. When it was not needed any more, it may
    /// have been deleted.
    fn is_missing_before(&self, segment: &Segment) -> bool {
        let previous = segment.header.previous;
        previous != 0 && !self.numbers.contains(&previous)
    }

    /// The records before this segment are neither in the journal nor in the checkpoint. The file that should hold them
    /// is missing; or it was deleted because they were in the checkpoint, which has lost them.
    fn blame_missing(&self, later: &Segment) -> Error {
        let missing = self.files.missing(later.header.previous);
        let (checkpoint, moved) = (self.store.display(), self.state.moved_lsn);
        let message = format!(
            "{}; unless that was no longer needed, and {checkpoint} is damaged, which holds what was \
             moved up to position {moved}",
            missing.message
        );
        Error::rejected(Code::Corrupted, message)
    }

    /// Whole segments are gone, as if they had been moved, but the checkpoint is not so far.
    fn blame_checkpoint(&self, later: &Segment) -> Error {
        let (file, moved) = (&later.file.display, self.state.moved_lsn);
        let what = format!(
            "it holds what was moved up to position {moved}, and the segments that follow are gone \
             up to {file}"
        );
        damaged(&*self.store, &what)
    }

    /// The position of the last segment that begins at or before the first record to be replayed.
    fn first_needed(&self, segments: &[Arc<Segment>]) -> Result<usize> {
        let mut start = 0;
        for (position, segment) in segments.iter().enumerate() {
            let mut scanner = Scanner::new(&segment.file);
            let Some(batch) = scanner.next(Some(segment.header.salt))? else { continue };
            let first = frames(batch.frames).next().flatten();
            let begins = first.is_some_and(|(_, frame)| begins_record(&frame));
            // One that begins in the middle of a record needs the segment before, unless that
            // record was moved.
            if batch.header.first_lsn < self.state.moved_lsn + 1 + u64::from(begins) {
                start = position;
            }
        }
        Ok(start)
    }

    /// Whether the segment holds any batch.
    fn replay_segment(&mut self, segment: &Arc<Segment>, replay: &mut Replay) -> Result<bool> {
        let mut scanner = Scanner::new(&segment.file);
        let mut last_lsn = None;
        while let Some(batch) = scanner.next(Some(segment.header.salt))? {
            let expected = replay.end.as_ref().map(|_| self.next_batch);
            let begins = batch.header.first_lsn <= self.last_lsn + 1;
            if expected.is_some_and(|expected| expected != batch.header.sequence) || !begins {
                let are_gone = replay.sequence + 1 < segment.header.sequence;
                return Err(match &replay.end {
                    _ if self.is_missing_before(segment) => self.blame_missing(segment),
                    Some(_) if are_gone => self.blame_checkpoint(segment),
                    Some((file, offset)) => file.corrupted(*offset, "later batches are intact"),
                    None => segment.file.corrupted(batch.offset, "the records before are missing"),
                });
            }
            let mut position = batch.offset + BATCH_HEADER_BYTES as u64;
            for frame in frames(batch.frames) {
                let malformed = || segment.file.corrupted(position, "a frame cannot be decoded");
                let (bytes, frame) = frame.ok_or_else(malformed)?;
                last_lsn = Some(frame.lsn);
                let length = bytes.len() as u32;
                let at = FrameAt { segment: Arc::clone(segment), offset: position as u32, length };
                self.replay_frame(&frame, at, replay)?;
                position += u64::from(length);
            }
            self.next_batch = batch.header.sequence + 1;
            replay.end = Some((segment.file.clone(), batch.offset + batch.header.block_bytes()));
            replay.last_batch = Some(batch.offset);
        }
        replay.sequence = segment.header.sequence;
        let Some(last_lsn) = last_lsn else {
            // If batches are missing, they were here.
            if let Some(end) = &mut replay.end {
                *end = (segment.file.clone(), scanner.offset());
            }
            return Ok(false);
        };
        let end = scanner.offset();
        self.live.push_back(LiveSegment { segment: Arc::clone(segment), end, last_lsn });
        Ok(true)
    }

    fn replay_frame(&mut self, frame: &Frame<'_>, at: FrameAt, replay: &mut Replay) -> Result<()> {
        if frame.lsn <= self.state.moved_lsn {
            return Ok(());
        }
        if let Some(lsn) = replay.assembly.partial_lsn().filter(|_| begins_record(frame)) {
            self.forget_partial(lsn);
        }
        if begins_record(frame) {
            replay.parts.clear();
        }
        replay.parts.push(at.clone());
        let (file, offset) = (&at.segment.file, u64::from(at.offset));
        match replay.assembly.add(frame) {
            Assembled::Incomplete => Ok(()),
            Assembled::Orphan => Err(file.corrupted(offset, "the first part of it is missing")),
            Assembled::Complete(record) => {
                if record.lsn != self.last_lsn + 1 {
                    return Err(file.corrupted(offset, "the record before is missing"));
                }
                self.last_lsn = record.lsn;
                self.is_sealed = record.kind == Kind::Seal;
                let location = match &replay.parts[..] {
                    [] | [_] => Location::Frame(at.clone()),
                    parts => Location::Parts(parts.into()),
                };
                self.replay_record(&record, location)
                    .ok_or_else(|| file.corrupted(offset, "the record contradicts those before"))
            }
        }
    }

    /// The record at `lsn` was cut off, and is no more: no segment ends with it.
    fn forget_partial(&mut self, lsn: Lsn) {
        for live in &mut self.live {
            live.last_lsn = live.last_lsn.min(lsn - 1);
        }
    }

    fn replay_record(&mut self, record: &RawRecord<'_>, location: Location) -> Option<()> {
        let log_id = record.log_id;
        let change = decode_change(record.kind, &record.payload)?;
        match &change {
            Change::Seal => return Some(()),
            Change::Created { group_id } => {
                self.next_log_id = self.next_log_id.max(log_id + 1);
                self.groups.insert(log_id, RecoveredGroup::new(log_id, *group_id));
                self.indexes.insert(log_id, Arc::new(GroupIndex::new(log_id, 0, 0)));
                return Some(());
            }
            Change::Removed => {
                self.groups.remove(&log_id)?;
                self.indexes.remove(&log_id)?;
                return Some(());
            }
            _ => {}
        }
        self.groups.get_mut(&log_id)?.fold(&change)?;
        let mut runs = self.indexes.get(&log_id)?.lock();
        match &change {
            Change::Entries(header) => runs.append(*header, record.lsn, location).then_some(())?,
            Change::Compact { index, .. } => runs.compact(*index),
            Change::Reset { index, .. } => runs.reset(*index),
            _ => {}
        }
        Some(())
    }

    /// Behind the last batch nothing intact may follow: then it is not a torn tail but damage.
    fn check_tail(
        &self,
        segments: &[Arc<Segment>],
        start: usize,
        replay: &Replay,
        unreadable: &[SegmentFile],
    ) -> Result<()> {
        let next = if replay.end.is_some() { self.next_batch } else { 1 };
        let newest = self.live.back().map(|live| live.segment.header.sequence);
        for segment in segments.iter().skip(start) {
            let is_newest = Some(segment.header.sequence) == newest;
            if !is_newest && self.live.iter().any(|live| Arc::ptr_eq(&live.segment, segment)) {
                continue;
            }
            let mut scanner = Scanner::new(&segment.file);
            let end = self.live.back().filter(|_| is_newest).map_or(0, |live| live.end);
            scanner.skip_to(end.max(BLOCK_BYTES as u64));
            let bad = scanner.offset();
            let follows = scanner.find(Some(segment.header.salt), next)?;
            if follows.is_some() && !is_on(Bug::TakeDamageForATornEnd) {
                return Err(segment.file.corrupted(bad, "a later batch is intact"));
            }
        }
        for file in unreadable {
            if Scanner::new(file).find(None, next)?.is_some() {
                return Err(file.corrupted(0, "the header is unreadable, but batches follow"));
            }
        }
        Ok(())
    }

    /// Whether the checkpoint has the entries that its rows and the journal say it has.
    fn verify_checkpoint(&self) -> Result<()> {
        for (log_id, group) in &self.groups {
            let Some(index) = self.indexes.get(log_id) else { continue };
            let (compacted, last) = index.lock().checkpointed();
            let mut next = compacted + 1;
            while next <= last {
                let missing =
                    || damaged(&*self.store, &format!("entry {next} of log {log_id} is missing"));
                let (_, payload) = chunk_at(&*self.store, *log_id, next)?.ok_or_else(missing)?;
                let header = entries_header(&payload).ok_or_else(missing)?;
                let before = group.terms.partition_point(|(_, first)| *first <= next);
                let term = before.checked_sub(1).map(|position| group.terms[position].0);
                if header.last() < next || term != Some(header.term) {
                    return Err(missing());
                }
                next = header.last() + 1;
            }
        }
        Ok(())
    }
}

struct Replay {
    assembly: Assembly,
    /// Where the parts of the record in assembly lie.
    parts: Vec<FrameAt>,
    /// Behind the last batch, or where the next one should have been.
    end: Option<(SegmentFile, u64)>,
    /// Where the last batch begins, in the last live segment.
    last_batch: Option<u64>,
    /// Of the last segment that was looked at.
    sequence: u64,
}

fn begins_record(frame: &Frame<'_>) -> bool {
    matches!(frame.part, super::codec::Part::Whole | super::codec::Part::First)
}
