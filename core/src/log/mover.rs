//! Moves what is still needed of the oldest segment into the checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::Entry;

use super::assembly::{Assembled, Assembly, RawRecord};
use super::checkpoint::{
    compact_chunks, damaged, delete_chunks, group_key, put_chunk, row_crc, truncate_chunks,
    Changes, CheckpointState, CheckpointStore, STATE_KEY,
};
use super::codec::{decode_change, frames, take_entries, Change, EntriesHeader, Frame};
use super::journal::LiveSegment;
use super::record::{LogId, RecoveredGroup};
use super::segment::{Scanner, SegmentFile};
use super::Lsn;
use crate::deliberate::{is_on, Bug};
use crate::error::Result;
use crate::ids::Index;

/// Entries go into the checkpoint in chunks of about this size.
const CHUNK_BYTES: usize = 56 << 10;
/// Changes are applied in atomic batches of about this size.
const CHANGES_BYTES: usize = 4 << 20;

/// What to move. It leaves out entries that later records overwrote or compacted away, so it may
/// only be carried out once those records are durable.
pub(super) struct MovePlan {
    /// All live segments: the first is to be moved, the others may hold the rest of its last
    /// record.
    pub segments: Vec<LiveSegment>,
    /// Per group the records of which entries are needed: (position, first, last), ascending.
    pub needed: BTreeMap<LogId, Vec<(Lsn, Index, Index)>>,
    pub durable_from: Lsn,
}

impl MovePlan {
    /// The last record to move.
    pub fn last_lsn(&self) -> Lsn {
        self.segments.first().map_or(0, |oldest| oldest.last_lsn)
    }

    /// Moves; what is moved is durable when this returns.
    pub fn run(&self, store: Arc<dyn CheckpointStore>) -> Result<CheckpointState> {
        let state = CheckpointState::read(&*store)?
            .ok_or_else(|| damaged(&*store, "the row that says how far it is, is missing"))?;
        let mut mover = Mover {
            plan: self,
            store,
            state,
            changes: Changes::default(),
            groups: BTreeMap::new(),
            chunks: BTreeMap::new(),
            chunk_bytes: 0,
        };
        if !self.take_outline(&mut mover)? {
            self.take_records(&mut mover)?;
        }
        mover.commit(self.last_lsn().max(mover.state.moved_lsn))?;
        if !is_on(Bug::ReleaseBeforeTheCheckpointIsSynced) {
            mover.store.sync()?;
        }
        Ok(mover.state)
    }

    /// Takes the records from memory. `false`, and nothing was taken, if the file must be read.
    fn take_outline(&self, mover: &mut Mover<'_>) -> Result<bool> {
        let Some(oldest) = self.segments.first().filter(|_| self.needed.is_empty()) else {
            return Ok(false);
        };
        let outline = oldest.segment.outline();
        let Some(outlined) = outline.frames() else { return Ok(false) };
        let mut assembly = Assembly::default();
        for frame in frames(&outlined) {
            let file = &oldest.segment.file;
            let (_, frame) = frame.ok_or_else(|| file.corrupted(0, "its outline is damaged"))?;
            self.take_frame(mover, &mut assembly, &frame, (file, 0))?;
        }
        Ok(true)
    }

    fn take_records(&self, mover: &mut Mover<'_>) -> Result<()> {
        let last_lsn = self.last_lsn();
        let mut assembly = Assembly::default();
        let mut position = mover.state.moved_lsn;
        for live in &self.segments {
            let mut scanner = Scanner::new(&live.segment.file);
            while scanner.offset() < live.end && position < last_lsn {
                let offset = scanner.offset();
                let file = &live.segment.file;
                let damaged = || file.corrupted(offset, "a batch written before is unreadable");
                let salt = Some(live.segment.header.salt);
                let batch = scanner.next(salt)?.ok_or_else(damaged)?;
                for frame in frames(batch.frames) {
                    let (_, frame) = frame.ok_or_else(damaged)?;
                    if self.take_frame(mover, &mut assembly, &frame, (file, offset))? {
                        position = frame.lsn;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a frame if it belongs to what is to be moved. Whether it completed a record.
    fn take_frame(
        &self,
        mover: &mut Mover<'_>,
        assembly: &mut Assembly,
        frame: &Frame<'_>,
        (file, offset): (&SegmentFile, u64),
    ) -> Result<bool> {
        if frame.lsn <= mover.state.moved_lsn || frame.lsn > self.last_lsn() {
            return Ok(false);
        }
        match assembly.add(frame) {
            Assembled::Complete(record) => mover.take(record, file, offset).map(|()| true),
            _ => Ok(false),
        }
    }
}

struct Mover<'a> {
    plan: &'a MovePlan,
    store: Arc<dyn CheckpointStore>,
    state: CheckpointState,
    changes: Changes,
    groups: BTreeMap<LogId, MovedGroup>,
    /// Entries that wait for their chunk to be full.
    chunks: BTreeMap<LogId, Chunk>,
    chunk_bytes: usize,
}

struct MovedGroup {
    /// As of the last record taken; `None` if the group was removed.
    state: Option<RecoveredGroup>,
    /// What the row in the store adds to the checksum; `None` if there is none.
    stored_crc: Option<u64>,
    stored_bytes: u64,
    is_changed: bool,
    /// Entries in the store from here on are deleted by the changes that wait.
    cut: Index,
}

impl MovedGroup {
    fn new() -> MovedGroup {
        MovedGroup {
            state: None,
            stored_crc: None,
            stored_bytes: 0,
            is_changed: false,
            cut: Index::MAX,
        }
    }
}

#[derive(Default)]
struct Chunk {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Mover<'_> {
    fn take(&mut self, record: RawRecord<'_>, file: &SegmentFile, offset: u64) -> Result<()> {
        let unreadable = || file.corrupted(offset, "a record cannot be decoded");
        let change = decode_change(record.kind, &record.payload).ok_or_else(unreadable)?;
        if matches!(change, Change::Seal) {
            return Ok(());
        }
        let log_id = record.log_id;
        self.load(log_id)?;
        let unknown = || file.corrupted(offset, "a record of an unknown group");
        match &change {
            Change::Created { group_id } => {
                self.state.next_log_id = self.state.next_log_id.max(log_id + 1);
                self.group(log_id).state = Some(RecoveredGroup::new(log_id, *group_id));
            }
            Change::Removed => {
                self.group(log_id).state = None;
                self.delete_all(log_id)?;
            }
            _ => {
                let state = self.group(log_id).state.as_mut().ok_or_else(unknown)?;
                let last_before = state.last_index;
                state.fold(&change).ok_or_else(unreadable)?;
                match &change {
                    Change::Entries(header) => {
                        self.take_entries(&record, *header, last_before)
                            .ok_or_else(unreadable)??;
                    }
                    Change::Reset { .. } => self.delete_all(log_id)?,
                    _ => {}
                }
            }
        }
        self.group(log_id).is_changed = true;
        if self.changes.bytes + self.chunk_bytes >= CHANGES_BYTES {
            self.commit(record.lsn)?;
        }
        Ok(())
    }

    /// `None` if the record is damaged.
    fn take_entries(
        &mut self,
        record: &RawRecord<'_>,
        header: EntriesHeader,
        last_before: Index,
    ) -> Option<Result<()>> {
        let log_id = record.log_id;
        // Entries that the plan needs are never overwritten by a record it covers, so this concerns
        // the store alone; and of that only what no change deletes yet, since a chunk that is cut a
        // second time would get back what the first cut took.
        let overwrites = header.first <= last_before && header.first < self.group(log_id).cut;
        if overwrites && !is_on(Bug::KeepTruncatedInTheCheckpoint) {
            self.group(log_id).cut = header.first;
            match truncate_chunks(&*self.store, &mut self.changes, log_id, header.first) {
                Ok(freed) => self.freed(freed),
                Err(error) => return Some(Err(error)),
            }
        }
        let needed = self.plan.needed.get(&log_id).map_or(&[][..], |runs| runs);
        let position = needed.binary_search_by_key(&record.lsn, |(lsn, ..)| *lsn);
        let Ok(position) = position else { return Some(Ok(())) };
        let (_, first, last) = needed[position];
        let payload = Bytes::copy_from_slice(&record.payload);
        take_entries(&payload, first, last, |entry| {
            self.add(log_id, entry);
            true
        })?;
        Some(Ok(()))
    }

    fn add(&mut self, log_id: LogId, entry: Entry) {
        let bytes = entry.data.len() + entry.context.len() + 8;
        let chunk = self.chunks.entry(log_id).or_default();
        let follows = chunk.entries.last().is_none_or(|last| {
            last.term == entry.term
                && last.index + 1 == entry.index
                && chunk.bytes + bytes <= CHUNK_BYTES
        });
        if !follows {
            let full = std::mem::take(chunk);
            self.put(log_id, full);
        }
        let chunk = self.chunks.entry(log_id).or_default();
        chunk.entries.push(entry);
        chunk.bytes += bytes;
        self.chunk_bytes += bytes;
    }

    fn put(&mut self, log_id: LogId, chunk: Chunk) {
        let before = self.changes.bytes;
        put_chunk(&mut self.changes, log_id, &chunk.entries);
        self.state.live_bytes += (self.changes.bytes - before) as u64;
        self.chunk_bytes -= chunk.bytes;
    }

    /// Applies everything up to `lsn`, atomically.
    fn commit(&mut self, lsn: Lsn) -> Result<()> {
        for (log_id, chunk) in std::mem::take(&mut self.chunks) {
            self.put(log_id, chunk);
        }
        for (log_id, group) in &mut self.groups {
            group.cut = Index::MAX;
            if !std::mem::take(&mut group.is_changed) {
                continue;
            }
            let key = group_key(*log_id);
            self.state.rows_crc ^= group.stored_crc.take().unwrap_or(0);
            self.state.rows -= u64::from(group.stored_bytes > 0);
            self.state.live_bytes = self.state.live_bytes.saturating_sub(group.stored_bytes);
            group.stored_bytes = 0;
            let Some(state) = &group.state else {
                self.changes.delete(key);
                continue;
            };
            let row = state.encode();
            let crc = row_crc(*log_id, &row);
            group.stored_crc = Some(crc);
            group.stored_bytes = (key.len() + row.len()) as u64;
            self.state.rows_crc ^= crc;
            self.state.rows += 1;
            self.state.live_bytes += group.stored_bytes;
            let (compacted, last) = (state.compacted_index, state.last_index);
            self.changes.put(key, row);
            let freed = compact_chunks(&*self.store, &mut self.changes, *log_id, compacted, last)?;
            self.state.live_bytes = self.state.live_bytes.saturating_sub(freed);
        }
        self.state.moved_lsn = lsn;
        let mut changes = std::mem::take(&mut self.changes);
        changes.put(STATE_KEY.to_vec(), self.state.encode());
        self.store.apply(changes)
    }

    fn delete_all(&mut self, log_id: LogId) -> Result<()> {
        let freed = delete_chunks(&*self.store, &mut self.changes, log_id, 0, Index::MAX)?;
        self.group(log_id).cut = 0;
        self.freed(freed);
        Ok(())
    }

    fn freed(&mut self, bytes: u64) {
        self.state.live_bytes = self.state.live_bytes.saturating_sub(bytes);
    }

    fn load(&mut self, log_id: LogId) -> Result<()> {
        if self.groups.contains_key(&log_id) {
            return Ok(());
        }
        let key = group_key(log_id);
        let mut group = MovedGroup::new();
        if let Some(row) = self.store.get(&key)? {
            let damaged = || damaged(&*self.store, &format!("the row of log {log_id}"));
            group.state = Some(RecoveredGroup::decode(log_id, &row).ok_or_else(damaged)?);
            group.stored_crc = Some(row_crc(log_id, &row));
            group.stored_bytes = (key.len() + row.len()) as u64;
        }
        self.groups.insert(log_id, group);
        Ok(())
    }

    fn group(&mut self, log_id: LogId) -> &mut MovedGroup {
        self.groups.entry(log_id).or_insert_with(MovedGroup::new)
    }
}

/// Copies a store into a new one, which is complete and durable when this returns.
pub(super) fn copy(
    old: &dyn CheckpointStore,
    new: &dyn CheckpointStore,
) -> Result<CheckpointState> {
    let mut state = CheckpointState::read(old)?
        .ok_or_else(|| damaged(old, "the row that says how far it is, is missing"))?;
    let mut changes = Changes::default();
    state.live_bytes = 0;
    old.scan(&[1], &[u8::MAX], &mut |key, value| {
        state.live_bytes += (key.len() + value.len()) as u64;
        changes.put(key.to_vec(), value.to_vec());
        if changes.bytes >= CHANGES_BYTES {
            new.apply(std::mem::take(&mut changes))?;
        }
        Ok(true)
    })?;
    new.apply(changes)?;
    new.sync()?;
    // Only now is the copy complete, and recognised as such.
    let mut changes = Changes::default();
    changes.put(STATE_KEY.to_vec(), state.encode());
    new.apply(changes)?;
    new.sync()?;
    Ok(state)
}
