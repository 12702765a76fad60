//! Who runs the event loop.
//!
//! The loop's state lies in a mutex. The worker thread holds it and turns the loop; for a barrier it lets go of the state,
//! writes and syncs on its own, and takes the state again. With a quick disk nobody notices, and nobody was woken. When a
//! barrier takes long, the standby thread takes the state and turns the loop in the meantime, so that no heartbeat and no
//! election ever waits for a disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::event_loop::{EventLoop, Turn};
use super::inbox::Inbox;
use crate::error::{Code, Error, Result};

/// A disk that is always slow is said to be so now and then, and not with every barrier.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

pub(crate) struct Baton {
    event_loop: Mutex<EventLoop>,
    inbox: Arc<Inbox>,
    /// Counts the beginnings and the ends of barriers: odd while one runs.
    barriers: AtomicU64,
    /// The worker is done with its barrier and wants the state back.
    wanted: AtomicBool,
    standby: OnceLock<Thread>,
    standby_parked: AtomicBool,
    stopped: AtomicBool,
    /// How long a barrier may take before the standby thread steps in; it notices within twice that.
    patience: Duration,
}

impl Baton {
    pub(crate) fn new(event_loop: EventLoop, inbox: Arc<Inbox>, patience: Duration) -> Baton {
        Baton {
            event_loop: Mutex::new(event_loop),
            inbox,
            barriers: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            standby: OnceLock::new(),
            standby_parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            patience,
        }
    }

    /// The body of the worker thread: turns the loop until the node closes. The state can be had with `into_loop`.
    ///
    /// **Errors**: `Panicked` if the standby thread panicked while it had the state: then nothing may be made of it.
    pub(crate) fn work(&self) -> Result<()> {
        let mut event_loop = self.lock();
        loop {
            if self.event_loop.is_poisoned() {
                return Err(Error::unknown(Code::Panicked, "the event loop panicked"));
            }
            match event_loop.turn() {
                Turn::Again => {}
                Turn::Barrier(barrier) => {
                    self.barrier_begins();
                    drop(event_loop);
                    let finished = barrier.run();
                    event_loop = self.regain();
                    event_loop.barrier_done(finished);
                }
                Turn::Closing => return Ok(()),
            }
        }
    }

    /// The body of the standby thread.
    pub(crate) fn stand_by(&self) {
        let _ = self.standby.set(std::thread::current());
        let mut seen_last = u64::MAX;
        let mut warned: Option<Instant> = None;
        while !self.stopped.load(Ordering::Acquire) {
            let seen = self.barriers.load(Ordering::SeqCst);
            if is_running(seen) && seen == seen_last {
                if warned.is_none_or(|at| at.elapsed() >= BETWEEN_WARNINGS) {
                    warned = Some(Instant::now());
                    tracing::warn!(
                        "the disk is slow: a sync takes longer than {:?}",
                        self.patience
                    );
                }
                self.step_in(seen);
                seen_last = u64::MAX;
                continue;
            }
            if !is_running(seen) && seen == seen_last {
                self.park_until_a_barrier_begins(seen);
            } else {
                std::thread::park_timeout(self.patience);
            }
            seen_last = seen;
        }
    }

    /// Ends the standby thread.
    pub(crate) fn stop_standby(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(standby) = self.standby.get() {
            standby.unpark();
        }
    }

    pub(crate) fn into_loop(self) -> EventLoop {
        self.event_loop.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Nothing has happened for a while: sleep without a timer.
    fn park_until_a_barrier_begins(&self, seen: u64) {
        self.standby_parked.store(true, Ordering::SeqCst);
        if self.barriers.load(Ordering::SeqCst) == seen && !self.stopped.load(Ordering::Acquire) {
            std::thread::park();
        }
        self.standby_parked.store(false, Ordering::SeqCst);
    }

    /// Turns the loop in the place of the worker, which is in the barrier `seen`.
    fn step_in(&self, seen: u64) {
        let mut event_loop = self.lock();
        while self.barriers.load(Ordering::SeqCst) == seen && !self.wanted.load(Ordering::SeqCst) {
            if let Turn::Closing = event_loop.turn() {
                // The worker closes the node, once its barrier is through.
                return;
            }
        }
    }

    fn barrier_begins(&self) {
        self.barriers.fetch_add(1, Ordering::SeqCst);
        if self.standby_parked.load(Ordering::SeqCst) {
            if let Some(standby) = self.standby.get() {
                standby.unpark();
            }
        }
    }

    /// Takes the state back after a barrier.
    fn regain(&self) -> MutexGuard<'_, EventLoop> {
        self.barriers.fetch_add(1, Ordering::SeqCst);
        if let Ok(event_loop) = self.event_loop.try_lock() {
            return event_loop;
        }
        // The standby has it, and may sleep in its poll.
        self.wanted.store(true, Ordering::SeqCst);
        self.inbox.wake_always();
        let event_loop = self.lock();
        self.wanted.store(false, Ordering::SeqCst);
        event_loop
    }

    fn lock(&self) -> MutexGuard<'_, EventLoop> {
        self.event_loop.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn is_running(barriers: u64) -> bool {
    barriers % 2 == 1
}
