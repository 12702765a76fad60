//! What waits to be written to one connection: sealed frames, and the one that envelopes are being
//! added to.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use mio::net::TcpStream;
use socket2::SockRef;

use crate::chain::{Chain, SHARED_BYTES_MIN};
use crate::replica::Envelope;
use crate::wire::frame::{self, FrameKind, HEADER_BYTES};
use crate::wire::message::{self, ENVELOPES_PER_FRAME_MAX, ITEMS_PER_FRAME_MAX};
use crate::wire::WireError;

/// A frame is sealed when it has grown to this: large enough to make its header and checksum cheap,
/// small enough for two to fit into the receiver's usual read buffer.
const FRAME_BYTES_TARGET: usize = 30 << 10;
/// Buffers of sent frames that are kept for the next ones, and the size up to which they are.
const SPARE_BUFFERS_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = 64 << 10;
/// Pieces of frames handed to one system call: a frame with one large entry has two.
const SLICES_MAX: usize = 64;

/// What became of an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing is left.
    All,
    /// The socket takes no more for now; it will become writable.
    Blocked,
}

#[derive(Default)]
pub struct Outgoing {
    sealed: VecDeque<Chain>,
    /// Bytes of the first sealed frame that are written already.
    first_written: usize,
    /// The frame under construction: a header's room and envelopes; empty if there is none.
    open: Chain,
    open_items: usize,
    open_envelopes: usize,
    /// All bytes that are not yet written.
    pub(super) bytes: usize,
    spare: Vec<Chain>,
}

impl Outgoing {
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues a frame that is encoded already.
    pub fn push_frame(&mut self, frame: Vec<u8>) {
        self.push_sealed(Chain::from(frame));
    }

    fn push_sealed(&mut self, frame: Chain) {
        self.seal();
        self.bytes += frame.len();
        self.sealed.push_back(frame);
    }

    /// Encodes an envelope behind those that wait. `Ok(false)` if it would take more than
    /// `queue_bytes_max`; an error if it cannot be sent over any connection. Either way nothing of
    /// it is queued.
    pub fn push(
        &mut self,
        envelope: &Envelope,
        frame_bytes_max: usize,
        queue_bytes_max: usize,
    ) -> Result<bool, WireError> {
        let count = message::item_count(&envelope.body);
        let first = message::next_piece(envelope, 0, frame_bytes_max)?;
        if first.end == count {
            if self.bytes + first.bytes + HEADER_BYTES > queue_bytes_max {
                return Ok(false);
            }
            self.push_piece(envelope, first)?;
            return Ok(true);
        }
        self.push_pieces(envelope, first, frame_bytes_max, queue_bytes_max)
    }

    /// An envelope too large for one frame: encoded aside first, so that all of it is queued or
    /// nothing.
    fn push_pieces(
        &mut self,
        envelope: &Envelope,
        first: message::Piece,
        frame_bytes_max: usize,
        queue_bytes_max: usize,
    ) -> Result<bool, WireError> {
        let count = message::item_count(&envelope.body);
        let mut frames = Vec::new();
        let mut bytes = self.bytes;
        let mut piece = first;
        loop {
            bytes += piece.bytes + HEADER_BYTES;
            if bytes > queue_bytes_max {
                return Ok(false);
            }
            let mut frame = Chain::default();
            reserve(&mut frame, piece);
            frame::begin(&mut frame);
            message::encode(envelope, piece, &mut frame)?;
            frame::seal(&mut frame, FrameKind::Messages);
            frames.push(frame);
            if piece.end == count {
                break;
            }
            piece = message::next_piece(envelope, piece.end, frame_bytes_max)?;
        }
        frames.into_iter().for_each(|frame| self.push_sealed(frame));
        Ok(true)
    }

    fn push_piece(&mut self, envelope: &Envelope, piece: message::Piece) -> Result<(), WireError> {
        if self.open.len() + piece.bytes > FRAME_BYTES_TARGET
            || self.open_items + piece.items() > ITEMS_PER_FRAME_MAX
            || self.open_envelopes == ENVELOPES_PER_FRAME_MAX
        {
            self.seal();
        }
        if self.open.is_empty() {
            self.open = self.spare.pop().unwrap_or_default();
            reserve(&mut self.open, piece);
            frame::begin(&mut self.open);
            self.bytes += HEADER_BYTES;
        }
        let before = self.open.len();
        message::encode(envelope, piece, &mut self.open)?;
        self.bytes += self.open.len() - before;
        self.open_items += piece.items();
        self.open_envelopes += 1;
        Ok(())
    }

    fn seal(&mut self) {
        if self.open.len() > HEADER_BYTES {
            frame::seal(&mut self.open, FrameKind::Messages);
            self.sealed.push_back(std::mem::take(&mut self.open));
        }
        self.open_items = 0;
        self.open_envelopes = 0;
    }

    /// Writes as much as the socket takes. Returns the bytes written as well, for the count.
    pub fn write_to(&mut self, stream: &TcpStream) -> io::Result<(Written, usize)> {
        self.seal();
        let mut total = 0;
        while !self.sealed.is_empty() {
            match self.send_some(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    total += count;
                    self.written(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((Written::Blocked, total));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((Written::All, total))
    }

    /// One system call. The standard library's `write_vectored` is a `writev`, which kills a host
    /// that has not disabled SIGPIPE when the peer is gone; `send` and `sendmsg` with MSG_NOSIGNAL
    /// do not.
    fn send_some(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut skip = self.first_written;
        let mut count = 0;
        for piece in self.sealed.iter().flat_map(Chain::slices) {
            // What was written already may end anywhere.
            let skipped = skip.min(piece.len());
            skip -= skipped;
            if skipped < piece.len() {
                slices[count] = IoSlice::new(&piece[skipped..]);
                count += 1;
            }
            if count == SLICES_MAX {
                break;
            }
        }
        stream.try_io(|| {
            let socket = SockRef::from(stream);
            if count == 1 {
                return socket.send_with_flags(&slices[0], libc::MSG_NOSIGNAL);
            }
            socket.send_vectored_with_flags(&slices[..count], libc::MSG_NOSIGNAL)
        })
    }

    fn written(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = self.sealed.front() {
            let left = first.len() - self.first_written;
            if count < left {
                self.first_written += count;
                return;
            }
            count -= left;
            self.first_written = 0;
            if let Some(mut frame) = self.sealed.pop_front() {
                if self.spare.len() < SPARE_BUFFERS_MAX && frame.capacity() <= SPARE_BYTES_MAX {
                    frame.clear();
                    self.spare.push(frame);
                }
            }
        }
    }
}

/// Makes room for what a piece needs, but for data that is not copied.
fn reserve(frame: &mut Chain, piece: message::Piece) {
    let of_each = piece.bytes / piece.items().max(1);
    if of_each < SHARED_BYTES_MIN {
        frame.copied().reserve(piece.bytes + HEADER_BYTES);
    }
}
