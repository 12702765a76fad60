//! Blocking forms of asynchronous calls.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use libraft::{Completer, Completion, Result};

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
    let signal = done.clone();
    // Quick: taking a lock and waking the waiter is all there is to do.
    begin(Completer::quick(move |result| {
        *signal.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        signal.changed.notify_one();
    }))?;
    let mut result = done.result.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(result) = result.take() {
            return result;
        }
        result = done.changed.wait(result).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libraft::Code;

    #[test]
    fn a_call_that_is_refused_is_not_waited_for() {
        let refused = until_done("x", |_| Err(libraft::Error::rejected(Code::Busy, "full")));
        assert_eq!(refused.unwrap_err().code, Code::Busy);
    }

    #[test]
    fn waiting_inside_a_callback_is_refused_before_the_call_begins() {
        let result = callback::run(|| until_done("x", |_| panic!("must not begin")));
        assert_eq!(result.unwrap_err().code, Code::WouldDeadlock);
    }
}
