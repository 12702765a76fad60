//! What is known of a peer, and when to dial it next.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::connection::Phase;
use super::Transport;
use crate::ids::{NodeId, Uuid};
use crate::log::Lsn;
use crate::replica::PeerIdentity;
use crate::wire::{Introduction, Refuse};

/// A node that a connection is kept to.
pub struct Peer {
    pub address: String,
    /// The incarnations it may have; a nil one stands for any.
    pub incarnations: Vec<Uuid>,
    /// Nobody asked for it: it dialed us, and can be answered as long as it stays connected.
    pub guest: bool,
    /// What the address stands for, tried in turn; empty until it was resolved.
    pub resolved: Vec<SocketAddr>,
    pub resolving: bool,
    /// Slot of the connection dialed, whether its handshake is over or not.
    pub connection: Option<usize>,
    /// Dials that failed since the last that succeeded.
    pub failures: u32,
    /// How long to wait before the next dial, from the next look at the clock on.
    pub wait_ms: u64,
    /// When to dial; `None` until the clock was looked at.
    pub dial_ms: Option<u64>,
}

impl Peer {
    pub fn new(address: &str, incarnations: Vec<Uuid>, guest: bool) -> Peer {
        Peer {
            address: address.to_string(),
            incarnations,
            guest,
            resolved: Vec::new(),
            resolving: false,
            connection: None,
            failures: 0,
            wait_ms: 0,
            dial_ms: None,
        }
    }

    pub fn accepts(&self, incarnation: Uuid) -> bool {
        self.incarnations.iter().any(|known| known.is_nil() || *known == incarnation)
    }

    /// Who must answer at the address: a certain incarnation if there is only one.
    pub fn expected(&self, node_id: NodeId) -> PeerIdentity {
        let incarnation = match self.incarnations[..] {
            [only] => only,
            _ => Uuid::NIL,
        };
        PeerIdentity { node_id, incarnation }
    }

    /// Forgets what the old address stood for.
    pub fn set_address(&mut self, address: &str) {
        self.address = address.to_string();
        self.resolved.clear();
        self.resolving = false;
        self.dial_at_once();
    }

    pub fn dial_at_once(&mut self) {
        self.failures = 0;
        self.wait_ms = 0;
        self.dial_ms = None;
    }

    pub fn dial_after(&mut self, wait_ms: u64) {
        self.wait_ms = wait_ms;
        self.dial_ms = None;
    }
}

impl Transport {
    /// Whom to keep connections to, with address: the union over all groups. A node id may appear with several
    /// incarnations (while a wiped node is being replaced), and with a nil one, for which any will do. Whoever has another
    /// incarnation is refused. A changed address reconnects. Connections to nodes that are no longer listed end, unless
    /// those are still connected to us. This node itself is skipped.
    pub fn set_peers(&mut self, peers: &[(PeerIdentity, String)]) {
        let mut wanted: HashMap<NodeId, (Vec<_>, &str)> = HashMap::new();
        for (identity, address) in peers {
            if identity.node_id != self.options.identity.node_id {
                let entry = wanted.entry(identity.node_id).or_default();
                entry.0.push(identity.incarnation);
                entry.1 = address;
            }
        }
        let gone: Vec<NodeId> =
            self.peers.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for node_id in gone {
            self.peer_not_wanted(node_id);
        }
        for (node_id, (incarnations, address)) in wanted {
            self.peer_wanted(node_id, incarnations, address);
        }
        self.next_timers_ms = 0;
    }

    fn peer_not_wanted(&mut self, node_id: NodeId) {
        let connected = self.receiving.contains_key(&node_id);
        if let Some(peer) = self.peers.get_mut(&node_id) {
            if connected {
                peer.guest = true;
                return;
            }
            if let Some(slot) = peer.connection {
                self.mark_broken(slot);
            }
            self.peers.remove(&node_id);
        }
    }

    fn peer_wanted(&mut self, node_id: NodeId, incarnations: Vec<Uuid>, address: &str) {
        let Some(peer) = self.peers.get_mut(&node_id) else {
            self.peers.insert(node_id, Peer::new(address, incarnations, false));
            return;
        };
        peer.guest = false;
        peer.incarnations = incarnations;
        let mut ends = Vec::new();
        if peer.address != address {
            peer.set_address(address);
            ends.extend(peer.connection);
        }
        for slot in peer.connection.into_iter().chain(self.receiving.get(&node_id).copied()) {
            let phase = self.slots[slot].as_ref().map(|connection| connection.phase);
            if let Some(Phase::Sending { peer: other } | Phase::Receiving { peer: other }) = phase {
                if !peer.accepts(other.incarnation) {
                    ends.push(slot);
                }
            }
        }
        ends.into_iter().for_each(|slot| self.mark_broken(slot));
    }
}

/// Exponential backoff with jitter, from a seed.
pub struct Backoff {
    pub min_ms: u64,
    pub max_ms: u64,
    pub random: u64,
}

impl Backoff {
    /// The wait after so many failures: doubling from the least to the most, and of that between half and all, so that
    /// nodes that lost each other at the same moment do not dial in step for ever.
    pub fn wait_ms(&mut self, failures: u32) -> u64 {
        let doubled = self.min_ms.saturating_mul(1 << failures.min(20));
        let full = doubled.min(self.max_ms).max(1);
        full / 2 + self.next_random() % (full / 2 + 1)
    }

    /// splitmix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What handshakes told about the peers' data directories, to notice one that was set back to an older copy. Best effort:
/// it lives as long as the transport and is bounded.
#[derive(Default)]
pub struct Witness {
    seen: HashMap<PeerIdentity, (u64, Lsn)>,
}

const WITNESSED_MAX: usize = 4096;

impl Witness {
    /// Remembers what a peer says of itself; refuses one whose boot counter went back.
    pub fn check(&mut self, peer: &Introduction) -> Result<(), Refuse> {
        let (boot_counter, position) = (peer.boot_counter, peer.position);
        match self.seen.get(&peer.identity) {
            Some((seen_boot, _)) if boot_counter < *seen_boot => {
                let sentence = format!(
                    "node {} says that its data directory was opened {boot_counter} times, but it \
                     had been opened {seen_boot} times before: it was replaced by an older copy; \
                     empty it, and add the node again",
                    peer.identity.node_id,
                );
                return Err(Refuse { code: crate::error::Code::HandshakeRefused, sentence });
            }
            Some((seen_boot, seen_position)) if position < *seen_position => {
                // Within one boot an older handshake may merely have been overtaken by a newer one.
                if boot_counter > *seen_boot {
                    tracing::warn!(
                        node_id = peer.identity.node_id,
                        position,
                        seen_position,
                        "the journal of a peer is shorter than before its restart"
                    );
                }
                return Ok(());
            }
            Some(_) => {}
            None if self.seen.len() >= WITNESSED_MAX => {
                if let Some(some) = self.seen.keys().next().copied() {
                    self.seen.remove(&some);
                }
            }
            None => {}
        }
        self.seen.insert(peer.identity, (boot_counter, position));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_most_and_is_jittered() {
        let mut backoff = Backoff { min_ms: 100, max_ms: 2000, random: 7 };
        for (failures, full) in [(0, 100), (1, 200), (4, 1600), (5, 2000), (1000, 2000)] {
            let waits: Vec<u64> = (0..50).map(|_| backoff.wait_ms(failures)).collect();
            assert!(waits.iter().all(|wait| (full / 2..=full).contains(wait)), "{waits:?}");
            assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "no jitter: {waits:?}");
        }
    }

    #[test]
    fn a_peer_whose_boot_counter_goes_back_is_refused_in_the_same_incarnation_only() {
        let introduction = |incarnation: u8, boot_counter| Introduction {
            cluster: "c".to_string(),
            identity: PeerIdentity { node_id: 1, incarnation: Uuid([incarnation; 16]) },
            boot_counter,
            position: 0,
            advertised_address: String::new(),
            frame_bytes_max: 0,
        };
        let mut witness = Witness::default();
        witness.check(&introduction(1, 5)).unwrap();
        witness.check(&introduction(1, 5)).unwrap();
        witness.check(&introduction(1, 6)).unwrap();
        let refuse = witness.check(&introduction(1, 5)).unwrap_err();
        assert!(refuse.sentence.contains("older copy"), "{}", refuse.sentence);
        witness.check(&introduction(2, 1)).unwrap();
        witness.check(&introduction(1, 6)).unwrap();
    }

    #[test]
    fn what_is_witnessed_is_bounded() {
        let mut witness = Witness::default();
        for node_id in 1..WITNESSED_MAX as u64 + 100 {
            let introduction = Introduction {
                cluster: "c".to_string(),
                identity: PeerIdentity { node_id, incarnation: Uuid([1; 16]) },
                boot_counter: 1,
                position: 0,
                advertised_address: String::new(),
                frame_bytes_max: 0,
            };
            witness.check(&introduction).unwrap();
        }
        assert_eq!(witness.seen.len(), WITNESSED_MAX);
    }
}
