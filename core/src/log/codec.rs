//! Records as bytes and back. The layout is in `docs/format.md`.

use bytes::{Buf, Bytes};
use raft::eraftpb::{Entry, EntryType};

use super::record::{HardState, LogId, Record};
use super::Lsn;
use crate::chain::{Chain, SHARED_BYTES_MIN};
use crate::ids::{GroupId, Index, Term, Uuid, NUMBER_LIMIT};

/// What stands before the payload of every frame.
pub(super) const FRAME_HEADER_BYTES: usize = 26;
/// First index, term and count, which stand before the entries.
pub(super) const ENTRIES_HEADER_BYTES: usize = 20;
/// Entries are cut into frames of about this size, so that a reader never reads much more than it
/// wants.
const ENTRIES_FRAME_BYTES: usize = 256 << 10;

/// What a frame holds. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Entries = 1,
    HardState = 2,
    Membership = 3,
    Meta = 4,
    Compact = 5,
    Reset = 6,
    Restored = 7,
    Created = 8,
    Removed = 9,
    Seal = 10,
}

/// Which part of its record a frame is. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    Whole = 0,
    First = 1,
    Middle = 2,
    Last = 3,
}

/// A frame in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub lsn: Lsn,
    pub log_id: LogId,
    pub kind: Kind,
    pub part: Part,
    pub payload: &'a [u8],
}

/// A decoded record. Of entries only the heading: their payload stays where it is.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Entries(EntriesHeader),
    HardState(HardState),
    Membership { index: Index, membership: Bytes },
    Meta(Bytes),
    Compact { index: Index, term: Term },
    Reset { index: Index, term: Term, membership: Bytes, snapshot: Uuid, hard_state: HardState },
    Restored { snapshot: Uuid },
    Created { group_id: GroupId },
    Removed,
    Seal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntriesHeader {
    pub first: Index,
    pub term: Term,
    pub count: u32,
}

impl EntriesHeader {
    pub fn last(&self) -> Index {
        self.first + u64::from(self.count) - 1
    }
}

/// What tells a frame apart, and what it is.
pub(super) type FrameOf = (Lsn, LogId, Kind, Part);

/// Appends a frame to `buffer`; `payload` writes what it holds.
pub(super) fn put_frame(
    buffer: &mut Chain,
    (lsn, log_id, kind, part): FrameOf,
    payload: impl FnOnce(&mut Chain),
) {
    let (start, before) = (buffer.end(), buffer.len());
    buffer.copied().extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    payload(buffer);
    let length = (buffer.len() - before - FRAME_HEADER_BYTES) as u32;
    let mut header = [0; FRAME_HEADER_BYTES];
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&lsn.to_le_bytes());
    header[16..24].copy_from_slice(&log_id.to_le_bytes());
    header[24] = kind as u8;
    header[25] = part as u8;
    let payload = buffer.slices_from(start, FRAME_HEADER_BYTES);
    let crc = payload.fold(crc32c::crc32c(&header[4..]), crc32c::crc32c_append);
    header[..4].copy_from_slice(&crc.to_le_bytes());
    buffer.overwrite(start, &header);
}

/// The length of the frame that `bytes` begins with, header included, as its header says.
pub(super) fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(4..8)?.try_into().ok()?;
    let length = (u32::from_le_bytes(length) as usize).checked_add(FRAME_HEADER_BYTES)?;
    (length <= bytes.len()).then_some(length)
}

/// The frame that `bytes` is, without a look at its checksum.
pub(super) fn parse_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    if frame_length(bytes)? != bytes.len() {
        return None;
    }
    let mut fields = Fields(&bytes[8..]);
    Some(Frame {
        lsn: fields.u64()?,
        log_id: fields.u64()?,
        kind: Kind::from_number(fields.u8()?)?,
        part: Part::from_number(fields.u8()?)?,
        payload: fields.0,
    })
}

/// The frame that `bytes` is, if its checksum says so.
pub(super) fn check_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let frame = parse_frame(bytes)?;
    let crc = u32::from_le_bytes(bytes[..4].try_into().ok()?);
    (crc32c::crc32c(&bytes[4..]) == crc).then_some(frame)
}

/// The frames of a batch's payload, one after the other; `None` in place of one that cannot be
/// parsed.
pub(super) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Option<(&[u8], Frame<'_>)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some(length) = frame_length(bytes) else {
            bytes = &[];
            return Some(None);
        };
        let (frame, rest) = bytes.split_at(length);
        bytes = rest;
        Some(parse_frame(frame).map(|parsed| (frame, parsed)))
    })
}

/// How many of `entries` belong into one frame: of one term, with consecutive indexes, and not too
/// large together.
pub(super) fn frame_of_entries(entries: &[Entry]) -> usize {
    let Some(first) = entries.first() else { return 0 };
    let mut bytes = 0;
    for (count, entry) in entries.iter().enumerate() {
        bytes += entry.data.len() + entry.context.len() + 8;
        let follows = entry.term == first.term && entry.index == first.index + count as u64;
        if !follows || (count > 0 && bytes > ENTRIES_FRAME_BYTES) {
            return count;
        }
    }
    entries.len()
}

/// Writes entries of one term with consecutive indexes. The heading is copied, and so is what stands
/// before the data of each.
pub(super) fn put_entries(chain: &mut Chain, entries: &[Entry]) {
    let Some(first) = entries.first() else { return };
    let copied = |bytes: &Bytes| Some(bytes.len()).filter(|length| *length < SHARED_BYTES_MIN);
    let bytes = |entry: &Entry| copied(&entry.data).unwrap_or(0) + entry.context.len() + 8;
    let buffer = chain.copied();
    buffer.reserve(entries.iter().map(bytes).sum::<usize>() + ENTRIES_HEADER_BYTES);
    buffer.extend_from_slice(&first.index.to_le_bytes());
    buffer.extend_from_slice(&first.term.to_le_bytes());
    buffer.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        let buffer = chain.copied();
        let context = !entry.context.is_empty();
        let flags = entry.entry_type as u64 | u64::from(context) << 2;
        put_varint(buffer, (entry.data.len() as u64) << 3 | flags);
        if context {
            put_varint(buffer, entry.context.len() as u64);
            buffer.extend_from_slice(&entry.context);
        }
        chain.push(&entry.data);
    }
}

pub(super) fn entries_header(payload: &[u8]) -> Option<EntriesHeader> {
    let mut fields = Fields(payload);
    let header = EntriesHeader { first: fields.u64()?, term: fields.u64()?, count: fields.u32()? };
    let valid = header.count > 0 && header.first > 0 && header.first < NUMBER_LIMIT;
    valid.then_some(header)
}

/// Calls `take` with the entries of `payload` from `low` to `high` (both included) until it answers
/// `false`. The data of an entry is a slice of `payload`, not a copy. `None` if the payload is
/// damaged.
pub(super) fn take_entries(
    payload: &Bytes,
    low: Index,
    high: Index,
    mut take: impl FnMut(Entry) -> bool,
) -> Option<()> {
    let header = entries_header(payload)?;
    let mut rest = payload.slice(ENTRIES_HEADER_BYTES..);
    for position in 0..u64::from(header.count) {
        let index = header.first + position;
        if index > high {
            return Some(());
        }
        let length_and_flags = take_varint(&mut rest)?;
        let context = match length_and_flags & 4 {
            0 => Bytes::new(),
            _ => take_varint(&mut rest).and_then(|length| take_bytes(&mut rest, length))?,
        };
        let length = length_and_flags >> 3;
        if index < low {
            skip_bytes(&mut rest, length)?;
            continue;
        }
        let entry_type = match length_and_flags & 3 {
            0 => EntryType::EntryNormal,
            1 => EntryType::EntryConfChange,
            2 => EntryType::EntryConfChangeV2,
            _ => return None,
        };
        let data = take_bytes(&mut rest, length)?;
        let (term, sync_log) = (header.term, false);
        let entry = Entry { entry_type, term, index, data, context, sync_log, ..Entry::default() };
        if !take(entry) {
            return Some(());
        }
    }
    Some(())
}

fn take_varint(rest: &mut Bytes) -> Option<u64> {
    let mut fields = Fields(rest);
    let value = fields.varint()?;
    let used = rest.len() - fields.0.len();
    rest.advance(used);
    Some(value)
}

fn take_bytes(rest: &mut Bytes, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok()?;
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn skip_bytes(rest: &mut Bytes, length: u64) -> Option<()> {
    let length = usize::try_from(length).ok()?;
    (length <= rest.len()).then(|| rest.advance(length))
}

/// The kind of a record that is not entries.
pub(super) fn kind_of(record: &Record) -> Kind {
    match record {
        Record::Entries(_) => Kind::Entries,
        Record::HardState(_) => Kind::HardState,
        Record::Membership { .. } => Kind::Membership,
        Record::Meta(_) => Kind::Meta,
        Record::Compact { .. } => Kind::Compact,
        Record::Reset { .. } => Kind::Reset,
        Record::Restored { .. } => Kind::Restored,
    }
}

/// Writes the payload of a record: all but the data of entries is copied.
pub(super) fn put_record(chain: &mut Chain, record: &Record) {
    let mut put = |numbers: &[u64]| {
        for number in numbers {
            chain.copied().extend_from_slice(&number.to_le_bytes());
        }
    };
    match record {
        Record::Entries(entries) => put_entries(chain, entries),
        Record::HardState(state) => put(&[state.term, state.vote, state.commit]),
        Record::Membership { index, membership } => {
            put(&[*index]);
            chain.copied().extend_from_slice(membership);
        }
        Record::Meta(meta) => chain.copied().extend_from_slice(meta),
        Record::Compact { index, term } => put(&[*index, *term]),
        Record::Reset { index, term, membership, snapshot, hard_state } => {
            put(&[*index, *term, hard_state.term, hard_state.vote, hard_state.commit]);
            chain.copied().extend_from_slice(&snapshot.0);
            chain.copied().extend_from_slice(membership);
        }
        Record::Restored { snapshot } => chain.copied().extend_from_slice(&snapshot.0),
    }
}

/// The record with this kind and payload; `None` if the payload is damaged.
pub(super) fn decode_change(kind: Kind, payload: &[u8]) -> Option<Change> {
    let mut fields = Fields(payload);
    let change = match kind {
        Kind::Entries => return entries_header(payload).map(Change::Entries),
        Kind::HardState => Change::HardState(fields.hard_state()?),
        Kind::Membership => Change::Membership { index: fields.u64()?, membership: fields.rest() },
        Kind::Meta => Change::Meta(fields.rest()),
        Kind::Compact => Change::Compact { index: fields.u64()?, term: fields.u64()? },
        Kind::Reset => Change::Reset {
            index: fields.u64()?,
            term: fields.u64()?,
            hard_state: fields.hard_state()?,
            snapshot: fields.uuid()?,
            membership: fields.rest(),
        },
        Kind::Restored => Change::Restored { snapshot: fields.uuid()? },
        Kind::Created => Change::Created { group_id: fields.u64()? },
        Kind::Removed => Change::Removed,
        Kind::Seal => Change::Seal,
    };
    fields.0.is_empty().then_some(change)
}

impl Kind {
    fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        const ALL: [Kind; 10] = [
            Entries, HardState, Membership, Meta, Compact, Reset, Restored, Created, Removed, Seal,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl Part {
    fn from_number(number: u8) -> Option<Part> {
        [Part::Whole, Part::First, Part::Middle, Part::Last]
            .into_iter()
            .find(|part| *part as u8 == number)
    }
}

pub(super) fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Takes little-endian fields off the front of a slice.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub fn uuid(&mut self) -> Option<Uuid> {
        Uuid::from_slice(self.bytes(16)?)
    }

    pub fn hard_state(&mut self) -> Option<HardState> {
        Some(HardState { term: self.u64()?, vote: self.u64()?, commit: self.u64()? })
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub fn rest(&mut self) -> Bytes {
        Bytes::copy_from_slice(std::mem::take(&mut self.0))
    }
}
