//! Codes and error objects.

use std::ffi::{c_char, CStr, CString};

use libraft::{Code, Error, Result};

use crate::boundary::{self, Out};
use crate::handle::{self, Handle, Table, Tables};

/// It worked.
pub const LIBRAFT_OK: i32 = 0;
/// Returned by a state machine's callback: the answer comes later, by libraft_request_complete.
pub const LIBRAFT_PENDING: i32 = 1;

// 1xx: the call itself is wrong; the same call will fail again.
/// An argument is missing, out of range or contradicts another.
pub const LIBRAFT_ERR_INVALID_ARGUMENT: i32 = 101;
/// A handle is stale, forged or of another kind.
pub const LIBRAFT_ERR_INVALID_HANDLE: i32 = 102;
/// A size-first struct has a size this library cannot accept.
pub const LIBRAFT_ERR_INVALID_SIZE: i32 = 103;
/// Bytes that must be UTF-8 are not.
pub const LIBRAFT_ERR_INVALID_UTF8: i32 = 104;
/// A proposal has no bytes.
pub const LIBRAFT_ERR_EMPTY_PROPOSAL: i32 = 105;
/// A proposal or a result exceeds the configured cap.
pub const LIBRAFT_ERR_TOO_LARGE: i32 = 106;
/// A blocking call was made on one of the library's own threads.
pub const LIBRAFT_ERR_WOULD_DEADLOCK: i32 = 107;
/// The node was opened in the parent of this process; a forked child cannot use it.
pub const LIBRAFT_ERR_FORKED: i32 = 108;
/// Listening beyond loopback without transport security was not asked for explicitly.
pub const LIBRAFT_ERR_INSECURE_ADDRESS: i32 = 109;
/// The operation does not apply to the state machine's kind, or is not supported by this build.
pub const LIBRAFT_ERR_UNSUPPORTED: i32 = 110;

// 2xx: the group cannot serve the call now.
/// This replica is not the leader; the error names the leader when it is known.
pub const LIBRAFT_ERR_NOT_LEADER: i32 = 201;
/// There is no leader at present.
pub const LIBRAFT_ERR_NO_LEADER: i32 = 202;
/// A limit on pending, uncommitted or unapplied work is reached.
pub const LIBRAFT_ERR_BUSY: i32 = 203;
/// The call's time ran out.
pub const LIBRAFT_ERR_TIMEOUT: i32 = 204;
/// Another entry was committed at the proposal's index.
pub const LIBRAFT_ERR_OVERWRITTEN: i32 = 205;
/// The replica lost track of the proposal: leadership moved, or a snapshot jumped over it.
pub const LIBRAFT_ERR_OUTCOME_LOST: i32 = 206;
/// The group is still forming: not all initial members have met each other.
pub const LIBRAFT_ERR_FORMING: i32 = 207;

// 3xx: groups and membership.
/// No such group on this node.
pub const LIBRAFT_ERR_GROUP_NOT_FOUND: i32 = 301;
/// The group is already running on this node.
pub const LIBRAFT_ERR_GROUP_EXISTS: i32 = 302;
/// The membership change is impossible: it would leave no voter, add a member twice, and so on.
pub const LIBRAFT_ERR_MEMBERSHIP_INVALID: i32 = 303;
/// Another membership change is still in progress.
pub const LIBRAFT_ERR_MEMBERSHIP_BUSY: i32 = 304;
/// The change, transfer or request names a node that is not a member.
pub const LIBRAFT_ERR_UNKNOWN_MEMBER: i32 = 305;
/// The initial members contradict what the data directory holds.
pub const LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT: i32 = 306;
/// This replica was removed from the group. If its node is added again, it comes back by itself.
pub const LIBRAFT_ERR_REMOVED: i32 = 307;

// 4xx: the disk.
/// A file could not be read or written.
pub const LIBRAFT_ERR_IO: i32 = 401;
/// The disk is full; service resumes by itself when space returns.
pub const LIBRAFT_ERR_NO_SPACE: i32 = 402;
/// A file is damaged; the message names the file and the offset.
pub const LIBRAFT_ERR_CORRUPTED: i32 = 403;
/// Another process, or another node of this process, has the data directory open.
pub const LIBRAFT_ERR_DIRECTORY_IN_USE: i32 = 404;
/// The data directory belongs to another cluster or to another node.
pub const LIBRAFT_ERR_WRONG_IDENTITY: i32 = 405;
/// The data directory was written by a newer version of libraft.
pub const LIBRAFT_ERR_NEWER_FORMAT: i32 = 406;
/// The data directory cannot be read or written by this user.
pub const LIBRAFT_ERR_PERMISSION_DENIED: i32 = 407;
/// A sync failed; the node no longer votes or acknowledges. Close it and look at the disk.
pub const LIBRAFT_ERR_STORAGE_FAILED: i32 = 408;

// 5xx: the application's state machine.
/// `apply` failed: the group is stopped on this node.
pub const LIBRAFT_ERR_APPLY_FAILED: i32 = 501;
/// `open` failed: the group could not be started on this node.
pub const LIBRAFT_ERR_OPEN_FAILED: i32 = 502;
/// The state machine's applied index is beyond the log.
pub const LIBRAFT_ERR_MACHINE_AHEAD: i32 = 503;
/// `prepare_snapshot` or `save_snapshot` failed.
pub const LIBRAFT_ERR_SAVE_FAILED: i32 = 504;
/// `restore_snapshot` failed: the group is stopped on this node.
pub const LIBRAFT_ERR_RESTORE_FAILED: i32 = 505;
/// `sync` failed: the group is stopped on this node.
pub const LIBRAFT_ERR_SYNC_FAILED: i32 = 506;

// 6xx: the network.
/// The listening address is in use.
pub const LIBRAFT_ERR_ADDRESS_IN_USE: i32 = 601;
/// An address cannot be parsed or resolved.
pub const LIBRAFT_ERR_ADDRESS_INVALID: i32 = 602;
/// A peer could not be reached.
pub const LIBRAFT_ERR_UNREACHABLE: i32 = 603;
/// A peer refused the handshake, or was refused; the message says why.
pub const LIBRAFT_ERR_HANDSHAKE_REFUSED: i32 = 604;

// 7xx: life cycle.
/// The node is closed, or was closed while the call was pending.
pub const LIBRAFT_ERR_CLOSED: i32 = 701;
/// The group is stopped, or was stopped while the call was pending.
pub const LIBRAFT_ERR_STOPPED: i32 = 702;

// 9xx: the library.
/// A panic was caught; the replica (or the call) is out of service. Please report it.
pub const LIBRAFT_ERR_PANICKED: i32 = 901;
/// The library found itself in a state that must not exist. Please report it.
pub const LIBRAFT_ERR_INTERNAL: i32 = 902;

/// The proposal was committed and applied.
pub const LIBRAFT_OUTCOME_APPLIED: i32 = 0;
/// The call had no effect and never will have one. It may be made again.
pub const LIBRAFT_OUTCOME_REJECTED: i32 = 1;
/// The call may or may not take effect, now or later.
pub const LIBRAFT_OUTCOME_UNKNOWN: i32 = 2;

/// Every code of the core, under its number and name here.
const CODES: &[(Code, i32, &CStr)] = &[
    (Code::InvalidArgument, LIBRAFT_ERR_INVALID_ARGUMENT, c"INVALID_ARGUMENT"),
    (Code::InvalidHandle, LIBRAFT_ERR_INVALID_HANDLE, c"INVALID_HANDLE"),
    (Code::InvalidSize, LIBRAFT_ERR_INVALID_SIZE, c"INVALID_SIZE"),
    (Code::InvalidUtf8, LIBRAFT_ERR_INVALID_UTF8, c"INVALID_UTF8"),
    (Code::EmptyProposal, LIBRAFT_ERR_EMPTY_PROPOSAL, c"EMPTY_PROPOSAL"),
    (Code::TooLarge, LIBRAFT_ERR_TOO_LARGE, c"TOO_LARGE"),
    (Code::WouldDeadlock, LIBRAFT_ERR_WOULD_DEADLOCK, c"WOULD_DEADLOCK"),
    (Code::Forked, LIBRAFT_ERR_FORKED, c"FORKED"),
    (Code::InsecureAddress, LIBRAFT_ERR_INSECURE_ADDRESS, c"INSECURE_ADDRESS"),
    (Code::Unsupported, LIBRAFT_ERR_UNSUPPORTED, c"UNSUPPORTED"),
    (Code::NotLeader, LIBRAFT_ERR_NOT_LEADER, c"NOT_LEADER"),
    (Code::NoLeader, LIBRAFT_ERR_NO_LEADER, c"NO_LEADER"),
    (Code::Busy, LIBRAFT_ERR_BUSY, c"BUSY"),
    (Code::Timeout, LIBRAFT_ERR_TIMEOUT, c"TIMEOUT"),
    (Code::Overwritten, LIBRAFT_ERR_OVERWRITTEN, c"OVERWRITTEN"),
    (Code::OutcomeLost, LIBRAFT_ERR_OUTCOME_LOST, c"OUTCOME_LOST"),
    (Code::Forming, LIBRAFT_ERR_FORMING, c"FORMING"),
    (Code::GroupNotFound, LIBRAFT_ERR_GROUP_NOT_FOUND, c"GROUP_NOT_FOUND"),
    (Code::GroupExists, LIBRAFT_ERR_GROUP_EXISTS, c"GROUP_EXISTS"),
    (Code::MembershipInvalid, LIBRAFT_ERR_MEMBERSHIP_INVALID, c"MEMBERSHIP_INVALID"),
    (Code::MembershipBusy, LIBRAFT_ERR_MEMBERSHIP_BUSY, c"MEMBERSHIP_BUSY"),
    (Code::UnknownMember, LIBRAFT_ERR_UNKNOWN_MEMBER, c"UNKNOWN_MEMBER"),
    (
        Code::InitialMembersConflict,
        LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT,
        c"INITIAL_MEMBERS_CONFLICT",
    ),
    (Code::Removed, LIBRAFT_ERR_REMOVED, c"REMOVED"),
    (Code::Io, LIBRAFT_ERR_IO, c"IO"),
    (Code::NoSpace, LIBRAFT_ERR_NO_SPACE, c"NO_SPACE"),
    (Code::Corrupted, LIBRAFT_ERR_CORRUPTED, c"CORRUPTED"),
    (Code::DirectoryInUse, LIBRAFT_ERR_DIRECTORY_IN_USE, c"DIRECTORY_IN_USE"),
    (Code::WrongIdentity, LIBRAFT_ERR_WRONG_IDENTITY, c"WRONG_IDENTITY"),
    (Code::NewerFormat, LIBRAFT_ERR_NEWER_FORMAT, c"NEWER_FORMAT"),
    (Code::PermissionDenied, LIBRAFT_ERR_PERMISSION_DENIED, c"PERMISSION_DENIED"),
    (Code::StorageFailed, LIBRAFT_ERR_STORAGE_FAILED, c"STORAGE_FAILED"),
    (Code::ApplyFailed, LIBRAFT_ERR_APPLY_FAILED, c"APPLY_FAILED"),
    (Code::OpenFailed, LIBRAFT_ERR_OPEN_FAILED, c"OPEN_FAILED"),
    (Code::MachineAhead, LIBRAFT_ERR_MACHINE_AHEAD, c"MACHINE_AHEAD"),
    (Code::SaveFailed, LIBRAFT_ERR_SAVE_FAILED, c"SAVE_FAILED"),
    (Code::RestoreFailed, LIBRAFT_ERR_RESTORE_FAILED, c"RESTORE_FAILED"),
    (Code::SyncFailed, LIBRAFT_ERR_SYNC_FAILED, c"SYNC_FAILED"),
    (Code::AddressInUse, LIBRAFT_ERR_ADDRESS_IN_USE, c"ADDRESS_IN_USE"),
    (Code::AddressInvalid, LIBRAFT_ERR_ADDRESS_INVALID, c"ADDRESS_INVALID"),
    (Code::Unreachable, LIBRAFT_ERR_UNREACHABLE, c"UNREACHABLE"),
    (Code::HandshakeRefused, LIBRAFT_ERR_HANDSHAKE_REFUSED, c"HANDSHAKE_REFUSED"),
    (Code::Closed, LIBRAFT_ERR_CLOSED, c"CLOSED"),
    (Code::Stopped, LIBRAFT_ERR_STOPPED, c"STOPPED"),
    (Code::Panicked, LIBRAFT_ERR_PANICKED, c"PANICKED"),
    (Code::Internal, LIBRAFT_ERR_INTERNAL, c"INTERNAL"),
];

/// Why a call failed, in full. Filled in by the functions that take a `libraft_error **` as their
/// last argument, if it is not NULL and the call fails; else it is left alone.
pub struct libraft_error {
    _opaque: [u8; 0],
}

pub struct ErrorObject {
    pub error: Error,
    message: CString,
    leader_address: CString,
}

impl ErrorObject {
    pub fn new(error: Error) -> ErrorObject {
        let message = c_text(&error.message);
        let address = error.leader.as_ref().map_or("", |leader| leader.address.as_str());
        ErrorObject { message, leader_address: c_text(address), error }
    }
}

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}

/// An error object for the caller, or NULL.
pub fn own_error(error: Option<Error>) -> Result<*mut libraft_error> {
    error.map_or(Ok(std::ptr::null_mut()), |error| handle::insert(ErrorObject::new(error)))
}

impl Handle for libraft_error {
    type Object = ErrorObject;
    const NOUN: &'static str = "error object";
    const KIND: u8 = 4;

    fn table(tables: &Tables) -> &Table<ErrorObject> {
        &tables.errors
    }
}

/// The code: one of LIBRAFT_ERR_..., what the failed function returned. LIBRAFT_ERR_INVALID_HANDLE
/// if this is NULL or no error object.
///
/// **Threads**: any; never blocks.
/// **Ownership**: nothing is handed over.
/// **Errors**: as said.
#[no_mangle]
pub unsafe extern "C" fn libraft_error_code(error: *const libraft_error) -> i32 {
    boundary::value(LIBRAFT_ERR_PANICKED, || {
        handle::get(error).map_or(LIBRAFT_ERR_INVALID_HANDLE, |error| error.error.code.number())
    })
}

/// What became of the call: LIBRAFT_OUTCOME_REJECTED or LIBRAFT_OUTCOME_UNKNOWN.
///
/// **Threads**: any; never blocks.
/// **Ownership**: nothing is handed over.
/// **Errors**: none; LIBRAFT_OUTCOME_UNKNOWN if this is NULL or no error object.
#[no_mangle]
pub unsafe extern "C" fn libraft_error_outcome(error: *const libraft_error) -> i32 {
    boundary::value(LIBRAFT_OUTCOME_UNKNOWN, || {
        handle::get(error).map_or(LIBRAFT_OUTCOME_UNKNOWN, |error| error.error.outcome as i32)
    })
}

/// What happened, to what, and what to do about it: a sentence in UTF-8 for people, which may
/// change between versions.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the text belongs to the error object and lives as long.
/// **Errors**: none; an empty text if this is NULL or no error object.
#[no_mangle]
pub unsafe extern "C" fn libraft_error_message(error: *const libraft_error) -> *const c_char {
    boundary::value(c"".as_ptr(), || {
        handle::get(error).map_or(c"".as_ptr(), |error| error.message.as_ptr())
    })
}

/// 1 if making the same call again can succeed and cannot apply anything twice, else 0.
///
/// **Threads**: any; never blocks.
/// **Ownership**: nothing is handed over.
/// **Errors**: none; 0 if this is NULL or no error object.
#[no_mangle]
pub unsafe extern "C" fn libraft_error_retriable(error: *const libraft_error) -> i32 {
    boundary::value(0, || handle::get(error).map_or(0, |error| i32::from(error.error.retriable())))
}

/// The leader that the error names: its node id, and the address it advertises to its peers. Both
/// outputs may be NULL.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the address belongs to the error object and lives as long.
/// **Errors**: LIBRAFT_ERR_NO_LEADER if the error names none, LIBRAFT_ERR_INVALID_ARGUMENT for
/// NULL, LIBRAFT_ERR_INVALID_HANDLE.
#[no_mangle]
pub unsafe extern "C" fn libraft_error_leader(
    error: *const libraft_error,
    node_id: *mut u64,
    address: *mut *const c_char,
) -> i32 {
    // SAFETY: the outputs are as the crate's contract says.
    unsafe {
        boundary::call(std::ptr::null_mut(), || {
            let node_id = Out::optional(node_id, "node_id")?;
            let address = Out::optional(address, "address")?;
            let error = handle::get(error)?;
            let leader = error
                .error
                .leader
                .as_ref()
                .ok_or_else(|| Error::rejected(Code::NoLeader, "the error names no leader"))?;
            node_id.set(leader.node_id);
            address.set(error.leader_address.as_ptr());
            Ok(())
        })
    }
}

/// Frees an error object. NULL is allowed.
///
/// **Threads**: any; never blocks.
/// **Ownership**: takes the handle; the texts end.
/// **Errors**: none; a handle that is not valid is left alone.
#[no_mangle]
pub unsafe extern "C" fn libraft_error_free(error: *mut libraft_error) {
    boundary::value((), || drop(handle::take(error)));
}

/// The name of a code, such as "NOT_LEADER"; "OK", "PENDING", and "UNKNOWN" for a number that is no
/// code.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the text is the library's and lives as long as the process.
/// **Errors**: none.
#[no_mangle]
pub extern "C" fn libraft_code_name(code: i32) -> *const c_char {
    name_of(code).as_ptr()
}

fn name_of(code: i32) -> &'static CStr {
    match code {
        LIBRAFT_OK => c"OK",
        LIBRAFT_PENDING => c"PENDING",
        _ => CODES
            .iter()
            .find(|(_, number, _)| *number == code)
            .map_or(c"UNKNOWN", |(_, _, name)| *name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libraft::{Leader, Outcome};

    #[test]
    fn every_code_of_the_core_has_its_number_and_name_here() {
        assert_eq!(CODES.len(), Code::ALL.len());
        for ((code, number, name), core) in CODES.iter().zip(Code::ALL) {
            assert_eq!(code, core);
            assert_eq!(*number, core.number(), "{core:?}");
            let plain: String = name.to_str().unwrap().to_lowercase().replace('_', "");
            assert_eq!(plain, format!("{core:?}").to_lowercase());
        }
    }

    #[test]
    fn outcomes_have_the_numbers_of_the_core() {
        assert_eq!(LIBRAFT_OUTCOME_APPLIED, Outcome::Applied as i32);
        assert_eq!(LIBRAFT_OUTCOME_REJECTED, Outcome::Rejected as i32);
        assert_eq!(LIBRAFT_OUTCOME_UNKNOWN, Outcome::Unknown as i32);
    }

    #[test]
    fn an_error_object_tells_everything_and_then_nothing() {
        let leader = Leader { node_id: 3, address: "[::1]:7".to_string() };
        let error = Error::rejected(Code::NotLeader, "ask\0node 3").with_leader(Some(leader));
        let object: *mut libraft_error = handle::insert(ErrorObject::new(error)).unwrap();
        let (mut node_id, mut address) = (0, std::ptr::null());
        // SAFETY: the outputs are places of ours, and the texts live as long as the object.
        unsafe {
            assert_eq!(libraft_error_code(object), LIBRAFT_ERR_NOT_LEADER);
            assert_eq!(libraft_error_outcome(object), LIBRAFT_OUTCOME_REJECTED);
            assert_eq!(libraft_error_retriable(object), 1);
            let message = CStr::from_ptr(libraft_error_message(object)).to_str().unwrap();
            assert_eq!(message, "ask\u{FFFD}node 3");
            assert_eq!(libraft_error_leader(object, &mut node_id, &mut address), LIBRAFT_OK);
            assert_eq!((node_id, CStr::from_ptr(address)), (3, c"[::1]:7"));
            libraft_error_free(object);
            libraft_error_free(object);
            assert_eq!(libraft_error_code(object), LIBRAFT_ERR_INVALID_HANDLE);
            assert_eq!(CStr::from_ptr(libraft_error_message(object)), c"");
        }
    }
}
