//! Envelopes as bytes. A *messages* frame holds one or more of them, of any groups.
//!
//! Entries and proposals are what a cluster carries most of, so their encoding is written out here
//! by hand: one or two bytes of head per entry, no index (they are consecutive), no term unless it
//! changes. The rest is small and rare, and encoded by `prost` (see `control.rs`). rust-protobuf,
//! which raft-rs brings along, never sees a byte of it.
//!
//! **Memory**: an entry's data is a slice of the read buffer if its envelope fills a good part of
//! that, else of a copy that all entries of the envelope share. So what keeps entries keeps at most
//! [`HELD_BYTES_RATIO`] times their size.

mod control;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::bytes::{put_varint, Reader, VARINT_BYTES_MAX};
use super::frame::Frame;
use super::WireError;
use crate::chain::Chain;
use crate::ids::{Uuid, NUMBER_LIMIT};
use crate::replica::{Envelope, PeerMessage};

/// Entries, proposals and sequences in one frame.
pub const ITEMS_PER_FRAME_MAX: usize = 1 << 16;
/// Envelopes in one frame.
pub const ENVELOPES_PER_FRAME_MAX: usize = 4096;

// What a frame can make its reader allocate beside its own bytes.
const _: () = assert!(ITEMS_PER_FRAME_MAX * size_of::<Entry>() <= 16 << 20);
const _: () = assert!(ENVELOPES_PER_FRAME_MAX * size_of::<Envelope>() <= 4 << 20);

/// The least that may be set as the cap of a frame's body: room for any small message.
pub const FRAME_BYTES_MIN: usize = 64 << 10;
/// The largest allocation an entry may keep alive, as a multiple of the envelope it came in.
pub const HELD_BYTES_RATIO: usize = 4;

/// An upper bound of what an envelope needs before its body: length, kind, group, formation, from,
/// to, incarnation.
const ENVELOPE_HEAD_BYTES_MAX: usize = 4 + 1 + 3 * VARINT_BYTES_MAX + 2 * 16;
/// An upper bound of what an entry or a proposal needs beside its data: head and term.
const ITEM_BYTES_MAX: usize = 2 * VARINT_BYTES_MAX;

const BODY_APPEND: u8 = 1;
const BODY_PROPOSE: u8 = 2;

/// A run of an envelope's items that fits into one frame. An envelope without items is one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub start: usize,
    pub end: usize,
    /// An upper bound of its encoded size.
    pub bytes: usize,
}

impl Piece {
    pub fn items(&self) -> usize {
        self.end - self.start
    }
}

/// The piece that begins with item `start`. An append that is too large for a frame is sent as
/// several, each of which is a valid append; proposals likewise. An error says that the envelope
/// cannot be sent at all, which is an error of whoever made it.
pub fn next_piece(
    envelope: &Envelope,
    start: usize,
    frame_bytes_max: usize,
) -> Result<Piece, WireError> {
    let mut piece = Piece { start, end: start, bytes: envelope_bytes(&envelope.body) };
    let bytes_max = frame_bytes_max.saturating_sub(piece.bytes);
    let count = item_count(&envelope.body);
    let mut item_bytes = 0;
    while piece.end < count && piece.items() < ITEMS_PER_FRAME_MAX {
        let next = ITEM_BYTES_MAX + item_length(&envelope.body, piece.end);
        if next > bytes_max {
            let what = format!("an entry of {next} bytes exceeds the frame cap of {bytes_max}");
            return Err(what.into());
        }
        if item_bytes + next > bytes_max {
            break;
        }
        item_bytes += next;
        piece.end += 1;
    }
    piece.bytes += item_bytes;
    Ok(piece)
}

/// An upper bound of the encoded size without the items.
fn envelope_bytes(body: &PeerMessage) -> usize {
    ENVELOPE_HEAD_BYTES_MAX
        + match body {
            PeerMessage::Raft(message) if message.msg_type == MessageType::MsgAppend => {
                5 * VARINT_BYTES_MAX
            }
            PeerMessage::Propose { .. } => 2 * VARINT_BYTES_MAX,
            other => control::bytes_max(other),
        }
}

/// Entries, proposals or sequences of an envelope.
pub fn item_count(body: &PeerMessage) -> usize {
    match body {
        PeerMessage::Raft(message) => message.entries.len(),
        PeerMessage::Propose { proposals, .. } => proposals.len(),
        PeerMessage::ProposeRefused { sequences, .. } => sequences.len(),
        _ => 0,
    }
}

fn item_length(body: &PeerMessage, item: usize) -> usize {
    match body {
        PeerMessage::Raft(message) => message.entries[item].data.len(),
        PeerMessage::Propose { proposals, .. } => proposals[item].len(),
        _ => 0,
    }
}

/// Appends one piece of an envelope to `out`. After an error `out` is as it was.
pub fn encode(envelope: &Envelope, piece: Piece, out: &mut Chain) -> Result<(), WireError> {
    let start = out.end();
    let before = out.len();
    out.copied().extend_from_slice(&[0; 4]);
    let encoded = encode_content(envelope, piece, out);
    match encoded {
        Ok(()) => {
            let length = (out.len() - before - 4) as u32;
            out.overwrite(start, &length.to_le_bytes());
        }
        Err(_) => out.truncate(start),
    }
    encoded
}

fn encode_content(envelope: &Envelope, piece: Piece, chain: &mut Chain) -> Result<(), WireError> {
    let kind = match &envelope.body {
        PeerMessage::Raft(message) if message.msg_type == MessageType::MsgAppend => BODY_APPEND,
        PeerMessage::Propose { .. } => BODY_PROPOSE,
        other => control::kind(other),
    };
    let out = chain.copied();
    out.push(kind);
    put_varint(out, envelope.group_id);
    out.extend_from_slice(&envelope.formation.0);
    put_varint(out, envelope.from);
    put_varint(out, envelope.to);
    out.extend_from_slice(&envelope.to_incarnation.0);
    match &envelope.body {
        PeerMessage::Raft(message) => {
            if (message.from, message.to) != (envelope.from, envelope.to) {
                return Err(WireError::new("a message and its envelope name different replicas"));
            }
            if kind == BODY_APPEND {
                return encode_append(message, piece, chain);
            }
        }
        PeerMessage::Propose { term, proposals } => {
            put_varint(out, *term);
            encode_proposals(&proposals[piece.start..piece.end], chain);
            return Ok(());
        }
        _ => {}
    }
    control::encode(&envelope.body, piece, out)
}

/// Calls `visit` for each envelope of a *messages* frame. Envelopes before a bad one have been
/// visited.
pub fn decode_frame(frame: &Frame, mut visit: impl FnMut(Envelope)) -> Result<(), WireError> {
    let mut reader = Reader::new(&frame.body);
    let mut envelopes_left = ENVELOPES_PER_FRAME_MAX;
    let mut items_left = ITEMS_PER_FRAME_MAX;
    while reader.remaining() > 0 {
        if envelopes_left == 0 {
            return Err(WireError::new("a frame with too many envelopes"));
        }
        envelopes_left -= 1;
        let length = u32::from_le_bytes(reader.array::<4>()?);
        let mut content = reader.bytes(u64::from(length))?;
        if content.len().saturating_mul(HELD_BYTES_RATIO) < frame.held_bytes
            && matches!(content.first(), Some(&(BODY_APPEND | BODY_PROPOSE)))
        {
            content = Bytes::copy_from_slice(&content);
        }
        visit(decode_envelope(&content, &mut items_left)?);
    }
    Ok(())
}

fn decode_envelope(content: &Bytes, items_left: &mut usize) -> Result<Envelope, WireError> {
    let mut reader = Reader::new(content);
    let kind = reader.byte()?;
    let group_id = reader.varint()?;
    let formation = Uuid(reader.array::<16>()?);
    let from = reader.varint()?;
    let to = reader.varint()?;
    let to_incarnation = Uuid(reader.array::<16>()?);
    let mut body = match kind {
        BODY_APPEND => PeerMessage::Raft(decode_append(&mut reader, items_left)?),
        BODY_PROPOSE => decode_proposals(&mut reader, items_left)?,
        other => control::decode(other, reader.rest(), items_left)?,
    };
    reader.expect_end()?;
    if let PeerMessage::Raft(message) = &mut body {
        message.from = from;
        message.to = to;
    }
    Ok(Envelope { group_id, formation, from, to, to_incarnation, body })
}

/// A count of things of which each takes at least `bytes_min` bytes of what follows, and which the
/// frame has left.
fn take_count(
    reader: &mut Reader<'_>,
    bytes_min: usize,
    items_left: &mut usize,
) -> Result<usize, WireError> {
    let count = reader.varint()?;
    if count > *items_left as u64 {
        return Err(WireError::new("a frame with too many entries or proposals"));
    }
    let count = count as usize;
    if count * bytes_min > reader.remaining() {
        return Err(WireError::new("more entries or proposals announced than there are bytes"));
    }
    *items_left -= count;
    Ok(count)
}

fn encode_proposals(proposals: &[Bytes], chain: &mut Chain) {
    put_varint(chain.copied(), proposals.len() as u64);
    for proposal in proposals {
        put_varint(chain.copied(), proposal.len() as u64);
        chain.push(proposal);
    }
}

fn decode_proposals(
    reader: &mut Reader<'_>,
    items_left: &mut usize,
) -> Result<PeerMessage, WireError> {
    let term = number(reader)?;
    let count = take_count(reader, 1, items_left)?;
    let mut proposals = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.varint()?;
        proposals.push(reader.bytes(length)?);
    }
    Ok(PeerMessage::Propose { term, proposals })
}

// The head of an entry: its length, its type, and whether its term differs from that of the entry
// before.
const HEAD_TERM_CHANGES: u64 = 1;
const HEAD_TYPE_SHIFT: u32 = 1;
const HEAD_LENGTH_SHIFT: u32 = 3;

fn encode_append(message: &Message, piece: Piece, chain: &mut Chain) -> Result<(), WireError> {
    if message.has_snapshot() || !message.context.is_empty() || message.reject {
        return Err(WireError::new("an append with fields that an append does not have"));
    }
    // Another piece than the first continues behind the entry before it.
    let (index, log_term) = match piece.start.checked_sub(1) {
        None => (message.index, message.log_term),
        Some(before) => (message.entries[before].index, message.entries[before].term),
    };
    for number in [message.term, index, log_term, message.commit] {
        put_varint(chain.copied(), number);
    }
    put_varint(chain.copied(), piece.items() as u64);
    let (mut last_index, mut last_term) = (index, log_term);
    for entry in &message.get_entries()[piece.start..piece.end] {
        if entry.index != last_index + 1 || entry.term < last_term || entry.term > message.term {
            return Err(WireError::new("an append whose entries do not follow each other"));
        }
        if !entry.context.is_empty() {
            return Err(WireError::new("an entry with a context"));
        }
        let term_changes = u64::from(entry.term != last_term) * HEAD_TERM_CHANGES;
        let entry_type = entry_type_number(entry.entry_type) << HEAD_TYPE_SHIFT;
        let length = (entry.data.len() as u64) << HEAD_LENGTH_SHIFT;
        put_varint(chain.copied(), length | entry_type | term_changes);
        if term_changes != 0 {
            put_varint(chain.copied(), entry.term - last_term);
        }
        chain.push(&entry.data);
        (last_index, last_term) = (entry.index, entry.term);
    }
    Ok(())
}

fn decode_append(reader: &mut Reader<'_>, items_left: &mut usize) -> Result<Message, WireError> {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    message.term = number(reader)?;
    message.index = number(reader)?;
    message.log_term = number(reader)?;
    message.commit = number(reader)?;
    let count = take_count(reader, 1, items_left)?;
    if message.index + count as u64 >= NUMBER_LIMIT {
        return Err(WireError::new("an index is out of range"));
    }
    let mut entries = Vec::with_capacity(count);
    let (mut index, mut term) = (message.index, message.log_term);
    for _ in 0..count {
        let head = reader.varint()?;
        index += 1;
        if head & HEAD_TERM_CHANGES != 0 {
            term += number(reader)?;
        }
        // Checked each time, so that the sum of two numbers below the limit cannot overflow.
        if term > message.term {
            return Err(WireError::new("an entry with a term beyond that of its leader"));
        }
        let entry_type = entry_type((head >> HEAD_TYPE_SHIFT) & 3)?;
        let data = reader.bytes(head >> HEAD_LENGTH_SHIFT)?;
        entries.push(Entry { entry_type, term, index, data, ..Entry::default() });
    }
    message.set_entries(entries.into());
    Ok(message)
}

/// A term or an index.
fn number(reader: &mut Reader<'_>) -> Result<u64, WireError> {
    in_range(reader.varint()?)
}

fn in_range(number: u64) -> Result<u64, WireError> {
    if number < NUMBER_LIMIT {
        return Ok(number);
    }
    Err(WireError::new("a term or an index is out of range"))
}

fn entry_type_number(entry_type: EntryType) -> u64 {
    match entry_type {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    }
}

fn entry_type(number: u64) -> Result<EntryType, WireError> {
    match number {
        0 => Ok(EntryType::EntryNormal),
        1 => Ok(EntryType::EntryConfChange),
        2 => Ok(EntryType::EntryConfChangeV2),
        _ => Err(WireError::new("an entry of unknown type")),
    }
}
