//! What the library says, on its way to `System.Logger`: a bounded queue that a thread of Java's
//! empties.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jni::objects::{JByteArray, JClass};
use jni::EnvUnowned;
use libraft::logging::{set_log_listener, LogLevel, LogRecord};
use libraft::{Code, Error};

use crate::boundary::{self, answer};
use crate::flat::Writer;

/// How many records may wait; what is said then is lost, and counted.
const WAITING_MAX: usize = 1_024;

static RECORDS: Records = Records { state: Mutex::new(State::new()), arrived: Condvar::new() };

struct Records {
    state: Mutex<State>,
    arrived: Condvar,
}

struct State {
    waiting: VecDeque<LogRecord>,
    lost: u64,
}

impl State {
    const fn new() -> State {
        State { waiting: VecDeque::new(), lost: 0 }
    }
}

impl Records {
    fn push(&self, record: &LogRecord) {
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            state.lost += 1;
            return;
        }
        state.waiting.push_back(record.clone());
        self.arrived.notify_one();
    }

    /// Waits for records; with them comes how many were lost before.
    fn take(&self) -> (VecDeque<LogRecord>, u64) {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let lost = std::mem::take(&mut state.lost);
        (std::mem::take(&mut state.waiting), lost)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens to records of `level`, a number of the core's, and graver ones.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeLog_listen<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    level: i32,
) -> JByteArray<'local> {
    answer(env, |_| {
        let level = LogLevel::from_number(level)
            .ok_or_else(|| Error::rejected(Code::InvalidArgument, "there is no such level"))?;
        set_log_listener(level, Some(Arc::new(|record| RECORDS.push(record))))?;
        Ok(None)
    })
}

/// Blocks until there are records: how many were lost, then level, part of the library and message
/// of each.
#[no_mangle]
pub extern "system" fn Java_io_libraft_NativeLog_take<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
) -> JByteArray<'local> {
    boundary::run(env, |env| {
        let (records, lost) = RECORDS.take();
        let mut writer = Writer::default();
        writer.long(lost);
        for record in records {
            writer.int(record.level as i32);
            writer.text(record.target);
            writer.text(&record.message);
        }
        boundary::new_array(env, &writer.finish())
    })
}
