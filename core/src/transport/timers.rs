//! What happens because time passes: dialing, handshake deadlines, pings, silent peers.

use std::net::SocketAddr;

use mio::net::TcpStream;

use super::connection::{Connection, Phase};
use super::{Inbound, Transport};
use crate::error::Result;
use crate::ids::NodeId;
use crate::replica::PeerIdentity;
use crate::wire::frame::{self, FrameKind};
use crate::wire::handshake::HANDSHAKE_BYTES_MAX;
use crate::wire::{Hello, Intent};

/// How often to look whether a resolver thread has finished. (The event loop's waker is its
/// owner's.)
const RESOLVED_POLL_MS: u64 = 10;

impl Transport {
    /// Looks at every deadline, and finds out when to look again.
    pub(super) fn look_at_timers(&mut self, inbound: &mut Vec<Inbound>) {
        let idle_ms = self.options.idle_timeout_ms;
        // A loop that did not run cannot have heard anybody: silence during a pause is not the
        // peers'.
        let paused = self.now_ms.saturating_sub(self.timers_ms) > idle_ms / 2;
        self.timers_ms = self.now_ms;
        self.next_timers_ms = u64::MAX;
        let mut next_ms = u64::MAX;
        for slot in 0..self.slots.len() {
            match self.connection_timer(slot, paused) {
                Ok(at_ms) => next_ms = next_ms.min(at_ms),
                Err(why) => self.close(slot, why, inbound),
            }
        }
        let mut due = Vec::new();
        for (node_id, peer) in &mut self.peers {
            if peer.connection.is_some() || peer.resolving {
                continue;
            }
            let at_ms = *peer.dial_ms.get_or_insert(self.now_ms + peer.wait_ms);
            if at_ms <= self.now_ms {
                due.push(*node_id);
            } else {
                next_ms = next_ms.min(at_ms);
            }
        }
        for node_id in due {
            self.dial(node_id);
        }
        if self.resolver.is_busy() {
            next_ms = next_ms.min(self.now_ms + RESOLVED_POLL_MS);
        }
        // What was closed or dialed above has set it to 0: then look again at once.
        self.next_timers_ms = self.next_timers_ms.min(next_ms);
    }

    /// When a connection wants to be looked at again, or why it must end.
    fn connection_timer(&mut self, slot: usize, paused: bool) -> Result<u64, &'static str> {
        let now_ms = self.now_ms;
        let Some(connection) = self.slots[slot].as_mut() else { return Ok(u64::MAX) };
        if connection.phase.is_handshake() {
            let timeout_ms = self.options.handshake_timeout_ms;
            let deadline_ms = *connection.deadline_ms.get_or_insert(now_ms + timeout_ms);
            if now_ms < deadline_ms {
                return Ok(deadline_ms);
            }
            if connection.phase == Phase::AwaitingHello {
                let remote = connection.remote;
                self.refused(remote, "it did not introduce itself in time");
            }
            return Err("the handshake took too long");
        }
        // A connection that sends is only waited for while something waits to be sent.
        let sending = matches!(connection.phase, Phase::Sending { .. });
        let nothing_due = sending && connection.outgoing.is_empty();
        if std::mem::take(&mut connection.moved) || nothing_due || paused {
            connection.moved_ms = Some(now_ms);
        }
        let idle_ms = self.options.idle_timeout_ms;
        let silent_ms = *connection.moved_ms.get_or_insert(now_ms) + idle_ms;
        if silent_ms <= now_ms {
            return Err(if sending { "the peer takes nothing" } else { "the peer is silent" });
        }
        if !sending {
            return Ok(silent_ms);
        }
        Ok(silent_ms.min(self.ping(slot)))
    }

    /// Lets the peer hear from us at least four times in the time after which it would give us up.
    fn ping(&mut self, slot: usize) -> u64 {
        let interval_ms = (self.options.idle_timeout_ms / 4).max(1);
        let now_ms = self.now_ms;
        let Some(connection) = self.slots[slot].as_mut() else { return u64::MAX };
        if std::mem::take(&mut connection.wrote) {
            connection.wrote_ms = now_ms;
        }
        if connection.wrote_ms + interval_ms <= now_ms {
            connection.wrote_ms = now_ms;
            if connection.outgoing.is_empty() {
                connection.outgoing.push_frame(frame::encode(FrameKind::Ping, &[]));
                match connection.write() {
                    Ok(bytes) => self.status.bytes_out += bytes as u64,
                    Err(_) => self.mark_broken(slot),
                }
            }
        }
        now_ms + interval_ms
    }

    fn dial(&mut self, node_id: NodeId) {
        let Some(peer) = self.peers.get_mut(&node_id) else { return };
        let address = peer.target().0.to_string();
        if peer.resolved_from != address {
            peer.resolved.clear();
        }
        if peer.resolved.is_empty() {
            match super::address::parse(&address) {
                Ok(Some(number)) => peer.resolved.push(number),
                Ok(None) => {
                    peer.resolving = self.resolver.start(&address);
                    peer.resolved_from = address;
                    peer.dial_after(RESOLVED_POLL_MS);
                    self.next_timers_ms = 0;
                    return;
                }
                Err(error) => return self.dial_failed(node_id, &error.message),
            }
            peer.resolved_from = address;
        }
        let remote = peer.resolved.remove(0);
        // A name stands for several addresses: one dial each, then it is resolved again.
        let dialed = self.connect(node_id, remote);
        match dialed {
            Ok(slot) => {
                if let Some(peer) = self.peers.get_mut(&node_id) {
                    peer.connection = Some(slot);
                }
            }
            Err(error) => self.dial_failed(node_id, &error.to_string()),
        }
    }

    fn connect(&mut self, node_id: NodeId, remote: SocketAddr) -> std::io::Result<usize> {
        let stream = TcpStream::connect(remote)?;
        let phase = Phase::Connecting { node_id };
        self.insert(Connection::new(stream, remote, phase, HANDSHAKE_BYTES_MAX))
    }

    fn dial_failed(&mut self, node_id: NodeId, why: &str) {
        if self.log_limit.allows(self.now_ms) {
            tracing::info!(node_id, why, "cannot dial a peer");
        }
        let Some(peer) = self.peers.get_mut(&node_id) else { return };
        let wait_ms = self.backoff.wait_ms(peer.failures);
        peer.dial_failed(why);
        peer.dial_after(wait_ms);
        self.next_timers_ms = 0;
    }

    pub(super) fn resolved(&mut self, address: &str, result: Result<Vec<SocketAddr>>) {
        let waiting = self.peers.iter_mut().filter(|(_, peer)| peer.resolving);
        let waiting: Vec<NodeId> = waiting
            .filter(|(_, peer)| peer.resolved_from == address)
            .map(|(node_id, peer)| {
                peer.resolving = false;
                *node_id
            })
            .collect();
        for node_id in waiting {
            match (&result, self.peers.get_mut(&node_id)) {
                (Ok(found), Some(peer)) => {
                    peer.resolved = found.clone();
                    peer.dial_after(0);
                }
                (Err(error), _) => self.dial_failed(node_id, &error.message),
                (Ok(_), None) => {}
            }
        }
        self.next_timers_ms = 0;
    }

    /// A dialed socket became ready: it is connected, or could not be.
    pub(super) fn connected(&mut self, slot: usize, inbound: &mut Vec<Inbound>) {
        let dead_after = self.dead_after();
        let own = self.introduction();
        let Some(connection) = self.slots[slot].as_mut() else { return };
        let Phase::Connecting { node_id } = connection.phase else { return };
        if let Ok(Some(error)) | Err(error) = connection.stream.take_error() {
            let why = format!("connecting to {} failed: {error}", connection.remote);
            return self.close(slot, &why, inbound);
        }
        match (connection.stream.peer_addr(), connection.stream.local_addr()) {
            (Err(error), _) if error.kind() == std::io::ErrorKind::NotConnected => return,
            // Nobody listens there, and the system happened to choose that very port for this end:
            // TCP then connects the socket with itself, and the port would be taken when the peer
            // comes back for it.
            (Ok(remote), Ok(local)) if remote == local => {
                return self.close(slot, "connected with itself", inbound);
            }
            (Ok(_), Ok(_)) => {}
            _ => return self.close(slot, "connecting failed", inbound),
        }
        let peer = self.peers.get(&node_id).filter(|peer| peer.connection == Some(slot));
        let Some(peer) = peer else {
            return self.close(slot, "the peer is dialed elsewhere by now", inbound);
        };
        let expected = PeerIdentity { node_id, incarnation: peer.target().1 };
        let hello = Hello::new(own, Intent::Messages, expected);
        connection.phase = Phase::AwaitingAnswer { node_id };
        connection.outgoing.push_frame(hello.encode());
        let written = connection.configure(dead_after).and_then(|()| connection.write());
        match written {
            Ok(bytes) => self.status.bytes_out += bytes as u64,
            Err(_) => self.close(slot, "the handshake could not be written", inbound),
        }
    }

    pub(super) fn writable(&mut self, slot: usize, inbound: &mut Vec<Inbound>) {
        let Some(connection) = self.slots[slot].as_mut() else { return };
        connection.write_blocked = false;
        match connection.write() {
            Ok(bytes) => self.status.bytes_out += bytes as u64,
            Err(_) => self.close(slot, "writing failed", inbound),
        }
    }
}
