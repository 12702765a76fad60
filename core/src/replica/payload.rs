//! What a proposal carries, on its way to become the data of an entry.

use std::ops::Deref;

use bytes::{Buf, Bytes, BytesMut};

use super::entry::{ProposalId, PROPOSAL_ID_BYTES_MAX};
use crate::chain::SHARED_BYTES_MIN;

/// The bytes of a proposal. The data of its entry begins with an id, which is known only when the proposal leaves. Short
/// ones are copied then, many into one allocation; a long one lies behind room for its id, and is never copied again.
#[derive(Debug)]
pub struct Payload(Form);

#[derive(Debug)]
enum Form {
    Short(Bytes),
    /// Behind `PROPOSAL_ID_BYTES_MAX` bytes of room.
    Long(BytesMut),
}

impl Payload {
    /// Whether so many bytes are to be a long payload.
    pub fn is_long(bytes: usize) -> bool {
        bytes >= SHARED_BYTES_MIN
    }

    /// A long payload: copies the bytes, this once.
    pub fn long(bytes: &[u8]) -> Payload {
        let mut buffer = BytesMut::with_capacity(PROPOSAL_ID_BYTES_MAX + bytes.len());
        buffer.extend_from_slice(&[0; PROPOSAL_ID_BYTES_MAX]);
        buffer.extend_from_slice(bytes);
        Payload(Form::Long(buffer))
    }

    /// The data of its entry; `None` if it was written to the end of `shared` instead.
    pub fn leave(self, id: ProposalId, shared: &mut BytesMut) -> Option<Bytes> {
        match self.0 {
            Form::Short(payload) => {
                id.write(shared);
                shared.extend_from_slice(&payload);
                None
            }
            Form::Long(mut buffer) => {
                let mut written = [0; PROPOSAL_ID_BYTES_MAX];
                let mut rest = &mut written[..];
                id.write(&mut rest);
                let room = rest.len();
                let id_bytes = PROPOSAL_ID_BYTES_MAX - room;
                buffer[room..PROPOSAL_ID_BYTES_MAX].copy_from_slice(&written[..id_bytes]);
                buffer.advance(room);
                Some(buffer.freeze())
            }
        }
    }
}

/// Copies what is long.
impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        match Payload::is_long(bytes.len()) {
            true => Payload::long(&bytes),
            false => Payload(Form::Short(bytes)),
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short(bytes) => bytes,
            Form::Long(buffer) => &buffer[PROPOSAL_ID_BYTES_MAX..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NUMBER_LIMIT;

    #[test]
    fn the_data_of_an_entry_is_the_id_and_the_payload_whatever_their_lengths() {
        let largest = NUMBER_LIMIT - 1;
        for number in [1, 127, 128, 1 << 40, largest] {
            for length in [0, 1, SHARED_BYTES_MIN - 1, SHARED_BYTES_MIN, 100_000] {
                let payload: Vec<u8> = (0..length).map(|position| position as u8).collect();
                let id = ProposalId { raft_id: number, boot: number, sequence: number };
                let mut shared = BytesMut::from(&b"of another"[..]);
                let left = Payload::from(Bytes::from(payload.clone())).leave(id, &mut shared);
                assert_eq!(left.is_some(), Payload::is_long(length));
                let shared = shared.freeze();
                assert!(shared.starts_with(b"of another"));
                let data = left.unwrap_or_else(|| shared.slice(b"of another".len()..));
                let (read, id_bytes) = ProposalId::read(&data).unwrap();
                assert_eq!(read, id);
                assert!(data[id_bytes..] == payload, "length {length}");
            }
        }
    }

    #[test]
    fn a_long_payload_is_not_copied_when_it_leaves() {
        let payload = Payload::long(&[7; SHARED_BYTES_MIN]);
        let address = payload.as_ptr();
        let id = ProposalId { raft_id: 1, boot: 2, sequence: 3 };
        let data = payload.leave(id, &mut BytesMut::new()).unwrap();
        let (_, id_bytes) = ProposalId::read(&data).unwrap();
        assert_eq!(data[id_bytes..].as_ptr(), address);
    }
}
