//! Threads for what may take long: reading the log for those who lag, housekeeping, snapshots.
//!
//! They are started when there is something to do, end when there is not, and never number more than the limit.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::thread;

type Errand = Box<dyn FnOnce() + Send>;

pub(crate) struct Errands {
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
    pub(crate) fn new(name: &'static str, threads_max: usize) -> Arc<Errands> {
        Arc::new(Errands { name, threads_max, state: Mutex::default(), ended: Condvar::new() })
    }

    /// Runs `errand` on a thread of this kind, when one is free. After `stop` it is dropped.
    pub(crate) fn run(self: &Arc<Errands>, errand: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        state.waiting.push_back(Box::new(errand));
        if state.threads == self.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        let errands = self.clone();
        if let Err(error) = thread::spawn(self.name, move || errands.work()) {
            tracing::error!(%error, "an errand waits until a thread can be started");
            self.lock().threads -= 1;
        }
    }

    /// Drops what waits and blocks until the threads have ended. What runs must have been told to end by other means.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        drop(dropped);
        let mut state = self.lock();
        while state.threads > 0 {
            state = self.ended.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
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
