//! What the library says, for a host's own log.
//!
//! The library speaks through `tracing`. A Rust program that has a subscriber of its own gets the records there. A host
//! in another language sets a [`LogListener`] instead: then the library installs a subscriber of its own.

use std::cell::Cell;
use std::fmt::Write;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing_core::field::{Field, Visit};
use tracing_core::{span, Event, Interest, Level, LevelFilter, Metadata, Subscriber};

use crate::error::{Code, Error, Result};

/// How grave a record is; a listener hears those of its level and graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum LogLevel {
    /// Nothing.
    Off = 0,
    /// Something is out of service.
    Error = 1,
    /// Something went wrong, and was coped with.
    Warn = 2,
    /// What an operator wants to know.
    Info = 3,
    /// What a developer wants to know.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

impl LogLevel {
    /// The level with this number, if there is one.
    pub fn from_number(number: i32) -> Option<LogLevel> {
        use LogLevel::*;
        [Off, Error, Warn, Info, Debug, Trace].into_iter().find(|level| *level as i32 == number)
    }
}

/// Something the library says.
#[derive(Clone, Debug)]
pub struct LogRecord {
    pub level: LogLevel,
    /// The part of the library.
    pub target: &'static str,
    /// The line in the library's source; 0 if it is not known.
    pub line: u32,
    /// What happened, and to what, as `message key=value ...`.
    pub message: String,
}

/// Called for each record, from any thread, maybe from several at once, maybe inside a call to the library. It must not
/// block for long; what the library says inside of it is lost.
pub type LogListener = Arc<dyn Fn(&LogRecord) + Send + Sync>;

/// Sets who hears what the library says, in the whole process, in place of whoever did before: records of `level` and
/// graver ones. `None` ends it. The listener before is dropped, here or by the thread that is still inside of it.
///
/// **Threads**: any; never blocks. **Errors**: `Unsupported` if the program has a global subscriber of its own.
pub fn set_log_listener(level: LogLevel, listener: Option<LogListener>) -> Result<()> {
    install_subscriber()?;
    let hook = listener.map(|listener| Hook { level, listener });
    let level = hook.as_ref().map_or(LogLevel::Off, |hook| hook.level);
    let old = {
        let mut current = cell().hook.write().unwrap_or_else(PoisonError::into_inner);
        LEVEL.store(level as i32, Ordering::Relaxed);
        std::mem::replace(&mut *current, hook)
    };
    // Outside the lock: its drop may be foreign code.
    drop(old);
    tracing_core::callsite::rebuild_interest_cache();
    Ok(())
}

#[derive(Clone)]
struct Hook {
    level: LogLevel,
    listener: LogListener,
}

/// The hook of one process. A forked child begins without one, and never touches its parent's lock, which a thread that
/// was not copied may hold.
struct ProcessCell {
    process: u32,
    hook: RwLock<Option<Hook>>,
    /// Keeps what a fork left behind from looking lost to leak checkers.
    _parent: *mut ProcessCell,
}

static CELL: AtomicPtr<ProcessCell> = AtomicPtr::new(std::ptr::null_mut());
/// The level of the hook, where the subscriber finds it without a lock.
static LEVEL: AtomicI32 = AtomicI32::new(LogLevel::Off as i32);

fn cell() -> &'static ProcessCell {
    let process = std::process::id();
    loop {
        let current = CELL.load(Ordering::Acquire);
        // SAFETY: what was published here is never freed.
        if let Some(cell) = unsafe { current.as_ref() }.filter(|cell| cell.process == process) {
            return cell;
        }
        let fresh = ProcessCell { process, hook: RwLock::new(None), _parent: current };
        let fresh = Box::into_raw(Box::new(fresh));
        if CELL.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: `fresh` was made by `Box::into_raw` above and was not published.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
}

fn install_subscriber() -> Result<()> {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let installed = *INSTALLED.get_or_init(|| {
        let dispatch = tracing_core::Dispatch::new(HookSubscriber);
        tracing_core::dispatcher::set_global_default(dispatch).is_ok()
    });
    if installed {
        return Ok(());
    }
    Err(Error::rejected(
        Code::Unsupported,
        "this program has a tracing subscriber of its own, which gets the library's records",
    ))
}

struct HookSubscriber;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Subscriber for HookSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Levels change, and with them the interest: see `set_log_listener`.
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LogLevel::from_number(LEVEL.load(Ordering::Relaxed)) {
            Some(LogLevel::Error) => LevelFilter::ERROR,
            Some(LogLevel::Warn) => LevelFilter::WARN,
            Some(LogLevel::Info) => LevelFilter::INFO,
            Some(LogLevel::Debug) => LevelFilter::DEBUG,
            Some(LogLevel::Trace) => LevelFilter::TRACE,
            Some(LogLevel::Off) | None => LevelFilter::OFF,
        })
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && level_of(metadata) as i32 <= LEVEL.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        let level = level_of(event.metadata());
        let hook = cell().hook.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(hook) = hook.filter(|hook| level <= hook.level) else { return };
        if INSIDE.with(|inside| inside.replace(true)) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        (hook.listener)(&LogRecord {
            level,
            target: event.metadata().target(),
            line: event.metadata().line().unwrap_or(0),
            message: text.message + &text.fields,
        });
        INSIDE.with(|inside| inside.set(false));
    }

    // The library's spans, if it has any, are not shown.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn level_of(metadata: &Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

/// The message of an event, and its other fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
