//! A node: a process's membership in a cluster.

use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::group::Group;
use crate::ids::{GroupId, NodeId, Uuid};
use crate::log::LogStatus;
use crate::machine::StateMachine;
use crate::options::{GroupOptions, NodeOptions};
use crate::runtime::{refuse_on_library_thread, NodeHandle};

/// An open node. Clones are the same node. Dropping the last one begins to close it, without blocking.
///
/// **Threads**: every method may be called from any thread.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    pub cluster: String,
    pub node_id: NodeId,
    pub incarnation: Uuid,
    /// How often the data directory was opened.
    pub boot_counter: u64,
    /// The address peers should connect to, with the actual port.
    pub address: String,
    pub groups: u64,
    pub connected_peers: u64,
    /// Frames and connections that were refused since the node was opened.
    pub refused_frames: u64,
    pub refused_connections: u64,
    pub log: LogStatus,
    /// The error that put the whole node out of service, if any.
    pub failure: Option<Error>,
}

impl Node {
    /// Opens the data directory, recovers the log, listens, and starts the node's threads.
    ///
    /// **Errors**: `InvalidArgument`; `DirectoryInUse`, `WrongIdentity`, `NewerFormat`, `Corrupted`, `PermissionDenied`,
    /// `NoSpace`, `Io`; `AddressInUse`, `AddressInvalid`, `InsecureAddress`; `Forked` if the process that this one
    /// was forked from had opened a node.
    pub fn open(options: NodeOptions) -> Result<Node> {
        let handle = crate::runtime::open(options)?;
        Ok(Node::of_handle(handle))
    }

    pub(crate) fn of_handle(handle: Arc<NodeHandle>) -> Node {
        Node { inner: Arc::new(Inner { handle }) }
    }

    /// Starts a group, or goes on with the one in the data directory. Returns at once; what goes wrong later (`open` of
    /// the machine, members that contradict the directory) is what [`Group::wait_ready`] and every call then return.
    ///
    /// **Errors**: `InvalidArgument`, `AddressInvalid`, `InitialMembersConflict` if this node is none of them,
    /// `GroupExists`, `Closed`, `Forked`.
    pub fn start_group(
        &self,
        options: GroupOptions,
        machine: Box<dyn StateMachine>,
    ) -> Result<Group> {
        options.check()?;
        let handle = &self.inner.handle;
        handle.check_process()?;
        check_named(handle.identity.node_id, &options)?;
        crate::runtime::start_group(handle, options, machine)
            .map(|group| Group::new(handle.clone(), group))
    }

    /// The group, if it was started and not stopped.
    pub fn group(&self, group_id: GroupId) -> Option<Group> {
        let handle = &self.inner.handle;
        handle.group(group_id).map(|group| Group::new(handle.clone(), group))
    }

    pub fn status(&self) -> Result<NodeStatus> {
        self.inner.handle.check_process()?;
        Ok(self.inner.handle.status())
    }

    /// Stops everything, completes what is pending (unknown or rejected, with `Closed`), joins the threads and releases
    /// the directory, which can be opened again when this returns. Idempotent. Waits for callbacks that are running. On
    /// one of the library's own threads it begins the shutdown and returns `WouldDeadlock`.
    pub fn close(&self) -> Result<()> {
        let handle = &self.inner.handle;
        handle.check_process()?;
        handle.begin_close();
        refuse_on_library_thread("close")?;
        handle.wait_closed()
    }

    /// Begins to close; `done` is called (on a thread of the library, or on this one if the node is closed already)
    /// when the directory can be opened again. In a forked child `done` is called with `Forked`.
    pub fn close_async(&self, done: Box<dyn FnOnce(Result<()>) + Send>) {
        let handle = &self.inner.handle;
        if let Err(error) = handle.check_process() {
            return done(Err(error));
        }
        handle.begin_close();
        handle.when_closed(done);
    }
}

/// The initial members of a group must name the node that it is started on.
fn check_named(node_id: NodeId, options: &GroupOptions) -> Result<()> {
    let members = &options.initial_members;
    if members.is_empty() || members.iter().any(|member| member.node_id == node_id) {
        return Ok(());
    }
    let ids: Vec<NodeId> = members.iter().map(|member| member.node_id).collect();
    Err(Error::rejected(
        Code::InitialMembersConflict,
        format!(
            "the initial members of group {} are the nodes {ids:?}, and this is node {node_id}: name it among them, or \
             start the group here without initial members and add the node",
            options.group_id
        ),
    ))
}

/// Begins the close when the last clone goes.
struct Inner {
    handle: Arc<NodeHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.handle.is_forked() {
            self.handle.begin_close();
        }
    }
}
