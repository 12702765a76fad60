//! Frames: what a connection carries.
//!
//! A header of 16 bytes, then the body. The checksum covers both. A reader trusts the length only
//! up to its cap, and grows its buffer by what has really arrived, so a header alone cannot make it
//! allocate much.

use bytes::{Bytes, BytesMut};

use super::WireError;
use crate::chain::{Chain, Place};

pub const HEADER_BYTES: usize = 16;
/// The layout of header and bodies; changes only together with the protocol version.
pub const FRAME_VERSION: u8 = 1;
const MAGIC: [u8; 2] = *b"LR";

/// The usual size of a read buffer, and the least room a read is given.
const BUFFER_BYTES: usize = 64 << 10;
const ROOM_BYTES_MIN: usize = 4 << 10;
/// The first allocation for a frame that does not fit into the usual buffer; from there on it
/// doubles as bytes arrive.
const LARGE_BUFFER_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// From the dialing end, once: who it is and what it wants.
    Hello = 1,
    /// The answer: go on.
    Welcome = 2,
    /// The answer: no, and why. The connection ends.
    Refuse = 3,
    /// Envelopes, from the dialing end.
    Messages = 4,
    /// Says that the dialing end is alive when it has nothing else to say. No body.
    Ping = 5,
    /// A message of the snapshot exchange, from either end of a connection made for it.
    Snapshot = 6,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<FrameKind> {
        use FrameKind::*;
        const KINDS: [FrameKind; 6] = [Hello, Welcome, Refuse, Messages, Ping, Snapshot];
        KINDS.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A frame whose checksum was right.
#[derive(Debug)]
pub struct Frame {
    pub kind: FrameKind,
    pub body: Bytes,
    /// The size of the allocation that `body`, and every slice of it, keeps alive.
    pub held_bytes: usize,
}

/// Begins a frame in an empty chain: room for the header. The body is appended, then [`seal`] is
/// called.
pub fn begin(frame: &mut Chain) {
    frame.copied().extend_from_slice(&[0; HEADER_BYTES]);
}

/// Writes the header of the one frame that `frame` is. Its body must be shorter than 4 GiB.
pub fn seal(frame: &mut Chain, kind: FrameKind) {
    let start = Place::default();
    let header = header(kind, frame.slices_from(start, HEADER_BYTES));
    frame.overwrite(start, &header);
}

/// The header of a frame whose body is these pieces, one behind the other; for who does not want to
/// copy them into one. Together they must be shorter than 4 GiB.
pub fn header<'a>(
    kind: FrameKind,
    pieces: impl Iterator<Item = &'a [u8]> + Clone,
) -> [u8; HEADER_BYTES] {
    let length: usize = pieces.clone().map(<[u8]>::len).sum();
    let mut header = [0; HEADER_BYTES];
    header[0..2].copy_from_slice(&MAGIC);
    header[2] = FRAME_VERSION;
    header[3] = kind as u8;
    header[8..12].copy_from_slice(&(length as u32).to_le_bytes());
    let checksum = checksum(&header, pieces);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn checksum<'a>(header: &[u8; HEADER_BYTES], pieces: impl Iterator<Item = &'a [u8]>) -> u32 {
    pieces.fold(crc32c::crc32c(&header[..12]), crc32c::crc32c_append)
}

/// What a header announces: the frame's kind, and the length of its body, which the caller compares
/// with a cap.
pub fn read_header(header: &[u8; HEADER_BYTES]) -> Result<(FrameKind, usize), WireError> {
    let kind = check_header(header)?;
    Ok((kind, u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize))
}

/// Whether this is the body that the header was made for.
pub fn check_body(header: &[u8; HEADER_BYTES], body: &[u8]) -> Result<(), WireError> {
    if header[12..16] != checksum(header, std::iter::once(body)).to_le_bytes() {
        return Err(WireError::new("the checksum of a frame is wrong"));
    }
    Ok(())
}

/// A frame of its own, for the handshake.
pub fn encode(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    [&header(kind, std::iter::once(body)), body].concat()
}

/// Gathers bytes as they arrive and cuts them into frames.
pub struct FrameReader {
    buffer: BytesMut,
    /// The size of the allocation behind `buffer`.
    allocated_bytes: usize,
    body_bytes_max: usize,
    /// The size of the frame that `buffer` begins with, as far as known: at least a header.
    frame_bytes: usize,
}

impl FrameReader {
    /// A reader that refuses bodies longer than `body_bytes_max`. Allocates nothing yet.
    pub fn new(body_bytes_max: usize) -> FrameReader {
        FrameReader {
            buffer: BytesMut::new(),
            allocated_bytes: 0,
            body_bytes_max,
            frame_bytes: HEADER_BYTES,
        }
    }

    pub fn set_body_bytes_max(&mut self, body_bytes_max: usize) {
        self.body_bytes_max = body_bytes_max;
    }

    /// The buffer with room behind its content, to be filled by a read from the socket. To be
    /// called after `next_frame` has handed out all there is.
    pub fn buffer_with_room(&mut self) -> &mut BytesMut {
        let length = self.buffer.len();
        let room = self.buffer.capacity() - length;
        let oversized = self.allocated_bytes > BUFFER_BYTES && self.frame_bytes <= BUFFER_BYTES;
        let completes = self.frame_bytes > HEADER_BYTES && length + room >= self.frame_bytes;
        if room > 0 && !oversized && (completes || room >= ROOM_BYTES_MIN) {
            return &mut self.buffer;
        }
        let wanted = if self.frame_bytes <= BUFFER_BYTES {
            BUFFER_BYTES.min(HEADER_BYTES + self.body_bytes_max)
        } else {
            self.frame_bytes.min(LARGE_BUFFER_BYTES.max(2 * length))
        };
        let wanted = wanted.max(length + 1);
        if oversized || !self.buffer.try_reclaim(wanted - length) {
            let mut other = BytesMut::with_capacity(wanted);
            other.extend_from_slice(&self.buffer);
            self.buffer = other;
            self.allocated_bytes = wanted;
        }
        &mut self.buffer
    }

    /// The next complete frame, if it has arrived. After an error the connection is of no use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        self.frame_bytes = HEADER_BYTES;
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (kind, length) = read_header(header)?;
        if length > self.body_bytes_max {
            let max = self.body_bytes_max;
            return Err(format!("a frame of {length} bytes exceeds the cap of {max}").into());
        }
        self.frame_bytes = HEADER_BYTES + length;
        if self.buffer.len() < self.frame_bytes {
            return Ok(None);
        }
        check_body(header, &self.buffer[HEADER_BYTES..self.frame_bytes])?;
        let body = self.buffer.split_to(self.frame_bytes).freeze().slice(HEADER_BYTES..);
        self.frame_bytes = HEADER_BYTES;
        Ok(Some(Frame { kind, body, held_bytes: self.allocated_bytes }))
    }

    /// How many bytes are missing to complete the header, or the frame if the header is known.
    pub fn missing_bytes(&self) -> usize {
        self.frame_bytes - self.buffer.len()
    }

    /// What the buffer takes, if it has grown beyond the usual size; else 0.
    pub fn large_bytes(&self) -> usize {
        match self.allocated_bytes {
            bytes if bytes > BUFFER_BYTES => bytes,
            _ => 0,
        }
    }

    /// Whether every byte that arrived was part of a frame handed out.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

fn check_header(header: &[u8; HEADER_BYTES]) -> Result<FrameKind, WireError> {
    if header[0..2] != MAGIC {
        return Err(WireError::new("this is not a libraft frame"));
    }
    if header[2] != FRAME_VERSION {
        let version = header[2];
        return Err(format!("frame version {version}; this build has {FRAME_VERSION}").into());
    }
    if header[4..8] != [0; 4] {
        return Err(WireError::new("a frame has flags that this build does not know"));
    }
    let kind = FrameKind::from_byte(header[3]);
    kind.ok_or_else(|| format!("a frame of unknown type {}", header[3]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands bytes to the reader as reads from a socket do: as many as it gives room for.
    fn feed(reader: &mut FrameReader, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let buffer = reader.buffer_with_room();
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0, "no room to read into");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            buffer.extend_from_slice(now);
            bytes = later;
            if !bytes.is_empty() {
                assert!(matches!(reader.next_frame(), Ok(None)), "the frame is not complete yet");
            }
        }
    }

    #[test]
    fn frames_of_every_size_come_out_as_they_went_in() {
        let mut reader = FrameReader::new(4 << 20);
        for size in [0, 1, 15, 16, 4096, 65_519, 65_520, 65_521, 300_000, 3 << 20, 7] {
            let body: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
            let bytes = encode(FrameKind::Messages, &body);
            for chunk in bytes.chunks(50_000) {
                assert!(reader.next_frame().unwrap().is_none());
                feed(&mut reader, chunk);
            }
            let frame = reader.next_frame().unwrap().unwrap();
            assert_eq!(frame.kind, FrameKind::Messages);
            assert!(frame.body == body, "size {size}");
            assert!(frame.held_bytes >= frame.body.len());
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_frame_fed_byte_by_byte_is_complete_with_its_last_byte_only() {
        let bytes = encode(FrameKind::Hello, b"somebody");
        let mut reader = FrameReader::new(100);
        for byte in &bytes {
            assert!(reader.next_frame().unwrap().is_none());
            feed(&mut reader, &[*byte]);
        }
        assert_eq!(&reader.next_frame().unwrap().unwrap().body[..], b"somebody");
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let good = encode(FrameKind::Welcome, b"some content");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut reader = FrameReader::new(1 << 20);
            feed(&mut reader, &bad);
            // A longer length leaves the frame incomplete; everything else is an error at once.
            let incomplete =
                (8..12).contains(&(bit / 8)) && matches!(reader.next_frame(), Ok(None));
            assert!(incomplete || reader.next_frame().is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_beyond_the_cap_is_refused_before_anything_is_allocated() {
        let mut bytes = encode(FrameKind::Messages, &[]);
        bytes[8..12].copy_from_slice(&(1001u32).to_le_bytes());
        let mut reader = FrameReader::new(1000);
        feed(&mut reader, &bytes);
        assert!(reader.next_frame().unwrap_err().0.contains("exceeds the cap of 1000"));
        assert!(reader.allocated_bytes <= 1000 + HEADER_BYTES);
    }

    #[test]
    fn a_header_alone_does_not_make_the_reader_allocate_what_it_announces() {
        let mut bytes = encode(FrameKind::Messages, &[]);
        bytes[8..12].copy_from_slice(&(64u32 << 20).to_le_bytes());
        let mut reader = FrameReader::new(64 << 20);
        feed(&mut reader, &bytes);
        assert!(reader.next_frame().unwrap().is_none());
        reader.buffer_with_room();
        assert!(reader.allocated_bytes <= LARGE_BUFFER_BYTES);
    }

    #[test]
    fn a_large_frame_does_not_leave_a_large_buffer_behind() {
        let mut reader = FrameReader::new(8 << 20);
        feed(&mut reader, &encode(FrameKind::Messages, &vec![0; 8 << 20]));
        assert_eq!(reader.next_frame().unwrap().unwrap().body.len(), 8 << 20);
        reader.buffer_with_room();
        assert!(reader.allocated_bytes <= BUFFER_BYTES);
    }

    #[test]
    fn frames_that_nobody_keeps_need_one_allocation_in_all() {
        let mut reader = FrameReader::new(1 << 20);
        let bytes = encode(FrameKind::Messages, &[1; 1000]);
        feed(&mut reader, &bytes);
        drop(reader.next_frame().unwrap().unwrap());
        let end = reader.buffer.as_ptr() as usize + reader.buffer.capacity();
        for _ in 0..1000 {
            feed(&mut reader, &bytes);
            drop(reader.next_frame().unwrap().unwrap());
            let now = reader.buffer.as_ptr() as usize + reader.buffer.capacity();
            assert_eq!(now, end, "the buffer moved");
        }
    }
}
