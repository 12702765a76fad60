//! A call of the program that waits for its completion.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::group::{BatchCompleter, Completer};
use crate::replica::Completion;

/// What a replica gives back when a call is done: whom to tell, and what the call held of its group's limits.
pub(crate) enum Call {
    One { completer: Completer, bytes: usize },
    InBatch { batch: Arc<Batch>, position: usize, bytes: usize },
}

/// The results of a batch, gathered until all are there.
pub(crate) struct Batch {
    gathered: Mutex<Gathered>,
}

struct Gathered {
    results: Vec<Option<Result<Completion>>>,
    missing: usize,
    completer: Option<BatchCompleter>,
}

/// A completion that is ready to be called.
pub(crate) enum Delivery {
    One(Completer, Result<Completion>),
    Batch(BatchCompleter, Vec<Result<Completion>>),
}

impl Call {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Call::One { bytes, .. } | Call::InBatch { bytes, .. } => *bytes,
        }
    }

    /// The delivery this result makes possible: none while a batch misses others.
    pub(crate) fn finish(self, result: Result<Completion>) -> Option<Delivery> {
        match self {
            Call::One { completer, .. } => Some(Delivery::One(completer, result)),
            Call::InBatch { batch, position, .. } => batch.put(position, result),
        }
    }
}

impl Batch {
    pub(crate) fn new(count: usize, completer: BatchCompleter) -> Arc<Batch> {
        let results = (0..count).map(|_| None).collect();
        let gathered = Gathered { results, missing: count, completer: Some(completer) };
        Arc::new(Batch { gathered: Mutex::new(gathered) })
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
        Some(Delivery::Batch(completer, results))
    }
}

impl Delivery {
    /// Whether it may be called on the event loop.
    pub(crate) fn is_quick(&self) -> bool {
        match self {
            Delivery::One(completer, _) => completer.quick,
            Delivery::Batch(completer, _) => completer.quick,
        }
    }

    /// Calls the program. A panic in its closure ends there.
    pub(crate) fn deliver(self) {
        let call = AssertUnwindSafe(|| match self {
            Delivery::One(completer, result) => (completer.deliver)(result),
            Delivery::Batch(completer, results) => (completer.deliver)(results),
        });
        if catch_unwind(call).is_err() {
            tracing::error!("a completion callback panicked");
        }
    }
}
