//! A node, as a Python program holds it.

use std::sync::Arc;

use libraft::runtime::is_library_thread;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::error::{to_exception, OrRaise};
use crate::event::{EventHub, HubEntrance};
use crate::future::{runs, would_deadlock, Call, Future, Ready, Value};
use crate::group::Group;
use crate::lifecycle::OpenNode;
use crate::machine::Checked;
use crate::options::{group_options, node_options};
use crate::{interpreter, log, status};

/// A process's membership in a cluster: an address, a data directory, and the groups that were
/// started on it.
///
/// Open one with `Node.open`. Every method may be called from any thread. Close it, best by `with`
/// or `async with`: the data directory can then be opened again. A node that is only forgotten
/// begins to close when it is collected, and at the end of the program.
#[pyclass(frozen, weakref, module = "libraft")]
pub struct Node {
    open: Arc<OpenNode>,
}

#[pymethods]
impl Node {
    /// Opens a node: its data directory, which is made if it is not there, its log, its address.
    ///
    /// Blocks while the log is recovered; other threads go on.
    ///
    /// cluster: the cluster's name, 1 to 128 bytes. Nodes of different clusters refuse each other.
    /// node_id: this node's id in the cluster, not 0.
    /// directory: the data directory. Each node has its own.
    /// snapshot_directory: where snapshots are kept, if not below `directory`.
    /// listen_address: `host:port` or `[ipv6]:port`; port 0 takes a free one. By default
    ///     127.0.0.1:0.
    /// advertised_address: the address that peers connect to; by default the listening one.
    /// insecure_transport: allows to listen beyond loopback, where anybody could connect. By
    ///     default False.
    /// tick_ms: the length of a tick in milliseconds, by default 100.
    /// election_ticks: ticks without a heartbeat before a follower campaigns, by default 10.
    /// heartbeat_ticks: ticks between heartbeats, by default 1.
    /// apply_threads: threads that call state machines, by default 2.
    /// segment_bytes: the size of a journal segment, by default 64 MiB.
    /// segments_max: journal segments in use before the oldest is checkpointed, by default 8.
    /// free_bytes_min: bytes that must stay free on the disk, by default 64 MiB.
    ///
    /// Raises InvalidArgumentError, DirectoryInUseError, WrongIdentityError, NewerFormatError,
    /// CorruptedError, PermissionDeniedError, NoSpaceError, IoError, AddressInUseError,
    /// AddressInvalidError, InsecureAddressError, ForkedError.
    #[classmethod]
    #[pyo3(
        signature = (**options),
        text_signature = "($cls, *, cluster, node_id, directory, snapshot_directory=None, \
            listen_address='127.0.0.1:0', advertised_address='', insecure_transport=False, \
            tick_ms=100, election_ticks=10, heartbeat_ticks=1, apply_threads=2, \
            segment_bytes=67108864, segments_max=8, free_bytes_min=67108864)"
    )]
    fn open(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Node> {
        let options = node_options(options)?;
        interpreter::check_process().or_raise(py)?;
        log::start();
        let open = py.detach(|| OpenNode::open(options)).or_raise(py)?;
        Ok(Node { open })
    }

    /// Starts a group on this node, or goes on with the one in its data directory.
    ///
    /// Returns at once; what goes wrong later (`open` of the machine, say) is what `wait_ready` and
    /// every other call of the group raise. If callbacks of the machine are coroutines, call this
    /// from a coroutine: they run on its event loop.
    ///
    /// group_id: the group's id in the cluster, not 0.
    /// machine: a StateMachine, ConcurrentStateMachine or OnDiskStateMachine.
    /// initial_members: a dict of node ids and addresses, the same on all of them. Empty: wait to
    ///     be added, or go on with what the data directory holds.
    /// proposal_bytes_max: the largest proposal, by default 8 MiB.
    /// pending_bytes_max, pending_count_max: what may be pending on this node, by default 256 MiB
    ///     and 2^20.
    /// unapplied_bytes_max: bytes committed but not applied above which proposals are refused, by
    ///     default 256 MiB.
    /// inflight_bytes_max: bytes of entries in flight to one peer, by default 16 MiB.
    /// entry_cache_bytes: bytes of entries kept in memory, by default 32 MiB.
    /// snapshot_entries: entries between automatic snapshots, by default 100,000; 0 for none by
    ///     count.
    /// snapshot_log_bytes: bytes of log between automatic snapshots, by default 128 MiB; 0 for none
    ///     by size.
    /// retained_entries: entries kept behind a snapshot for followers that lag a little, by default
    ///     10,000.
    /// proposal_timeout_ms: when a pending proposal or read ends with TimeoutError, by default
    ///     10,000.
    /// snapshot_transfer_timeout_ms, snapshot_restore_timeout_ms: by default 600,000.
    /// priority: members with a higher one campaign first, by default 0.
    ///
    /// Raises InvalidArgumentError, GroupExistsError, ClosedError, ForkedError.
    #[pyo3(
        signature = (group_id, machine, **options),
        text_signature = "($self, group_id, machine, *, initial_members={}, \
            proposal_bytes_max=8388608, pending_bytes_max=268435456, pending_count_max=1048576, \
            unapplied_bytes_max=268435456, inflight_bytes_max=16777216, \
            entry_cache_bytes=33554432, snapshot_entries=100000, snapshot_log_bytes=134217728, \
            retained_entries=10000, proposal_timeout_ms=10000, \
            snapshot_transfer_timeout_ms=600000, \
            snapshot_restore_timeout_ms=600000, priority=0)"
    )]
    fn start_group(
        &self,
        py: Python<'_>,
        group_id: &Bound<'_, PyAny>,
        machine: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Group> {
        let options = group_options(group_id, options)?;
        interpreter::check_process().or_raise(py)?;
        let checked = Checked::new(machine)?;
        let callback_loop = checked.callback_loop();
        let group = self.open.node.start_group(options, checked.into_machine()).or_raise(py)?;
        let events = Arc::new(EventHub::default());
        let entrance = HubEntrance(events.clone());
        group.set_listener(Some(Box::new(move |notice| entrance.tell(&notice)))).or_raise(py)?;
        self.open.started(group.clone(), callback_loop);
        Ok(Group::new(self.open.clone(), group, events, callback_loop))
    }

    /// What the node says of itself: a NodeStatus.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        interpreter::check_process().or_raise(py)?;
        status::of_node(py, &self.open.node.status().or_raise(py)?)
    }

    /// Stops the node's groups, completes what is pending, and releases the data directory, which
    /// can be opened again when this returns. Does nothing if the node is closed.
    ///
    /// Blocks until callbacks that are running have returned; other threads go on. In a callback,
    /// or in a coroutine on the event loop that callbacks run on, it begins to close and raises
    /// WouldDeadlockError: use `aclose` there.
    ///
    /// Raises, once, the failure of a callback that had stopped a group; the node is closed all the
    /// same.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.close_and_wait(py, false)
    }

    /// Begins to close the node, and returns a Future of the end of that.
    fn aclose(&self, py: Python<'_>) -> PyResult<Future> {
        self.begin_close(py, false)
    }

    fn __enter__(this: Py<Node>) -> Py<Node> {
        this
    }

    /// Closes. An exception that is under way goes on, whatever the close has to tell.
    fn __exit__(
        &self,
        py: Python<'_>,
        exception_type: &Bound<'_, PyAny>,
        _exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.close_and_wait(py, !exception_type.is_none())
    }

    fn __aenter__(this: Py<Node>) -> Ready {
        Ready { value: this.into_any() }
    }

    fn __aexit__(
        &self,
        py: Python<'_>,
        exception_type: &Bound<'_, PyAny>,
        _exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<Future> {
        self.begin_close(py, !exception_type.is_none())
    }

    fn __repr__(&self) -> String {
        match interpreter::check_process().and_then(|()| self.open.node.status()) {
            Ok(status) => format!(
                "<libraft.Node {} of cluster '{}' at {}>",
                status.node_id, status.cluster, status.address
            ),
            Err(_) => "<libraft.Node of another process>".to_string(),
        }
    }
}

impl Node {
    /// If `quietly`, the failure of a group is not told.
    fn begin_close(&self, py: Python<'_>, quietly: bool) -> PyResult<Future> {
        interpreter::check_process().or_raise(py)?;
        let call = Arc::new(Call::default());
        let closed = call.clone();
        self.open.close_async(move |result| {
            let result = if quietly { Ok(()) } else { result };
            closed.complete(result.map(|()| Value::Nothing));
        });
        Ok(Future::new(call, 0))
    }

    fn close_and_wait(&self, py: Python<'_>, quietly: bool) -> PyResult<()> {
        let closing = self.begin_close(py, quietly)?;
        if is_library_thread() || self.callbacks_run_here(py)? {
            return Err(to_exception(py, &would_deadlock("close")));
        }
        closing.result(py, None).map(|_| ())
    }

    fn callbacks_run_here(&self, py: Python<'_>) -> PyResult<bool> {
        for event_loop in self.open.callback_loops() {
            if runs(py, event_loop)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
