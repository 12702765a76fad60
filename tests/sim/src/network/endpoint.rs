//! The connections of one node's event loop: what the real transport does with sockets.
//!
//! Each node dials every peer and sends on the connection that it dialed. Who dials without being listed is a guest, and
//! is dialed back; see the real transport for the reasons. The bytes of the handshake and of messages, the checks of both
//! ends, and what is remembered of a peer's directory are the production code's.

use std::collections::BTreeMap;
use std::time::Duration;

use libraft::chain::Chain;
use libraft::error::Code;
use libraft::ids::{NodeId, Uuid};
use libraft::log::Lsn;
use libraft::replica::{Envelope, PeerIdentity};
use libraft::runtime::Network;
use libraft::transport::{Inbound, TransportStatus, Witness};
use libraft::wire::handshake::{decode_answer, wrong_incarnation};
use libraft::wire::{frame, message, FrameKind, Hello, Intent, Introduction, Refuse, WireError};

use super::{address, node_at, parse, Arrival, ConnectionId, PipeEnd};
use crate::event::MS;
use crate::hub::{Core, Life};

/// The waits between dials double from the least to the most.
const WAIT_MIN_MS: u64 = 50;
const WAIT_MAX_MS: u64 = 1_000;

/// See the module.
pub struct Endpoint {
    life: Life,
    own: Introduction,
    peers: BTreeMap<NodeId, Peer>,
    /// Connections on which others send to us.
    receiving: BTreeMap<ConnectionId, PeerIdentity>,
    witness: Witness,
    now_ms: u64,
    status: TransportStatus,
    /// Ends of connections that the loop has not heard of yet.
    lost: Vec<NodeId>,
}

#[derive(Default)]
struct Peer {
    /// As listed: incarnations (nil for any) and addresses.
    listed: Vec<(Uuid, String)>,
    /// What it said itself, on the connection that it dialed.
    told: Option<(Uuid, String, ConnectionId)>,
    connection: Option<ConnectionId>,
    /// Who answered there.
    open: Option<PeerIdentity>,
    failures: u32,
    dial_ms: u64,
}

impl Peer {
    fn lists(&self, incarnation: Uuid) -> bool {
        self.listed.iter().any(|(known, _)| known.is_nil() || *known == incarnation)
    }

    fn guest(&self) -> Option<Uuid> {
        let told = self.told.as_ref().map(|(incarnation, ..)| *incarnation);
        told.filter(|incarnation| !self.lists(*incarnation))
    }

    fn may_be(&self, incarnation: Uuid) -> bool {
        self.guest().map_or_else(|| self.lists(incarnation), |guest| guest == incarnation)
    }

    /// Where to dial, and whom to expect there (nil for anybody).
    fn target(&self) -> Option<(&str, Uuid)> {
        if let Some((incarnation, address, _)) = &self.told {
            if self.guest().is_some() {
                return Some((address, *incarnation));
            }
        }
        let at = self.failures as usize % self.listed.len().max(1);
        let (_, address) = self.listed.get(at)?;
        let expected = if let [(only, _)] = self.listed[..] { only } else { Uuid::NIL };
        Some((address, expected))
    }
}

impl Endpoint {
    pub fn new(life: Life, cluster: &str, boot_counter: u64, frame_bytes_max: usize) -> Endpoint {
        let place = life.place;
        let identity = PeerIdentity { node_id: place.node_id, incarnation: place.incarnation };
        let own = Introduction {
            cluster: cluster.to_string(),
            identity,
            boot_counter,
            position: 0,
            advertised_address: address(life.node),
            frame_bytes_max,
        };
        Endpoint {
            life,
            own,
            peers: BTreeMap::new(),
            receiving: BTreeMap::new(),
            witness: Witness::default(),
            now_ms: 0,
            status: TransportStatus::default(),
            lost: Vec::new(),
        }
    }

    fn core(&self) -> std::sync::MutexGuard<'_, Core> {
        self.life.hub.core()
    }

    fn arrived(&mut self, arrival: Arrival, inbound: &mut Vec<Inbound>) -> Result<(), WireError> {
        match arrival {
            Arrival::Hello { connection, bytes } => {
                let hello = Hello::decode(&parse(&bytes)?)?;
                self.hello(connection, &hello, inbound);
            }
            Arrival::Answer { connection, bytes } => {
                let answer = decode_answer(&parse(&bytes)?)?;
                let sender = |(_, peer): &(&NodeId, &Peer)| peer.connection == Some(connection);
                let node_id = self.peers.iter().find(sender).map(|(node_id, _)| *node_id);
                let Some(node_id) = node_id else {
                    self.core().close(connection, MS);
                    return Ok(());
                };
                let welcome = answer.and_then(|welcome| self.check(node_id, welcome));
                self.answered(node_id, welcome, inbound);
            }
            Arrival::Frame { connection, bytes } => {
                let Some(peer) = self.receiving.get(&connection).copied() else { return Ok(()) };
                let visit = |envelope| inbound.push(Inbound::Message { peer, envelope });
                message::decode_frame(&parse(&bytes)?, visit)?;
            }
            Arrival::Closed { connection } => self.closed(connection, inbound),
        }
        Ok(())
    }

    /// Somebody introduces himself.
    fn hello(&mut self, connection: ConnectionId, hello: &Hello, inbound: &mut Vec<Inbound>) {
        let peer = hello.introduction.identity;
        let welcome = hello.answer(&self.own).and_then(|welcome| {
            self.admit(hello)?;
            Ok(welcome)
        });
        let welcome = match welcome {
            Ok(welcome) => welcome,
            Err(refuse) => {
                self.status.refused_connections += 1;
                self.life.hub.count("handshakes refused");
                self.life.hub.note(|| format!("refused: {}", refuse.sentence));
                let mut core = self.life.hub.core();
                core.answer(connection, refuse.encode());
                return;
            }
        };
        let mut core = self.life.hub.core();
        core.answer(connection, welcome.encode());
        let pipe = core.net.connections.get(&connection).and_then(|known| known.pipe);
        drop(core);
        match (hello.intent, pipe) {
            (Intent::Bulk, Some(pipe)) => {
                let stream = Box::new(PipeEnd::new(self.life.clone(), pipe, 1));
                inbound.push(Inbound::Bulk { peer, stream });
            }
            (Intent::Messages, _) => {
                self.receiving.insert(connection, peer);
                let told = &hello.introduction.advertised_address;
                let known = self.peers.entry(peer.node_id).or_default();
                known.told = Some((peer.incarnation, told.clone(), connection));
                if known.connection.is_none() {
                    known.dial_ms = 0;
                }
                self.drop_unwanted(peer.node_id);
            }
            _ => {}
        }
    }

    fn admit(&mut self, hello: &Hello) -> Result<(), Refuse> {
        let identity = hello.introduction.identity;
        let other = self.peers.get(&identity.node_id);
        let other =
            other.filter(|peer| !peer.listed.is_empty() && !peer.lists(identity.incarnation));
        if let Some(peer) = other {
            let listed = |told: &Uuid| peer.lists(*told);
            if peer.told.as_ref().map(|(incarnation, ..)| incarnation).is_some_and(listed) {
                let sentence = wrong_incarnation(identity, peer.listed[0].0);
                return Err(Refuse { code: Code::HandshakeRefused, sentence });
            }
        }
        self.witness.check(&hello.introduction)
    }

    fn check(
        &mut self,
        node_id: NodeId,
        welcome: libraft::wire::Welcome,
    ) -> Result<PeerIdentity, Refuse> {
        let Some(peer) = self.peers.get(&node_id) else {
            return Err(Refuse { code: Code::Closed, sentence: String::new() });
        };
        let incarnation = peer.target().map_or(Uuid::NIL, |(_, expected)| expected);
        welcome.check(&self.own, PeerIdentity { node_id, incarnation })?;
        let actual = welcome.introduction.identity;
        if !peer.may_be(actual.incarnation) {
            let sentence = wrong_incarnation(actual, incarnation);
            return Err(Refuse { code: Code::HandshakeRefused, sentence });
        }
        self.witness.check(&welcome.introduction)?;
        Ok(actual)
    }

    fn answered(
        &mut self,
        node_id: NodeId,
        welcome: Result<PeerIdentity, Refuse>,
        inbound: &mut Vec<Inbound>,
    ) {
        let Some(peer) = self.peers.get_mut(&node_id) else { return };
        match welcome {
            Ok(actual) => {
                (peer.open, peer.failures) = (Some(actual), 0);
                self.status.connected_peers += 1;
                inbound.push(Inbound::Connected { peer: actual });
            }
            Err(refuse) => {
                self.status.refused_connections += 1;
                self.life.hub.note(|| format!("refused an answer: {}", refuse.sentence));
                self.life.hub.count("handshakes refused");
                self.hang_up(node_id);
            }
        }
    }

    /// A connection has ended.
    fn closed(&mut self, connection: ConnectionId, inbound: &mut Vec<Inbound>) {
        if let Some(peer) = self.receiving.remove(&connection) {
            let known = self.peers.entry(peer.node_id).or_default();
            known.told.take_if(|(.., told_on)| *told_on == connection);
            self.drop_unwanted(peer.node_id);
        }
        let dialed = self.peers.iter().find(|(_, peer)| peer.connection == Some(connection));
        if let Some(node_id) = dialed.map(|(node_id, _)| *node_id) {
            self.hang_up(node_id);
        }
        self.tell_lost(inbound);
    }

    /// Ends the connection to a peer, which is dialed again later.
    fn hang_up(&mut self, node_id: NodeId) {
        let now_ms = self.now_ms;
        let Some(peer) = self.peers.get_mut(&node_id) else { return };
        let connection = peer.connection.take();
        if peer.open.take().is_some() {
            self.status.connected_peers -= 1;
            self.lost.push(node_id);
        } else {
            peer.failures += 1;
        }
        let full_ms = (WAIT_MIN_MS << peer.failures.min(10)).min(WAIT_MAX_MS);
        let mut core = self.life.hub.core();
        peer.dial_ms = now_ms + full_ms / 2 + core.random.below(full_ms / 2 + 1);
        if let Some(connection) = connection {
            core.close(connection, MS);
        }
    }

    fn tell_lost(&mut self, inbound: &mut Vec<Inbound>) {
        let lost = self.lost.drain(..);
        inbound.extend(lost.map(|node_id| Inbound::Disconnected { node_id }));
    }

    /// Ends the connection to who is not wanted any more, and forgets who is neither listed nor connected to us.
    fn drop_unwanted(&mut self, node_id: NodeId) {
        let Some(peer) = self.peers.get(&node_id) else { return };
        if peer.open.is_some_and(|open| !peer.may_be(open.incarnation)) {
            self.hang_up(node_id);
        }
        let Some(peer) = self.peers.get(&node_id) else { return };
        if peer.listed.is_empty() && peer.told.is_none() {
            self.hang_up(node_id);
            self.peers.remove(&node_id);
        }
    }

    fn dial_who_is_due(&mut self) {
        for (node_id, peer) in &mut self.peers {
            if peer.connection.is_some() || peer.dial_ms > self.now_ms {
                continue;
            }
            let Some((address, incarnation)) = peer.target() else { continue };
            let expected = PeerIdentity { node_id: *node_id, incarnation };
            let hello = Hello::new(self.own.clone(), Intent::Messages, expected).encode();
            let mut core = self.life.hub.core();
            let nodes = core.nodes.len();
            let Some(to) = node_at(address, nodes) else { continue };
            let from = (self.life.node, self.life.id);
            peer.connection = Some(core.connect(from, to, &hello, None));
        }
    }
}

impl Core {
    /// A task of a node dials: the answer will be kept for it.
    pub fn dial(&mut self, life: &Life, to: usize, hello: &[u8], pipe: u64) -> ConnectionId {
        self.connect((life.node, life.id), to, hello, Some(pipe))
    }
}

impl Network for Endpoint {
    /// The world turns the loop when something has happened.
    fn wait(&mut self, _timeout: Duration) {}

    fn receive(&mut self, now_ms: u64, inbound: &mut Vec<Inbound>) {
        self.now_ms = now_ms;
        self.tell_lost(inbound);
        let arrived = std::mem::take(&mut self.core().net.arrived[self.life.node]);
        for arrival in arrived {
            if self.arrived(arrival, inbound).is_err() {
                self.status.refused_frames += 1;
                self.life.hub.count("frames refused");
            }
        }
        self.tell_lost(inbound);
        self.dial_who_is_due();
    }

    fn next_deadline_ms(&self) -> u64 {
        if !self.core().net.arrived[self.life.node].is_empty() {
            return 0;
        }
        let waiting = self.peers.values().filter(|peer| peer.connection.is_none());
        waiting.map(|peer| peer.dial_ms).min().unwrap_or(u64::MAX)
    }

    fn send(&mut self, to: NodeId, envelope: &Envelope) -> bool {
        let Some(peer) = self.peers.get(&to) else { return false };
        let (Some(connection), Some(_)) = (peer.connection, peer.open) else { return false };
        let Ok(piece) = message::next_piece(envelope, 0, self.own.frame_bytes_max) else {
            return false;
        };
        let mut bytes = Chain::default();
        frame::begin(&mut bytes);
        if message::encode(envelope, piece, &mut bytes).is_err() {
            return false;
        }
        frame::seal(&mut bytes, FrameKind::Messages);
        self.core().send(connection, bytes.flat().into_owned(), &envelope.body)
    }

    fn flush(&mut self) {}

    fn set_peers(&mut self, peers: &[(PeerIdentity, String)]) {
        self.peers.values_mut().for_each(|peer| peer.listed.clear());
        for (identity, address) in peers {
            if identity.node_id != self.own.identity.node_id {
                let listed = &mut self.peers.entry(identity.node_id).or_default().listed;
                listed.push((identity.incarnation, address.clone()));
            }
        }
        let all: Vec<NodeId> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|node_id| self.drop_unwanted(node_id));
    }

    fn told_address(&self, peer: PeerIdentity) -> Option<&str> {
        let (incarnation, address, _) = self.peers.get(&peer.node_id)?.told.as_ref()?;
        (*incarnation == peer.incarnation).then_some(address)
    }

    fn set_position(&mut self, lsn: Lsn) {
        self.own.position = lsn;
    }

    fn status(&self) -> TransportStatus {
        self.status.clone()
    }
}
