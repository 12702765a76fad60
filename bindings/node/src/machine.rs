//! A state machine in JavaScript, as the library sees it. Every callback only leaves an item in the
//! mailbox, so all of them are quick; the answers come later, from JavaScript's thread.

use std::io::{Read, Write};
use std::sync::{mpsc, Arc};

use libraft::machine::{
    Apply, MachineError, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply,
};
use libraft::StateMachine;

use crate::mailbox::{Item, Mailbox};
use crate::request::Request;
use crate::stream;

/// Names the machine in JavaScript that requests are for.
pub type HostId = u32;

pub struct JsMachine {
    pub mailbox: Arc<Mailbox>,
    pub host: HostId,
    pub kind: MachineKind,
}

impl JsMachine {
    fn ask(&self, request: Request) {
        self.mailbox.post(Item::Requested(self.host, request));
    }
}

impl StateMachine for JsMachine {
    fn kind(&self) -> MachineKind {
        self.kind
    }

    fn quick(&self) -> bool {
        true
    }

    fn open(&mut self, reply: Reply<Opened>) {
        self.ask(Request::Open(reply));
    }

    fn apply(&mut self, request: Apply) {
        self.ask(Request::Apply(request));
    }

    fn sync(&mut self, reply: Reply<()>) {
        self.ask(Request::Sync(reply));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        self.ask(Request::Prepare(reply));
    }

    fn save_snapshot(&mut self, writer: Box<dyn Write + Send>, reply: Reply<()>) {
        if let Some(commands) = stream::save(self.mailbox.clone(), writer, reply) {
            self.ask(Request::Save { prepared: None, commands });
        }
    }

    fn restore_snapshot(&mut self, reader: Box<dyn Read + Send>, reply: Reply<()>) {
        if let Some(commands) = stream::restore(self.mailbox.clone(), reader, reply) {
            self.ask(Request::Restore(commands));
        }
    }
}

impl Drop for JsMachine {
    fn drop(&mut self) {
        self.mailbox.post(Item::MachineDropped(self.host));
    }
}

/// A view of the state that JavaScript holds under this number, until it is told to release it.
pub struct Prepared {
    pub mailbox: Arc<Mailbox>,
    pub host: HostId,
    pub number: u32,
}

impl PreparedSnapshot for Prepared {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        let (commands, receiver) = mpsc::channel();
        let request = Request::Save { prepared: Some(self.number), commands };
        self.mailbox.post(Item::Requested(self.host, request));
        stream::write_all(&self.mailbox, &receiver, writer)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.mailbox.post(Item::SnapshotReleased(self.host, self.number));
    }
}

/// The kind with this name in JavaScript.
pub fn kind(name: &str) -> MachineResult<MachineKind> {
    match name {
        "in-memory" => Ok(MachineKind::InMemory),
        "concurrent" => Ok(MachineKind::Concurrent),
        "on-disk" => Ok(MachineKind::OnDisk),
        other => Err(MachineError::new(format!("there is no kind of state machine '{other}'"))),
    }
}
