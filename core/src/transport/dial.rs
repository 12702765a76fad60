//! Blocking dial and handshake, for threads of their own: snapshot connections, and asking a node
//! who it is before it is added to a group.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::address;
use crate::error::{Code, Error, Result};
use crate::ids::{NodeId, Uuid};
use crate::replica::PeerIdentity;
use crate::wire::handshake::{self, HANDSHAKE_BYTES_MAX};
use crate::wire::{FrameReader, Hello, Intent, Introduction};

/// Dials `address`, which must be that of `expected_node_id` (0 for: whoever is there), and makes
/// the handshake.
///
/// `connected` is called with the connection before the handshake, so that another thread can cut
/// it; what it returns is returned too.
///
/// Returns the stream, blocking and without timeouts, and who is at the other end. After
/// [`Intent::Identity`] the other end closes; after [`Intent::Bulk`] the stream is the caller's to
/// use. On a host that has not disabled SIGPIPE, write to it with `write` only: that is a `send`
/// with MSG_NOSIGNAL, while `write_vectored` is a `writev`.
///
/// **Threads**: blocks up to `timeout`; never for the event loop.
/// **Errors**: `AddressInvalid`, `Unreachable`, `HandshakeRefused` with the sentence of whoever
/// refused.
pub fn dial_blocking<K>(
    own: &Introduction,
    address: &str,
    intent: Intent,
    expected_node_id: NodeId,
    timeout: Duration,
    connected: impl FnOnce(&TcpStream) -> Result<K>,
) -> Result<(TcpStream, PeerIdentity, K)> {
    let deadline = Instant::now() + timeout;
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    for candidate in address::resolve_within(address, timeout)? {
        let Some(left) = time_left(deadline) else { break };
        match TcpStream::connect_timeout(&candidate, left) {
            Ok(stream) => {
                let known = connected(&stream)?;
                let (stream, peer) =
                    introduce(stream, own, address, intent, expected_node_id, deadline)?;
                return Ok((stream, peer, known));
            }
            Err(error) => failure = error,
        }
    }
    Err(unreachable(address, &failure))
}

fn introduce(
    stream: TcpStream,
    own: &Introduction,
    address: &str,
    intent: Intent,
    expected_node_id: NodeId,
    deadline: Instant,
) -> Result<(TcpStream, PeerIdentity)> {
    let expected = PeerIdentity { node_id: expected_node_id, incarnation: Uuid::NIL };
    let hello = Hello::new(own.clone(), intent, expected).encode();
    let answer =
        exchange(&stream, &hello, deadline).map_err(|error| unreachable(address, &error))?;
    let malformed = |error| {
        let message = format!("what listens at {address} does not speak this protocol: {error}");
        Error::rejected(Code::HandshakeRefused, message)
    };
    let welcome = answer
        .and_then(|frame| handshake::decode_answer(&frame))
        .map_err(malformed)?
        .map_err(Error::from)?;
    welcome.check(own, expected).map_err(Error::from)?;
    let unset = stream.set_read_timeout(None).and_then(|()| stream.set_write_timeout(None));
    unset.map_err(|error| unreachable(address, &error))?;
    Ok((stream, welcome.introduction.identity))
}

type Answer = std::result::Result<crate::wire::Frame, crate::wire::WireError>;

fn exchange(mut stream: &TcpStream, hello: &[u8], deadline: Instant) -> io::Result<Answer> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(time_left(deadline).ok_or(io::ErrorKind::TimedOut)?))?;
    stream.write_all(hello)?;
    let mut reader = FrameReader::new(HANDSHAKE_BYTES_MAX);
    let mut chunk = [0; 512];
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => return Ok(Ok(frame)),
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
        let left = time_left(deadline).ok_or(io::ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
        // Not a byte beyond the answer may be taken: it would be the caller's.
        let wanted = reader.missing_bytes().min(chunk.len());
        match stream.read(&mut chunk[..wanted]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => reader.buffer_with_room().extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}

fn time_left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

fn unreachable(address: &str, error: &io::Error) -> Error {
    let message = format!("no node could be reached at {address}: {error}");
    Error::rejected(Code::Unreachable, message)
}
