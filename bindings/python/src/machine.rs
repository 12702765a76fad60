//! The program's state machine, as the core calls it.

use std::io::{Read, Write};
use std::sync::{mpsc, Arc};

use libraft::machine::{Apply, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply};
use libraft::StateMachine;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::arguments::type_name;
use crate::entry;
use crate::error::{invalid, wrong_type};
use crate::interpreter::{attach, call};
use crate::request::{await_on, dropped, is_awaitable, Ask};
use crate::snapshot::{Closer, NativeReader, NativeWriter};

/// The program's object, and the event loop that its asynchronous callbacks run on. Prepared
/// snapshots keep it, too: its `destroy` is called after the last use.
pub struct Program {
    /// None once it is destroyed.
    machine: Option<Py<PyAny>>,
    event_loop: Option<Py<PyAny>>,
    kind: MachineKind,
}

/// What the core holds.
pub struct PythonMachine(Arc<Program>);

/// A state machine that was checked, and is yet to be handed to the core.
pub struct Checked {
    machine: Py<PyAny>,
    event_loop: Option<Py<PyAny>>,
    kind: MachineKind,
    asynchronous: bool,
}

impl Checked {
    pub fn new(machine: &Bound<'_, PyAny>) -> PyResult<Checked> {
        let py = machine.py();
        let kind = kind_of(machine)?;
        let event_loop = py.import("asyncio")?.call_method0("_get_running_loop")?;
        let event_loop = Some(event_loop).filter(|found| !found.is_none()).map(Bound::unbind);
        let is_coroutine = py.import("inspect")?.getattr("iscoroutinefunction")?;
        let mut asynchronous = false;
        for name in callbacks(kind) {
            let callback = machine.getattr(*name)?;
            asynchronous |= is_coroutine.call1((callback,))?.is_truthy()?;
        }
        if asynchronous && event_loop.is_none() {
            return Err(invalid(
                py,
                format!(
                    "{} has callbacks that are coroutines: call start_group from a coroutine, \
                     on whose event loop they can run",
                    type_name(machine)
                ),
            ));
        }
        Ok(Checked { machine: machine.clone().unbind(), event_loop, kind, asynchronous })
    }

    /// The address of the event loop that callbacks run on, or 0.
    pub fn callback_loop(&self) -> usize {
        let event_loop = self.event_loop.as_ref().filter(|_| self.asynchronous);
        event_loop.map_or(0, |event_loop| event_loop.as_ptr() as usize)
    }

    pub fn into_machine(self) -> Box<dyn StateMachine> {
        Box::new(PythonMachine(Arc::new(Program {
            machine: Some(self.machine),
            event_loop: self.event_loop,
            kind: self.kind,
        })))
    }
}

fn callbacks(kind: MachineKind) -> &'static [&'static str] {
    const OF_ALL: &[&str] =
        &["apply", "save_snapshot", "restore_snapshot", "prepare_snapshot", "open", "sync"];
    match kind {
        MachineKind::InMemory => &OF_ALL[..3],
        MachineKind::Concurrent => &OF_ALL[..4],
        MachineKind::OnDisk => OF_ALL,
    }
}

fn kind_of(machine: &Bound<'_, PyAny>) -> PyResult<MachineKind> {
    static CLASSES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = machine.py();
    let classes = CLASSES.import(py, "libraft.machine", "KINDS")?.cast::<PyTuple>()?;
    let kinds = [MachineKind::OnDisk, MachineKind::Concurrent, MachineKind::InMemory];
    for (class, kind) in classes.iter().zip(kinds) {
        if machine.is_instance(&class)? {
            return Ok(kind);
        }
    }
    let message = format!(
        "the state machine must be an object of a subclass of libraft.StateMachine, \
         ConcurrentStateMachine or OnDiskStateMachine, not {}",
        type_name(machine)
    );
    Err(wrong_type(py, &message))
}

impl Program {
    /// Calls a callback. What it returns or raises answers the request, now or, if it is to be
    /// awaited, later.
    fn ask(
        self: &Arc<Program>,
        name: &str,
        ask: Ask,
        arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>>,
    ) {
        let answer = attach(|py| {
            let returned = arguments(py).and_then(|arguments| {
                let machine = self.machine.as_ref().map(|machine| machine.bind(py));
                let callback = machine.unwrap_or(py.None().bind(py)).getattr(name)?;
                call(&callback, &arguments)
            });
            match returned {
                Ok(awaitable) if is_awaitable(&awaitable) => {
                    await_on(self, self.event_loop.as_ref(), awaitable, ask)
                }
                returned => Some(ask.answer(py, returned)),
            }
        });
        if let Some(answer) = answer {
            answer.send();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let machine = self.machine.take();
        let event_loop = self.event_loop.take();
        attach(|py| {
            if let Some(machine) = machine {
                let machine = machine.into_bound(py);
                let destroyed = machine
                    .getattr("destroy")
                    .and_then(|destroy| call(&destroy, &PyTuple::empty(py)));
                if let Err(error) = destroyed {
                    error.write_unraisable(py, Some(&machine));
                }
            }
            drop(event_loop);
        });
    }
}

impl StateMachine for PythonMachine {
    fn kind(&self) -> MachineKind {
        self.0.kind
    }

    fn open(&mut self, reply: Reply<Opened>) {
        if self.0.kind != MachineKind::OnDisk {
            return reply.send(Ok(Opened::default()));
        }
        self.0.ask("open", Ask::Open(reply), |py| Ok(PyTuple::empty(py)));
    }

    fn apply(&mut self, request: Apply) {
        let Apply { entries, reply, .. } = request;
        let ask = Ask::Apply { reply, count: entries.len() };
        self.0.ask("apply", ask, |py| PyTuple::new(py, [entry::to_list(py, &entries)?]));
    }

    fn sync(&mut self, reply: Reply<()>) {
        let ask = Ask::Done { reply, closer: None };
        self.0.ask("sync", ask, |py| Ok(PyTuple::empty(py)));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        let ask = Ask::Prepare { reply, program: self.0.clone() };
        self.0.ask("prepare_snapshot", ask, |py| Ok(PyTuple::empty(py)));
    }

    fn save_snapshot(&mut self, writer: Box<dyn Write + Send>, reply: Reply<()>) {
        let (native, closer) = NativeWriter::new(writer);
        let ask = Ask::Done { reply, closer: Some(Box::new(closer)) };
        self.0.ask("save_snapshot", ask, |py| PyTuple::new(py, [writer_file(py, native)?]));
    }

    fn restore_snapshot(&mut self, reader: Box<dyn Read + Send>, reply: Reply<()>) {
        let (native, closer) = NativeReader::new(reader);
        let ask = Ask::Done { reply, closer: Some(Box::new(closer)) };
        self.0.ask("restore_snapshot", ask, |py| PyTuple::new(py, [reader_file(py, native)?]));
    }
}

/// A view of the state that the program prepared. Its drop releases it.
pub struct Prepared {
    pub program: Arc<Program>,
    pub snapshot: Option<Py<PyAny>>,
}

impl PreparedSnapshot for Prepared {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        let (sender, saved) = mpsc::sync_channel(1);
        let lend = |native: NativeWriter, _: &Closer<dyn Write + Send>| {
            self.program.ask("save_snapshot", Ask::Saved(sender), |py| {
                let prepared = self.snapshot.as_ref().map(|snapshot| snapshot.clone_ref(py));
                let prepared = prepared.unwrap_or_else(|| py.None()).into_bound(py);
                PyTuple::new(py, [prepared, writer_file(py, native)?])
            });
            saved.recv().unwrap_or_else(|_| Err(dropped()))
        };
        NativeWriter::lend(writer, lend)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let Some(snapshot) = self.snapshot.take() else { return };
        attach(|py| {
            let Some(machine) = &self.program.machine else { return };
            let machine = machine.bind(py);
            let released = machine
                .getattr("release_snapshot")
                .and_then(|release| call(&release, &PyTuple::new(py, [snapshot.into_bound(py)])?));
            if let Err(error) = released {
                error.write_unraisable(py, Some(machine));
            }
        });
    }
}

fn writer_file(py: Python<'_>, native: NativeWriter) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "libraft.snapshot", "SnapshotWriter")?.call1((native,))
}

fn reader_file(py: Python<'_>, native: NativeReader) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "libraft.snapshot", "SnapshotReader")?.call1((native,))
}
