//! Keyword arguments as the core's options. The defaults are the core's.

use libraft::{GroupOptions, InitialMember, NodeOptions};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::arguments::{boolean, number, path, signed_number, size, text, type_name};
use crate::error::{invalid, wrong_type};

pub fn node_options(keywords: Option<&Bound<'_, PyDict>>) -> PyResult<NodeOptions> {
    let mut options = NodeOptions::default();
    for (key, value) in keywords.into_iter().flatten() {
        let name = key.cast::<PyString>()?.to_string();
        match name.as_str() {
            "cluster" => options.cluster = text(&value, &name)?,
            "node_id" => options.node_id = number(&value, &name)?,
            "directory" => options.directory = path(&value, &name)?,
            "snapshot_directory" => {
                let missing = value.is_none();
                options.snapshot_directory =
                    if missing { None } else { Some(path(&value, &name)?) };
            }
            "listen_address" => options.listen_address = text(&value, &name)?,
            "advertised_address" => options.advertised_address = text(&value, &name)?,
            "insecure_transport" => options.insecure_transport = boolean(&value, &name)?,
            "tick_ms" => options.tick_ms = number(&value, &name)?,
            "election_ticks" => options.election_ticks = number(&value, &name)?,
            "heartbeat_ticks" => options.heartbeat_ticks = number(&value, &name)?,
            "apply_threads" => options.apply_threads = size(&value, &name)?,
            "segment_bytes" => options.segment_bytes = number(&value, &name)?,
            "segments_max" => options.segments_max = size(&value, &name)?,
            "free_bytes_min" => options.free_bytes_min = number(&value, &name)?,
            _ => return Err(unknown(&value, "Node.open", &name)),
        }
    }
    Ok(options)
}

pub fn group_options(
    group_id: &Bound<'_, PyAny>,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<GroupOptions> {
    let mut options =
        GroupOptions { group_id: number(group_id, "group_id")?, ..GroupOptions::default() };
    for (key, value) in keywords.into_iter().flatten() {
        let name = key.cast::<PyString>()?.to_string();
        let target = match name.as_str() {
            "initial_members" => {
                options.initial_members = initial_members(&value)?;
                continue;
            }
            "priority" => {
                options.priority = signed_number(&value, &name)?;
                continue;
            }
            "proposal_bytes_max" => &mut options.proposal_bytes_max,
            "pending_bytes_max" => &mut options.pending_bytes_max,
            "pending_count_max" => &mut options.pending_count_max,
            "unapplied_bytes_max" => &mut options.unapplied_bytes_max,
            "inflight_bytes_max" => &mut options.inflight_bytes_max,
            "entry_cache_bytes" => &mut options.entry_cache_bytes,
            "snapshot_entries" => &mut options.snapshot_entries,
            "snapshot_log_bytes" => &mut options.snapshot_log_bytes,
            "retained_entries" => &mut options.retained_entries,
            "proposal_timeout_ms" => &mut options.proposal_timeout_ms,
            "snapshot_transfer_timeout_ms" => &mut options.snapshot_transfer_timeout_ms,
            "snapshot_restore_timeout_ms" => &mut options.snapshot_restore_timeout_ms,
            _ => return Err(unknown(&value, "Node.start_group", &name)),
        };
        *target = number(&value, &name)?;
    }
    Ok(options)
}

/// `{node_id: address}`.
fn initial_members(value: &Bound<'_, PyAny>) -> PyResult<Vec<InitialMember>> {
    let Ok(members) = value.cast::<PyDict>() else {
        let message = format!(
            "initial_members must be a dict of node ids and addresses, not {}",
            type_name(value)
        );
        return Err(wrong_type(value.py(), &message));
    };
    let mut initial = Vec::with_capacity(members.len());
    for (node_id, address) in members {
        initial.push(InitialMember {
            node_id: number(&node_id, "the node id of an initial member")?,
            address: text(&address, "the address of an initial member")?,
        });
    }
    Ok(initial)
}

fn unknown(value: &Bound<'_, PyAny>, function: &str, name: &str) -> PyErr {
    invalid(
        value.py(),
        format!("{function} has no option '{name}': help(libraft.{function}) has them"),
    )
}
