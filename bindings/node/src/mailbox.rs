//! What the library's threads have to say to JavaScript, in order, until JavaScript takes it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libraft::logging::LogRecord;
use libraft::{Completion, Error, Node, Notice, Result};
use napi::Env;

use crate::machine::HostId;
use crate::request::Request;
use crate::wake::Wake;

/// Names a call of JavaScript that waits for its result: a promise.
pub type CallId = u32;

/// Something for JavaScript.
pub enum Item {
    /// Calls that succeeded. Neighbours travel together.
    Completed(Vec<(CallId, Completion)>),
    Failed(CallId, Error),
    BatchCompleted(CallId, Vec<Result<Completion>>),
    /// A node, and its number among those of the environment.
    Opened(CallId, Node, u64),
    Done(CallId),
    /// Part of a snapshot that was asked for; empty at its end.
    Chunk(CallId, Vec<u8>),
    Requested(HostId, Request),
    SnapshotReleased(HostId, u32),
    MachineDropped(HostId),
    Noticed(HostId, Notice),
    /// No notice follows for the listener of this number.
    NoticesEnded(HostId, u32),
    Logged(LogRecord),
}

/// Notices, and log records, that may wait for JavaScript; it misses those that come then. All else
/// is bounded by the limits of the groups: it answers what JavaScript asked, or is asked one at a
/// time.
const REMARKS_MAX: usize = 1024;

/// The items of one environment, oldest first.
pub struct Mailbox(Mutex<State>);

struct State {
    items: VecDeque<Item>,
    notices: usize,
    records: usize,
    /// The event loop was woken, and has not found the mailbox empty since.
    woken: bool,
    /// None once the environment is going away: then items are dropped.
    wake: Option<Wake>,
}

impl Mailbox {
    pub fn new(wake: Wake) -> Mailbox {
        Mailbox(Mutex::new(State {
            items: VecDeque::new(),
            notices: 0,
            records: 0,
            woken: false,
            wake: Some(wake),
        }))
    }

    /// Never blocks. Dropping an item says no to whoever waits for its answer.
    pub fn post(&self, item: Item) {
        let mut state = self.lock();
        if state.wake.is_none() {
            drop(state);
            return drop(item);
        }
        match &item {
            Item::Noticed(..) if state.notices == REMARKS_MAX => return,
            Item::Noticed(..) => state.notices += 1,
            Item::Logged(..) if state.records == REMARKS_MAX => return,
            Item::Logged(..) => state.records += 1,
            _ => (),
        }
        state.push(item);
    }

    /// A call is done.
    pub fn complete(&self, call: CallId, result: Result<Completion>) {
        let completion = match result {
            Ok(completion) => completion,
            Err(error) => return self.post(Item::Failed(call, error)),
        };
        let mut state = self.lock();
        if let Some(Item::Completed(last)) = state.items.back_mut() {
            last.push((call, completion));
        } else if state.wake.is_some() {
            state.push(Item::Completed(vec![(call, completion)]));
        }
    }

    /// A call without a result is done.
    pub fn finish(&self, call: CallId, result: Result<()>) {
        self.post(match result {
            Ok(()) => Item::Done(call),
            Err(error) => Item::Failed(call, error),
        });
    }

    /// The oldest item. After `None` the event loop is woken for the next.
    pub fn take(&self) -> Option<Item> {
        let mut state = self.lock();
        let item = state.items.pop_front();
        match &item {
            None => state.woken = false,
            Some(Item::Noticed(..)) => state.notices -= 1,
            Some(Item::Logged(..)) => state.records -= 1,
            Some(_) => (),
        }
        item
    }

    /// Whether the process lives on as long as there may be items. Only on the environment's own
    /// thread.
    pub fn keep_alive(&self, env: &Env, on: bool) -> napi::Result<()> {
        self.lock().wake.as_ref().map_or(Ok(()), |wake| wake.keep_alive(env, on))
    }

    /// Wakes nobody any more, and gives back what waits. Only on the environment's own thread.
    pub fn close(&self) -> VecDeque<Item> {
        let mut state = self.lock();
        state.wake = None;
        std::mem::take(&mut state.items)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, item: Item) {
        self.items.push_back(item);
        if !self.woken {
            self.woken = true;
            self.wake.as_ref().inspect(|wake| wake.call());
        }
    }
}
