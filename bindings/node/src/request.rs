//! What a state machine is asked, and what has been asked but not answered yet.

use std::collections::HashMap;

use bytes::Bytes;
use libraft::machine::{Apply, MachineError, MachineResult, Opened, PreparedSnapshot, Reply};

use crate::stream::{Command, Commands};

/// What JavaScript is asked; it answers once.
pub enum Request {
    Open(Reply<Opened>),
    Apply(Apply),
    Sync(Reply<()>),
    Prepare(Reply<Box<dyn PreparedSnapshot>>),
    /// Save the state, or the view of it with this number.
    Save {
        prepared: Option<u32>,
        commands: Commands,
    },
    Restore(Commands),
}

pub type RequestId = u32;

/// Takes the answer to a request.
pub enum Waiting {
    Open(Reply<Opened>),
    Apply { reply: Reply<Vec<Bytes>>, count: usize },
    Sync(Reply<()>),
    Prepare(Reply<Box<dyn PreparedSnapshot>>),
    Stream(Commands),
}

/// The requests that JavaScript has in hand. Dropping one says that it failed.
#[derive(Default)]
pub struct Requests {
    last: RequestId,
    waiting: HashMap<RequestId, Waiting>,
}

impl Requests {
    pub fn insert(&mut self, waiting: Waiting) -> RequestId {
        self.last = self.last.wrapping_add(1);
        self.waiting.insert(self.last, waiting);
        self.last
    }

    pub fn remove(&mut self, request: RequestId) -> Option<Waiting> {
        self.waiting.remove(&request)
    }

    /// The transfer that a request is about; it goes on until the request is answered.
    pub fn commands(&self, request: RequestId) -> Option<&Commands> {
        match self.waiting.get(&request)? {
            Waiting::Stream(commands) => Some(commands),
            _ => None,
        }
    }
}

impl Waiting {
    /// Answers with success a request whose answer says no more than that.
    pub fn done(self) {
        match self {
            Waiting::Sync(reply) => reply.send(Ok(())),
            Waiting::Stream(commands) => finish(&commands, Ok(())),
            other => other.fail("the callback did not return what it must"),
        }
    }

    pub fn fail(self, message: &str) {
        let error = MachineError::new(message);
        match self {
            Waiting::Open(reply) => reply.send(Err(error)),
            Waiting::Apply { reply, .. } => reply.send(Err(error)),
            Waiting::Sync(reply) => reply.send(Err(error)),
            Waiting::Prepare(reply) => reply.send(Err(error)),
            Waiting::Stream(commands) => finish(&commands, Err(error)),
        }
    }
}

/// The thread of the transfer is gone only if it could not be started, and then the library knows.
fn finish(commands: &Commands, result: MachineResult<()>) {
    let _ = commands.send(Command::Finish(result));
}
