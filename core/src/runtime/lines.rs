//! The blocking connections of the courier threads, so that a close can cut them.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard};

use crate::error::{Code, Error, Result};
use crate::stream::Stream;

#[derive(Default)]
pub(crate) struct Lines {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: BTreeMap<u64, Box<dyn Stream>>,
    next: u64,
    cut: bool,
}

/// Keeps a connection known while it is in use.
pub(crate) struct Line<'a> {
    lines: &'a Lines,
    number: u64,
}

impl Lines {
    /// Makes a connection known; refuses once the node closes.
    pub(crate) fn hold(&self, stream: &dyn Stream) -> Result<Line<'_>> {
        let stream = stream.try_clone().map_err(|error| {
            Error::rejected(Code::Io, format!("a connection could not be kept: {error}"))
        })?;
        let mut state = self.lock();
        if state.cut {
            return Err(super::inbox::closed());
        }
        let number = state.next;
        state.next += 1;
        state.streams.insert(number, stream);
        Ok(Line { lines: self, number })
    }

    /// Cuts every connection: whoever reads or writes on one gets an error at once.
    pub(crate) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        for stream in std::mem::take(&mut state.streams).into_values() {
            // It may have ended by itself.
            let _ = stream.shut_down(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.lines.lock().streams.remove(&self.number);
    }
}
