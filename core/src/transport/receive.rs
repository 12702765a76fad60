//! Reading: rounds, frames, and the two sides of the handshake.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

#[cfg(target_os = "linux")]
use socket2::SockRef;

use super::connection::{Connection, Phase, Read};
use super::peer::Told;
use super::{Inbound, Intent, Transport};
use crate::error::Code;
use crate::ids::NodeId;
use crate::replica::PeerIdentity;
use crate::wire::handshake::{self, Hello, Refuse};
use crate::wire::{message, Frame, FrameKind, WireError};

/// Bytes read from one connection before the others get their turn.
const READ_ROUND_BYTES: usize = 256 << 10;
/// Nodes that are answered although nobody asked for them.
const GUESTS_MAX: usize = 256;

/// Frames of the largest size that all nodes which are not listed may be sending at the same time.
const GUEST_FRAMES_MAX: usize = 2;

/// What becomes of a connection after a frame.
enum Next {
    GoOn,
    Close(Cow<'static, str>),
    /// It becomes a snapshot connection.
    HandOver(PeerIdentity),
}

impl Transport {
    /// Reads a connection until it has nothing more, or its round is over.
    pub(super) fn read_round(&mut self, slot: usize, inbound: &mut Vec<Inbound>) {
        // Taken out meanwhile, so that a frame may change everything else.
        let Some(mut connection) = self.slots[slot].take() else { return };
        if matches!(connection.phase, Phase::Connecting { .. }) {
            self.slots[slot] = Some(connection);
            return;
        }
        let listed = std::mem::take(&mut connection.unread);
        let next = self.read_frames(slot, &mut connection, inbound);
        let unread = connection.unread;
        self.slots[slot] = Some(connection);
        match next {
            Next::GoOn if unread && !listed => self.unread.push(slot),
            Next::GoOn => {}
            Next::Close(why) => self.close(slot, &why, inbound),
            Next::HandOver(peer) => self.hand_over(slot, peer, inbound),
        }
    }

    fn read_frames(
        &mut self,
        slot: usize,
        connection: &mut Connection,
        inbound: &mut Vec<Inbound>,
    ) -> Next {
        let mut round = 0;
        loop {
            if self.is_crowded(connection) {
                self.refused(connection.remote, "nodes that are not listed send too much at once");
                return Next::Close("too much at once from nodes that are not listed".into());
            }
            let more = match connection.read() {
                Ok(Read::Some { bytes, more }) => {
                    self.status.bytes_in += bytes as u64;
                    round += bytes;
                    more
                }
                Ok(Read::Blocked) => return Next::GoOn,
                Ok(Read::End) => return Next::Close("the other end closed".into()),
                Err(_) => return Next::Close("reading failed".into()),
            };
            loop {
                let next = match connection.reader.next_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) => self.frame(slot, connection, &frame, inbound),
                    Err(error) => Err(error),
                };
                match next {
                    Ok(Next::GoOn) => {}
                    Ok(other) => return other,
                    Err(error) => return self.bad_frame(connection, &error),
                }
            }
            if !more {
                return Next::GoOn;
            }
            if round >= READ_ROUND_BYTES {
                connection.unread = true;
                return Next::GoOn;
            }
        }
    }

    /// Whether large frames of nodes that nobody listed, whoever they are, would take too much memory
    /// together. Listed ones are few.
    fn is_crowded(&self, connection: &Connection) -> bool {
        let own = connection.reader.large_bytes();
        if own == 0 || self.comes_from_listed(connection) {
            return false;
        }
        let others = self.slots.iter().flatten().filter(|other| !self.comes_from_listed(other));
        let bytes: usize = others.map(|other| other.reader.large_bytes()).sum();
        own + bytes > GUEST_FRAMES_MAX * self.options.frame_bytes_max
    }

    fn comes_from_listed(&self, connection: &Connection) -> bool {
        let Phase::Receiving { peer } = connection.phase else { return false };
        self.peers.get(&peer.node_id).is_some_and(|known| known.lists(peer.incarnation))
    }

    fn bad_frame(&mut self, connection: &Connection, error: &WireError) -> Next {
        self.status.refused_frames += 1;
        if self.log_limit.allows(self.now_ms) {
            let (remote, phase) = (connection.remote, connection.phase);
            tracing::warn!(%remote, ?phase, %error, "refused a frame and dropped its connection");
        }
        Next::Close("a bad frame".into())
    }

    fn frame(
        &mut self,
        slot: usize,
        connection: &mut Connection,
        frame: &Frame,
        inbound: &mut Vec<Inbound>,
    ) -> Result<Next, WireError> {
        match connection.phase {
            Phase::Receiving { peer } => match frame.kind {
                FrameKind::Messages => {
                    let visit = |envelope| inbound.push(Inbound::Message { peer, envelope });
                    message::decode_frame(frame, visit)?;
                    Ok(Next::GoOn)
                }
                FrameKind::Ping if frame.body.is_empty() => Ok(Next::GoOn),
                kind => Err(format!("an unexpected {kind:?} frame").into()),
            },
            Phase::AwaitingHello => {
                let hello = Hello::decode(frame)?;
                Ok(self.hello(slot, connection, &hello))
            }
            Phase::AwaitingAnswer { node_id } => {
                let current = self.peers.get(&node_id).and_then(|peer| peer.connection);
                if current != Some(slot) {
                    return Ok(Next::Close("the peer is dialed elsewhere by now".into()));
                }
                self.answer(node_id, connection, handshake::decode_answer(frame)?, inbound)
            }
            Phase::Connecting { .. } | Phase::Sending { .. } => {
                Err(WireError::new("a frame on a connection that only sends"))
            }
        }
    }

    /// Somebody introduces himself to us.
    fn hello(&mut self, slot: usize, connection: &mut Connection, hello: &Hello) -> Next {
        let identity = hello.introduction.identity;
        let own = self.introduction();
        let answer = hello.answer(&own).and_then(|welcome| {
            self.admit(hello, connection.remote)?;
            Ok(welcome)
        });
        let answer = match answer {
            Ok(welcome) => welcome.encode(),
            Err(refuse) => {
                self.refused(connection.remote, &refuse.sentence);
                connection.outgoing.push_frame(refuse.encode());
                // The sentence is a courtesy: if it cannot be written, the log still has it.
                self.status.bytes_out += connection.write().unwrap_or(0) as u64;
                return Next::Close("refused".into());
            }
        };
        connection.outgoing.push_frame(answer);
        match connection.write() {
            Ok(bytes) => self.status.bytes_out += bytes as u64,
            Err(_) => return Next::Close("writing failed".into()),
        }
        match hello.intent {
            Intent::Identity => Next::Close("the question is answered".into()),
            Intent::Bulk => {
                // Nobody may speak before he has read the answer, and the answer fits into a fresh
                // socket.
                if connection.reader.is_empty() && connection.outgoing.is_empty() {
                    return Next::HandOver(identity);
                }
                Next::Close("a snapshot connection that did not wait for the answer".into())
            }
            Intent::Messages => {
                connection.phase = Phase::Receiving { peer: identity };
                connection.reader.set_body_bytes_max(self.options.frame_bytes_max);
                self.now_receiving(slot, identity.node_id, hello);
                Next::GoOn
            }
        }
    }

    /// What only this node can know of the one that introduces itself.
    fn admit(&mut self, hello: &Hello, remote: SocketAddr) -> Result<(), Refuse> {
        let identity = hello.introduction.identity;
        let node_id = identity.node_id;
        let other = self.peers.get(&node_id).filter(|peer| !peer.lists(identity.incarnation));
        if let Some(known) = other.and_then(|peer| peer.incarnations.first()) {
            let sentence = handshake::wrong_incarnation(identity, *known);
            let connected =
                self.receiving.get(&node_id).and_then(|slot| self.slots[*slot].as_ref());
            let phase = connected.map(|connection| connection.phase);
            let lists = |peer: PeerIdentity| other.is_some_and(|p| p.lists(peer.incarnation));
            if matches!(phase, Some(Phase::Receiving { peer }) if lists(peer)) {
                return Err(Refuse { code: Code::HandshakeRefused, sentence });
            }
            if self.log_limit.allows(self.now_ms) {
                tracing::warn!(%remote, "{sentence}");
            }
        }
        self.witness.check(&hello.introduction)
    }

    fn now_receiving(&mut self, slot: usize, node_id: NodeId, hello: &Hello) {
        if let Some(older) = self.receiving.insert(node_id, slot) {
            self.mark_broken(older);
        }
        let guests = self.peers.values().filter(|peer| peer.guest().is_some()).count();
        let address = hello.introduction.advertised_address.clone();
        if address.is_empty() || (guests >= GUESTS_MAX && !self.peers.contains_key(&node_id)) {
            return;
        }
        let incarnation = hello.introduction.identity.incarnation;
        self.change_peer(node_id, |peer| {
            peer.told = Some(Told { incarnation, address });
            // Who has just dialed us can be dialed.
            if peer.connection.is_none() {
                peer.dial_at_once();
            }
        });
    }

    /// Somebody answers our hello.
    fn answer(
        &mut self,
        node_id: NodeId,
        connection: &mut Connection,
        answer: Result<handshake::Welcome, Refuse>,
        inbound: &mut Vec<Inbound>,
    ) -> Result<Next, WireError> {
        let remote = connection.remote;
        let Some(peer) = self.peers.get(&node_id) else {
            return Ok(Next::Close("the peer is no longer wanted".into()));
        };
        let welcome = match answer {
            Ok(welcome) => welcome,
            Err(refuse) => {
                let why = refuse.sentence;
                if self.log_limit.allows(self.now_ms) {
                    tracing::warn!(node_id, %remote, why, "a peer refused the connection");
                }
                return Ok(Next::Close(format!("it refuses: {why}").into()));
            }
        };
        let actual = welcome.introduction.identity;
        let expected = PeerIdentity { node_id, incarnation: peer.target().1 };
        let checked = welcome.check(&self.introduction(), expected).and_then(|()| {
            match self.peers.get(&node_id) {
                Some(peer) if !peer.may_be(actual.incarnation) => {
                    let known = peer.incarnations.first().copied().unwrap_or_default();
                    let sentence = handshake::wrong_incarnation(actual, known);
                    Err(Refuse { code: Code::HandshakeRefused, sentence })
                }
                _ => self.witness.check(&welcome.introduction),
            }
        });
        if let Err(refuse) = checked {
            self.refused(remote, &refuse.sentence);
            return Ok(Next::Close(format!("it was refused: {}", refuse.sentence).into()));
        }
        let frame_bytes_max = welcome.introduction.frame_bytes_max;
        if frame_bytes_max < message::FRAME_BYTES_MIN {
            return Err(WireError::new("a peer that reads no frames worth the name"));
        }
        connection.peer_frame_bytes_max = frame_bytes_max.min(self.options.frame_bytes_max);
        connection.phase = Phase::Sending { peer: actual };
        connection.moved_ms = None;
        if let Some(peer) = self.peers.get_mut(&node_id) {
            peer.failures = 0;
            peer.trouble = None;
        }
        self.next_timers_ms = 0;
        self.status.connected_peers += 1;
        inbound.push(Inbound::Connected { peer: actual });
        Ok(Next::GoOn)
    }

    fn hand_over(&mut self, slot: usize, peer: PeerIdentity, inbound: &mut Vec<Inbound>) {
        let Some(connection) = self.remove(slot) else { return };
        let remote = connection.remote;
        let stream = std::net::TcpStream::from(OwnedFd::from(connection.stream));
        // A snapshot has deadlines of its own, and an application that may think for long.
        #[cfg(target_os = "linux")]
        let ready = SockRef::from(&stream).set_tcp_user_timeout(None);
        #[cfg(not(target_os = "linux"))]
        let ready = Ok(());
        match ready.and_then(|()| stream.set_nonblocking(false)) {
            Ok(()) => inbound.push(Inbound::Bulk { peer, stream: stream.into() }),
            Err(error) => self.refused(remote, &error.to_string()),
        }
    }
}
