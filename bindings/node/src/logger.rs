//! Who hears the library's log: the environment that asked for it last, in the whole process.

use std::sync::{Arc, Mutex, PoisonError};

use libraft::logging::{set_log_listener, LogLevel};
use libraft::Result;

use crate::mailbox::{Item, Mailbox};
use crate::options::invalid;

static LISTENER: Mutex<Option<Arc<Mailbox>>> = Mutex::new(None);

/// Delivers records of `level` and graver ones to this environment; 0 ends it.
pub fn listen(mailbox: &Arc<Mailbox>, level: i32) -> Result<()> {
    let level = LogLevel::from_number(level).ok_or_else(|| invalid("there is no such level"))?;
    let mut listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    if level == LogLevel::Off {
        *listener = None;
        return set_log_listener(LogLevel::Off, None);
    }
    let to = mailbox.clone();
    set_log_listener(level, Some(Arc::new(move |record| to.post(Item::Logged(record.clone())))))?;
    *listener = Some(mailbox.clone());
    Ok(())
}

/// Ends what an environment that is going away asked for, unless another has asked since.
pub fn forget(mailbox: &Arc<Mailbox>) {
    let mut listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    if listener.as_ref().is_some_and(|current| Arc::ptr_eq(current, mailbox)) {
        *listener = None;
        // It could be set before, so it can be unset.
        let _ = set_log_listener(LogLevel::Off, None);
    }
}
