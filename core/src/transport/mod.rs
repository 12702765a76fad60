//! Connections to peers over TCP, driven by the event loop that owns them.
//!
//! Each node dials every peer and sends on the connection it dialed; it reads on those it accepted.
//! So two nodes have two connections between them, and neither needs to agree with the other on
//! which one to keep.
//!
//! A node that dials us without being listed becomes a *guest*: it is dialed back at the address
//! its handshake tells, so that it can be answered, for as long as it stays connected. A node that
//! waits to be added does not know its leader, and one that lags behind may not know a new one, nor
//! that a wiped node was replaced: if it refused the new incarnation, and that one led, it could
//! never learn. So an incarnation other than the listed one is refused only while the listed one is
//! connected, and logged otherwise. Which messages it may send is for the replicas to judge: each
//! comes with the identity of its sender.
//!
//! Nothing here blocks, and nobody's slowness is anybody else's: what waits for a peer is bounded
//! in bytes and dropped beyond that (Raft sends again), and a socket is read in rounds of bounded
//! size. mio's readiness is edge-triggered: it is told once. A socket whose round ended before it
//! was empty is therefore kept in a list, and read on at the next [`Transport::tick`], which
//! [`Transport::next_deadline_ms`] then wants at once.
//!
//! **Time** comes in with `tick` only. Whatever begins between two ticks gets its deadline at the
//! next one, so that a loop that slept long does not kill what has just begun.
//!
//! **TLS** goes between `Connection`'s socket and its frames: `Connection::read` and
//! `Outgoing::write_to` are the only places that touch a socket, and `Phase::Connecting` and
//! `Phase::AwaitingHello` are where its handshake runs first. A
//! **foreign transport** replaces this module: the event loop knows it by the methods of
//! [`Transport`] alone, and gives and takes [`Envelope`]s.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::error::Result;
use crate::ids::NodeId;
use crate::log::Lsn;
use crate::replica::{Envelope, PeerIdentity};
use crate::stream::Stream;
use crate::wire::Introduction;

mod accept;
mod address;
mod connection;
mod dial;
mod options;
mod outgoing;
mod peer;
mod receive;
mod timers;

#[cfg(test)]
mod tests;

pub use crate::wire::Intent;
pub use crate::wire::Introduction as DialOptions;
pub use address::{check as check_address, check_dialable};
pub use dial::dial_blocking;
pub use options::TransportOptions;
#[doc(hidden)] // A simulator's transport notices the same.
pub use peer::Witness;

use address::Resolver;
use connection::{Connection, Phase, Watch};
use peer::{Backoff, Peer};

/// What came in.
// Nearly all are messages: a box around each would cost more than the space in the others.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Inbound {
    Message {
        peer: PeerIdentity,
        envelope: Envelope,
    },
    /// Envelopes to this node can be sent now.
    Connected {
        peer: PeerIdentity,
    },
    /// They no longer can.
    Disconnected {
        node_id: NodeId,
    },
    /// A snapshot connection after its handshake, blocking and without timeouts, for a thread of
    /// its own.
    Bulk {
        peer: PeerIdentity,
        stream: Box<dyn Stream>,
    },
}

/// What a transport says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransportStatus {
    /// Peers that envelopes can be sent to.
    pub connected_peers: u64,
    /// Garbage, damaged, oversized and forged frames; each cost its connection.
    pub refused_frames: u64,
    /// Handshakes refused by this node, timed out, or dropped in a flood of connections.
    pub refused_connections: u64,
    /// Envelopes that were not sent: not connected, or too much was waiting.
    pub dropped_messages: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Listed peers that could not be connected to, by id, and why the last dial failed: for
    /// people.
    pub troubles: Vec<(NodeId, String)>,
}

/// The connections of one event loop.
///
/// **Threads**: owned and driven by one. The only threads it starts resolve names.
pub struct Transport {
    registry: Arc<Registry>,
    first_token: usize,
    options: TransportOptions,
    listener: TcpListener,
    local_address: SocketAddr,
    /// The journal's position, for handshakes.
    position: Lsn,
    /// Connections; the token of slot n is `first_token + 1 + n`.
    slots: Vec<Option<Box<Connection>>>,
    free_slots: Vec<usize>,
    peers: HashMap<NodeId, Peer>,
    /// The slot of the connection on which a node sends to us.
    receiving: HashMap<NodeId, usize>,
    resolver: Resolver,
    backoff: Backoff,
    witness: Witness,
    /// Slots that something was queued for since the last flush.
    dirty: Vec<usize>,
    /// Slots whose socket may have more to read.
    unread: Vec<usize>,
    /// Slots to be closed at the next tick, with what the connection was opened as (slots are
    /// reused).
    broken: Vec<(usize, u64)>,
    /// The listener may have more connections to accept; after an error, from this time on.
    accept_more: bool,
    accept_again_ms: Option<u64>,
    /// Counts connections, to tell the users of a slot apart and old ones from new.
    serial: u64,
    now_ms: u64,
    timers_ms: u64,
    /// When the timers want to be looked at; 0 for at once.
    next_timers_ms: u64,
    log_limit: LogLimit,
    status: TransportStatus,
}

impl Transport {
    /// Listens. `registry` is that of the event loop's poll (`try_clone`d); tokens from
    /// `first_token` on are the transport's.
    ///
    /// **Errors**: `AddressInUse`; `AddressInvalid`; `InsecureAddress` if the address is beyond
    /// loopback and that was not asked for. A name is resolved here and now, which may block.
    pub fn bind(
        registry: Registry,
        first_token: usize,
        options: TransportOptions,
    ) -> Result<Transport> {
        let mut options = options;
        let (mut listener, local_address) = accept::listen(&options)?;
        if options.advertised_address.is_empty() {
            options.advertised_address = accept::advertise(local_address)?;
        }
        let frame_bytes_min = crate::wire::message::FRAME_BYTES_MIN;
        options.frame_bytes_max = options.frame_bytes_max.clamp(frame_bytes_min, u32::MAX as usize);
        registry
            .register(&mut listener, Token(first_token), Interest::READABLE)
            .map_err(|error| accept::listen_error(&options.listen_address, &error))?;
        let backoff = Backoff {
            min_ms: options.backoff_min_ms,
            max_ms: options.backoff_max_ms,
            random: options.seed,
        };
        Ok(Transport {
            registry: Arc::new(registry),
            first_token,
            options,
            listener,
            local_address,
            position: 0,
            slots: Vec::new(),
            free_slots: Vec::new(),
            peers: HashMap::new(),
            receiving: HashMap::new(),
            resolver: Resolver::new(),
            backoff,
            witness: Witness::default(),
            dirty: Vec::new(),
            unread: Vec::new(),
            broken: Vec::new(),
            accept_more: false,
            accept_again_ms: None,
            serial: 0,
            now_ms: 0,
            timers_ms: 0,
            next_timers_ms: 0,
            log_limit: LogLimit::default(),
            status: TransportStatus::default(),
        })
    }

    /// What is listened on, with the actual port.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// What this node says of itself in a handshake; also what [`dial_blocking`] wants.
    pub fn introduction(&self) -> Introduction {
        Introduction {
            cluster: self.options.cluster.clone(),
            identity: self.options.identity,
            boot_counter: self.options.boot_counter,
            position: self.position,
            advertised_address: self.options.advertised_address.clone(),
            frame_bytes_max: self.options.frame_bytes_max,
        }
    }

    /// The journal's position, which handshakes tell.
    pub fn set_position(&mut self, lsn: Lsn) {
        self.position = lsn;
    }

    /// Queues an envelope; it leaves with the next [`Transport::flush`]. `false` if it was dropped:
    /// there is no connection to that node, or too much is waiting for it, or the envelope is not
    /// one that can be sent.
    pub fn send(&mut self, to: NodeId, envelope: &Envelope) -> bool {
        let sent = self.try_send(to, envelope);
        self.status.dropped_messages += u64::from(!sent);
        sent
    }

    fn try_send(&mut self, to: NodeId, envelope: &Envelope) -> bool {
        let Some(slot) = self.peers.get(&to).and_then(|peer| peer.connection) else {
            return false;
        };
        let Some(connection) = self.slots[slot].as_mut() else { return false };
        if !matches!(connection.phase, Phase::Sending { .. }) {
            return false;
        }
        let frame_bytes_max = connection.peer_frame_bytes_max;
        let queue_bytes_max = self.options.queue_bytes_max;
        match connection.outgoing.push(envelope, frame_bytes_max, queue_bytes_max) {
            Ok(queued) => {
                if queued && !connection.dirty {
                    connection.dirty = true;
                    self.dirty.push(slot);
                }
                queued
            }
            Err(error) => {
                if self.log_limit.allows(self.now_ms) {
                    let group_id = envelope.group_id;
                    tracing::error!(to, group_id, %error, "an envelope cannot be sent");
                }
                false
            }
        }
    }

    /// Writes what was queued: one system call per connection, as long as its socket takes all.
    pub fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            if let Some(connection) = self.slots[slot].as_mut() {
                connection.dirty = false;
                match connection.write() {
                    Ok(bytes) => self.status.bytes_out += bytes as u64,
                    Err(_) => self.mark_broken(slot),
                }
            }
        }
        self.dirty = dirty;
    }

    /// Takes an event whose token is `first_token` or larger.
    pub fn handle(&mut self, event: &Event, inbound: &mut Vec<Inbound>) {
        let Some(offset) = event.token().0.checked_sub(self.first_token) else { return };
        let Some(slot) = offset.checked_sub(1) else {
            self.accept_more = true;
            self.accept_some();
            return;
        };
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        connection.read_closed |= event.is_read_closed() || event.is_error();
        if matches!(connection.phase, Phase::Connecting { .. }) {
            self.connected(slot, inbound);
        } else if event.is_writable() {
            self.writable(slot, inbound);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read_round(slot, inbound);
        }
    }

    /// Goes on with what a round of reading left, resolves names, dials who is due, and closes who
    /// is silent. To be called when [`Transport::next_deadline_ms`] says so, or more often; costs
    /// nothing if there is nothing to do.
    pub fn tick(&mut self, now_ms: u64, inbound: &mut Vec<Inbound>) {
        self.now_ms = self.now_ms.max(now_ms);
        for (slot, serial) in std::mem::take(&mut self.broken) {
            let current = self.slots[slot].as_ref().map(|connection| connection.serial);
            if current == Some(serial) {
                self.close(slot, "the connection broke", inbound);
            }
        }
        for slot in std::mem::take(&mut self.unread) {
            let Some(connection) = self.slots[slot].as_mut() else { continue };
            if std::mem::take(&mut connection.unread) {
                self.read_round(slot, inbound);
            }
        }
        if self.accept_again_ms.is_some_and(|again_ms| again_ms <= self.now_ms) {
            self.accept_again_ms = None;
            self.accept_more = true;
        }
        if self.accept_more {
            self.accept_some();
        }
        while let Some((address, result)) = self.resolver.next() {
            self.resolved(&address, result);
        }
        if self.now_ms >= self.next_timers_ms {
            self.look_at_timers(inbound);
        }
    }

    /// When `tick` wants to be called, in the time it is given; a time that has passed means at
    /// once.
    pub fn next_deadline_ms(&self) -> u64 {
        let has_work = !self.unread.is_empty() || !self.broken.is_empty() || self.accept_more;
        if has_work {
            return self.now_ms;
        }
        self.next_timers_ms.min(self.accept_again_ms.unwrap_or(u64::MAX))
    }

    pub fn status(&self) -> TransportStatus {
        let listed = self.peers.iter().filter(|(_, peer)| peer.is_listed());
        let mut troubles: Vec<(NodeId, String)> =
            listed.filter_map(|(id, peer)| Some((*id, peer.trouble.clone()?))).collect();
        troubles.sort();
        TransportStatus { troubles, ..self.status.clone() }
    }

    fn dead_after(&self) -> Duration {
        Duration::from_millis(self.options.idle_timeout_ms)
    }

    /// Registers a connection and gives it a slot.
    fn insert(&mut self, mut connection: Connection) -> std::io::Result<usize> {
        let slot = self.free_slots.pop().unwrap_or(self.slots.len());
        let token = Token(self.first_token + 1 + slot);
        // A dialed connection is writable once it is connected.
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.registry.register(&mut connection.stream, token, interest);
        let registry = Arc::clone(&self.registry);
        connection.watch = Some(Watch { registry, token, writable: true });
        self.serial += 1;
        connection.serial = self.serial;
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        if let Err(error) = registered {
            self.free_slots.push(slot);
            return Err(error);
        }
        self.slots[slot] = Some(Box::new(connection));
        self.next_timers_ms = 0;
        Ok(slot)
    }

    /// Takes a connection out of its slot and off the event loop.
    fn remove(&mut self, slot: usize) -> Option<Box<Connection>> {
        let mut connection = self.slots[slot].take()?;
        // It can fail only if it is not registered, which is what is wanted.
        let _ = self.registry.deregister(&mut connection.stream);
        self.free_slots.push(slot);
        self.next_timers_ms = 0;
        Some(connection)
    }

    fn mark_broken(&mut self, slot: usize) {
        if let Some(connection) = self.slots[slot].as_ref() {
            self.broken.push((slot, connection.serial));
        }
    }

    /// Ends a connection, and arranges for what follows from that.
    fn close(&mut self, slot: usize, why: &str, inbound: &mut Vec<Inbound>) {
        let Some(connection) = self.remove(slot) else { return };
        connection.shut_down();
        tracing::debug!(remote = %connection.remote, phase = ?connection.phase, why, "closed");
        if let Phase::Sending { peer } = connection.phase {
            self.status.connected_peers -= 1;
            inbound.push(Inbound::Disconnected { node_id: peer.node_id });
        }
        if let Phase::Receiving { peer } = connection.phase {
            self.no_longer_receiving(peer.node_id, slot);
        }
        let Some(node_id) = connection.phase.dialed() else { return };
        let Some(peer) = self.peers.get_mut(&node_id) else { return };
        if peer.connection == Some(slot) {
            peer.connection = None;
            let wait_ms = self.backoff.wait_ms(peer.failures);
            peer.dial_after(wait_ms);
            if connection.phase.is_handshake() {
                peer.dial_failed(why);
            }
        }
    }

    fn no_longer_receiving(&mut self, node_id: NodeId, slot: usize) {
        if self.receiving.get(&node_id) == Some(&slot) {
            self.receiving.remove(&node_id);
            self.change_peer(node_id, |peer| peer.told = None);
        }
    }
}

/// Lets a bounded number of lines per second into the log, however many connections misbehave.
#[derive(Default)]
struct LogLimit {
    second: u64,
    lines: u32,
}

const LOG_LINES_PER_SECOND: u32 = 10;

impl LogLimit {
    fn allows(&mut self, now_ms: u64) -> bool {
        if self.second != now_ms / 1000 {
            *self = LogLimit { second: now_ms / 1000, lines: 0 };
        }
        self.lines += 1;
        self.lines <= LOG_LINES_PER_SECOND
    }
}
