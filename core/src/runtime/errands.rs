//! Threads for what may take long: reading the log for those who lag, housekeeping, snapshots.
//!
//! They are started when there is something to do, end when there is not, and never number more than the limit.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::system::System;
use crate::error::{Code, Error, Result};

/// How many errands may wait that a peer asked for.
const OFFERED_MAX: usize = 16;

type Errand = Box<dyn FnOnce() + Send>;

pub(crate) struct Errands {
    system: Arc<dyn System>,
    name: &'static str,
    threads_max: usize,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Errand>,
    threads: usize,
    stopped: bool,
}

impl Errands {
    pub(crate) fn new(
        system: &Arc<dyn System>,
        name: &'static str,
        threads_max: usize,
    ) -> Arc<Errands> {
        let system = system.clone();
        Arc::new(Errands {
            system,
            name,
            threads_max,
            state: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// Runs `errand` on a thread of this kind, when one is free. After `stop` it is dropped.
    pub(crate) fn run(self: &Arc<Errands>, errand: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        state.waiting.push_back(Box::new(errand));
        self.start_thread(state);
    }

    /// As `run`, unless too many wait already: then the errand is dropped, and this is false.
    pub(crate) fn offer(self: &Arc<Errands>, errand: impl FnOnce() + Send + 'static) -> bool {
        if self.lock().waiting.len() >= OFFERED_MAX {
            return false;
        }
        self.run(errand);
        true
    }

    /// Called now and then: starts the thread that could not be started when an errand came.
    pub(crate) fn nudge(self: &Arc<Errands>) {
        let state = self.lock();
        if state.threads == 0 && !state.waiting.is_empty() {
            self.start_thread(state);
        }
    }

    fn start_thread(self: &Arc<Errands>, mut state: MutexGuard<'_, State>) {
        if state.threads == self.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        let errands = self.clone();
        if let Err(error) = self.system.spawn(self.name, Box::new(move || errands.work())) {
            tracing::error!(%error, "an errand waits until a thread can be started");
            self.lock().threads -= 1;
            self.ended.notify_all();
        }
    }

    /// Drops what waits and blocks until the threads have ended. What runs must have been told to end by other means.
    pub(crate) fn stop(&self) {
        self.begin_stop();
        let mut state = self.lock();
        while state.threads > 0 {
            state = self.ended.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Whether none of its threads runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().threads == 0
    }

    /// Drops what waits; nothing is run any more.
    pub(crate) fn begin_stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        for errand in dropped {
            // What it holds may be the program's, and its drop the program's code.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(errand)));
        }
    }

    fn work(&self) {
        loop {
            let mut state = self.lock();
            let Some(errand) = state.waiting.pop_front() else {
                state.threads -= 1;
                self.ended.notify_all();
                return;
            };
            drop(state);
            if catch_unwind(AssertUnwindSafe(errand)).is_err() {
                tracing::error!(thread = self.name, "an errand panicked");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Does what may panic, so that whoever waits for the result hears of it all the same.
pub(super) fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::unknown(Code::Panicked, format!("{what} panicked; what it did is not known")))
    })
}
