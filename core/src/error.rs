//! What can go wrong, once, for every language.
//!
//! A [`Code`] names the cause; an [`Outcome`] says what became of the call. The numbers are part of the ABI: they are
//! written out, grouped by hundreds, and never change their meaning.

use std::fmt;
use std::io;

use crate::ids::NodeId;

/// The cause of an error. The numbers are the `LIBRAFT_ERR_*` codes of the C header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum Code {
    // 1xx: the call itself is wrong; the same call will fail again.
    /// An argument is missing, out of range or contradicts another.
    InvalidArgument = 101,
    /// A handle is stale, forged or of another kind.
    InvalidHandle = 102,
    /// A size-first struct has a size this library cannot accept.
    InvalidSize = 103,
    /// Bytes that must be UTF-8 are not.
    InvalidUtf8 = 104,
    /// A proposal has no bytes.
    EmptyProposal = 105,
    /// A proposal or a result exceeds the configured cap.
    TooLarge = 106,
    /// A blocking call was made on one of the library's own threads.
    WouldDeadlock = 107,
    /// The node was opened in the parent of this process; a forked child cannot use it.
    Forked = 108,
    /// Listening beyond loopback without transport security was not asked for explicitly.
    InsecureAddress = 109,
    /// The operation does not apply to the state machine's kind, or is not supported by this build.
    Unsupported = 110,

    // 2xx: the group cannot serve the call now.
    /// This replica is not the leader; the error names the leader when it is known.
    NotLeader = 201,
    /// There is no leader at present.
    NoLeader = 202,
    /// A limit on pending, uncommitted or unapplied work is reached.
    Busy = 203,
    /// The call's time ran out.
    Timeout = 204,
    /// Another entry was committed at the proposal's index.
    Overwritten = 205,
    /// The replica lost track of the proposal: leadership moved, or a snapshot jumped over it.
    OutcomeLost = 206,
    /// The group is still forming: not all initial members have met each other.
    Forming = 207,

    // 3xx: groups and membership.
    /// No such group on this node.
    GroupNotFound = 301,
    /// The group is already running on this node.
    GroupExists = 302,
    /// The membership change is impossible: it would leave no voter, add a member twice, and so on.
    MembershipInvalid = 303,
    /// Another membership change is still in progress.
    MembershipBusy = 304,
    /// The change, transfer or request names a node that is not a member.
    UnknownMember = 305,
    /// The initial members contradict what the data directory holds.
    InitialMembersConflict = 306,
    /// This replica was removed from the group. If its node is added again, it comes back by itself.
    Removed = 307,

    // 4xx: the disk.
    /// A file could not be read or written.
    Io = 401,
    /// The disk is full; service resumes by itself when space returns.
    NoSpace = 402,
    /// A file is damaged; the message names the file and the offset.
    Corrupted = 403,
    /// Another process, or another node of this process, has the data directory open.
    DirectoryInUse = 404,
    /// The data directory belongs to another cluster or to another node.
    WrongIdentity = 405,
    /// The data directory was written by a newer version of libraft.
    NewerFormat = 406,
    /// The data directory cannot be read or written by this user.
    PermissionDenied = 407,
    /// A sync failed; the node no longer votes or acknowledges. Close it and look at the disk.
    StorageFailed = 408,

    // 5xx: the application's state machine.
    /// `apply` failed: the group is stopped on this node.
    ApplyFailed = 501,
    /// `open` failed: the group could not be started on this node.
    OpenFailed = 502,
    /// The state machine's applied index is beyond the log.
    MachineAhead = 503,
    /// `prepare_snapshot` or `save_snapshot` failed.
    SaveFailed = 504,
    /// `restore_snapshot` failed: the group is stopped on this node.
    RestoreFailed = 505,
    /// `sync` failed: the group is stopped on this node.
    SyncFailed = 506,

    // 6xx: the network.
    /// The listening address is in use.
    AddressInUse = 601,
    /// An address cannot be parsed or resolved.
    AddressInvalid = 602,
    /// A peer could not be reached.
    Unreachable = 603,
    /// A peer refused the handshake, or was refused; the message says why.
    HandshakeRefused = 604,

    // 7xx: life cycle.
    /// The node is closed, or was closed while the call was pending.
    Closed = 701,
    /// The group is stopped, or was stopped while the call was pending.
    Stopped = 702,

    // 9xx: the library.
    /// A panic was caught; the replica (or the call) is out of service. Please report it.
    Panicked = 901,
    /// The library found itself in a state that must not exist. Please report it.
    Internal = 902,
}

/// What became of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Outcome {
    /// The proposal was committed and applied. Only completions carry it; an error never does.
    Applied = 0,
    /// The call had no effect and never will. It may be made again.
    Rejected = 1,
    /// The proposal may or may not take effect, now or later.
    Unknown = 2,
}

/// Where a group's leader is, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub node_id: NodeId,
    /// The address the leader advertises to its peers.
    pub address: String,
}

/// A failed call.
#[derive(Clone, Debug)]
pub struct Error {
    pub code: Code,
    pub outcome: Outcome,
    /// What happened, to what, and what to do about it. For people; never parsed.
    pub message: String,
    /// The leader, when the error is about leadership and the leader is known.
    pub leader: Option<Leader>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a call that had no effect.
    pub fn rejected(code: Code, message: impl Into<String>) -> Error {
        Error { code, outcome: Outcome::Rejected, message: message.into(), leader: None }
    }

    /// An error of a call that may still take effect.
    pub fn unknown(code: Code, message: impl Into<String>) -> Error {
        Error { code, outcome: Outcome::Unknown, message: message.into(), leader: None }
    }

    /// An error of the operating system: that `action` (as in "cannot `action`") failed on `place`, a path that a person
    /// can find. The code tells a full disk and missing permissions from the rest.
    pub fn from_io(action: &str, place: impl fmt::Display, error: &io::Error) -> Error {
        let (code, advice) = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (Code::NoSpace, "; free space on that disk")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (Code::PermissionDenied, "; this process needs to read and write there")
            }
            _ => (Code::Io, ""),
        };
        Error::rejected(code, format!("cannot {action} {place}: {error}{advice}"))
    }

    pub fn with_leader(mut self, leader: Option<Leader>) -> Error {
        self.leader = leader;
        self
    }

    /// Whether making the same call again can succeed and cannot apply anything twice.
    pub fn retriable(&self) -> bool {
        self.outcome == Outcome::Rejected && self.code.passes_with_time()
    }
}

impl Code {
    /// Every code, in the order of the numbers.
    pub const ALL: &'static [Code] = &[
        Code::InvalidArgument,
        Code::InvalidHandle,
        Code::InvalidSize,
        Code::InvalidUtf8,
        Code::EmptyProposal,
        Code::TooLarge,
        Code::WouldDeadlock,
        Code::Forked,
        Code::InsecureAddress,
        Code::Unsupported,
        Code::NotLeader,
        Code::NoLeader,
        Code::Busy,
        Code::Timeout,
        Code::Overwritten,
        Code::OutcomeLost,
        Code::Forming,
        Code::GroupNotFound,
        Code::GroupExists,
        Code::MembershipInvalid,
        Code::MembershipBusy,
        Code::UnknownMember,
        Code::InitialMembersConflict,
        Code::Removed,
        Code::Io,
        Code::NoSpace,
        Code::Corrupted,
        Code::DirectoryInUse,
        Code::WrongIdentity,
        Code::NewerFormat,
        Code::PermissionDenied,
        Code::StorageFailed,
        Code::ApplyFailed,
        Code::OpenFailed,
        Code::MachineAhead,
        Code::SaveFailed,
        Code::RestoreFailed,
        Code::SyncFailed,
        Code::AddressInUse,
        Code::AddressInvalid,
        Code::Unreachable,
        Code::HandshakeRefused,
        Code::Closed,
        Code::Stopped,
        Code::Panicked,
        Code::Internal,
    ];

    pub fn number(self) -> i32 {
        self as i32
    }

    /// The code with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// Whether the cause can go away without anybody changing the call.
    fn passes_with_time(self) -> bool {
        matches!(
            self,
            Code::NotLeader
                | Code::NoLeader
                | Code::Busy
                | Code::Timeout
                | Code::Overwritten
                | Code::Forming
                | Code::MembershipBusy
                | Code::NoSpace
                | Code::Unreachable
        )
    }
}

/// The name of the code in every language but Rust: `NOT_LEADER`.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        f.pad(&name)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(leader) = &self.leader {
            write!(f, " (leader: node {} at {})", leader.node_id, leader.address)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_are_found_by_their_number() {
        for pair in Code::ALL.windows(2) {
            assert!(
                pair[0].number() < pair[1].number(),
                "{:?} stands before {:?}",
                pair[0],
                pair[1]
            );
        }
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(*code));
        }
        assert_eq!(Code::from_number(0), None);
    }

    #[test]
    fn codes_are_called_as_in_the_list_of_all_languages() {
        let list = include_str!("../../docs/api.toml");
        for code in Code::ALL {
            let line = format!("\n{code} = {}\n", code.number());
            assert!(list.contains(&line), "docs/api.toml does not have {line:?}");
        }
    }

    #[test]
    fn an_error_of_the_system_tells_a_full_disk_and_missing_permissions_apart() {
        for (number, code) in [
            (libc::ENOSPC, Code::NoSpace),
            (libc::EDQUOT, Code::NoSpace),
            (libc::EACCES, Code::PermissionDenied),
            (libc::EROFS, Code::PermissionDenied),
            (libc::EIO, Code::Io),
        ] {
            let error =
                Error::from_io("write", "/data/identity", &io::Error::from_raw_os_error(number));
            assert_eq!(error.code, code);
            assert!(error.message.contains("cannot write /data/identity"), "{}", error.message);
        }
    }

    #[test]
    fn an_unknown_outcome_is_never_retriable() {
        assert!(Error::rejected(Code::Busy, "").retriable());
        assert!(!Error::unknown(Code::Timeout, "").retriable());
        assert!(!Error::rejected(Code::TooLarge, "").retriable());
    }
}
