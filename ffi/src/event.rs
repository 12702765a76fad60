//! Events: what a host may want to know of a group without asking.

use std::ffi::c_void;

use libraft::ids::GroupId;
use libraft::Notice;

use crate::boundary;
use crate::callback::{self, libraft_destroy_callback, OwnedUserData};
use crate::error::libraft_error;
use crate::group::libraft_group;
use crate::handle;

/// This replica's role changed: see `role` and `term`.
pub const LIBRAFT_EVENT_ROLE: i32 = 1;
/// Another leader is known, or none: see `node_id` and `term`.
pub const LIBRAFT_EVENT_LEADER: i32 = 2;
/// Another membership is in force since `index`.
pub const LIBRAFT_EVENT_MEMBERSHIP: i32 = 3;
/// A snapshot of this node's state was taken: see `index` and `bytes`.
pub const LIBRAFT_EVENT_SNAPSHOT_TAKEN: i32 = 4;
/// A snapshot from the leader was installed: see `index`.
pub const LIBRAFT_EVENT_SNAPSHOT_INSTALLED: i32 = 5;
/// The group is out of service on this node: see libraft_group_failure.
pub const LIBRAFT_EVENT_FAILED: i32 = 6;

/// A snapshot is being sent to a peer: see `node_id`, `index`, and `bytes` for how much so far.
pub const LIBRAFT_EVENT_SNAPSHOT_SENDING: i32 = 7;
/// A snapshot arrives from a peer: see `node_id`, `index`, and `bytes` for how much so far.
pub const LIBRAFT_EVENT_SNAPSHOT_RECEIVING: i32 = 8;

/// Something that happened to a group on this node. What a kind of event does not use is zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_event {
    /// The size of this struct in bytes, as the library knows it.
    pub size: usize,
    /// One of LIBRAFT_EVENT_...; a newer library may send others: ignore them.
    pub kind: i32,
    /// One of LIBRAFT_ROLE_...
    pub role: i32,
    /// The group.
    pub group_id: u64,
    /// The term.
    pub term: u64,
    /// The index.
    pub index: u64,
    /// The leader's node id, 0 if there is none; or the peer's.
    pub node_id: u64,
    /// The bytes of a snapshot.
    pub bytes: u64,
}

/// Called for each event, in order, one at a time for a group. The event is borrowed for the call.
pub type libraft_event_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const libraft_event)>;

/// Sets who hears of a group's events, in place of whoever did before; a NULL callback ends it.
///
/// **Threads**: any, callbacks too; never blocks. Events come on the completion thread. Up to 1,024
/// wait for a callback that blocks; it misses what comes then.
/// **Ownership**: `user_data` is lent until `destroy` (which may be NULL) is called: exactly once,
/// when it is replaced, when the group has stopped, or, if this fails, before it returns. Right
/// after it was replaced one more event may still be on its way to the old callback; `destroy`
/// comes after it.
/// **Errors**: LIBRAFT_ERR_STOPPED, LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_group_set_event_callback(
    group: *mut libraft_group,
    callback: libraft_event_callback,
    user_data: *mut c_void,
    destroy: libraft_destroy_callback,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let user_data = OwnedUserData::new(user_data, destroy);
            let group = handle::get(group)?;
            let Some(callback) = callback else {
                return group.group.set_listener(None);
            };
            let group_id = group.group.group_id();
            group.group.set_listener(Some(Box::new(move |notice| {
                let event = describe(group_id, &notice);
                let pointer = user_data.pointer().get();
                // The host declared the function for this; the event outlives the call.
                callback::run(|| callback(pointer, &event));
            })))
        })
    }
}

fn describe(group_id: GroupId, notice: &Notice) -> libraft_event {
    let mut event = libraft_event {
        size: size_of::<libraft_event>(),
        kind: 0,
        role: 0,
        group_id,
        term: 0,
        index: 0,
        node_id: 0,
        bytes: 0,
    };
    match *notice {
        Notice::Role { role, term } => {
            event.kind = LIBRAFT_EVENT_ROLE;
            event.role = role as i32;
            event.term = term;
        }
        Notice::Leader { leader, term } => {
            event.kind = LIBRAFT_EVENT_LEADER;
            event.node_id = leader.unwrap_or(0);
            event.term = term;
        }
        Notice::Membership { index } => {
            event.kind = LIBRAFT_EVENT_MEMBERSHIP;
            event.index = index;
        }
        Notice::SnapshotTaken { index, bytes } => {
            event.kind = LIBRAFT_EVENT_SNAPSHOT_TAKEN;
            event.index = index;
            event.bytes = bytes;
        }
        Notice::SnapshotInstalled { index } => {
            event.kind = LIBRAFT_EVENT_SNAPSHOT_INSTALLED;
            event.index = index;
        }
        Notice::SnapshotSending { to, index, bytes } => {
            event.kind = LIBRAFT_EVENT_SNAPSHOT_SENDING;
            (event.node_id, event.index, event.bytes) = (to, index, bytes);
        }
        Notice::SnapshotReceiving { from, index, bytes } => {
            event.kind = LIBRAFT_EVENT_SNAPSHOT_RECEIVING;
            (event.node_id, event.index, event.bytes) = (from, index, bytes);
        }
        Notice::Failed => event.kind = LIBRAFT_EVENT_FAILED,
    }
    event
}
