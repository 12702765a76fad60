//! Groups: starting, stopping and looking at them.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use libraft::{Code, Error, Group, GroupOptions, GroupStatus, InitialMember, Result};

use crate::boundary::{self, Out, SizeFirst};
use crate::callback;
use crate::done::{begin, libraft_done_callback};
use crate::error::{libraft_error, own_error, LIBRAFT_OK};
use crate::handle::{self, Handle, Table, Tables};
use crate::machine::{self, libraft_state_machine, AdoptedTable};
use crate::node::libraft_node;

/// One Raft group on a node.
pub struct libraft_group {
    _opaque: [u8; 0],
}

pub struct GroupObject {
    pub group: Group,
}

impl Handle for libraft_group {
    type Object = GroupObject;
    const NOUN: &'static str = "group";
    const KIND: u8 = 2;

    fn table(tables: &Tables) -> &Table<GroupObject> {
        &tables.groups
    }
}

/// An initial member that has not met all others, or an empty replica that waits to be added.
pub const LIBRAFT_ROLE_FORMING: i32 = 0;
/// Follows a leader.
pub const LIBRAFT_ROLE_FOLLOWER: i32 = 1;
/// Asks whether it could become a candidate.
pub const LIBRAFT_ROLE_PRE_CANDIDATE: i32 = 2;
/// Asks for votes.
pub const LIBRAFT_ROLE_CANDIDATE: i32 = 3;
/// Leads.
pub const LIBRAFT_ROLE_LEADER: i32 = 4;
/// Gets all entries but does not vote.
pub const LIBRAFT_ROLE_LEARNER: i32 = 5;
/// Stopped by a failure, or removed from the group.
pub const LIBRAFT_ROLE_STOPPED: i32 = 6;

/// One of the initial members of a group.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_initial_member {
    /// The node's id.
    pub node_id: u64,
    /// The address that the node advertises. Ends with a NUL.
    pub address: *const c_char,
    /// Zero.
    pub reserved: [u64; 2],
}

/// How a group is started on a node. Begin with libraft_group_options_init, then set group_id, and
/// initial_members if the group is to be formed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_group_options {
    /// The size of this struct in bytes; set by libraft_group_options_init.
    pub size: usize,
    /// The group's id within the cluster, not 0.
    pub group_id: u64,
    /// The members that form the group, the same on all of them, in any order. NULL and 0: go on
    /// with what the data directory holds, or wait to be added. Once the group has formed, other
    /// nodes are an error; other addresses of the same nodes are tried beside those that the group
    /// knows, so that all nodes may move at once.
    pub initial_members: *const libraft_initial_member,
    /// How many.
    pub initial_members_count: usize,
    /// The largest proposal in bytes. Default 8388608.
    pub proposal_bytes_max: u64,
    /// Bytes of proposals of this node that may be pending. Default 268435456.
    pub pending_bytes_max: u64,
    /// Proposals and reads of this node that may be pending. Default 1048576.
    pub pending_count_max: u64,
    /// Bytes committed but not applied above which proposals are answered busy. Default 268435456.
    pub unapplied_bytes_max: u64,
    /// Bytes of entries in flight to one peer. Default 16777216.
    pub inflight_bytes_max: u64,
    /// Bytes of entries kept in memory. Default 33554432.
    pub entry_cache_bytes: u64,
    /// Entries between automatic snapshots; 0 for none by count. Default 100000.
    pub snapshot_entries: u64,
    /// Bytes of log between automatic snapshots; 0 for none by size. Default 134217728.
    pub snapshot_log_bytes: u64,
    /// Entries kept behind a snapshot for followers that lag a little, but not more than
    /// `snapshot_log_bytes` of them. Default 10000.
    pub retained_entries: u64,
    /// Milliseconds after which a pending proposal or read completes with LIBRAFT_ERR_TIMEOUT.
    /// Default 10000.
    pub proposal_timeout_ms: u64,
    /// Milliseconds that sending a snapshot may take. Default 600000.
    pub snapshot_transfer_timeout_ms: u64,
    /// Milliseconds that restore_snapshot may take. Default 600000.
    pub snapshot_restore_timeout_ms: u64,
    /// Members with a higher priority campaign first. Default 0.
    pub priority: i64,
}

// SAFETY: pointers and integers, for which zero is a value; the size first.
unsafe impl SizeFirst for libraft_group_options {
    const NAME: &'static str = "libraft_group_options";
    const FIRST_SIZE: usize = 136;
}

/// What a group says of its replica on this node. Begin with libraft_group_info_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_group_info {
    /// The size of this struct in bytes; set by libraft_group_info_init.
    pub size: usize,
    /// The group's id.
    pub group_id: u64,
    /// This replica's number within the group; 0 while it waits to be added.
    pub raft_id: u64,
    /// Names this formation of the group; zero while it forms.
    pub formation: [u8; 16],
    /// The current term.
    pub term: u64,
    /// The first index that the log holds.
    pub first_index: u64,
    /// The last index that the log holds.
    pub last_index: u64,
    /// Up to here entries are committed.
    pub commit_index: u64,
    /// Up to here the state machine has applied.
    pub applied_index: u64,
    /// The index of the latest snapshot; 0 if there is none.
    pub snapshot_index: u64,
    /// Proposals and reads of this node that are pending.
    pub pending_proposals: u64,
    /// Bytes of them.
    pub pending_bytes: u64,
    /// The leader's node id; 0 if it is not known.
    pub leader_node_id: u64,
    /// One of LIBRAFT_ROLE_...
    pub role: i32,
    /// LIBRAFT_OK, or the code of the error that stopped the group on this node; see
    /// libraft_group_failure.
    pub failure_code: i32,
    /// The address that the leader advertises; empty if it is not known.
    pub leader_address: [c_char; 264],
}

// SAFETY: integers only, the size first.
unsafe impl SizeFirst for libraft_group_info {
    const NAME: &'static str = "libraft_group_info";
    const FIRST_SIZE: usize = 384;
}

/// Fills group options with defaults. Programs call libraft_group_options_init, which passes the
/// size.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the struct stays the caller's.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_options_init_sized(
    options: *mut libraft_group_options,
    size: usize,
) -> i32 {
    let default = GroupOptions::default();
    let default = libraft_group_options {
        size: 0,
        group_id: 0,
        initial_members: std::ptr::null(),
        initial_members_count: 0,
        proposal_bytes_max: default.proposal_bytes_max,
        pending_bytes_max: default.pending_bytes_max,
        pending_count_max: default.pending_count_max,
        unapplied_bytes_max: default.unapplied_bytes_max,
        inflight_bytes_max: default.inflight_bytes_max,
        entry_cache_bytes: default.entry_cache_bytes,
        snapshot_entries: default.snapshot_entries,
        snapshot_log_bytes: default.snapshot_log_bytes,
        retained_entries: default.retained_entries,
        proposal_timeout_ms: default.proposal_timeout_ms,
        snapshot_transfer_timeout_ms: default.snapshot_transfer_timeout_ms,
        snapshot_restore_timeout_ms: default.snapshot_restore_timeout_ms,
        priority: default.priority,
    };
    // SAFETY: the struct is as the crate's contract says.
    unsafe {
        boundary::call(std::ptr::null_mut(), || boundary::init_sized(options, size, &default))
    }
}

/// Starts a group on a node, or goes on with the one in the data directory. Returns at once: see
/// libraft_group_wait_ready.
///
/// **Threads**: any; never blocks.
/// **Ownership**: `*group` is the caller's, until libraft_group_free. The options and the table of
/// callbacks are copied; `user_data` is lent until `destroy` is called, which happens exactly once,
/// also if this fails (then before it returns).
/// **Errors**: LIBRAFT_ERR_GROUP_EXISTS, LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT if this node is none
/// of them, LIBRAFT_ERR_ADDRESS_INVALID, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_UTF8, LIBRAFT_ERR_INVALID_HANDLE,
/// LIBRAFT_ERR_FORKED. What goes wrong later, in `open` say, is told by libraft_group_wait_ready.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_start(
    node: *mut libraft_node,
    options: *const libraft_group_options,
    machine: *const libraft_state_machine,
    group: *mut *mut libraft_group,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            // Before anything that can fail: `destroy` runs exactly once from here on.
            let machine = machine::adopt(machine)?;
            start(node, options, machine, group)
        })
    }
}

/// # Safety
/// The pointers are as the crate's contract says.
unsafe fn start(
    node: *mut libraft_node,
    options: *const libraft_group_options,
    machine: AdoptedTable,
    group: *mut *mut libraft_group,
) -> Result<()> {
    // SAFETY: as the caller's.
    unsafe {
        let out = Out::required(group, "group")?;
        let options = read_options(boundary::read_sized(options)?)?;
        let machine = machine.into_machine(options.group_id)?;
        let group = handle::get(node)?.node.start_group(options, Box::new(machine))?;
        match handle::insert(GroupObject { group: group.clone() }) {
            Ok(handle) => out.set(handle),
            Err(error) => {
                // Nobody could ever stop it.
                group.stop_async(Box::new(|_| ()));
                return Err(error);
            }
        }
        Ok(())
    }
}

/// # Safety
/// The array has as many members as is said, and the addresses are NULL or end with a NUL.
unsafe fn read_options(raw: libraft_group_options) -> Result<GroupOptions> {
    // SAFETY: as the caller's.
    let members = unsafe {
        boundary::array(raw.initial_members, raw.initial_members_count, "initial_members")
    }?;
    let mut initial_members = Vec::with_capacity(members.len());
    for member in members {
        if member.reserved != [0; 2] {
            return Err(boundary::invalid("the reserved fields of an initial member must be 0"));
        }
        // SAFETY: as the caller's.
        let address = unsafe { boundary::text(member.address, "the address of an initial member") };
        initial_members.push(InitialMember { node_id: member.node_id, address: address? });
    }
    Ok(GroupOptions {
        group_id: raw.group_id,
        initial_members,
        proposal_bytes_max: raw.proposal_bytes_max,
        pending_bytes_max: raw.pending_bytes_max,
        pending_count_max: raw.pending_count_max,
        unapplied_bytes_max: raw.unapplied_bytes_max,
        inflight_bytes_max: raw.inflight_bytes_max,
        entry_cache_bytes: raw.entry_cache_bytes,
        snapshot_entries: raw.snapshot_entries,
        snapshot_log_bytes: raw.snapshot_log_bytes,
        retained_entries: raw.retained_entries,
        proposal_timeout_ms: raw.proposal_timeout_ms,
        snapshot_transfer_timeout_ms: raw.snapshot_transfer_timeout_ms,
        snapshot_restore_timeout_ms: raw.snapshot_restore_timeout_ms,
        priority: raw.priority,
    })
}

/// Waits until the group has a leader and this replica has applied what was committed when it
/// learnt of it, for up to `timeout_ms` milliseconds (LIBRAFT_WAIT_FOREVER: without end).
///
/// **Threads**: any, but not from a callback. Blocks.
/// **Ownership**: nothing is handed over.
/// **Errors**: LIBRAFT_ERR_TIMEOUT, LIBRAFT_ERR_WOULD_DEADLOCK; what stopped the group, such as
/// LIBRAFT_ERR_OPEN_FAILED, LIBRAFT_ERR_MACHINE_AHEAD, LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT,
/// LIBRAFT_ERR_REMOVED, LIBRAFT_ERR_APPLY_FAILED, LIBRAFT_ERR_RESTORE_FAILED, LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED;
/// LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_wait_ready(
    group: *mut libraft_group,
    timeout_ms: u64,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let object = handle::get(group)?;
            callback::refuse_to_block("libraft_group_wait_ready")?;
            object.group.wait_ready(Duration::from_millis(timeout_ms.min(FOREVER_MS)))
        })
    }
}

/// A hundred years: what clocks can add.
const FOREVER_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// Stops the group on this node, completes what is pending (LIBRAFT_ERR_STOPPED), and returns when
/// the state machine is asked for nothing more. Its data stays: it can be started again. Stopping a
/// stopped group is no error. The handle stays valid.
///
/// **Threads**: any. Blocks; from a callback it begins to stop and returns
/// LIBRAFT_ERR_WOULD_DEADLOCK. It waits for callbacks that run, but not for requests that are
/// pending: the state machine was destroyed when this returns, or is when the last of those was
/// answered.
/// **Ownership**: nothing is handed over; libraft_group_free is still needed.
/// **Errors**: LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_stop(
    group: *mut libraft_group,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let object = handle::get(group)?;
            let refused = callback::refuse_to_block("libraft_group_stop");
            if refused.is_err() {
                object.group.stop_async(Box::new(|_| ()));
                return refused;
            }
            object.group.stop()
        })
    }
}

/// Begins what libraft_group_stop does; `done` (which may be NULL) is called when that would have
/// returned.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: nothing is handed over; libraft_group_free is still needed.
/// **Errors**: then `done` is not called. LIBRAFT_ERR_STOPPED if it is stopped already, or its node
/// closed; LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_stop_async(
    group: *mut libraft_group,
    done: libraft_done_callback,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let object = handle::get(group)?;
            let stopped = || Error::rejected(Code::Stopped, "the group is stopped already");
            begin(done, user_data, |tell| object.group.stop_async(tell), stopped)
        })
    }
}

/// Frees a group's handle. The group itself runs on until libraft_group_stop, or until its node is
/// closed: libraft_node_group gives a new handle. NULL is allowed.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: takes the handle.
/// **Errors**: none; a handle that is not valid is left alone.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_free(group: *mut libraft_group) {
    boundary::value((), || drop(handle::take(group)));
}

/// Fills a group's status with zeroes. Programs call libraft_group_info_init, which passes the
/// size.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the struct stays the caller's.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_info_init_sized(
    info: *mut libraft_group_info,
    size: usize,
) -> i32 {
    // SAFETY: the struct is as the crate's contract says; zero is a value of it.
    unsafe {
        let zero = std::mem::zeroed();
        boundary::call(std::ptr::null_mut(), || boundary::init_sized(info, size, &zero))
    }
}

/// What the group says of its replica on this node, as of now.
///
/// **Threads**: any, callbacks too; never blocks for long.
/// **Ownership**: the struct is the caller's and points to nothing.
/// **Errors**: LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_status(
    group: *const libraft_group,
    info: *mut libraft_group_info,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let status = handle::get(group)?.group.status()?;
            boundary::write_sized(info, &describe(&status))
        })
    }
}

fn describe(status: &GroupStatus) -> libraft_group_info {
    let leader = status.leader.as_ref();
    libraft_group_info {
        size: 0,
        group_id: status.group_id,
        raft_id: status.raft_id,
        formation: status.formation.0,
        term: status.term,
        first_index: status.first_index,
        last_index: status.last_index,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        snapshot_index: status.snapshot_index,
        pending_proposals: status.pending_proposals,
        pending_bytes: status.pending_bytes,
        leader_node_id: leader.map_or(0, |leader| leader.node_id),
        role: status.role as i32,
        failure_code: status.failure.as_ref().map_or(LIBRAFT_OK, |error| error.code.number()),
        leader_address: boundary::fixed_text(leader.map_or("", |leader| &leader.address)),
    }
}

/// The error that stopped the group on this node: `*failure` is NULL if there is none.
///
/// **Threads**: any, callbacks too; never blocks for long.
/// **Ownership**: `*failure` is the caller's, until libraft_error_free.
/// **Errors**: LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE,
/// LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_failure(
    group: *const libraft_group,
    failure: *mut *mut libraft_error,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let failure = Out::required(failure, "failure")?;
            failure.set(own_error(handle::get(group)?.group.status()?.failure)?);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libraft::Role;

    #[test]
    fn roles_have_the_numbers_of_the_core() {
        for (here, core) in [
            (LIBRAFT_ROLE_FORMING, Role::Forming),
            (LIBRAFT_ROLE_FOLLOWER, Role::Follower),
            (LIBRAFT_ROLE_PRE_CANDIDATE, Role::PreCandidate),
            (LIBRAFT_ROLE_CANDIDATE, Role::Candidate),
            (LIBRAFT_ROLE_LEADER, Role::Leader),
            (LIBRAFT_ROLE_LEARNER, Role::Learner),
            (LIBRAFT_ROLE_STOPPED, Role::Stopped),
        ] {
            assert_eq!(here, core as i32);
        }
    }
}
