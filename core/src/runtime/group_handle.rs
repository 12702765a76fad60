//! What a group's handles share with the event loop that runs its replica.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::inbox::GroupKey;
use super::node_handle::Done;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Outcome, Result};
use crate::group::{GroupStatus, Member};
use crate::options::GroupOptions;
use crate::replica::{Notice, Role};

/// Notices that may wait for a group's listener.
const NOTICES_MAX: usize = 1024;

type Listener = Box<dyn FnMut(Notice) + Send>;

pub(crate) struct GroupHandle {
    pub(crate) key: GroupKey,
    pub(crate) options: GroupOptions,
    pub(crate) proposal_timeout_ticks: u64,
    /// Set when calls are to be refused with the error in `view`.
    out_of_service: AtomicBool,
    pending_count: AtomicUsize,
    pending_bytes: AtomicUsize,
    view: Mutex<View>,
    listener: Mutex<ListenerPlace>,
    /// Notices on their way to the listener.
    notices: AtomicUsize,
    end: Mutex<End>,
}

/// Whether the group is gone from this node, and who waits for that.
#[derive(Default)]
struct End {
    gone: bool,
    waiting: Vec<Done>,
}

#[derive(Default)]
struct ListenerPlace {
    listener: Option<Listener>,
    /// The group is gone, and its last notice was told: a listener that comes now is dropped at once.
    over: bool,
    /// Counts the calls of `set_listener`, so that one that was called meanwhile is not undone.
    version: u64,
}

/// What the event loop last said of the replica.
#[derive(Default)]
struct View {
    status: GroupStatus,
    members: Vec<Member>,
}

impl GroupHandle {
    pub(crate) fn new(key: GroupKey, options: GroupOptions, tick_ms: u64) -> GroupHandle {
        let status = GroupStatus { group_id: options.group_id, ..GroupStatus::default() };
        GroupHandle {
            key,
            proposal_timeout_ticks: ticks(options.proposal_timeout_ms, tick_ms),
            options,
            out_of_service: AtomicBool::new(false),
            pending_count: AtomicUsize::new(0),
            pending_bytes: AtomicUsize::new(0),
            view: Mutex::new(View { status, members: Vec::new() }),
            listener: Mutex::default(),
            notices: AtomicUsize::new(0),
            end: Mutex::default(),
        }
    }

    /// The error that put the group out of service here, if any. A call that is refused with it had no effect, whatever
    /// became of those that were pending then.
    pub(crate) fn check_in_service(&self) -> Result<()> {
        if !self.out_of_service.load(Ordering::Acquire) {
            return Ok(());
        }
        let failure = self.view().status.failure.clone();
        let failure =
            failure.unwrap_or_else(|| Error::rejected(Code::Stopped, "the group is stopped"));
        // Whatever became of the calls that met the failure: this one never began.
        Err(Error { outcome: Outcome::Rejected, ..failure })
    }

    /// From now on every call is refused with `error`. The first reason is kept.
    pub(crate) fn put_out_of_service(&self, error: Error) {
        let mut view = self.view();
        if view.status.failure.is_none() {
            view.status.failure = Some(error);
        }
        view.status.role = Role::Stopped;
        drop(view);
        self.out_of_service.store(true, Ordering::Release);
    }

    /// Takes `count` calls of `bytes` in all out of the group's limits, or refuses with `Busy`.
    pub(crate) fn reserve(&self, count: usize, bytes: usize) -> Result<()> {
        let counted = self.pending_count.fetch_add(count, Ordering::Relaxed) + count;
        let weighed = self.pending_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let options = &self.options;
        if counted as u64 <= options.pending_count_max
            && (weighed as u64 <= options.pending_bytes_max || is_on(Bug::AdmitAnyBytes))
        {
            return Ok(());
        }
        self.release(count, bytes);
        Err(Error::rejected(
            Code::Busy,
            format!(
                "{} calls with {} bytes are pending in group {} (limits: {} and {}): wait for completions",
                counted - count,
                weighed - bytes,
                options.group_id,
                options.pending_count_max,
                options.pending_bytes_max
            ),
        ))
    }

    /// Whether the program has no call to the group in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending_count.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn release(&self, count: usize, bytes: usize) {
        self.pending_count.fetch_sub(count, Ordering::Relaxed);
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let mut status = self.view().status.clone();
        status.pending_proposals = self.pending_count.load(Ordering::Relaxed) as u64;
        status.pending_bytes = self.pending_bytes.load(Ordering::Relaxed) as u64;
        status
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.view().members.clone()
    }

    /// Called by the event loop when something may have changed. A replica that has stopped refuses every call from now
    /// on, unless it was removed and is added again; a failure that it goes on in spite of is only shown.
    pub(crate) fn publish(&self, status: GroupStatus) {
        let stopped = status.role == Role::Stopped;
        if let Some(error) = status.failure.as_ref().filter(|_| stopped) {
            self.put_out_of_service(error.clone());
        }
        let mut view = self.view();
        let first_failure = view.status.failure.take();
        let was_removed = first_failure.as_ref().is_some_and(|error| error.code == Code::Removed);
        view.status = status;
        if !self.out_of_service.load(Ordering::Acquire) {
            return;
        }
        if was_removed && !stopped {
            self.out_of_service.store(false, Ordering::Release);
        } else {
            view.status.failure = first_failure;
            view.status.role = Role::Stopped;
        }
    }

    pub(crate) fn publish_members(&self, members: Vec<Member>) {
        self.view().members = members;
    }

    /// Calls `done` once the state machine is dropped; at once if it is.
    pub(crate) fn when_gone(&self, done: Done) {
        let mut end = lock(&self.end);
        if !end.gone {
            return end.waiting.push(done);
        }
        drop(end);
        done(Ok(()));
    }

    /// The state machine is dropped. Returns who waits for that.
    pub(crate) fn set_gone(&self) -> Vec<Done> {
        let mut end = lock(&self.end);
        end.gone = true;
        std::mem::take(&mut end.waiting)
    }

    pub(crate) fn set_listener(&self, listener: Option<Listener>) {
        let mut place = lock(&self.listener);
        let dropped = if place.over {
            listener
        } else {
            place.version += 1;
            std::mem::replace(&mut place.listener, listener)
        };
        // It is dropped after the lock is released: its drop is the program's code.
        drop(place);
        drop(dropped);
    }

    /// Drops the listener, and whichever comes after: that drop is how a listener hears that nothing will happen.
    pub(crate) fn end_listening(&self) {
        let mut place = lock(&self.listener);
        place.over = true;
        place.version += 1;
        let last = place.listener.take();
        drop(place);
        drop(last);
    }

    /// Whether one more notice may wait for the listener. A listener that blocks misses what is beyond the limit; the
    /// status says how things stand.
    pub(crate) fn admits_notice(&self) -> bool {
        if self.notices.fetch_add(1, Ordering::Relaxed) < NOTICES_MAX {
            return true;
        }
        self.notices.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Calls the listener. It is out of its place meanwhile, so that it may replace itself.
    pub(crate) fn tell_listener(&self, notice: Notice) {
        self.notices.fetch_sub(1, Ordering::Relaxed);
        let mut place = lock(&self.listener);
        let version = place.version;
        let Some(mut listener) = place.listener.take() else { return };
        drop(place);
        if catch_unwind(AssertUnwindSafe(|| listener(notice))).is_err() {
            tracing::error!(group = self.options.group_id, "an event listener panicked");
        }
        let mut place = lock(&self.listener);
        if place.version == version {
            place.listener = Some(listener);
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Milliseconds as ticks, rounded up; never 0.
pub(crate) fn ticks(milliseconds: u64, tick_ms: u64) -> u64 {
    milliseconds.div_ceil(tick_ms).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_group_out_of_service_shows_that_it_is_stopped_and_rejects_what_comes_then() {
        let group = GroupHandle::new(1, GroupOptions::default(), 100);
        group.check_in_service().expect("it has not failed");
        group.put_out_of_service(Error::unknown(Code::ApplyFailed, "no"));
        group.publish(GroupStatus::default());
        let status = group.status();
        assert_eq!(status.role, Role::Stopped);
        let failure = status.failure.expect("it has failed");
        assert_eq!(failure.outcome, Outcome::Unknown, "as for the calls that met it");
        let refused = group.check_in_service().expect_err("it is out of service");
        assert_eq!((refused.code, refused.outcome), (Code::ApplyFailed, Outcome::Rejected));
    }

    #[test]
    fn a_listener_that_comes_after_the_end_is_dropped_at_once() {
        let group = GroupHandle::new(1, GroupOptions::default(), 100);
        let listener = || {
            let token = Arc::new(());
            let held = Arc::downgrade(&token);
            (Box::new(move |_| drop(token.clone())), held)
        };
        let (first, held_by_first) = listener();
        group.set_listener(Some(first));
        assert_eq!(held_by_first.strong_count(), 1);
        group.end_listening();
        assert_eq!(held_by_first.strong_count(), 0);
        let (late, held_by_late) = listener();
        group.set_listener(Some(late));
        assert_eq!(held_by_late.strong_count(), 0);
    }

    #[test]
    fn a_group_that_was_removed_serves_again_once_its_replica_is_back() {
        let group = GroupHandle::new(1, GroupOptions::default(), 100);
        let failure = Some(Error::rejected(Code::Removed, "removed"));
        group.publish(GroupStatus { role: Role::Stopped, failure, ..GroupStatus::default() });
        assert_eq!(group.check_in_service().expect_err("it was removed").code, Code::Removed);
        group.publish(GroupStatus { role: Role::Learner, ..GroupStatus::default() });
        group.check_in_service().expect("it is back");
        assert!(group.status().failure.is_none());
    }

    #[test]
    fn a_listener_that_does_not_listen_costs_no_more_than_its_limit() {
        let group = GroupHandle::new(1, GroupOptions::default(), 100);
        let admitted = (0..2 * NOTICES_MAX).filter(|_| group.admits_notice()).count();
        assert_eq!(admitted, NOTICES_MAX);
        group.tell_listener(Notice::Failed);
        assert!(group.admits_notice(), "there is room again for each notice that was told");
        assert!(!group.admits_notice());
    }
}
