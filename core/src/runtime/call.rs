//! A call of the program that waits for its completion.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::group::{BatchCompleter, Completer};
use crate::replica::Completion;

/// What a replica gives back when a call is done: whom to tell, and what the call held of its group's limits.
pub(crate) enum Call {
    One { completer: Completer, bytes: usize },
    InBatch { batch: Arc<Batch>, position: usize },
}

/// The results of a batch, gathered until all are there.
pub(crate) struct Batch {
    /// Of all its entries together.
    bytes: usize,
    gathered: Mutex<Gathered>,
}

struct Gathered {
    results: Vec<Option<Result<Completion>>>,
    missing: usize,
    completer: Option<BatchCompleter>,
}

/// A completion that is ready to be called. Until then it holds what its call took of the group's limits.
pub(crate) enum Delivery {
    One { completer: Completer, result: Result<Completion>, bytes: usize },
    Batch { completer: BatchCompleter, results: Vec<Result<Completion>>, bytes: usize },
}

impl Call {
    /// The delivery this result makes possible: none while a batch misses others.
    pub(crate) fn finish(self, result: Result<Completion>) -> Option<Delivery> {
        match self {
            Call::One { completer, bytes } => Some(Delivery::One { completer, result, bytes }),
            Call::InBatch { batch, position } => batch.put(position, result),
        }
    }
}

impl Batch {
    pub(crate) fn new(count: usize, bytes: usize, completer: BatchCompleter) -> Arc<Batch> {
        let results = (0..count).map(|_| None).collect();
        let gathered = Gathered { results, missing: count, completer: Some(completer) };
        Arc::new(Batch { bytes, gathered: Mutex::new(gathered) })
    }

    fn put(&self, position: usize, result: Result<Completion>) -> Option<Delivery> {
        let mut gathered = self.gathered.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        gathered.results[position] = Some(result);
        gathered.missing -= 1;
        if gathered.missing > 0 {
            return None;
        }
        let completer = gathered.completer.take()?;
        let results = gathered.results.drain(..).flatten().collect();
        Some(Delivery::Batch { completer, results, bytes: self.bytes })
    }
}

impl Delivery {
    /// Whether it may be called on the event loop.
    pub(crate) fn is_quick(&self) -> bool {
        match self {
            Delivery::One { completer, .. } => completer.quick,
            Delivery::Batch { completer, .. } => completer.quick,
        }
    }

    /// The calls and bytes that count against the group's limits until this is called.
    pub(crate) fn holds(&self) -> (usize, usize) {
        match self {
            Delivery::One { bytes, .. } => (1, *bytes),
            Delivery::Batch { results, bytes, .. } => (results.len(), *bytes),
        }
    }

    /// Calls the program. A panic in its closure ends there.
    pub(crate) fn deliver(self) {
        let call = AssertUnwindSafe(|| match self {
            Delivery::One { completer, result, .. } => (completer.deliver)(result),
            Delivery::Batch { completer, results, .. } => (completer.deliver)(results),
        });
        if catch_unwind(call).is_err() {
            tracing::error!("a completion callback panicked");
        }
    }
}
