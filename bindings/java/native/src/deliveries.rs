//! What a node has to tell to Java: completions of calls and events. It waits here until the node's
//! delivery thread, which is one of Java's, takes it, many at once.
//!
//! How much waits is bounded by the Java half, which counts a call as pending until its future is
//! completed, and by [`crate::events`].

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jni::objects::{JByteArray, JClass};
use jni::EnvUnowned;
use libraft::{Completion, Result};

use crate::boundary;
use crate::error;
use crate::flat::Writer;

// The kinds of deliveries, as in `Deliveries.java`.
const APPLIED: u8 = 0;
const FAILED: u8 = 1;
const BATCH: u8 = 2;
const DONE: u8 = 3;
const EVENT: u8 = 4;

/// A chunk is handed over as a whole; a delivery is never split.
const CHUNK_BYTES: usize = 1 << 20;
/// A larger buffer is not kept for the next chunk.
const SPARE_BYTES: usize = 2 << 20;

#[derive(Default)]
pub struct Deliveries {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    /// An empty buffer for the next chunk.
    spare: Vec<u8>,
    sleeping: bool,
    /// Closes and stops that will be told.
    expected: usize,
    /// The node is closed: nothing but what is expected will come.
    ended: bool,
    /// The delivery thread was told that there will be nothing any more.
    gone: bool,
}

impl Deliveries {
    /// A call is done.
    pub fn complete(&self, token: i32, result: Result<Completion>) {
        self.push(|writer| match &result {
            Ok(completion) => {
                writer.byte(APPLIED);
                writer.int(token);
                write_completion(writer, completion);
            }
            Err(error) => {
                writer.byte(FAILED);
                writer.int(token);
                error::write(writer, error);
            }
        });
    }

    /// All proposals of a batch are done.
    pub fn complete_batch(&self, token: i32, results: &[Result<Completion>]) {
        self.push(|writer| {
            writer.byte(BATCH);
            writer.int(token);
            let length_at = writer.len();
            writer.int(0);
            for result in results {
                writer.byte(u8::from(result.is_ok()));
                match result {
                    Ok(completion) => write_completion(writer, completion),
                    Err(error) => error::write(writer, error),
                }
            }
            let length = writer.len() - length_at - 4;
            writer.set_int(length_at, length as i32);
        });
    }

    /// Says that a close or a stop will be told. If not, nobody is there to be told any more: the
    /// node is closed.
    pub fn expect_done(&self) -> bool {
        let mut state = self.lock();
        state.expected += usize::from(!state.gone);
        !state.gone
    }

    /// A close or a stop that was expected is done.
    pub fn done(&self, token: i32, result: Result<()>) {
        self.push(|writer| match &result {
            Ok(()) => {
                writer.byte(DONE);
                writer.int(token);
            }
            Err(error) => {
                writer.byte(FAILED);
                writer.int(token);
                error::write(writer, error);
            }
        });
        self.lock().expected -= 1;
        self.arrived.notify_all();
    }

    pub fn event(&self, write: impl FnOnce(&mut Writer)) {
        self.push(|writer| {
            writer.byte(EVENT);
            write(writer);
        });
    }

    /// Nothing more will come but what is expected.
    pub fn end(&self) {
        self.lock().ended = true;
        self.arrived.notify_all();
    }

    fn push(&self, write: impl FnOnce(&mut Writer)) {
        let mut state = self.lock();
        let chunk = match state.chunks.pop_back() {
            Some(chunk) if chunk.len() < CHUNK_BYTES => chunk,
            full => {
                state.chunks.extend(full);
                std::mem::take(&mut state.spare)
            }
        };
        let mut writer = Writer::append_to(chunk);
        write(&mut writer);
        state.chunks.push_back(writer.finish());
        if state.sleeping {
            state.sleeping = false;
            self.arrived.notify_one();
        }
    }

    /// Waits for the next chunk; `None` when there will be no more.
    fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if let Some(chunk) = state.chunks.pop_front() {
                return Some(chunk);
            }
            if state.ended && state.expected == 0 {
                state.gone = true;
                return None;
            }
            state.sleeping = true;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a chunk back that could not be handed over.
    fn put_back(&self, chunk: Vec<u8>) {
        self.lock().chunks.push_front(chunk);
    }

    /// Keeps the buffer of a chunk that was handed over.
    fn recycle(&self, mut chunk: Vec<u8>) {
        if chunk.capacity() <= SPARE_BYTES {
            chunk.clear();
            self.lock().spare = chunk;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_completion(writer: &mut Writer, completion: &Completion) {
    writer.long(completion.index);
    writer.long(completion.term);
    writer.bytes(&completion.result);
}

/// Blocks until there is something to deliver. Null: there will be nothing any more.
#[no_mangle]
pub extern "system" fn Java_io_libraft_Deliveries_take<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    pointer: i64,
) -> JByteArray<'local> {
    boundary::run(env, |env| {
        // SAFETY: the delivery thread owns the pointer until it has called `free`.
        let deliveries: &Arc<Deliveries> = unsafe { boundary::borrow(pointer) };
        let Some(chunk) = deliveries.take() else { return Ok(JByteArray::default()) };
        match boundary::new_array(env, &chunk) {
            Ok(array) => {
                deliveries.recycle(chunk);
                Ok(array)
            }
            Err(error) => {
                // No memory for it now. The calls in it must complete all the same, later.
                deliveries.put_back(chunk);
                Err(error)
            }
        }
    })
}

/// Gives the delivery thread's share of the queue back.
#[no_mangle]
pub extern "system" fn Java_io_libraft_Deliveries_free<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    pointer: i64,
) {
    // SAFETY: the delivery thread calls this once, at its end.
    drop(unsafe { boundary::take_back::<Arc<Deliveries>>(pointer) });
}
