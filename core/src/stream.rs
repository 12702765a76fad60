//! A blocking connection, as the transfer of a snapshot sees it.
//!
//! The real one is a TCP socket; a simulator has its own. Like [`crate::disk`], nothing here is clever: a call is one
//! system call, and an error is the system's error.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

/// A state machine may leave a connection silent for as long as it thinks; a peer that is gone is noticed by the
/// system, after about a minute.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A connection whose calls block. Closed on drop.
pub trait Stream: Send {
    /// Sets the connection up for messages that wait for an answer, and for long silences in between.
    fn prepare(&self) -> io::Result<()>;
    /// The time, as the deadlines of this connection are measured.
    fn now(&self) -> Instant;
    /// Reads what there is, up to the length of `buffer`; waits for the first byte, up to `timeout`. 0 at the end.
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize>;
    /// Writes some of `bytes` and returns how many; waits for room, up to `timeout`.
    fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize>;
    /// Whether a read would return at once: something has arrived, or the connection is at its end.
    fn has_input(&self) -> bool;
    /// Ends the connection, or this end's half of it. Whoever waits in a call gets an answer at once.
    fn shut_down(&self, how: Shutdown) -> io::Result<()>;
    /// Another handle of the same connection, with which another thread can end it.
    fn try_clone(&self) -> io::Result<Box<dyn Stream>>;
}

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl From<TcpStream> for Box<dyn Stream> {
    fn from(stream: TcpStream) -> Box<dyn Stream> {
        Box::new(stream)
    }
}

#[allow(clippy::disallowed_methods)] // The real clock is what a real connection has.
impl Stream for TcpStream {
    fn prepare(&self) -> io::Result<()> {
        let keepalive =
            TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
        self.set_nonblocking(false)?;
        self.set_nodelay(true)?;
        SockRef::from(self).set_tcp_keepalive(&keepalive)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.set_read_timeout(Some(timeout))?;
        Read::read(self, buffer)
    }

    fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        self.set_write_timeout(Some(timeout))?;
        Write::write(self, bytes)
    }

    fn has_input(&self) -> bool {
        let peeked = self.set_nonblocking(true).and_then(|()| self.peek(&mut [0]));
        let restored = self.set_nonblocking(false);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            || restored.is_err()
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn try_clone(&self) -> io::Result<Box<dyn Stream>> {
        TcpStream::try_clone(self).map(Box::from)
    }
}
