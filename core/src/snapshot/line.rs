//! A connection of the exchange: frames over a blocking socket, all before one deadline.

use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::error::{Code, Error, Result};
use crate::stream::Stream;
use crate::wire::frame::{check_body, header, read_header, HEADER_BYTES};
use crate::wire::{FrameKind, WireError};

/// How long the end that says the last word waits for the other to have read it.
const LINGER: Duration = Duration::from_secs(2);

const LINGER_BYTES: usize = 64 << 10;

pub(super) struct Line {
    stream: Box<dyn Stream>,
    deadline: Instant,
    /// The body of the last frame received, and room for longer ones.
    body: Vec<u8>,
}

impl Line {
    pub(super) fn new(stream: impl Into<Box<dyn Stream>>, deadline: Instant) -> Result<Line> {
        let stream = stream.into();
        stream.prepare().map_err(|error| lost(&error))?;
        Ok(Line { stream, deadline, body: Vec::new() })
    }

    /// Sends one frame, whose body is `head` and then `payload`.
    ///
    /// **Errors**: `Timeout` at the deadline; `Unreachable` if the connection is lost.
    pub(super) fn send(&mut self, head: &[u8], payload: &[u8]) -> Result<()> {
        let header = header(FrameKind::Snapshot, [head, payload].into_iter());
        let start = [header.as_slice(), head].concat();
        self.write_all(&start)?;
        self.write_all(payload)
    }

    /// The body of the next frame, of at most `body_bytes_max` bytes.
    ///
    /// **Errors**: `Timeout` at the deadline; `Unreachable` if the connection is lost or carries
    /// something else.
    pub(super) fn receive(&mut self, body_bytes_max: usize) -> Result<&[u8]> {
        let mut header = [0; HEADER_BYTES];
        self.read_exact(&mut header)?;
        let (kind, length) = read_header(&header).map_err(refused)?;
        if kind != FrameKind::Snapshot {
            return Err(broken("a frame arrived that is not of the snapshot exchange"));
        }
        if length > body_bytes_max {
            return Err(broken(&format!(
                "a frame of {length} bytes arrived where at most {body_bytes_max} are due"
            )));
        }
        let mut body = std::mem::take(&mut self.body);
        if body.len() < length {
            body.reserve_exact(length - body.len());
            body.resize(length, 0);
        }
        let read = self.read_exact(&mut body[..length]);
        self.body = body;
        read?;
        check_body(&header, &self.body[..length]).map_err(refused)?;
        Ok(&self.body[..length])
    }

    /// Whether the peer has said something, or is gone, while it was this end's turn.
    pub(super) fn has_input(&self) -> bool {
        self.stream.has_input()
    }

    /// Ends the connection after the last word. Closing it while the peer still sends would reset
    /// it, and the word could be lost; so what the peer sends is read until it has seen the end and
    /// closes too.
    pub(super) fn linger(mut self) {
        let end = self.stream.now() + LINGER;
        if self.stream.shut_down(Shutdown::Write).is_err() {
            return;
        }
        self.body.resize(LINGER_BYTES, 0);
        loop {
            let remaining = end.saturating_duration_since(self.stream.now());
            if remaining.is_zero() {
                return;
            }
            match self.stream.read(&mut self.body, remaining) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let remaining = self.remaining()?;
            match self.stream.write(bytes, remaining) {
                Ok(0) => return Err(lost(&io::ErrorKind::WriteZero.into())),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => self.tolerate(error)?,
            }
        }
        Ok(())
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let remaining = self.remaining()?;
            match self.stream.read(buffer, remaining) {
                Ok(0) => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) => self.tolerate(error)?,
            }
        }
        Ok(())
    }

    /// An interrupted call is made again, and one that ran out of time fails when it looks at the
    /// deadline.
    fn tolerate(&self, error: io::Error) -> Result<()> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        match error.kind() {
            Interrupted | TimedOut | WouldBlock if self.remaining().is_ok() => Ok(()),
            TimedOut | WouldBlock => self.remaining().map(|_| ()),
            _ => Err(lost(&error)),
        }
    }

    fn remaining(&self) -> Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(self.stream.now());
        if remaining.is_zero() {
            return Err(Error::rejected(
                Code::Timeout,
                "the time for the transfer of a snapshot ran out: allow more, or look at the \
                 network and the disks",
            ));
        }
        Ok(remaining)
    }
}

#[cfg(test)]
impl Line {
    /// The memory that frames take here.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.body.capacity()
    }
}

fn lost(error: &io::Error) -> Error {
    Error::rejected(Code::Unreachable, format!("the connection for a snapshot was lost: {error}"))
}

fn refused(error: WireError) -> Error {
    broken(&error.0)
}

/// An error of a peer that does not keep to the exchange.
pub(super) fn broken(what: &str) -> Error {
    Error::rejected(Code::Unreachable, format!("the transfer of a snapshot was broken off: {what}"))
}
