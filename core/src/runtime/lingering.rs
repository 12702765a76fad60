//! Lingering: a short look out for the next call, before the loop sends tidings and goes to sleep.
//!
//! A thread that makes one call after the other is back some 20 us after each completion. A loop that went to sleep at
//! once has told its followers what is committed, which they hear again with the next entries, and has to be woken. So,
//! once such a thread has shown itself, the loop waits for it where it is.

use std::time::{Duration, Instant};

use super::event_loop::EventLoop;
use super::expectation::Expectation;

/// For how long the loop looks out: of a thread that makes one call after the other, 998 of 1,000 are back by then.
const MOST: Duration = Duration::from_micros(50);
/// A call came soon if it was there within this time: by then a loop that was woken for it has seen it.
const SOON: Duration = Duration::from_micros(100);
const STREAK: u32 = 16;

pub(super) struct Lingering {
    expectation: Expectation,
    /// When the last call was completed, if none was made since.
    idle_since: Option<Instant>,
}

impl Lingering {
    pub(super) fn new() -> Lingering {
        Lingering { expectation: Expectation::new(SOON, STREAK), idle_since: None }
    }

    /// The last call was completed. Returns whether to look out for the next.
    fn completed(&mut self, now: Instant) -> bool {
        self.idle_since = Some(now);
        self.expectation.is_high()
    }

    /// The program made a call.
    fn called(&mut self, now: Instant) {
        if let Some(since) = self.idle_since.take() {
            self.expectation.came_after(now.saturating_duration_since(since));
        }
    }
}

impl EventLoop {
    /// A completion was called, and now the program has no call to that group in flight. Returns whether there is another
    /// call.
    pub(super) fn linger(&mut self) -> bool {
        let inbox = &self.node.inbox;
        if self.log.wants_barrier() || inbox.has_some() {
            return inbox.has_some();
        }
        if !self.lingering.completed(self.node.system.now()) {
            return false;
        }
        let came = self.node.system.look_out(MOST, &|| inbox.has_some());
        if !came {
            self.lingering.expectation.lower();
        }
        came
    }

    /// Proposals were taken out of the inbox.
    pub(super) fn note_calls(&mut self) {
        let now = self.now();
        self.lingering.called(now);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    /// Completes and makes calls, each `pause` after the completion before. Returns whether it looked out every time.
    fn calls(lingering: &mut Lingering, count: u32, pause: Duration) -> bool {
        let now = Instant::now();
        (0..count).fold(true, |always, _| {
            let looks_out = lingering.completed(now);
            lingering.called(now + pause);
            always && looks_out
        })
    }

    #[test]
    fn it_begins_with_a_streak_of_calls_that_come_soon() {
        let mut lingering = Lingering::new();
        assert!(!calls(&mut lingering, STREAK, SOON));
        assert!(calls(&mut lingering, 100, SOON));
    }

    #[test]
    fn a_call_that_does_not_come_soon_ends_it() {
        let mut lingering = Lingering::new();
        calls(&mut lingering, STREAK, SOON);
        calls(&mut lingering, 1, SOON + Duration::from_micros(1));
        assert!(!lingering.completed(Instant::now()));
    }

    #[test]
    fn looking_out_in_vain_ends_it_until_there_is_another_streak() {
        let mut lingering = Lingering::new();
        calls(&mut lingering, STREAK, SOON);
        assert!(lingering.completed(Instant::now()));
        lingering.expectation.lower();
        assert!(!calls(&mut lingering, STREAK, SOON));
        assert!(lingering.completed(Instant::now()));
    }

    #[test]
    fn calls_beside_others_say_nothing() {
        let mut lingering = Lingering::new();
        let now = Instant::now();
        (0..100).for_each(|_| lingering.called(now));
        assert!(!lingering.completed(now));
    }
}
