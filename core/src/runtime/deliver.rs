//! The completion thread: where the program's completions and listeners are called.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::call::Delivery;
use super::group_handle::GroupHandle;
use crate::replica::Notice;

/// Something to call on the completion thread. How many calls wait is bounded by their groups' limits, since a call is
/// pending until its completion is called.
pub(crate) enum Delivered {
    Call(Option<Arc<GroupHandle>>, Delivery),
    Notice(Arc<GroupHandle>, Notice),
    /// Anything else that must not run on the event loop.
    Run(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
pub(crate) struct Deliveries {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Delivered>,
    sleeping: bool,
    stopped: bool,
}

impl Deliveries {
    /// Hands over all of `deliveries`, with at most one wake-up.
    pub(crate) fn push_all(&self, deliveries: &mut Vec<Delivered>) {
        if deliveries.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.waiting.extend(deliveries.drain(..));
        if state.sleeping {
            state.sleeping = false;
            self.arrived.notify_one();
        }
    }

    /// Lets the thread end once everything handed over was called.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.arrived.notify_one();
    }

    /// The body of the completion thread.
    pub(crate) fn run(&self) {
        let mut batch = VecDeque::new();
        while self.take(&mut batch) {
            for delivered in batch.drain(..) {
                delivered.call();
            }
        }
    }

    /// What waits, for who must not wait for more.
    pub(crate) fn try_take(&self) -> VecDeque<Delivered> {
        std::mem::take(&mut self.lock().waiting)
    }

    fn take(&self, batch: &mut VecDeque<Delivered>) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.stopped {
                return false;
            }
            state.sleeping = true;
            state = self.arrived.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.sleeping = false;
        std::mem::swap(&mut state.waiting, batch);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Delivered {
    /// Calls the program. A panic ends here, also one in the drop of a listener that was replaced meanwhile.
    pub(super) fn call(self) {
        if catch_unwind(AssertUnwindSafe(|| self.call_program())).is_err() {
            tracing::error!("a callback of the program panicked");
        }
    }

    fn call_program(self) {
        match self {
            Delivered::Call(group, delivery) => {
                // Before the call: the completion may make the next one.
                if let Some(group) = group {
                    let (count, bytes) = delivery.holds();
                    group.release(count, bytes);
                }
                delivery.deliver();
            }
            Delivered::Notice(group, notice) => group.tell_listener(notice),
            Delivered::Run(body) => body(),
        }
    }
}
