//! The apply threads: they visit the seats that have work.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::seat::Seat;

/// The seats that wait for a visit; each at most once, so their number is bounded by that of the groups.
#[derive(Default)]
pub(crate) struct ApplyPool {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Seat>>,
    stopped: bool,
}

impl ApplyPool {
    pub(crate) fn schedule(&self, seat: Arc<Seat>) {
        self.lock().waiting.push_back(seat);
        self.arrived.notify_one();
    }

    /// The body of an apply thread.
    pub(crate) fn run(&self) {
        while let Some(seat) = self.next() {
            seat.work();
        }
    }

    /// The seat that waits longest, for who must not wait for one.
    pub(crate) fn try_next(&self) -> Option<Arc<Seat>> {
        self.lock().waiting.pop_front()
    }

    /// Lets the threads end once nothing waits.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.arrived.notify_all();
    }

    fn next(&self) -> Option<Arc<Seat>> {
        let mut state = self.lock();
        loop {
            if let Some(seat) = state.waiting.pop_front() {
                return Some(seat);
            }
            if state.stopped {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
