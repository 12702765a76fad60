//! One TCP connection: its socket, what was read of a frame, what waits to be written.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::outgoing::{Outgoing, Written};
use crate::ids::NodeId;
use crate::replica::PeerIdentity;
use crate::wire::FrameReader;

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Dialed; TCP is connecting.
    Connecting { node_id: NodeId },
    /// Dialed; our hello is on its way.
    AwaitingAnswer { node_id: NodeId },
    /// Dialed and welcome: envelopes go out here.
    Sending { peer: PeerIdentity },
    /// Accepted; nobody has introduced himself yet.
    AwaitingHello,
    /// Accepted and welcomed: envelopes come in here.
    Receiving { peer: PeerIdentity },
}

impl Phase {
    /// The peer that was dialed, if this connection was dialed.
    pub fn dialed(&self) -> Option<NodeId> {
        match self {
            Phase::Connecting { node_id } | Phase::AwaitingAnswer { node_id } => Some(*node_id),
            Phase::Sending { peer } => Some(peer.node_id),
            _ => None,
        }
    }

    /// Whether the handshake is not over yet.
    pub fn is_handshake(&self) -> bool {
        !matches!(self, Phase::Sending { .. } | Phase::Receiving { .. })
    }
}

/// What a read brought.
pub enum Read {
    /// So many bytes, and whether the socket may have more.
    Some { bytes: usize, more: bool },
    /// Nothing for now.
    Blocked,
    /// The other end has closed.
    End,
}

pub struct Connection {
    pub stream: TcpStream,
    pub remote: SocketAddr,
    /// Tells it apart from earlier and later users of its slot.
    pub serial: u64,
    pub phase: Phase,
    pub reader: FrameReader,
    pub outgoing: Outgoing,
    /// The longest frame body that the other end reads.
    pub peer_frame_bytes_max: usize,
    /// The socket took no more; wait until it is writable.
    pub write_blocked: bool,
    /// Where the socket is registered; `None` before it is.
    pub watch: Option<Watch>,
    /// Has something to write that nobody has tried to write yet: listed as dirty.
    pub dirty: bool,
    /// Listed among those whose socket has more to read.
    pub unread: bool,
    /// The system said that the other end has closed: read on until there is nothing more, whatever
    /// the sizes.
    pub read_closed: bool,
    /// The other end moved (bytes came in, or were taken from us) since the last look at the clock.
    pub moved: bool,
    /// The time of that look; `None` before the first.
    pub moved_ms: Option<u64>,
    /// When the handshake must be over; `None` before the first look at the clock.
    pub deadline_ms: Option<u64>,
    /// When something was last written to the peer, for pings.
    pub wrote: bool,
    pub wrote_ms: u64,
}

/// A socket's registration with the system's event queue.
pub struct Watch {
    pub registry: Arc<Registry>,
    pub token: Token,
    /// Whether the loop is woken when the socket is writable. Only while something waits for that: the system tells it
    /// together with every answer of the peer, and the loop would be woken for nothing.
    pub writable: bool,
}

impl Watch {
    fn set_writable(&mut self, stream: &mut TcpStream, writable: bool) -> io::Result<()> {
        if self.writable == writable {
            return Ok(());
        }
        let interest = match writable {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        self.registry.reregister(stream, self.token, interest)?;
        self.writable = writable;
        Ok(())
    }
}

impl Connection {
    pub fn new(
        stream: TcpStream,
        remote: SocketAddr,
        phase: Phase,
        body_bytes_max: usize,
    ) -> Connection {
        Connection {
            stream,
            remote,
            serial: 0,
            phase,
            reader: FrameReader::new(body_bytes_max),
            outgoing: Outgoing::default(),
            peer_frame_bytes_max: 0,
            write_blocked: false,
            watch: None,
            dirty: false,
            unread: false,
            read_closed: false,
            moved: true,
            moved_ms: None,
            deadline_ms: None,
            wrote: false,
            wrote_ms: 0,
        }
    }

    /// Small writes leave at once, and a peer that vanished without a word is noticed: by
    /// keep-alive when nothing is being sent, else by the time that sent bytes stay unacknowledged.
    /// (Otherwise TCP would go on retrying, less and less often, for a quarter of an hour, also
    /// after the network is back.)
    pub fn configure(&self, dead_after: Duration) -> io::Result<()> {
        let socket = SockRef::from(&self.stream);
        socket.set_tcp_nodelay(true)?;
        // The system counts keep-alive in whole seconds.
        let after = dead_after.max(Duration::from_secs(1));
        let keepalive = socket2::TcpKeepalive::new().with_time(after);
        socket.set_tcp_keepalive(&keepalive.with_interval(Duration::from_secs(1)))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(dead_after))?;
        Ok(())
    }

    /// One read from the socket, as large as the buffer has room.
    pub fn read(&mut self) -> io::Result<Read> {
        let buffer = self.reader.buffer_with_room();
        let stream = &self.stream;
        let room = buffer.spare_capacity_mut();
        let asked = room.len();
        let received = loop {
            match stream.try_io(|| SockRef::from(stream).recv(room)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        match received {
            Ok(0) => Ok(Read::End),
            Ok(bytes) => {
                let length = buffer.len() + bytes;
                // SAFETY: recv has initialised the first `bytes` bytes of the spare capacity,
                // behind `buffer.len()` initialised ones.
                unsafe { buffer.set_len(length) };
                self.moved = true;
                Ok(Read::Some { bytes, more: bytes == asked || self.read_closed })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Blocked),
            Err(error) => Err(error),
        }
    }

    /// Writes what waits, unless the socket is known to take nothing. Returns the bytes written.
    pub fn write(&mut self) -> io::Result<usize> {
        if self.write_blocked || self.outgoing.is_empty() {
            return Ok(0);
        }
        let (written, bytes) = self.outgoing.write_to(&self.stream)?;
        self.write_blocked = written == Written::Blocked;
        if let Some(watch) = self.watch.as_mut() {
            watch.set_writable(&mut self.stream, self.write_blocked)?;
        }
        self.moved |= bytes > 0;
        self.wrote |= bytes > 0;
        Ok(bytes)
    }

    /// Ends the connection for the other end as well; what was written still arrives.
    pub fn shut_down(&self) {
        // It may be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
