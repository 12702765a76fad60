//! Options, as the Java half writes them: the number of an option and its value, for those that
//! were set. The defaults live in the core, once.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use libraft::{Change, Code, Error, GroupOptions, InitialMember, NodeOptions, Result};

use crate::flat::Reader;

pub fn node(reader: &mut Reader) -> Result<NodeOptions> {
    let mut options = NodeOptions::default();
    while !reader.is_empty() {
        match reader.byte()? {
            1 => options.cluster = reader.text()?,
            2 => options.node_id = reader.long()?,
            3 => options.directory = path(reader)?,
            4 => options.snapshot_directory = Some(path(reader)?),
            5 => options.listen_address = reader.text()?,
            6 => options.advertised_address = reader.text()?,
            7 => options.insecure_transport = reader.long()? != 0,
            8 => options.tick_ms = reader.long()?,
            9 => options.election_ticks = reader.long()?,
            10 => options.heartbeat_ticks = reader.long()?,
            11 => options.apply_threads = reader.long()? as usize,
            12 => options.segment_bytes = reader.long()?,
            13 => options.segments_max = reader.long()? as usize,
            14 => options.free_bytes_min = reader.long()?,
            other => return Err(unknown("a node", other)),
        }
    }
    Ok(options)
}

pub fn group(reader: &mut Reader) -> Result<GroupOptions> {
    let mut options = GroupOptions::default();
    while !reader.is_empty() {
        match reader.byte()? {
            1 => options.group_id = reader.long()?,
            2 => options
                .initial_members
                .push(InitialMember { node_id: reader.long()?, address: reader.text()? }),
            3 => options.proposal_bytes_max = reader.long()?,
            4 => options.pending_bytes_max = reader.long()?,
            5 => options.pending_count_max = reader.long()?,
            6 => options.unapplied_bytes_max = reader.long()?,
            7 => options.inflight_bytes_max = reader.long()?,
            8 => options.entry_cache_bytes = reader.long()?,
            9 => options.snapshot_entries = reader.long()?,
            10 => options.snapshot_log_bytes = reader.long()?,
            11 => options.retained_entries = reader.long()?,
            12 => options.proposal_timeout_ms = reader.long()?,
            13 => options.snapshot_transfer_timeout_ms = reader.long()?,
            14 => options.snapshot_restore_timeout_ms = reader.long()?,
            15 => options.priority = reader.long()? as i64,
            other => return Err(unknown("a group", other)),
        }
    }
    Ok(options)
}

pub fn changes(reader: &mut Reader) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    while !reader.is_empty() {
        let kind = reader.byte()?;
        let node_id = reader.long()?;
        let address = reader.text()?;
        changes.push(match kind {
            1 => Change::AddLearner { node_id, address },
            2 => Change::AddVoter { node_id, address },
            3 => Change::Promote { node_id },
            4 => Change::Demote { node_id },
            5 => Change::Remove { node_id },
            6 => Change::SetAddress { node_id, address },
            other => return Err(unknown("a membership change", other)),
        });
    }
    Ok(changes)
}

/// A path is whatever bytes the file system takes.
fn path(reader: &mut Reader) -> Result<PathBuf> {
    Ok(PathBuf::from(OsString::from_vec(reader.bytes()?.to_vec())))
}

fn unknown(of: &str, number: u8) -> Error {
    Error::rejected(Code::Internal, format!("there is no option {number} of {of}"))
}
