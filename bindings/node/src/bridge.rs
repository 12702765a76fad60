//! What one JavaScript environment (the main thread, or a worker thread) and the library share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use libraft::machine::Opened;
use libraft::{Code, Error};
use napi::bindgen_prelude::{BigInt, Function, Object};
use napi::{Env, Result};
use napi_derive::napi;

use crate::delivery::deliver;
use crate::error::NativeError;
use crate::logger;
use crate::machine::Prepared;
use crate::mailbox::{Item, Mailbox};
use crate::node::OpenNodes;
use crate::options::{id, NativeNodeOptions};
use crate::request::{RequestId, Requests, Waiting};
use crate::stream::Command;
use crate::wake::Wake;

/// How long the end of an environment waits for its nodes to close. They need milliseconds, if
/// their disk does.
const END_TIMEOUT: Duration = Duration::from_secs(4);

pub struct Shared {
    pub mailbox: Arc<Mailbox>,
    pub nodes: Arc<OpenNodes>,
    requests: Mutex<Requests>,
}

#[napi]
pub struct Bridge(Arc<Shared>);

#[napi]
impl Bridge {
    /// `wake` is called whenever there is something to [`take`](Bridge::take).
    #[napi(constructor, catch_unwind)]
    pub fn new(env: Env, wake: Function<'_, (), ()>) -> Result<Bridge> {
        let mailbox = Arc::new(Mailbox::new(Wake::new(&env, &wake)?));
        let shared =
            Arc::new(Shared { mailbox, nodes: Arc::default(), requests: Mutex::default() });
        env.add_env_cleanup_hook(shared.clone(), |shared| shared.end())?;
        Ok(Bridge(shared))
    }

    /// The oldest item that waits for JavaScript.
    #[napi(catch_unwind)]
    pub fn take<'env>(&self, env: &'env Env) -> Result<Option<Object<'env>>> {
        self.0.mailbox.take().map(|item| deliver(env, &self.0, item)).transpose()
    }

    /// Whether the process lives on for what may come.
    #[napi(catch_unwind)]
    pub fn keep_alive(&self, env: Env, on: bool) -> Result<()> {
        self.0.mailbox.keep_alive(&env, on)
    }

    /// Closes every node and waits for it, but not for ever. Nothing is delivered any more.
    #[napi(catch_unwind)]
    pub fn end(&self) {
        self.0.end();
    }

    #[napi(catch_unwind)]
    pub fn open_node(&self, call: u32, options: NativeNodeOptions) {
        match options.into_options() {
            Ok(options) => self.0.nodes.open(&self.0.mailbox, call, options),
            Err(error) => self.0.mailbox.post(Item::Failed(call, error)),
        }
    }

    #[napi(catch_unwind)]
    pub fn set_log_level(&self, level: i32) -> Option<NativeError> {
        logger::listen(&self.0.mailbox, level).err().map(NativeError::from)
    }

    /// Answers `apply`: the result of entry i lies between `offsets[i]` and `offsets[i + 1]` of
    /// `data`.
    #[napi(catch_unwind)]
    pub fn applied(&self, request: u32, data: &[u8], offsets: &[u32]) {
        match self.0.requests().remove(request) {
            Some(Waiting::Apply { reply, count }) if offsets.len() == count + 1 => {
                let data = Bytes::copy_from_slice(data);
                let bounds = offsets.windows(2).map(|pair| (pair[0] as usize, pair[1] as usize));
                reply.send(Ok(bounds.map(|(start, end)| data.slice(start..end)).collect()));
            }
            Some(other) => other.fail("there must be one result for each entry"),
            None => (),
        }
    }

    #[napi(catch_unwind)]
    pub fn opened(&self, request: u32, applied_index: BigInt, blob: &[u8]) {
        match (self.0.requests().remove(request), id("appliedIndex", &applied_index)) {
            (Some(Waiting::Open(reply)), Ok(applied_index)) => {
                reply.send(Ok(Opened { applied_index, blob: Bytes::copy_from_slice(blob) }));
            }
            (Some(other), _) => other.fail("open must return an index"),
            (None, _) => (),
        }
    }

    #[napi(catch_unwind)]
    pub fn prepared(&self, request: u32, host: u32, number: u32) {
        let prepared = Prepared { mailbox: self.0.mailbox.clone(), host, number };
        match self.0.requests().remove(request) {
            Some(Waiting::Prepare(reply)) => reply.send(Ok(Box::new(prepared))),
            Some(other) => other.fail("no view of the state was asked for"),
            None => (),
        }
    }

    #[napi(catch_unwind)]
    pub fn done(&self, request: u32) {
        let waiting = self.0.requests().remove(request);
        if let Some(waiting) = waiting {
            waiting.done();
        }
    }

    #[napi(catch_unwind)]
    pub fn fail(&self, request: u32, message: String) {
        let waiting = self.0.requests().remove(request);
        if let Some(waiting) = waiting {
            waiting.fail(&message);
        }
    }

    /// Writes to the snapshot that is being saved.
    #[napi(catch_unwind)]
    pub fn write(&self, request: u32, call: u32, bytes: &[u8]) {
        self.0.command(request, call, Command::Write { call, bytes: bytes.to_vec() });
    }

    /// Reads from the snapshot that is being restored.
    #[napi(catch_unwind)]
    pub fn read(&self, request: u32, call: u32, bytes_max: u32) {
        self.0.command(request, call, Command::Read { call, bytes_max: bytes_max as usize });
    }
}

impl Shared {
    pub fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, request: RequestId, call: u32, command: Command) {
        let sent = self.requests().commands(request).map(|commands| commands.send(command));
        if !matches!(sent, Some(Ok(()))) {
            let message = "the snapshot is not being saved or restored any more";
            self.mailbox.post(Item::Failed(call, Error::rejected(Code::Stopped, message)));
        }
    }

    /// On the environment's own thread, once or again. A close does not wait for a request that is
    /// in JavaScript's hands; but for a transfer it does, so all of those are dropped.
    fn end(&self) {
        let closing = self.nodes.end();
        logger::forget(&self.mailbox);
        let items = self.mailbox.close();
        drop(items);
        let requests = std::mem::take(&mut *self.requests());
        drop(requests);
        closing.wait(END_TIMEOUT);
    }
}
