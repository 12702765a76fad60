//! Nodes.

use std::ffi::{c_char, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use libraft::{Code, Error, Node, NodeOptions, NodeStatus, Result};

use crate::boundary::{self, Out, SizeFirst};
use crate::callback;
use crate::done::{begin, libraft_done_callback};
use crate::error::{libraft_error, own_error, LIBRAFT_OK};
use crate::group::{libraft_group, GroupObject};
use crate::handle::{self, Handle, Table, Tables};

/// A process's membership in a cluster: an identity, an address, a data directory.
pub struct libraft_node {
    _opaque: [u8; 0],
}

pub struct NodeObject {
    pub node: Node,
}

impl Handle for libraft_node {
    type Object = NodeObject;
    const NOUN: &'static str = "node";
    const KIND: u8 = 1;

    fn table(tables: &Tables) -> &Table<NodeObject> {
        &tables.nodes
    }
}

/// What a node is opened with. Begin with libraft_node_options_init, then set cluster, node_id and
/// directory. Texts end with a NUL and are copied.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_node_options {
    /// The size of this struct in bytes; set by libraft_node_options_init.
    pub size: usize,
    /// The cluster's name, 1 to 128 bytes of UTF-8. Nodes of different clusters refuse each other.
    pub cluster: *const c_char,
    /// This node's id within the cluster, not 0.
    pub node_id: u64,
    /// The data directory; created if missing. Each node has its own.
    pub directory: *const c_char,
    /// Where snapshots are kept, if not below `directory`; NULL for there.
    pub snapshot_directory: *const c_char,
    /// Address to listen on, "host:port" or "[ipv6]:port"; port 0 takes a free one. NULL for
    /// "127.0.0.1:0".
    pub listen_address: *const c_char,
    /// The address that peers connect to; NULL for the one listened on.
    pub advertised_address: *const c_char,
    /// The length of a tick in milliseconds. Default 100.
    pub tick_ms: u64,
    /// Ticks without a heartbeat before a follower campaigns; the actual time is drawn from this up
    /// to twice this. Default 10.
    pub election_ticks: u64,
    /// Ticks between heartbeats. Default 1.
    pub heartbeat_ticks: u64,
    /// Threads that run state machines which are not quick. Default 2.
    pub apply_threads: u64,
    /// The size of a journal segment in bytes. Default 67108864.
    pub segment_bytes: u64,
    /// Journal segments in use before the oldest is checkpointed. Default 8.
    pub segments_max: u64,
    /// Bytes that must stay free on the disk. Default 67108864.
    pub free_bytes_min: u64,
    /// 1 allows listening beyond loopback although the transport is not encrypted. Default 0.
    pub insecure_transport: i32,
    /// Zero.
    pub reserved: i32,
}

// SAFETY: pointers and integers, for which zero is a value; the size first.
unsafe impl SizeFirst for libraft_node_options {
    const NAME: &'static str = "libraft_node_options";
    const FIRST_SIZE: usize = 120;
}

/// What a node says of itself. Begin with libraft_node_info_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_node_info {
    /// The size of this struct in bytes; set by libraft_node_info_init.
    pub size: usize,
    /// This node's id.
    pub node_id: u64,
    /// Names this data directory: a wiped node has another.
    pub incarnation: [u8; 16],
    /// How often the data directory was opened.
    pub boot_counter: u64,
    /// Groups on this node.
    pub groups: u64,
    /// Peers that are connected now.
    pub connected_peers: u64,
    /// Frames that were refused since the node was opened.
    pub refused_frames: u64,
    /// Connections that were refused since the node was opened.
    pub refused_connections: u64,
    /// The journal's bytes on the disk.
    pub journal_bytes: u64,
    /// The checkpoint's bytes on the disk.
    pub checkpoint_bytes: u64,
    /// Journal segments in use.
    pub segments: u64,
    /// 1 while new entries are refused for want of space.
    pub full: i32,
    /// LIBRAFT_OK, or the code of the error that put the node out of service; see
    /// libraft_node_failure.
    pub failure_code: i32,
    /// The cluster's name.
    pub cluster: [c_char; 136],
    /// The address that peers connect to, with the actual port.
    pub address: [c_char; 264],
}

// SAFETY: integers only, the size first.
unsafe impl SizeFirst for libraft_node_info {
    const NAME: &'static str = "libraft_node_info";
    const FIRST_SIZE: usize = 504;
}

const DEFAULT_ADDRESS: &CStr = c"127.0.0.1:0";

/// Fills node options with defaults. Programs call libraft_node_options_init, which passes the
/// size.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the struct stays the caller's.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_options_init_sized(
    options: *mut libraft_node_options,
    size: usize,
) -> i32 {
    let default = NodeOptions::default();
    let default = libraft_node_options {
        size: 0,
        cluster: std::ptr::null(),
        node_id: 0,
        directory: std::ptr::null(),
        snapshot_directory: std::ptr::null(),
        listen_address: DEFAULT_ADDRESS.as_ptr(),
        advertised_address: std::ptr::null(),
        tick_ms: default.tick_ms,
        election_ticks: default.election_ticks,
        heartbeat_ticks: default.heartbeat_ticks,
        apply_threads: default.apply_threads as u64,
        segment_bytes: default.segment_bytes,
        segments_max: default.segments_max as u64,
        free_bytes_min: default.free_bytes_min,
        insecure_transport: 0,
        reserved: 0,
    };
    // SAFETY: the struct is as the crate's contract says.
    unsafe {
        boundary::call(std::ptr::null_mut(), || boundary::init_sized(options, size, &default))
    }
}

/// Opens a node: reads or makes its identity, recovers its log, listens. No group runs yet.
///
/// **Threads**: any, but not from a callback. Blocks while the log is recovered.
/// **Ownership**: `*node` is the caller's, until libraft_node_free. The options are copied.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_INVALID_UTF8,
/// LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_FORKED; of the directory LIBRAFT_ERR_DIRECTORY_IN_USE,
/// LIBRAFT_ERR_WRONG_IDENTITY, LIBRAFT_ERR_NEWER_FORMAT, LIBRAFT_ERR_PERMISSION_DENIED,
/// LIBRAFT_ERR_CORRUPTED, LIBRAFT_ERR_NO_SPACE, LIBRAFT_ERR_IO; of the address
/// LIBRAFT_ERR_ADDRESS_IN_USE, LIBRAFT_ERR_ADDRESS_INVALID, LIBRAFT_ERR_INSECURE_ADDRESS.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_open(
    options: *const libraft_node_options,
    node: *mut *mut libraft_node,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let out = Out::required(node, "node")?;
            let options = read_options(boundary::read_sized(options)?)?;
            callback::refuse_to_block("libraft_node_open")?;
            let node = Node::open(options)?;
            out.set(handle::insert(NodeObject { node })?);
            Ok(())
        })
    }
}

/// # Safety
/// The texts are NULL or end with a NUL.
unsafe fn read_options(raw: libraft_node_options) -> Result<NodeOptions> {
    if raw.reserved != 0 || !(0..=1).contains(&raw.insecure_transport) {
        return Err(boundary::invalid("insecure_transport must be 0 or 1, and reserved 0"));
    }
    if raw.directory.is_null() {
        return Err(boundary::invalid("directory is NULL"));
    }
    // SAFETY: as the caller's.
    unsafe {
        let listen = boundary::optional_text(raw.listen_address, "listen_address")?;
        let advertised = boundary::optional_text(raw.advertised_address, "advertised_address")?;
        Ok(NodeOptions {
            cluster: boundary::text(raw.cluster, "cluster")?,
            node_id: raw.node_id,
            directory: path(raw.directory),
            snapshot_directory: (!raw.snapshot_directory.is_null())
                .then(|| path(raw.snapshot_directory)),
            listen_address: listen.unwrap_or_else(|| NodeOptions::default().listen_address),
            advertised_address: advertised.unwrap_or_default(),
            insecure_transport: raw.insecure_transport == 1,
            tick_ms: raw.tick_ms,
            election_ticks: raw.election_ticks,
            heartbeat_ticks: raw.heartbeat_ticks,
            apply_threads: count(raw.apply_threads, "apply_threads")?,
            segment_bytes: raw.segment_bytes,
            segments_max: count(raw.segments_max, "segments_max")?,
            free_bytes_min: raw.free_bytes_min,
        })
    }
}

/// A path is whatever bytes the file system takes.
///
/// # Safety
/// `text` ends with a NUL.
unsafe fn path(text: *const c_char) -> PathBuf {
    // SAFETY: as the caller's.
    let bytes = unsafe { CStr::from_ptr(text) };
    PathBuf::from(OsStr::from_bytes(bytes.to_bytes()))
}

fn count(number: u64, name: &str) -> Result<usize> {
    usize::try_from(number).map_err(|_| boundary::invalid(format!("{name} is too large")))
}

/// Stops all groups, completes what is pending (LIBRAFT_ERR_CLOSED), joins the threads and releases
/// the data directory, which can be opened again when this returns. Closing a closed node is no
/// error. The handle stays valid.
///
/// **Threads**: any. Blocks; from a callback it begins to close and returns
/// LIBRAFT_ERR_WOULD_DEADLOCK. It waits for callbacks that run, and for a prepared snapshot that is
/// being saved; not for other requests that are pending, which may still be answered afterwards: the
/// state machine is destroyed when the last of them was.
/// **Ownership**: nothing is handed over; libraft_node_free is still needed.
/// **Errors**: LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED; LIBRAFT_ERR_STORAGE_FAILED or LIBRAFT_ERR_IO if
/// the last words could not be written (it is closed all the same).
#[no_mangle]
pub unsafe extern "C" fn libraft_node_close(
    node: *mut libraft_node,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let object = handle::get(node)?;
            let refused = callback::refuse_to_block("libraft_node_close");
            if refused.is_err() {
                object.node.close_async(Box::new(|_| ()));
                return refused;
            }
            object.node.close()
        })
    }
}

/// Begins what libraft_node_close does; `done` (which may be NULL) is called when the directory can
/// be opened again.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: nothing is handed over; libraft_node_free is still needed.
/// **Errors**: then `done` is not called. LIBRAFT_ERR_CLOSED if it is closed already,
/// LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_close_async(
    node: *mut libraft_node,
    done: libraft_done_callback,
    user_data: *mut c_void,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: `error` is as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let object = handle::get(node)?;
            let closed = || Error::rejected(Code::Closed, "the node is closed already");
            begin(done, user_data, |tell| object.node.close_async(tell), closed)
        })
    }
}

/// Frees a node's handle. If the node is not closed, this begins to close it, and memory goes when
/// that is done. NULL is allowed.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: takes the handle.
/// **Errors**: none; a handle that is not valid is left alone.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_free(node: *mut libraft_node) {
    boundary::value((), || {
        if let Ok(object) = handle::take(node) {
            object.node.close_async(Box::new(|_| ()));
        }
    });
}

/// Fills a node's status with zeroes. Programs call libraft_node_info_init, which passes the size.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the struct stays the caller's.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_info_init_sized(
    info: *mut libraft_node_info,
    size: usize,
) -> i32 {
    // SAFETY: the struct is as the crate's contract says; zero is a value of it.
    unsafe {
        let zero = std::mem::zeroed();
        boundary::call(std::ptr::null_mut(), || boundary::init_sized(info, size, &zero))
    }
}

/// What the node says of itself, as of now.
///
/// **Threads**: any, callbacks too; never blocks for long.
/// **Ownership**: the struct is the caller's and points to nothing.
/// **Errors**: LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_status(
    node: *const libraft_node,
    info: *mut libraft_node_info,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let status = handle::get(node)?.node.status()?;
            boundary::write_sized(info, &describe(&status))
        })
    }
}

fn describe(status: &NodeStatus) -> libraft_node_info {
    libraft_node_info {
        size: 0,
        node_id: status.node_id,
        incarnation: status.incarnation.0,
        boot_counter: status.boot_counter,
        groups: status.groups,
        connected_peers: status.connected_peers,
        refused_frames: status.refused_frames,
        refused_connections: status.refused_connections,
        journal_bytes: status.log.journal_bytes,
        checkpoint_bytes: status.log.checkpoint_bytes,
        segments: status.log.segments as u64,
        full: i32::from(status.log.full),
        failure_code: status.failure.as_ref().map_or(LIBRAFT_OK, |error| error.code.number()),
        cluster: boundary::fixed_text(&status.cluster),
        address: boundary::fixed_text(&status.address),
    }
}

/// The error that put the node out of service: `*failure` is NULL if there is none.
///
/// **Threads**: any, callbacks too; never blocks for long.
/// **Ownership**: `*failure` is the caller's, until libraft_error_free.
/// **Errors**: LIBRAFT_ERR_CLOSED, LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE,
/// LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_failure(
    node: *const libraft_node,
    failure: *mut *mut libraft_error,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let failure = Out::required(failure, "failure")?;
            failure.set(own_error(handle::get(node)?.node.status()?.failure)?);
            Ok(())
        })
    }
}

/// A new handle to a group that was started on this node.
///
/// **Threads**: any, callbacks too; never blocks.
/// **Ownership**: `*group` is the caller's, until libraft_group_free.
/// **Errors**: LIBRAFT_ERR_GROUP_NOT_FOUND, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_node_group(
    node: *mut libraft_node,
    group_id: u64,
    group: *mut *mut libraft_group,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let out = Out::required(group, "group")?;
            let group = handle::get(node)?.node.group(group_id).ok_or_else(|| {
                Error::rejected(
                    Code::GroupNotFound,
                    format!("group {group_id} does not run on this node; start it first"),
                )
            })?;
            out.set(handle::insert(GroupObject { group })?);
            Ok(())
        })
    }
}
