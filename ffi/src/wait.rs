//! Blocking forms of asynchronous calls.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use libraft::{Code, Completer, Completion, Error, Result};

use crate::callback;

#[derive(Default)]
struct Done {
    result: Mutex<Option<Result<Completion>>>,
    changed: Condvar,
}

/// Begins a call and waits until it is done. The call's own timeout bounds the wait.
///
/// **Errors**: `WouldDeadlock` inside a callback; else as the call.
pub fn until_done(what: &str, begin: impl FnOnce(Completer) -> Result<()>) -> Result<Completion> {
    callback::refuse_to_block(what)?;
    let done = Arc::new(Done::default());
    let signal = Signal(done.clone());
    // Quick: taking a lock and waking the waiter is all there is to do.
    begin(Completer::quick(move |result| signal.set(result)))?;
    let mut result = done.result.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(result) = result.take() {
            return result;
        }
        result = done.changed.wait(result).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Wakes the waiter, also if the completion is lost: a call that never returned would be worse.
struct Signal(Arc<Done>);

impl Signal {
    fn set(&self, result: Result<Completion>) {
        let mut place = self.0.result.lock().unwrap_or_else(PoisonError::into_inner);
        place.get_or_insert(result);
        self.0.changed.notify_one();
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        let lost = "the completion of the call was lost, which is a defect; please report";
        self.set(Err(Error::unknown(Code::Internal, lost)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_refused_is_not_waited_for() {
        let refused = until_done("x", |_| Err(Error::rejected(Code::Busy, "full")));
        assert_eq!(refused.unwrap_err().code, Code::Busy);
    }

    #[test]
    fn a_completion_that_is_lost_ends_the_wait_with_an_unknown_outcome() {
        let lost = until_done("x", |completer| {
            drop(completer);
            Ok(())
        });
        let lost = lost.unwrap_err();
        assert_eq!((lost.code, lost.outcome), (Code::Internal, libraft::Outcome::Unknown));
    }

    #[test]
    fn waiting_inside_a_callback_is_refused_before_the_call_begins() {
        let result = callback::run(|| until_done("x", |_| panic!("must not begin")));
        assert_eq!(result.unwrap_err().code, Code::WouldDeadlock);
    }
}
