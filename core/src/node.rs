//! A node: a process's membership in a cluster.

use crate::error::Result;
use crate::group::Group;
use crate::ids::{NodeId, Uuid};
use crate::log::LogStatus;
use crate::machine::StateMachine;
use crate::options::{GroupOptions, NodeOptions};

/// An open node. Clones are the same node. Dropping the last one begins to close it, without blocking.
///
/// **Threads**: every method may be called from any thread.
#[derive(Clone)]
pub struct Node {}

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
    pub failure: Option<crate::error::Error>,
}

#[allow(unused_variables)]
impl Node {
    pub fn open(options: NodeOptions) -> Result<Node> {
        unimplemented!()
    }

    /// Starts a group, or goes on with the one in the data directory. Returns at once; see [`Group::wait_ready`].
    pub fn start_group(
        &self,
        options: GroupOptions,
        machine: Box<dyn StateMachine>,
    ) -> Result<Group> {
        unimplemented!()
    }

    pub fn group(&self, group_id: u64) -> Option<Group> {
        unimplemented!()
    }

    pub fn status(&self) -> Result<NodeStatus> {
        unimplemented!()
    }

    /// Stops everything, completes what is pending, joins the threads and releases the directory, which can be opened
    /// again when this returns. Idempotent. On one of the library's own threads it begins the shutdown and returns
    /// `WouldDeadlock`.
    pub fn close(&self) -> Result<()> {
        unimplemented!()
    }

    /// Begins to close; `done` is called (on a thread of the library, or on this one if the node is closed already)
    /// when the directory can be opened again.
    pub fn close_async(&self, done: Box<dyn FnOnce(Result<()>) + Send>) {
        unimplemented!()
    }
}
