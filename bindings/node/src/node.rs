//! A node, and the nodes that an environment has open.

use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libraft::{Code, Error, Node, NodeOptions, Result};
use napi::bindgen_prelude::Either;
use napi_derive::napi;

use crate::error::NativeError;
use crate::group::NativeGroup;
use crate::machine::{self, HostId, JsMachine};
use crate::mailbox::{CallId, Item, Mailbox};
use crate::options::{invalid, NativeGroupOptions};
use crate::status::NativeNodeStatus;

#[napi]
pub struct NativeNode {
    node: Node,
    number: u64,
    nodes: Arc<OpenNodes>,
    mailbox: Arc<Mailbox>,
}

#[napi]
impl NativeNode {
    /// Starts a group, whose machine JavaScript knows as `host`. `MachineDropped` follows in any
    /// case, once.
    #[napi(catch_unwind)]
    pub fn start_group(
        &self,
        options: NativeGroupOptions,
        host: u32,
        kind: String,
    ) -> Either<NativeGroup, NativeError> {
        match self.start(options, host, &kind) {
            Ok(group) => Either::A(group),
            Err(error) => Either::B(error.into()),
        }
    }

    fn start(&self, options: NativeGroupOptions, host: HostId, kind: &str) -> Result<NativeGroup> {
        let mailbox = self.mailbox.clone();
        let kind = machine::kind(kind);
        let mut machine = JsMachine { mailbox, host, kind: Default::default() };
        machine.kind = kind.map_err(|error| invalid(error.message))?;
        let group = self.node.start_group(options.into_options()?, Box::new(machine))?;
        Ok(NativeGroup::new(group, host, self.mailbox.clone()))
    }

    #[napi(catch_unwind)]
    pub fn status(&self) -> Either<NativeNodeStatus, NativeError> {
        match self.node.status() {
            Ok(status) => Either::A(status.into()),
            Err(error) => Either::B(error.into()),
        }
    }

    #[napi(catch_unwind)]
    pub fn close(&self, call: u32) {
        let (mailbox, nodes, number) = (self.mailbox.clone(), self.nodes.clone(), self.number);
        self.node.close_async(Box::new(move |result| {
            nodes.forget(number);
            mailbox.finish(call, result);
        }));
    }
}

/// The nodes of one environment that are not closed yet: those that its end must close.
#[derive(Default)]
pub struct OpenNodes(Mutex<State>);

#[derive(Default)]
struct State {
    last: u64,
    nodes: HashMap<u64, Node>,
    /// The environment is going away.
    ended: bool,
}

impl OpenNodes {
    /// Opens a node, on a thread of its own because that takes a while, and tells the mailbox.
    pub fn open(self: &Arc<Self>, mailbox: &Arc<Mailbox>, call: CallId, options: NodeOptions) {
        let (nodes, opening) = (self.clone(), mailbox.clone());
        let body = move || {
            let opened = Node::open(options).and_then(|node| nodes.remember(node));
            opening.post(match opened {
                Ok((node, number)) => Item::Opened(call, node, number),
                Err(error) => Item::Failed(call, error),
            });
        };
        let spawned = std::thread::Builder::new().name("libraft-opening".to_owned()).spawn(body);
        if let Err(error) = spawned {
            let error = Error::rejected(Code::Io, format!("no thread could be started: {error}"));
            mailbox.post(Item::Failed(call, error));
        }
    }

    fn remember(&self, node: Node) -> Result<(Node, u64)> {
        let mut state = self.lock();
        if state.ended {
            drop(state);
            return node.close().and(Err(ended()));
        }
        state.last += 1;
        let number = state.last;
        state.nodes.insert(number, node.clone());
        Ok((node, number))
    }

    fn forget(&self, number: u64) {
        let node = self.lock().nodes.remove(&number);
        drop(node);
    }

    pub fn native(self: &Arc<Self>, node: Node, number: u64, mailbox: &Arc<Mailbox>) -> NativeNode {
        NativeNode { node, number, nodes: self.clone(), mailbox: mailbox.clone() }
    }

    /// Begins to close all; the result waits for them.
    pub fn end(&self) -> Closing {
        let mut state = self.lock();
        state.ended = true;
        let nodes = std::mem::take(&mut state.nodes);
        drop(state);
        let (sender, receiver) = mpsc::channel();
        for node in nodes.into_values() {
            let sender = sender.clone();
            // Nobody listens if this takes too long.
            node.close_async(Box::new(move |_| drop(sender)));
        }
        Closing(receiver)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nodes that are being closed; each holds a sender until it is.
pub struct Closing(mpsc::Receiver<()>);

impl Closing {
    /// Says whether all were closed in time.
    pub fn wait(self, timeout: Duration) -> bool {
        self.0.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

pub fn ended() -> Error {
    Error::rejected(Code::Closed, "the JavaScript environment is ending: nothing can be opened")
}
