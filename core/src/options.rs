//! What a node and a group are opened with.

use std::path::PathBuf;

use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, NodeId, NUMBER_LIMIT};
use crate::transport::{check_address, check_dialable};

/// How a node is opened. `Default` leaves `cluster`, `node_id` and `directory` to be filled in.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The cluster's name, 1 to 128 bytes; nodes of different clusters refuse each other.
    pub cluster: String,
    /// This node's id, not 0.
    pub node_id: NodeId,
    /// The data directory; created if missing. Each node has its own.
    pub directory: PathBuf,
    /// Where snapshots are kept, if not below `directory` (on another disk, say).
    pub snapshot_directory: Option<PathBuf>,
    /// Address to listen on, `host:port` or `[ipv6]:port`; port 0 takes a free one.
    pub listen_address: String,
    /// The address that peers connect to; empty means the listening one.
    pub advertised_address: String,
    /// Allows listening beyond loopback without transport security.
    pub insecure_transport: bool,
    /// The length of a tick in milliseconds.
    pub tick_ms: u64,
    /// Ticks without a heartbeat before a follower campaigns; the actual time is drawn from this up to twice this.
    pub election_ticks: u64,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: u64,
    /// Threads that run state machines which are not quick.
    pub apply_threads: usize,
    /// The size of a journal segment in bytes.
    pub segment_bytes: u64,
    /// Journal segments in use before the oldest is checkpointed.
    pub segments_max: usize,
    /// Bytes that must stay free on the disk.
    pub free_bytes_min: u64,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions {
            cluster: String::new(),
            node_id: 0,
            directory: PathBuf::new(),
            snapshot_directory: None,
            listen_address: "127.0.0.1:0".to_string(),
            advertised_address: String::new(),
            insecure_transport: false,
            tick_ms: 100,
            election_ticks: 10,
            heartbeat_ticks: 1,
            apply_threads: 2,
            segment_bytes: 64 << 20,
            segments_max: 8,
            free_bytes_min: 64 << 20,
        }
    }
}

/// One of the initial members of a group: identical on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    pub node_id: NodeId,
    pub address: String,
}

/// How a group is started on this node.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The group's id, not 0.
    pub group_id: GroupId,
    /// The members that form the group, identical on all of them, in any order. Empty: wait to be added (or, if the
    /// data directory holds the group, go on). Once the group has formed, other nodes are an error; other addresses of
    /// the same nodes are tried beside those that the group knows, so that all nodes may move at once.
    pub initial_members: Vec<InitialMember>,
    /// The largest proposal in bytes.
    pub proposal_bytes_max: u64,
    /// Bytes of proposals of this node that may be pending.
    pub pending_bytes_max: u64,
    /// Proposals and reads of this node that may be pending.
    pub pending_count_max: u64,
    /// Bytes committed but not applied above which proposals are answered busy.
    pub unapplied_bytes_max: u64,
    /// Bytes of entries in flight to one peer.
    pub inflight_bytes_max: u64,
    /// Bytes of entries kept in memory.
    pub entry_cache_bytes: u64,
    /// Entries between automatic snapshots; 0 for none by count.
    pub snapshot_entries: u64,
    /// Bytes of log between automatic snapshots; 0 for none by size.
    pub snapshot_log_bytes: u64,
    /// Entries kept behind a snapshot for followers that lag a little, but not more than `snapshot_log_bytes` of them.
    pub retained_entries: u64,
    /// Milliseconds after which a pending proposal or read completes with `Timeout`.
    pub proposal_timeout_ms: u64,
    pub snapshot_transfer_timeout_ms: u64,
    pub snapshot_restore_timeout_ms: u64,
    /// Higher campaigns first; see raft-rs `priority`.
    pub priority: i64,
}

impl Default for GroupOptions {
    fn default() -> GroupOptions {
        GroupOptions {
            group_id: 0,
            initial_members: Vec::new(),
            proposal_bytes_max: 8 << 20,
            pending_bytes_max: 256 << 20,
            pending_count_max: 1 << 20,
            unapplied_bytes_max: 256 << 20,
            inflight_bytes_max: 16 << 20,
            entry_cache_bytes: 32 << 20,
            snapshot_entries: 100_000,
            snapshot_log_bytes: 128 << 20,
            retained_entries: 10_000,
            proposal_timeout_ms: 10_000,
            snapshot_transfer_timeout_ms: 600_000,
            snapshot_restore_timeout_ms: 600_000,
            priority: 0,
        }
    }
}

impl NodeOptions {
    /// Refuses what cannot work, with a sentence that says what can.
    pub fn check(&self) -> Result<()> {
        if self.node_id == 0 || self.node_id >= NUMBER_LIMIT {
            return Err(invalid(format!(
                "node_id {} must be between 1 and 2^62 - 1",
                self.node_id
            )));
        }
        if self.directory.as_os_str().is_empty() {
            return Err(invalid("directory is empty: name the node's data directory".to_string()));
        }
        in_range("tick_ms", self.tick_ms, 1, 60_000)?;
        in_range("heartbeat_ticks", self.heartbeat_ticks, 1, 10_000)?;
        in_range("election_ticks", self.election_ticks, self.heartbeat_ticks + 1, 100_000)?;
        in_range("apply_threads", self.apply_threads as u64, 1, 1024)?;
        in_range("segment_bytes", self.segment_bytes, 1 << 20, 1 << 30)?;
        in_range("segments_max", self.segments_max as u64, 2, 4096)?;
        match self.advertised_address.as_str() {
            "" => Ok(()),
            address => check_dialable(address),
        }
    }
}

impl GroupOptions {
    /// Refuses what cannot work, with a sentence that says what can.
    pub fn check(&self) -> Result<()> {
        in_range("group_id", self.group_id, 1, NUMBER_LIMIT - 1)?;
        in_range("proposal_bytes_max", self.proposal_bytes_max, 1, PROPOSAL_BYTES_LIMIT)?;
        in_range("pending_bytes_max", self.pending_bytes_max, self.proposal_bytes_max, 1 << 40)?;
        in_range("pending_count_max", self.pending_count_max, 1, 1 << 32)?;
        in_range("inflight_bytes_max", self.inflight_bytes_max, 1 << 16, 1 << 40)?;
        in_range("proposal_timeout_ms", self.proposal_timeout_ms, 1, 86_400_000)?;
        let transfer_ms = self.snapshot_transfer_timeout_ms;
        in_range("snapshot_transfer_timeout_ms", transfer_ms, 1, SNAPSHOT_TIMEOUT_MS_MAX)?;
        let restore_ms = self.snapshot_restore_timeout_ms;
        in_range("snapshot_restore_timeout_ms", restore_ms, 1, SNAPSHOT_TIMEOUT_MS_MAX)?;
        in_range("initial_members", self.initial_members.len() as u64, 0, MEMBERS_MAX)?;
        let mut ids: Vec<NodeId> =
            self.initial_members.iter().map(|member| member.node_id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid("initial_members names a node twice".to_string()));
        }
        for member in &self.initial_members {
            in_range("the node_id of an initial member", member.node_id, 1, NUMBER_LIMIT - 1)?;
            check_address(&member.address)?;
        }
        Ok(())
    }
}

/// The largest `proposal_bytes_max`: a frame must hold an entry.
const PROPOSAL_BYTES_LIMIT: u64 = 32 << 20;
/// A year: as good as for ever, and far from what a clock cannot count.
const SNAPSHOT_TIMEOUT_MS_MAX: u64 = 365 * 86_400_000;
/// Members of a group.
const MEMBERS_MAX: u64 = 64;

fn in_range(name: &str, value: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("{name} is {value}, but must be between {min} and {max}")))
}

fn invalid(message: String) -> Error {
    Error::rejected(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_that_is_over_at_once_is_refused_by_name() {
        let good = GroupOptions { group_id: 1, ..GroupOptions::default() };
        good.check().expect("the defaults are good");
        for (name, options) in [
            ("proposal_timeout_ms", GroupOptions { proposal_timeout_ms: 0, ..good.clone() }),
            (
                "snapshot_transfer_timeout_ms",
                GroupOptions { snapshot_transfer_timeout_ms: 0, ..good.clone() },
            ),
            (
                "snapshot_restore_timeout_ms",
                GroupOptions { snapshot_restore_timeout_ms: 0, ..good.clone() },
            ),
        ] {
            let error = options.check().expect_err(name);
            assert!(error.message.starts_with(&format!("{name} is 0")), "{error}");
        }
    }
}
