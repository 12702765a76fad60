//! What is known of a peer, and when to dial it next.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::connection::Phase;
use super::Transport;
use crate::ids::{NodeId, Uuid};
use crate::log::Lsn;
use crate::replica::PeerIdentity;
use crate::wire::{Introduction, Refuse};

/// A node that a connection is kept to: because the owner listed it, or because it is connected to
/// us.
pub struct Peer {
    /// The listed addresses, best first; none if the node is not listed.
    pub addresses: Vec<String>,
    /// Which of all known addresses is dialed: moves on when one has failed.
    pub candidate: usize,
    /// The listed incarnations, of which a nil one stands for any; none if the node is not listed.
    pub incarnations: Vec<Uuid>,
    /// What the node itself said, as long as it is connected to us.
    pub told: Option<Told>,
    /// What the address `resolved_from` stands for, tried in turn.
    pub resolved: Vec<SocketAddr>,
    pub resolved_from: String,
    pub resolving: bool,
    /// Slot of the connection dialed, whether its handshake is over or not.
    pub connection: Option<usize>,
    /// Dials that failed since the last that succeeded.
    pub failures: u32,
    /// Why the last dial failed; `None` after one that succeeded.
    pub trouble: Option<String>,
    /// How long to wait before the next dial, from the next look at the clock on.
    pub wait_ms: u64,
    /// When to dial; `None` until the clock was looked at.
    pub dial_ms: Option<u64>,
}

/// What a node that dialed us said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub incarnation: Uuid,
    pub address: String,
}

impl Peer {
    pub fn new() -> Peer {
        Peer {
            addresses: Vec::new(),
            candidate: 0,
            incarnations: Vec::new(),
            told: None,
            resolved: Vec::new(),
            resolved_from: String::new(),
            resolving: false,
            connection: None,
            failures: 0,
            trouble: None,
            wait_ms: 0,
            dial_ms: None,
        }
    }

    pub fn is_listed(&self) -> bool {
        !self.incarnations.is_empty()
    }

    /// Whether the list has this incarnation.
    pub fn lists(&self, incarnation: Uuid) -> bool {
        self.incarnations.iter().any(|known| known.is_nil() || *known == incarnation)
    }

    /// Somebody who is connected to us, but not with a listed incarnation: a *guest*.
    pub fn guest(&self) -> Option<&Told> {
        self.told.as_ref().filter(|told| !self.lists(told.incarnation))
    }

    /// Whether envelopes for this node may go to this incarnation of it.
    pub fn may_be(&self, incarnation: Uuid) -> bool {
        match self.guest() {
            Some(guest) => guest.incarnation == incarnation,
            None => self.lists(incarnation),
        }
    }

    /// Where to dial next, and which incarnation to expect there (nil for any). A listed node is
    /// tried in turn at the listed addresses, and at the one that it told us itself.
    pub fn target(&self) -> (&str, Uuid) {
        if let Some(guest) = self.guest() {
            return (&guest.address, guest.incarnation);
        }
        let expected = match self.incarnations[..] {
            [only] => only,
            _ => Uuid::NIL,
        };
        let told = self.told.as_ref().filter(|told| !self.addresses.contains(&told.address));
        let known = self.addresses.len() + usize::from(told.is_some());
        match (self.addresses.get(self.candidate % known.max(1)), told) {
            (Some(address), _) => (address, expected),
            (None, Some(told)) => (&told.address, told.incarnation),
            (None, None) => ("", Uuid::NIL),
        }
    }

    /// A dial failed: next time another address is tried, once all numbers that this one stands for
    /// were.
    pub fn dial_failed(&mut self, why: &str) {
        self.trouble = Some(why.to_string());
        self.failures = self.failures.saturating_add(1);
        if self.resolved.is_empty() {
            self.candidate = self.candidate.wrapping_add(1);
        }
    }

    pub fn dial_at_once(&mut self) {
        self.failures = 0;
        self.dial_after(0);
    }

    pub fn dial_after(&mut self, wait_ms: u64) {
        self.wait_ms = wait_ms;
        self.dial_ms = None;
    }
}

impl Transport {
    /// Whom to keep connections to, with address: the union over all groups. A node id may appear
    /// with several incarnations (while a wiped node is being replaced), and with a nil one, for
    /// which any will do; and with several addresses, which are tried in turn, in this order. A
    /// changed address reconnects. Connections to nodes that are no longer
    /// listed end, unless those are still connected to us. This node itself is skipped.
    pub fn set_peers(&mut self, peers: &[(PeerIdentity, String)]) {
        let mut listed: HashMap<NodeId, (Vec<Uuid>, Vec<String>)> = HashMap::new();
        for (identity, address) in peers {
            if identity.node_id != self.options.identity.node_id {
                let (incarnations, addresses) = listed.entry(identity.node_id).or_default();
                if !incarnations.contains(&identity.incarnation) {
                    incarnations.push(identity.incarnation);
                }
                if !addresses.contains(address) {
                    addresses.push(address.clone());
                }
            }
        }
        for node_id in self.peers.keys().copied().collect::<Vec<_>>() {
            if !listed.contains_key(&node_id) {
                self.change_peer(node_id, |peer| {
                    peer.incarnations.clear();
                    peer.addresses.clear();
                });
            }
        }
        for (node_id, (incarnations, addresses)) in listed {
            self.change_peer(node_id, |peer| {
                peer.incarnations = incarnations;
                if peer.addresses != addresses {
                    peer.addresses = addresses;
                    peer.candidate = 0;
                }
            });
        }
    }

    /// The address that a node which is connected to us says it has.
    pub fn told_address(&self, identity: PeerIdentity) -> Option<&str> {
        let told = self.peers.get(&identity.node_id)?.told.as_ref();
        told.filter(|told| told.incarnation == identity.incarnation).map(|told| &*told.address)
    }

    /// Changes what is known of a node (which is then forgotten if it is neither listed nor
    /// connected to us), and ends the connections that no longer fit.
    pub(super) fn change_peer(&mut self, node_id: NodeId, change: impl FnOnce(&mut Peer)) {
        self.next_timers_ms = 0;
        let peer = self.peers.entry(node_id).or_insert_with(Peer::new);
        let was_guest = peer.guest().is_some();
        let (address, incarnation) = peer.target();
        let before = (address.to_string(), incarnation);
        change(peer);
        let (address, incarnation) = peer.target();
        let moved = !was_guest && address != before.0;
        let same_target = !moved && incarnation == before.1;
        let end = peer.connection.filter(|slot| {
            match self.slots[*slot].as_ref().map(|connection| connection.phase) {
                Some(Phase::Sending { peer: actual }) => moved || !peer.may_be(actual.incarnation),
                _ => !same_target,
            }
        });
        if moved || end.is_some() {
            // No longer the peer's connection, so its end is nobody's failure to answer.
            peer.connection = None;
            peer.dial_at_once();
        }
        if !peer.is_listed() && peer.told.is_none() {
            self.peers.remove(&node_id);
        }
        if let Some(slot) = end {
            self.mark_broken(slot);
        }
    }
}

/// Exponential backoff with jitter, from a seed.
pub struct Backoff {
    pub min_ms: u64,
    pub max_ms: u64,
    pub random: u64,
}

impl Backoff {
    /// The wait after so many failures: doubling from the least to the most, and of that between
    /// half and all, so that nodes that lost each other at the same moment do not dial in step for
    /// ever.
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

/// What handshakes told about the peers' data directories, to notice one that was set back to an
/// older copy. Best effort: it lives as long as the transport and is bounded.
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
    fn every_number_that_a_name_stands_for_is_tried_before_the_next_address() {
        let mut peer = Peer::new();
        peer.incarnations = vec![Uuid([1; 16])];
        peer.addresses = vec!["name:1".to_string(), "127.0.0.1:2".to_string()];
        peer.resolved = vec!["127.0.0.1:1".parse().unwrap()];
        peer.dial_failed("the first number");
        assert_eq!(peer.target().0, "name:1", "there is another number");
        peer.resolved.clear();
        peer.dial_failed("the last number");
        assert_eq!(peer.target().0, "127.0.0.1:2");
        peer.told = Some(Told { incarnation: Uuid([1; 16]), address: "127.0.0.1:3".to_string() });
        peer.dial_failed("the second address");
        assert_eq!(peer.target(), ("127.0.0.1:3", Uuid([1; 16])));
        peer.dial_failed("what it told");
        assert_eq!(peer.target().0, "name:1", "and again from the beginning");
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
