//! How a transport is set up.

use crate::replica::PeerIdentity;

/// How a transport is set up.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    pub cluster: String,
    pub identity: PeerIdentity,
    /// How often the data directory was opened.
    pub boot_counter: u64,
    /// `host:port` or `[ipv6]:port`; port 0 takes a free one.
    pub listen_address: String,
    /// What peers are told to dial; empty for the address that is listened on.
    pub advertised_address: String,
    /// Allows listening beyond loopback: nothing is encrypted or authenticated yet.
    pub insecure_transport: bool,
    /// The longest frame body that is read. An entry must fit into it, with a few bytes to spare.
    pub frame_bytes_max: usize,
    /// Bytes that may wait for one peer.
    pub queue_bytes_max: usize,
    /// The time for connecting and introducing oneself.
    pub handshake_timeout_ms: u64,
    /// A peer that says nothing, or takes nothing, for so long is disconnected.
    pub idle_timeout_ms: u64,
    pub backoff_min_ms: u64,
    pub backoff_max_ms: u64,
    /// Where the jitter of the backoff comes from; different on every node.
    pub seed: u64,
}

impl TransportOptions {
    pub fn new(cluster: &str, identity: PeerIdentity) -> TransportOptions {
        TransportOptions {
            cluster: cluster.to_string(),
            identity,
            boot_counter: 0,
            listen_address: "127.0.0.1:0".to_string(),
            advertised_address: String::new(),
            insecure_transport: false,
            frame_bytes_max: 16 << 20,
            queue_bytes_max: 64 << 20,
            handshake_timeout_ms: 2_000,
            idle_timeout_ms: 5_000,
            backoff_min_ms: 20,
            backoff_max_ms: 2_000,
            seed: identity.node_id,
        }
    }
}
