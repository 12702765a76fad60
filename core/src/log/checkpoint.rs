//! The store that the journal is checkpointed into: ordered keys with values, changed in atomic
//! batches.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::codec::{put_entries, take_entries, Fields};
use super::record::LogId;
use super::Lsn;
use crate::chain::Chain;
use crate::error::{Code, Error, Result};
use crate::ids::Index;
use raft::eraftpb::Entry;

/// No value is larger, so that sled never puts one into a file of its own.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// An ordered store of small values. **Threads**: all methods from any thread; `apply` and `sync`
/// from one at a time.
pub(super) trait CheckpointStore: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Calls `visit` with the keys from `low` to `high` (both included), ascending, until it
    /// answers `false` or fails.
    fn scan(&self, low: &[u8], high: &[u8], visit: &mut Visit<'_>) -> Result<()>;
    /// Makes all changes or, if there is a power cut before `sync`, none of them.
    fn apply(&self, changes: Changes) -> Result<()>;
    /// Makes everything applied durable.
    fn sync(&self) -> Result<()>;
    /// What it takes on the disk.
    fn disk_bytes(&self) -> Result<u64>;
    /// Gives up all resources; it can be opened again when this returns. Calls made later fail.
    fn close(&self) -> Result<()>;
    /// For messages.
    fn display(&self) -> String;
}

pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool> + 'a;

/// Where checkpoint stores are kept, each known by its generation.
pub(super) trait CheckpointFolder: Send + Sync {
    /// Ascending.
    fn generations(&self) -> Result<Vec<u64>>;
    /// Opens a generation, or creates it.
    fn open(&self, generation: u64) -> Result<Arc<dyn CheckpointStore>>;
    fn delete(&self, generation: u64) -> Result<()>;
    /// What must be free on the disk, beside the data, before a store is written to.
    fn spare_bytes(&self) -> u64;
    /// For messages.
    fn display(&self) -> String;
}

/// Changes of a store: a value to put, or `None` to delete. The last one for a key counts.
#[derive(Default)]
pub(super) struct Changes {
    pub values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub bytes: usize,
}

impl Changes {
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.values.insert(key, Some(value));
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.values.insert(key, None);
    }
}

/// The store in use. It is replaced when a new generation is made.
pub(super) struct Checkpoint {
    store: RwLock<Arc<dyn CheckpointStore>>,
}

impl Checkpoint {
    pub fn new(store: Arc<dyn CheckpointStore>) -> Checkpoint {
        Checkpoint { store: RwLock::new(store) }
    }

    pub fn store(&self) -> Arc<dyn CheckpointStore> {
        Arc::clone(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace(&self, store: Arc<dyn CheckpointStore>) -> Arc<dyn CheckpointStore> {
        let mut current = self.store.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, store)
    }
}

/// The key of [`CheckpointState`].
pub(super) const STATE_KEY: &[u8] = &[0];

const STATE_BYTES: usize = 40;
const GROUP_TAG: u8 = 1;
const ENTRIES_TAG: u8 = 2;

/// How far the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckpointState {
    /// Everything that is still needed of the records up to here is in the store.
    pub moved_lsn: Lsn,
    pub next_log_id: LogId,
    /// The bytes of all keys and values but this one, about.
    pub live_bytes: u64,
    /// How many group rows there are, and the exclusive or of their checksums: a store that has
    /// lost a row, or holds an old one, is found out.
    pub rows: u64,
    pub rows_crc: u64,
}

impl CheckpointState {
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(STATE_BYTES + 4);
        let numbers = [self.moved_lsn, self.next_log_id, self.live_bytes, self.rows, self.rows_crc];
        for number in numbers {
            row.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&row);
        row.extend_from_slice(&crc.to_le_bytes());
        row
    }

    pub fn decode(row: &[u8]) -> Option<CheckpointState> {
        let (numbers, crc) = row.split_at_checked(STATE_BYTES)?;
        let mut fields = Fields(numbers);
        let state = CheckpointState {
            moved_lsn: fields.u64()?,
            next_log_id: fields.u64()?,
            live_bytes: fields.u64()?,
            rows: fields.u64()?,
            rows_crc: fields.u64()?,
        };
        (crc == crc32c::crc32c(numbers).to_le_bytes()).then_some(state)
    }

    /// `None` for a store that was never completed.
    pub fn read(store: &dyn CheckpointStore) -> Result<Option<CheckpointState>> {
        let Some(row) = store.get(STATE_KEY)? else { return Ok(None) };
        let damaged = || damaged(store, "the row that says how far it is");
        CheckpointState::decode(&row).ok_or_else(damaged).map(Some)
    }
}

pub(super) fn group_key(log_id: LogId) -> Vec<u8> {
    let mut key = vec![GROUP_TAG];
    key.extend_from_slice(&log_id.to_be_bytes());
    key
}

/// What a group row adds to [`CheckpointState::rows_crc`].
pub(super) fn row_crc(log_id: LogId, row: &[u8]) -> u64 {
    let crc = crc32c::crc32c(&log_id.to_le_bytes());
    u64::from(crc32c::crc32c_append(crc, row))
}

/// The log id in a key made by [`group_key`].
pub(super) fn log_id_in(key: &[u8]) -> Option<LogId> {
    let (tag, rest) = key.split_first()?;
    let bytes = rest.try_into().ok()?;
    (*tag == GROUP_TAG).then(|| LogId::from_be_bytes(bytes))
}

/// The first index counts down: so the chunk that holds an index, which begins at it or before, is
/// the first one found from there on. (Going back through sled would link a constant of 1 MiB.)
fn chunk_key(log_id: LogId, first: Index, part: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(21);
    key.push(ENTRIES_TAG);
    key.extend_from_slice(&log_id.to_be_bytes());
    key.extend_from_slice(&(!first).to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

fn first_in(key: &[u8]) -> Option<Index> {
    let bytes = key.get(9..17)?.try_into().ok()?;
    Some(!Index::from_be_bytes(bytes))
}

/// Puts a chunk: entries of one term with consecutive indexes, in as many values as it takes.
pub(super) fn put_chunk(changes: &mut Changes, log_id: LogId, entries: &[Entry]) {
    let Some(first) = entries.first() else { return };
    let mut chain = Chain::from(vec![0; 4]);
    put_entries(&mut chain, entries);
    let mut bytes = chain.flat().into_owned();
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    for (part, value) in bytes.chunks(VALUE_BYTES_MAX).enumerate() {
        changes.put(chunk_key(log_id, first.index, part as u32), value.to_vec());
    }
}

/// The chunk that begins at `index` or, failing that, the last one that begins before: its first
/// index and its entries as [`put_entries`] wrote them. `None` if there is none.
pub(super) fn chunk_at(
    store: &dyn CheckpointStore,
    log_id: LogId,
    index: Index,
) -> Result<Option<(Index, Bytes)>> {
    let wrong = || damaged(store, &format!("the entries before index {index} of log {log_id}"));
    let mut found = None;
    let mut bytes = Vec::new();
    let (low, high) = (chunk_key(log_id, index, 0), chunk_key(log_id, 0, u32::MAX));
    store.scan(&low, &high, &mut |key, part| {
        let first = first_in(key).ok_or_else(wrong)?;
        let belongs = *found.get_or_insert(first) == first;
        if belongs {
            bytes.extend_from_slice(part);
        }
        Ok(belongs)
    })?;
    let Some(first) = found else { return Ok(None) };
    let bytes = Bytes::from(bytes);
    let intact = bytes.len() > 4 && crc32c::crc32c(&bytes[4..]).to_le_bytes() == bytes[..4];
    if intact {
        Ok(Some((first, bytes.slice(4..))))
    } else {
        Err(wrong())
    }
}

/// Deletes the chunks of a group that begin at `low` or later and before `high`; returns the bytes
/// they took.
pub(super) fn delete_chunks(
    store: &dyn CheckpointStore,
    changes: &mut Changes,
    log_id: LogId,
    low: Index,
    high: Index,
) -> Result<u64> {
    if low >= high {
        return Ok(0);
    }
    let mut bytes = 0;
    let (low, high) = (chunk_key(log_id, high - 1, 0), chunk_key(log_id, low, u32::MAX));
    store.scan(&low, &high, &mut |key, value| {
        bytes += (key.len() + value.len()) as u64;
        changes.delete(key.to_vec());
        Ok(true)
    })?;
    Ok(bytes)
}

/// Deletes the chunks of a group of which all entries are compacted away; returns the bytes they
/// took. The one that holds the border stays.
pub(super) fn compact_chunks(
    store: &dyn CheckpointStore,
    changes: &mut Changes,
    log_id: LogId,
    compacted: Index,
    last: Index,
) -> Result<u64> {
    let (low, high) = (chunk_key(log_id, compacted + 1, 0), chunk_key(log_id, 0, u32::MAX));
    let mut border = None;
    store.scan(&low, &high, &mut |key, _| {
        border = first_in(key);
        Ok(false)
    })?;
    let Some(border) = border else { return Ok(0) };
    let is_empty = compacted >= last;
    delete_chunks(store, changes, log_id, 0, if is_empty { border + 1 } else { border })
}

/// Deletes the entries of a group from `from` on, those in the middle of a chunk too; returns the
/// bytes they took.
pub(super) fn truncate_chunks(
    store: &dyn CheckpointStore,
    changes: &mut Changes,
    log_id: LogId,
    from: Index,
) -> Result<u64> {
    let mut freed = 0;
    if let Some((first, payload)) = chunk_at(store, log_id, from.saturating_sub(1))? {
        let mut kept = Vec::new();
        let mut is_cut = false;
        take_entries(&payload, first, Index::MAX, |entry| {
            is_cut |= entry.index >= from;
            if entry.index < from {
                kept.push(entry);
            }
            !is_cut
        })
        .ok_or_else(|| damaged(store, &format!("the entries at index {first} of log {log_id}")))?;
        if is_cut {
            freed += delete_chunks(store, changes, log_id, first, first + 1)?;
            let before = changes.bytes;
            put_chunk(changes, log_id, &kept);
            freed = freed.saturating_sub((changes.bytes - before) as u64);
        }
    }
    Ok(freed + delete_chunks(store, changes, log_id, from, Index::MAX)?)
}

pub(super) fn damaged(store: &dyn CheckpointStore, what: &str) -> Error {
    let message = format!(
        "{} is damaged: {what}; restore this node from a backup, or wipe it and let it rejoin",
        store.display()
    );
    Error::rejected(Code::Corrupted, message)
}
