//! A group, as a Python program holds it.

use std::sync::Arc;
use std::time::Duration;

use libraft::{BatchCompleter, Completer, Completion, Error};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList};

use crate::arguments::{bytes, number, type_name};
use crate::change::steps;
use crate::error::{wrong_type, OrRaise};
use crate::event::EventHub;
use crate::future::{seconds, Call, Future, Value};
use crate::lifecycle::OpenNode;
use crate::{interpreter, status};

/// How long `wait_ready` waits if it is not told.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A group that was started on a node: what proposals, reads and changes of the membership are made
/// through.
///
/// Every method may be called from any thread, and none blocks: those that take time return a
/// Future. What is refused at once (a proposal that is too large, say, or a closed node) is raised
/// at once.
#[pyclass(frozen, weakref, module = "libraft")]
pub struct Group {
    /// The group keeps its node.
    _open: Arc<OpenNode>,
    group: libraft::Group,
    events: Arc<EventHub>,
    callback_loop: usize,
}

impl Group {
    pub fn new(
        open: Arc<OpenNode>,
        group: libraft::Group,
        events: Arc<EventHub>,
        callback_loop: usize,
    ) -> Group {
        Group { _open: open, group, events, callback_loop }
    }

    /// Makes a call whose completion becomes `value`. The completion is quick: it takes no lock of
    /// the interpreter.
    fn start(
        &self,
        py: Python<'_>,
        value: fn(Completion) -> Value,
        begin: impl FnOnce(&libraft::Group, Completer) -> Result<(), Error>,
    ) -> PyResult<Future> {
        interpreter::check_process().or_raise(py)?;
        let call = Arc::new(Call::default());
        let pending = call.clone();
        let completer = Completer::quick(move |result| pending.complete(result.map(value)));
        begin(&self.group, completer).or_raise(py)?;
        Ok(Future::new(call, self.callback_loop))
    }
}

#[pymethods]
impl Group {
    /// The group's id.
    #[getter]
    fn group_id(&self) -> u64 {
        self.group.group_id()
    }

    /// Waits until the group has a leader and this node has applied what was committed before.
    ///
    /// Returns a Future of None. Its error is the failure of the group, if it has one, or
    /// TimeoutError after `timeout` seconds, by default 30.
    #[pyo3(signature = (timeout=None), text_signature = "($self, timeout=30.0)")]
    fn wait_ready(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Future> {
        let timeout = match timeout {
            Some(_) => seconds(timeout)?.unwrap_or(Duration::MAX),
            None => READY_TIMEOUT,
        };
        self.start(
            py,
            |_| Value::Nothing,
            |group, completer| group.wait_ready_async(timeout, completer),
        )
    }

    /// Proposes an entry. Returns a Future of its Completion: it was committed, and applied on this
    /// node.
    ///
    /// Raises EmptyProposalError, TooLargeError, BusyError if too much is pending, ClosedError,
    /// StoppedError, ForkedError, or the failure of the group. An error's `outcome` says whether
    /// the entry may yet be applied.
    fn propose(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Future> {
        let data = bytes(data, "a proposal")?;
        self.start(py, Value::Completion, |group, completer| {
            group.propose(data.as_bytes(), completer)
        })
    }

    /// Proposes entries, all or none. Returns a Future of a list with the Completion, or the Error,
    /// of each.
    ///
    /// Raises as `propose`.
    fn propose_batch(&self, py: Python<'_>, entries: &Bound<'_, PyAny>) -> PyResult<Future> {
        interpreter::check_process().or_raise(py)?;
        let (data, offsets) = flatten(entries)?;
        let call = Arc::new(Call::default());
        let pending = call.clone();
        let completer =
            BatchCompleter::quick(move |results| pending.complete(Ok(Value::Batch(results))));
        self.group.propose_batch(&data, &offsets, completer).or_raise(py)?;
        Ok(Future::new(call, self.callback_loop))
    }

    /// Returns a Future of an index, which comes once this node has applied all that was committed
    /// before the call: a read of the state machine is linearizable from then on.
    fn read_index(&self, py: Python<'_>) -> PyResult<Future> {
        self.start(py, index_of, |group, completer| group.read_index(completer))
    }

    /// Changes the membership, at the leader: all steps take effect together. Nodes to be added
    /// must be running.
    ///
    /// Returns a Future of the index since which the new membership is in force.
    fn change_membership(&self, py: Python<'_>, changes: &Bound<'_, PyAny>) -> PyResult<Future> {
        let steps = steps(changes)?;
        self.start(py, index_of, |group, completer| group.change_membership(steps, completer))
    }

    /// Hands over the leadership to another node, at the leader. Returns a Future of None.
    fn transfer_leadership(&self, py: Python<'_>, to: &Bound<'_, PyAny>) -> PyResult<Future> {
        let to = number(to, "to")?;
        self.start(
            py,
            |_| Value::Nothing,
            |group, completer| group.transfer_leadership(to, completer),
        )
    }

    /// Takes a snapshot of this node's state. Returns a Future of its index.
    fn take_snapshot(&self, py: Python<'_>) -> PyResult<Future> {
        self.start(py, index_of, |group, completer| group.take_snapshot(completer))
    }

    /// What the group says of its replica on this node: a GroupStatus.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        interpreter::check_process().or_raise(py)?;
        status::of_group(py, &self.group.status().or_raise(py)?)
    }

    /// The group's members, as a list of Member.
    fn members<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        interpreter::check_process().or_raise(py)?;
        let members = self.group.members().or_raise(py)?;
        let members: Vec<_> =
            members.iter().map(|member| status::of_member(py, member)).collect::<PyResult<_>>()?;
        PyList::new(py, members)
    }

    /// The group's events from now on, to be iterated over with `for` or `async for`, until the
    /// group stops. Any number of these may be read beside each other.
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        interpreter::check_process().or_raise(py)?;
        CLASS.import(py, "libraft.events", "Events")?.call1((self.events.listen(),))
    }

    /// Stops the group on this node; its data stays. Returns a Future that is done when the state
    /// machine will not be used any more.
    fn stop(&self, py: Python<'_>) -> PyResult<Future> {
        interpreter::check_process().or_raise(py)?;
        let call = Arc::new(Call::default());
        let stopped = call.clone();
        self.group.stop_async(Box::new(move |result| {
            stopped.complete(result.map(|()| Value::Nothing));
        }));
        Ok(Future::new(call, self.callback_loop))
    }

    fn __repr__(&self) -> String {
        format!("<libraft.Group {}>", self.group.group_id())
    }
}

fn index_of(completion: Completion) -> Value {
    Value::Index(completion.index)
}

/// The entries one behind the other, and where each begins and the last ends.
fn flatten(entries: &Bound<'_, PyAny>) -> PyResult<(Vec<u8>, Vec<usize>)> {
    let mut data = Vec::new();
    let mut offsets = vec![0];
    let mut push = |entry: &Bound<'_, PyAny>| -> PyResult<()> {
        match entry.cast::<PyBytes>() {
            Ok(entry) => data.extend_from_slice(entry.as_bytes()),
            Err(_) => data.extend_from_slice(bytes(entry, "an entry of the batch")?.as_bytes()),
        }
        offsets.push(data.len());
        Ok(())
    };
    if let Ok(list) = entries.cast::<PyList>() {
        list.iter().try_for_each(|entry| push(&entry))?;
        return Ok((data, offsets));
    }
    // Text and bytes can be iterated over as well, but nobody means that.
    let Some(iterator) = entries.try_iter().ok().filter(|_| bytes(entries, "").is_err()) else {
        let message = format!("a batch must be a list of bytes, not {}", type_name(entries));
        return Err(wrong_type(entries.py(), &message));
    };
    for entry in iterator {
        push(&entry?)?;
    }
    Ok((data, offsets))
}
