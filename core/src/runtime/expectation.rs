//! Expectation: whether what is waited for tends to come so soon that sleeping does not pay.
//!
//! To sleep and to be woken costs a processor several microseconds, and where it went to sleep itself, some tens more:
//! in a virtual machine most of all. Whoever has seen a few waits in a row end before that looks out instead, for a
//! bounded time, and gives way meanwhile to whoever else wants the processor. The first wait that is longer ends it, so
//! that an idle node sleeps, and so does one whose work comes at longer intervals.

use std::time::Duration;

pub(super) struct Expectation {
    /// What comes within this time comes soon.
    soon: Duration,
    /// So many waits in a row must have ended soon.
    streak_min: u32,
    streak: u32,
}

impl Expectation {
    pub(super) const fn new(soon: Duration, streak_min: u32) -> Expectation {
        Expectation { soon, streak_min, streak: 0 }
    }

    /// Whether to look out.
    pub(super) fn is_high(&self) -> bool {
        self.streak >= self.streak_min
    }

    /// It came after so long.
    pub(super) fn came_after(&mut self, waited: Duration) {
        self.streak = if waited <= self.soon { self.streak.saturating_add(1) } else { 0 };
    }

    /// It did not come, or there is no reason to expect it.
    pub(super) fn lower(&mut self) {
        self.streak = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(100);
    const STREAK: u32 = 4;

    #[test]
    fn it_is_high_after_a_streak_of_what_came_soon() {
        let mut expectation = Expectation::new(SOON, STREAK);
        for _ in 0..STREAK {
            assert!(!expectation.is_high());
            expectation.came_after(SOON);
        }
        assert!(expectation.is_high());
    }

    #[test]
    fn what_comes_late_or_not_at_all_ends_the_streak() {
        let late = |expectation: &mut Expectation| expectation.came_after(SOON * 2);
        let never = Expectation::lower;
        for end in [late as fn(&mut Expectation), never] {
            let mut expectation = Expectation::new(SOON, STREAK);
            (0..STREAK).for_each(|_| expectation.came_after(Duration::ZERO));
            end(&mut expectation);
            (1..STREAK).for_each(|_| expectation.came_after(Duration::ZERO));
            assert!(!expectation.is_high());
        }
    }
}
