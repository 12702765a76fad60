//! Snapshots between JavaScript, which must not wait for a disk, and the library's readers and
//! writers, which do: each transfer has a thread, which is told by JavaScript what to do next, one
//! thing at a time.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;

use libraft::machine::{MachineError, MachineResult, Reply};
use libraft::{Code, Error};

use crate::mailbox::{CallId, Item, Mailbox};

/// What JavaScript tells the thread of a transfer. Dropping the sender ends the transfer as failed.
pub enum Command {
    Write { call: CallId, bytes: Vec<u8> },
    Read { call: CallId, bytes_max: usize },
    Finish(MachineResult<()>),
}

/// JavaScript's end of a transfer.
pub type Commands = Sender<Command>;

const THREAD_NAME: &str = "libraft-stream";

/// Starts a thread that writes what JavaScript says.
pub fn save(
    mailbox: Arc<Mailbox>,
    mut writer: Box<dyn Write + Send>,
    reply: Reply<()>,
) -> Option<Commands> {
    start(reply, move |commands| write_all(&mailbox, commands, &mut *writer))
}

/// Starts a thread that reads what JavaScript wants to have.
pub fn restore(
    mailbox: Arc<Mailbox>,
    mut reader: Box<dyn Read + Send>,
    reply: Reply<()>,
) -> Option<Commands> {
    start(reply, move |commands| read_all(&mailbox, commands, &mut *reader))
}

/// The caller is one of the library's threads, which are deaf to signals; the new one is, too.
fn start(
    reply: Reply<()>,
    transfer: impl FnOnce(&Receiver<Command>) -> MachineResult<()> + Send + 'static,
) -> Option<Commands> {
    let (sender, receiver) = mpsc::channel();
    let body = move || reply.send(transfer(&receiver));
    // If there is no thread, the reply is dropped, which is an answer.
    std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(body).ok()?;
    Some(sender)
}

/// Writes on this thread until JavaScript is done.
pub fn write_all(
    mailbox: &Mailbox,
    commands: &Receiver<Command>,
    writer: &mut dyn Write,
) -> MachineResult<()> {
    for command in commands {
        match command {
            Command::Write { call, bytes } => mailbox.post(match writer.write_all(&bytes) {
                Ok(()) => Item::Done(call),
                Err(error) => Item::Failed(call, failed("write", &error)),
            }),
            Command::Read { call, .. } => mailbox.post(Item::Failed(call, wrong_way())),
            Command::Finish(result) => return result,
        }
    }
    Err(abandoned())
}

fn read_all(
    mailbox: &Mailbox,
    commands: &Receiver<Command>,
    reader: &mut dyn Read,
) -> MachineResult<()> {
    for command in commands {
        match command {
            Command::Read { call, bytes_max } => {
                let mut bytes = Vec::with_capacity(bytes_max);
                mailbox.post(match reader.take(bytes_max as u64).read_to_end(&mut bytes) {
                    Ok(_) => Item::Chunk(call, bytes),
                    Err(error) => Item::Failed(call, failed("read", &error)),
                });
            }
            Command::Write { call, .. } => mailbox.post(Item::Failed(call, wrong_way())),
            Command::Finish(result) => return result,
        }
    }
    Err(abandoned())
}

fn failed(what: &str, error: &std::io::Error) -> Error {
    Error::from_io(what, "the snapshot", error)
}

fn wrong_way() -> Error {
    Error::rejected(Code::Internal, "a snapshot is either saved or restored")
}

fn abandoned() -> MachineError {
    MachineError::new("the node was closed, or its JavaScript environment ended, meanwhile")
}
