//! What an entry's data looks like: the id of its proposal, then the payload.
//!
//! The id is three varints (LEB128): the raft id of the replica that the proposal came from, that
//! replica's boot counter, and a sequence number within the boot. An entry without data is the
//! empty one that a new leader appends.

use bytes::{BufMut, Bytes};
use raft::eraftpb::Entry;

use crate::ids::{RaftId, NUMBER_LIMIT};

/// Names a proposal for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalId {
    pub raft_id: RaftId,
    pub boot: u64,
    pub sequence: u64,
}

/// Three varints of at most nine bytes each, as all three numbers are below 2^62.
pub const PROPOSAL_ID_BYTES_MAX: usize = 27;

impl ProposalId {
    pub fn write(&self, buffer: &mut impl BufMut) {
        write_varint(buffer, self.raft_id);
        write_varint(buffer, self.boot);
        write_varint(buffer, self.sequence);
    }

    /// The id at the start of an entry's data, and how many bytes it takes. `None` if the data does
    /// not start with one.
    pub fn read(data: &[u8]) -> Option<(ProposalId, usize)> {
        let mut at = 0;
        let raft_id = read_varint(data, &mut at)?;
        let boot = read_varint(data, &mut at)?;
        let sequence = read_varint(data, &mut at)?;
        if raft_id == 0 || sequence == 0 {
            return None;
        }
        Some((ProposalId { raft_id, boot, sequence }, at))
    }
}

/// The bytes that an entry is counted with against the limits: its data and a little for what
/// surrounds it.
pub fn entry_bytes(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len()) as u64 + 32
}

/// A normal entry that is yet to get its index and term.
pub fn entry_of(data: Bytes) -> Entry {
    Entry { data, ..Entry::default() }
}

fn write_varint(buffer: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

fn read_varint(data: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for position in 0..9 {
        let byte = *data.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return (value < NUMBER_LIMIT).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        for (raft_id, boot, sequence) in
            [(1, 0, 1), (127, 128, 16_384), (NUMBER_LIMIT - 1, NUMBER_LIMIT - 1, NUMBER_LIMIT - 1)]
        {
            let id = ProposalId { raft_id, boot, sequence };
            let mut buffer = BytesMut::new();
            id.write(&mut buffer);
            let bytes = buffer.len();
            assert!(bytes <= PROPOSAL_ID_BYTES_MAX);
            buffer.extend_from_slice(b"payload");
            assert_eq!(ProposalId::read(&buffer), Some((id, bytes)));
        }
    }

    #[test]
    fn damaged_ids_are_refused() {
        let nothing: &[u8] = &[];
        let cut: &[u8] = &[1, 1, 0x80];
        let no_replica: &[u8] = &[0, 1, 1];
        let too_long: &[u8] =
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1];
        let too_large: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 1];
        for data in [nothing, cut, no_replica, too_long, too_large] {
            assert_eq!(ProposalId::read(data), None, "{data:?}");
        }
    }
}
