//! Members of a group, changing them, and moving the leadership between them.

use std::ffi::{c_char, c_void, CString};

use libraft::{Change, Member, Result};

use crate::boundary::{self, Out};
use crate::completion::{libraft_completer, Destination};
use crate::error::libraft_error;
use crate::group::libraft_group;
use crate::handle::{self, Handle, Table, Tables};
use crate::wait;

/// Votes.
pub const LIBRAFT_MEMBER_VOTER: i32 = 0;
/// Gets all entries but does not vote.
pub const LIBRAFT_MEMBER_LEARNER: i32 = 1;
/// Votes only until the change in progress, which removes or demotes it, is complete.
pub const LIBRAFT_MEMBER_OUTGOING: i32 = 2;

/// Adds a node as a learner.
pub const LIBRAFT_CHANGE_ADD_LEARNER: i32 = 1;
/// Adds a node as a voter.
pub const LIBRAFT_CHANGE_ADD_VOTER: i32 = 2;
/// Makes a learner a voter.
pub const LIBRAFT_CHANGE_PROMOTE: i32 = 3;
/// Makes a voter a learner.
pub const LIBRAFT_CHANGE_DEMOTE: i32 = 4;
/// Removes a member.
pub const LIBRAFT_CHANGE_REMOVE: i32 = 5;
/// Changes a member's address.
pub const LIBRAFT_CHANGE_SET_ADDRESS: i32 = 6;

/// A member of a group.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_member {
    /// The replica's number within the group; never used again.
    pub raft_id: u64,
    /// The node's id.
    pub node_id: u64,
    /// Names the node's data directory: a wiped node has another.
    pub incarnation: [u8; 16],
    /// The address that the node advertises. Ends with a NUL.
    pub address: *const c_char,
    /// One of LIBRAFT_MEMBER_...
    pub role: i32,
    /// Zero.
    pub reserved0: i32,
    /// Zero.
    pub reserved: [u64; 4],
}

/// One step of a membership change.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_change {
    /// One of LIBRAFT_CHANGE_...
    pub kind: i32,
    /// Zero.
    pub reserved0: i32,
    /// The node.
    pub node_id: u64,
    /// To add, and to set the address: the address that the node advertises, which ends with a NUL;
    /// else NULL.
    pub address: *const c_char,
    /// Zero.
    pub reserved: [u64; 3],
}

/// The members of a group at one moment.
pub struct libraft_members {
    _opaque: [u8; 0],
}

pub struct MembersObject {
    members: Vec<libraft_member>,
    /// What the members' addresses point to.
    _addresses: Vec<CString>,
}

// SAFETY: the pointers lead into `_addresses`, which is never changed and whose texts do not move.
unsafe impl Send for MembersObject {}
// SAFETY: as above.
unsafe impl Sync for MembersObject {}

impl MembersObject {
    fn new(members: &[Member]) -> MembersObject {
        let addresses: Vec<CString> = members
            .iter()
            .map(|member| CString::new(member.address.as_str()).unwrap_or_default())
            .collect();
        let members = members
            .iter()
            .zip(&addresses)
            .map(|(member, address)| libraft_member {
                raft_id: member.raft_id,
                node_id: member.node_id,
                incarnation: member.incarnation.0,
                address: address.as_ptr(),
                role: member.role as i32,
                reserved0: 0,
                reserved: [0; 4],
            })
            .collect();
        MembersObject { members, _addresses: addresses }
    }
}

impl Handle for libraft_members {
    type Object = MembersObject;
    const NOUN: &'static str = "list of members";
    const KIND: u8 = 6;

    fn table(tables: &Tables) -> &Table<MembersObject> {
        &tables.members
    }
}

/// The members of the group, as this node knows them now.
///
/// **Threads**: any, callbacks too; never blocks for long.
/// **Ownership**: `*members` is the caller's, until libraft_members_free.
/// **Errors**: LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_members(
    group: *const libraft_group,
    members: *mut *mut libraft_members,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let out = Out::required(members, "members")?;
            let members = handle::get(group)?.group.members()?;
            out.set(handle::insert(MembersObject::new(&members))?);
            Ok(())
        })
    }
}

/// How many members there are; 0 for NULL and for a handle that is not valid.
///
/// **Threads**: any; never blocks.
/// **Ownership**: nothing is handed over.
/// **Errors**: none.
#[no_mangle]
pub unsafe extern "C" fn libraft_members_count(members: *const libraft_members) -> usize {
    boundary::value(0, || handle::get(members).map_or(0, |members| members.members.len()))
}

/// The member at `position`, from 0; NULL beyond the last, for NULL, and for a handle that is not
/// valid.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the member belongs to the list and lives as long.
/// **Errors**: none.
#[no_mangle]
pub unsafe extern "C" fn libraft_members_at(
    members: *const libraft_members,
    position: usize,
) -> *const libraft_member {
    boundary::value(std::ptr::null(), || {
        let members = handle::get(members).ok();
        let member = members.as_ref().and_then(|members| members.members.get(position));
        member.map_or(std::ptr::null(), |member| &raw const *member)
    })
}

/// Frees a list of members. NULL is allowed.
///
/// **Threads**: any; never blocks.
/// **Ownership**: takes the handle; the members end.
/// **Errors**: none; a handle that is not valid is left alone.
#[no_mangle]
pub unsafe extern "C" fn libraft_members_free(members: *mut libraft_members) {
    boundary::value((), || drop(handle::take(members)));
}

/// Changes the membership: all `count` steps take effect together, or none. Completes when the new
/// membership is in force. Only at the leader.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: the changes are copied; the completion is delivered once, maybe before this
/// returns.
/// **Errors**: then there is no completion. LIBRAFT_ERR_NOT_LEADER (the error names the leader, if
/// it is known), LIBRAFT_ERR_UNKNOWN_MEMBER, LIBRAFT_ERR_MEMBERSHIP_INVALID,
/// LIBRAFT_ERR_MEMBERSHIP_BUSY, LIBRAFT_ERR_ADDRESS_INVALID, LIBRAFT_ERR_BUSY, LIBRAFT_ERR_STOPPED,
/// LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE,
/// LIBRAFT_ERR_INVALID_UTF8, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. The completion may
/// carry any of these, too, and LIBRAFT_ERR_UNREACHABLE if a node to be added does not answer.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_change_membership(
    group: *mut libraft_group,
    changes: *const libraft_change,
    count: usize,
    completer: *const libraft_completer,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let changes = read_changes(changes, count)?;
            let destination = Destination::read(completer, user_data, 1)?;
            group.group.change_membership(changes, destination.into_completer())
        })
    }
}

/// As libraft_group_change_membership, and waits.
///
/// **Threads**: any, but not from a callback. Blocks.
/// **Ownership**: the changes are copied.
/// **Errors**: as libraft_group_change_membership and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_change_membership_wait(
    group: *mut libraft_group,
    changes: *const libraft_change,
    count: usize,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let changes = read_changes(changes, count)?;
            wait::until_done("libraft_group_change_membership_wait", |completer| {
                group.group.change_membership(changes, completer)
            })?;
            Ok(())
        })
    }
}

/// Lets another member lead. Completes when another leader is known. Only at the leader.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: the completion is delivered once, maybe before this returns.
/// **Errors**: then there is no completion. LIBRAFT_ERR_NOT_LEADER, LIBRAFT_ERR_UNKNOWN_MEMBER,
/// LIBRAFT_ERR_BUSY, LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED. The completion may
/// carry any of these, too, and LIBRAFT_ERR_TIMEOUT after an election timeout.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_transfer_leadership(
    group: *mut libraft_group,
    to_node_id: u64,
    completer: *const libraft_completer,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            let destination = Destination::read(completer, user_data, 1)?;
            group.group.transfer_leadership(to_node_id, destination.into_completer())
        })
    }
}

/// As libraft_group_transfer_leadership, and waits.
///
/// **Threads**: any, but not from a callback. Blocks, for as long as an election timeout at most.
/// **Ownership**: nothing is handed over.
/// **Errors**: as libraft_group_transfer_leadership and its completion; LIBRAFT_ERR_WOULD_DEADLOCK.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_transfer_leadership_wait(
    group: *mut libraft_group,
    to_node_id: u64,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let group = handle::get(group)?;
            wait::until_done("libraft_group_transfer_leadership_wait", |completer| {
                group.group.transfer_leadership(to_node_id, completer)
            })?;
            Ok(())
        })
    }
}

/// # Safety
/// The array has `count` changes, whose addresses are NULL or end with a NUL.
unsafe fn read_changes(changes: *const libraft_change, count: usize) -> Result<Vec<Change>> {
    // SAFETY: as the caller's.
    let changes = unsafe { boundary::array(changes, count, "changes") }?;
    if changes.is_empty() {
        return Err(boundary::invalid("a membership change needs at least one step"));
    }
    // SAFETY: as the caller's.
    changes.iter().map(|change| unsafe { read_change(change) }).collect()
}

/// # Safety
/// The address is NULL or ends with a NUL.
unsafe fn read_change(change: &libraft_change) -> Result<Change> {
    if change.reserved0 != 0 || change.reserved != [0; 3] {
        return Err(boundary::invalid("the reserved fields of a change must be 0"));
    }
    let node_id = change.node_id;
    // SAFETY: as the caller's.
    let address = || unsafe { boundary::text(change.address, "the address of a change") };
    Ok(match change.kind {
        LIBRAFT_CHANGE_ADD_LEARNER => Change::AddLearner { node_id, address: address()? },
        LIBRAFT_CHANGE_ADD_VOTER => Change::AddVoter { node_id, address: address()? },
        LIBRAFT_CHANGE_PROMOTE => Change::Promote { node_id },
        LIBRAFT_CHANGE_DEMOTE => Change::Demote { node_id },
        LIBRAFT_CHANGE_REMOVE => Change::Remove { node_id },
        LIBRAFT_CHANGE_SET_ADDRESS => Change::SetAddress { node_id, address: address()? },
        other => return Err(boundary::invalid(format!("there is no kind of change {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use libraft::MemberRole;

    #[test]
    fn member_roles_have_the_numbers_of_the_core() {
        assert_eq!(LIBRAFT_MEMBER_VOTER, MemberRole::Voter as i32);
        assert_eq!(LIBRAFT_MEMBER_LEARNER, MemberRole::Learner as i32);
        assert_eq!(LIBRAFT_MEMBER_OUTGOING, MemberRole::Outgoing as i32);
    }
}
