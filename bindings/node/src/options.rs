//! Options as JavaScript hands them over. `lib/options.ts` has checked their types; what is missing
//! has its default.

use std::path::PathBuf;

use libraft::{Change, Code, Error, GroupOptions, InitialMember, NodeOptions, Result};
use napi::bindgen_prelude::BigInt;
use napi_derive::napi;

#[napi(object, object_to_js = false)]
pub struct NativeNodeOptions {
    pub cluster: String,
    pub node_id: BigInt,
    pub directory: String,
    pub snapshot_directory: Option<String>,
    pub listen_address: Option<String>,
    pub advertised_address: Option<String>,
    pub insecure_transport: Option<bool>,
    pub tick_ms: Option<i64>,
    pub election_ticks: Option<i64>,
    pub heartbeat_ticks: Option<i64>,
    pub apply_threads: Option<i64>,
    pub segment_bytes: Option<i64>,
    pub segments_max: Option<i64>,
    pub free_bytes_min: Option<i64>,
}

#[napi(object, object_to_js = false)]
pub struct NativeAddress {
    pub node_id: BigInt,
    pub address: String,
}

#[napi(object, object_to_js = false)]
pub struct NativeGroupOptions {
    pub group_id: BigInt,
    pub initial_members: Vec<NativeAddress>,
    pub proposal_bytes_max: Option<i64>,
    pub pending_bytes_max: Option<i64>,
    pub pending_count_max: Option<i64>,
    pub unapplied_bytes_max: Option<i64>,
    pub inflight_bytes_max: Option<i64>,
    pub entry_cache_bytes: Option<i64>,
    pub snapshot_entries: Option<i64>,
    pub snapshot_log_bytes: Option<i64>,
    pub retained_entries: Option<i64>,
    pub proposal_timeout_ms: Option<i64>,
    pub snapshot_transfer_timeout_ms: Option<i64>,
    pub snapshot_restore_timeout_ms: Option<i64>,
    pub priority: Option<i64>,
}

/// One step of a membership change.
#[napi(object, object_to_js = false)]
pub struct NativeChange {
    pub kind: String,
    pub node_id: BigInt,
    pub address: Option<String>,
}

impl NativeNodeOptions {
    pub fn into_options(self) -> Result<NodeOptions> {
        let default = NodeOptions::default();
        Ok(NodeOptions {
            cluster: self.cluster,
            node_id: id("nodeId", &self.node_id)?,
            directory: PathBuf::from(self.directory),
            snapshot_directory: self.snapshot_directory.map(PathBuf::from),
            listen_address: self.listen_address.unwrap_or(default.listen_address),
            advertised_address: self.advertised_address.unwrap_or(default.advertised_address),
            insecure_transport: self.insecure_transport.unwrap_or(default.insecure_transport),
            tick_ms: size("tickMs", self.tick_ms, default.tick_ms)?,
            election_ticks: size("electionTicks", self.election_ticks, default.election_ticks)?,
            heartbeat_ticks: size("heartbeatTicks", self.heartbeat_ticks, default.heartbeat_ticks)?,
            apply_threads: size("applyThreads", self.apply_threads, default.apply_threads)?,
            segment_bytes: size("segmentBytes", self.segment_bytes, default.segment_bytes)?,
            segments_max: size("segmentsMax", self.segments_max, default.segments_max)?,
            free_bytes_min: size("freeBytesMin", self.free_bytes_min, default.free_bytes_min)?,
        })
    }
}

impl NativeGroupOptions {
    pub fn into_options(self) -> Result<GroupOptions> {
        let default = GroupOptions::default();
        let member = |member: NativeAddress| {
            let node_id = id("nodeId", &member.node_id)?;
            Ok(InitialMember { node_id, address: member.address })
        };
        Ok(GroupOptions {
            group_id: id("groupId", &self.group_id)?,
            initial_members: self.initial_members.into_iter().map(member).collect::<Result<_>>()?,
            proposal_bytes_max: size(
                "proposalBytesMax",
                self.proposal_bytes_max,
                default.proposal_bytes_max,
            )?,
            pending_bytes_max: size(
                "pendingBytesMax",
                self.pending_bytes_max,
                default.pending_bytes_max,
            )?,
            pending_count_max: size(
                "pendingCountMax",
                self.pending_count_max,
                default.pending_count_max,
            )?,
            unapplied_bytes_max: size(
                "unappliedBytesMax",
                self.unapplied_bytes_max,
                default.unapplied_bytes_max,
            )?,
            inflight_bytes_max: size(
                "inflightBytesMax",
                self.inflight_bytes_max,
                default.inflight_bytes_max,
            )?,
            entry_cache_bytes: size(
                "entryCacheBytes",
                self.entry_cache_bytes,
                default.entry_cache_bytes,
            )?,
            snapshot_entries: size(
                "snapshotEntries",
                self.snapshot_entries,
                default.snapshot_entries,
            )?,
            snapshot_log_bytes: size(
                "snapshotLogBytes",
                self.snapshot_log_bytes,
                default.snapshot_log_bytes,
            )?,
            retained_entries: size(
                "retainedEntries",
                self.retained_entries,
                default.retained_entries,
            )?,
            proposal_timeout_ms: size(
                "proposalTimeoutMs",
                self.proposal_timeout_ms,
                default.proposal_timeout_ms,
            )?,
            snapshot_transfer_timeout_ms: size(
                "snapshotTransferTimeoutMs",
                self.snapshot_transfer_timeout_ms,
                default.snapshot_transfer_timeout_ms,
            )?,
            snapshot_restore_timeout_ms: size(
                "snapshotRestoreTimeoutMs",
                self.snapshot_restore_timeout_ms,
                default.snapshot_restore_timeout_ms,
            )?,
            priority: self.priority.unwrap_or(default.priority),
        })
    }
}

impl NativeChange {
    pub fn into_change(self) -> Result<Change> {
        let node_id = id("nodeId", &self.node_id)?;
        let address = self.address.unwrap_or_default();
        match self.kind.as_str() {
            "add-learner" => Ok(Change::AddLearner { node_id, address }),
            "add-voter" => Ok(Change::AddVoter { node_id, address }),
            "promote" => Ok(Change::Promote { node_id }),
            "demote" => Ok(Change::Demote { node_id }),
            "remove" => Ok(Change::Remove { node_id }),
            "set-address" => Ok(Change::SetAddress { node_id, address }),
            other => Err(invalid(format!("there is no membership change '{other}'"))),
        }
    }
}

/// A `bigint` as an id.
pub fn id(name: &str, value: &BigInt) -> Result<u64> {
    match value.get_u64() {
        (false, id, true) => Ok(id),
        _ => Err(invalid(format!("{name} must be between 0 and 2^64 - 1"))),
    }
}

fn size<T: TryFrom<i64>>(name: &str, value: Option<i64>, default: T) -> Result<T> {
    let Some(value) = value else { return Ok(default) };
    T::try_from(value).map_err(|_| invalid(format!("{name} is {value}, but must not be negative")))
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::rejected(Code::InvalidArgument, message)
}
