//! Queues: completions, and requests to state machines, for hosts that have an event loop of their
//! own.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use libraft::{Code, Completion, Error, Result};

use crate::boundary::{self, Out, SizeFirst};
use crate::callback::{self, UserPointer};
use crate::completion::{libraft_completion, CompletionBatch};
use crate::error::libraft_error;
use crate::handle::{self, Handle, Table, Tables};
use crate::request::{libraft_request_info, RequestObject};

/// A queue that a host polls instead of being called back.
pub struct libraft_queue {
    _opaque: [u8; 0],
}

/// The event brings completions.
pub const LIBRAFT_QUEUE_COMPLETIONS: i32 = 1;
/// The event brings a request to a state machine.
pub const LIBRAFT_QUEUE_REQUEST: i32 = 2;

/// As a timeout: without end.
pub const LIBRAFT_WAIT_FOREVER: u64 = 0xFFFF_FFFF_FFFF_FFFF;

/// What a queue is opened with. Begin with libraft_queue_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_queue_options {
    /// The size of this struct in bytes; set by libraft_queue_options_init.
    pub size: usize,
    /// Calls that may be under way or not yet reaped; more are refused with LIBRAFT_ERR_BUSY. An
    /// entry of a batch counts as one. Default 65536.
    pub completions_max: u64,
    /// Bytes of results that may wait to be reaped before more calls are refused with
    /// LIBRAFT_ERR_BUSY. Default 67108864.
    pub result_bytes_max: u64,
}

// SAFETY: integers only, the size first.
unsafe impl SizeFirst for libraft_queue_options {
    const NAME: &'static str = "libraft_queue_options";
    const FIRST_SIZE: usize = 24;
}

/// Something that came out of a queue.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct libraft_queue_event {
    /// One of LIBRAFT_QUEUE_...
    pub kind: i32,
    /// Zero.
    pub reserved0: i32,
    /// Of LIBRAFT_QUEUE_COMPLETIONS: one completion, or for a batch one for each entry, in order;
    /// else NULL. Borrowed until the next libraft_queue_poll or libraft_queue_free.
    pub completions: *const libraft_completion,
    /// How many.
    pub completions_count: usize,
    /// Of LIBRAFT_QUEUE_REQUEST: the request; else NULL. Borrowed until libraft_request_complete.
    pub request: *const libraft_request_info,
    /// Zero.
    pub reserved: [u64; 4],
}

pub struct QueueObject {
    state: Mutex<State>,
    arrived: Condvar,
    readable: OwnedFd,
    completions_max: u64,
    result_bytes_max: u64,
    /// What the last poll handed out. Its lock is held while a thread polls.
    lent: Mutex<Vec<CompletionBatch>>,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    /// Calls that are under way or not yet reaped.
    outstanding: u64,
    result_bytes: u64,
    freed: bool,
}

enum Event {
    Completions { user_data: UserPointer, results: Vec<Result<Completion>>, bytes: u64 },
    Request(Arc<RequestObject>),
}

impl Event {
    /// Nobody will ever take it. Completions are dropped; a request must be answered all the same.
    fn abandon(self) {
        if let Event::Request(request) = self {
            request.abandon("the queue that the state machine's requests go to was freed");
        }
    }
}

impl Handle for libraft_queue {
    type Object = QueueObject;
    const NOUN: &'static str = "queue";
    const KIND: u8 = 3;

    fn table(tables: &Tables) -> &Table<QueueObject> {
        &tables.queues
    }
}

/// Fills queue options with defaults. Programs call libraft_queue_options_init, which passes the
/// size.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the struct stays the caller's.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT for NULL, LIBRAFT_ERR_INVALID_SIZE.
#[no_mangle]
pub unsafe extern "C" fn libraft_queue_options_init_sized(
    options: *mut libraft_queue_options,
    size: usize,
) -> i32 {
    // SAFETY: the struct is as the crate's contract says.
    unsafe {
        boundary::call(std::ptr::null_mut(), || {
            boundary::init_sized(options, size, &default_options())
        })
    }
}

fn default_options() -> libraft_queue_options {
    libraft_queue_options { size: 0, completions_max: 65_536, result_bytes_max: 64 << 20 }
}

/// Opens a queue. `options` may be NULL for the defaults.
///
/// **Threads**: any; never blocks.
/// **Ownership**: `*queue` is the caller's, until libraft_queue_free.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_SIZE, LIBRAFT_ERR_IO (no
/// descriptor is left).
#[no_mangle]
pub unsafe extern "C" fn libraft_queue_open(
    options: *const libraft_queue_options,
    queue: *mut *mut libraft_queue,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let queue = Out::required(queue, "queue")?;
            let options =
                if options.is_null() { default_options() } else { boundary::read_sized(options)? };
            queue.set(handle::insert(QueueObject::open(options)?)?);
            Ok(())
        })
    }
}

/// The queue's descriptor, which is readable while events wait: for poll, epoll, libuv, libevent
/// and so on. Never read from it and never close it; call libraft_queue_poll.
///
/// **Threads**: any; never blocks.
/// **Ownership**: the descriptor is the queue's and ends with libraft_queue_free.
/// **Errors**: LIBRAFT_ERR_INVALID_ARGUMENT, LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_queue_fd(
    queue: *const libraft_queue,
    fd: *mut i32,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let fd = Out::required(fd, "fd")?;
            fd.set(handle::get(queue)?.readable.as_raw_fd());
            Ok(())
        })
    }
}

/// Takes up to `capacity` events out of the queue, and waits for the first for up to `timeout_ms`
/// milliseconds: 0 does not wait, LIBRAFT_WAIT_FOREVER has no end. If nothing came, `*count` is 0
/// and the code LIBRAFT_OK.
///
/// **Threads**: one at a time. Blocks as said; with a timeout other than 0 not from a callback.
/// **Ownership**: completions are borrowed until the next poll of this queue, or its end; requests
/// until libraft_request_complete.
/// **Errors**: LIBRAFT_ERR_BUSY while another thread polls, LIBRAFT_ERR_CLOSED if the queue is
/// freed meanwhile, LIBRAFT_ERR_WOULD_DEADLOCK, LIBRAFT_ERR_INVALID_ARGUMENT,
/// LIBRAFT_ERR_INVALID_HANDLE, LIBRAFT_ERR_FORKED.
#[no_mangle]
pub unsafe extern "C" fn libraft_queue_poll(
    queue: *mut libraft_queue,
    events: *mut libraft_queue_event,
    capacity: usize,
    timeout_ms: u64,
    count: *mut usize,
    error: *mut *mut libraft_error,
) -> i32 {
    // SAFETY: the pointers are as the crate's contract says.
    unsafe {
        boundary::call(error, || {
            let count = Out::required(count, "count")?;
            if events.is_null() || !events.is_aligned() || capacity == 0 {
                return Err(boundary::invalid("events is NULL, not aligned, or has no capacity"));
            }
            if timeout_ms != 0 {
                callback::refuse_to_block("libraft_queue_poll")?;
            }
            let mut taken = 0;
            handle::get(queue)?.poll(capacity, timeout_ms, |event| {
                events.add(taken).write(event);
                taken += 1;
            })?;
            count.set(taken);
            Ok(())
        })
    }
}

/// Frees a queue. Calls under way go on, but nobody hears of them; requests that wait in the queue
/// count as failed. NULL is allowed.
///
/// **Threads**: any; never blocks. A thread that polls returns with LIBRAFT_ERR_CLOSED.
/// **Ownership**: takes the handle; what the last poll lent ends, and so does the descriptor.
/// **Errors**: none; a handle that is not valid is left alone.
#[no_mangle]
pub unsafe extern "C" fn libraft_queue_free(queue: *mut libraft_queue) {
    boundary::value((), || {
        if let Ok(queue) = handle::take(queue) {
            queue.shut();
        }
    });
}

impl QueueObject {
    fn open(options: libraft_queue_options) -> Result<QueueObject> {
        if options.completions_max == 0 || options.result_bytes_max == 0 {
            return Err(boundary::invalid("a queue's limits must not be 0"));
        }
        // SAFETY: plain arguments.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            let cause = std::io::Error::last_os_error();
            return Err(Error::rejected(
                Code::Io,
                format!("no descriptor for a queue: {cause}; raise the limit on open files"),
            ));
        }
        // SAFETY: `fd` is open and belongs to nobody else.
        let readable = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(QueueObject {
            state: Mutex::default(),
            arrived: Condvar::new(),
            readable,
            completions_max: options.completions_max,
            result_bytes_max: options.result_bytes_max,
            lent: Mutex::default(),
        })
    }

    /// Makes room for the completions of a call.
    pub fn reserve(self: &Arc<Self>, count: usize) -> Result<Reservation> {
        let count = count as u64;
        let mut state = self.lock();
        if state.freed {
            return Err(Error::rejected(Code::InvalidHandle, "the queue was freed"));
        }
        let room = self.completions_max.saturating_sub(state.outstanding);
        if count > room || state.result_bytes > self.result_bytes_max {
            return Err(Error::rejected(
                Code::Busy,
                format!(
                    "the queue holds {} calls with {} bytes of results; poll it",
                    state.outstanding, state.result_bytes
                ),
            ));
        }
        state.outstanding += count;
        Ok(Reservation { queue: self.clone(), count })
    }

    /// A state machine has a few requests at most, so they need no reservation.
    pub fn push_request(&self, request: Arc<RequestObject>) {
        self.push(self.lock(), Event::Request(request));
    }

    fn push(&self, mut state: MutexGuard<'_, State>, event: Event) {
        if state.freed {
            drop(state);
            return event.abandon();
        }
        if state.events.is_empty() {
            self.signal();
        }
        state.events.push_back(event);
        drop(state);
        self.arrived.notify_one();
    }

    fn poll(
        &self,
        capacity: usize,
        timeout_ms: u64,
        mut take: impl FnMut(libraft_queue_event),
    ) -> Result<()> {
        let mut lent = match self.lent.try_lock() {
            Ok(lent) => lent,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::rejected(
                    Code::Busy,
                    "another thread polls this queue; open one queue for each thread",
                ));
            }
        };
        lent.clear();
        let mut state = self.wait_for_events(timeout_ms)?;
        let count = capacity.min(state.events.len());
        let events: Vec<Event> = state.events.drain(..count).collect();
        if count > 0 && state.events.is_empty() {
            self.clear_signal();
        }
        for event in &events {
            if let Event::Completions { results, bytes, .. } = event {
                state.outstanding -= results.len() as u64;
                state.result_bytes -= bytes;
            }
        }
        drop(state);
        for event in events {
            take(lend(event, &mut lent));
        }
        Ok(())
    }

    fn wait_for_events(&self, timeout_ms: u64) -> Result<MutexGuard<'_, State>> {
        // A time beyond what the clock can say is no limit.
        let deadline = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        let mut state = self.lock();
        while state.events.is_empty() {
            if state.freed {
                return Err(Error::rejected(Code::Closed, "the queue was freed"));
            }
            let Some(deadline) = deadline else {
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }

    fn shut(&self) {
        let mut state = self.lock();
        state.freed = true;
        let events = std::mem::take(&mut state.events);
        drop(state);
        self.arrived.notify_all();
        events.into_iter().for_each(Event::abandon);
    }

    fn signal(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of ours. It cannot fail: the counter is at most 1.
        unsafe { libc::write(self.readable.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    fn clear_signal(&self) {
        let mut counter = 0u64;
        // SAFETY: eight bytes of ours. If there is nothing to read, there is nothing to clear.
        unsafe { libc::read(self.readable.as_raw_fd(), (&raw mut counter).cast(), 8) };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Describes an event for C, and keeps what it points to.
fn lend(event: Event, lent: &mut Vec<CompletionBatch>) -> libraft_queue_event {
    let mut described = libraft_queue_event {
        kind: LIBRAFT_QUEUE_COMPLETIONS,
        reserved0: 0,
        completions: std::ptr::null(),
        completions_count: 0,
        request: std::ptr::null(),
        reserved: [0; 4],
    };
    match event {
        Event::Completions { user_data, results, .. } => {
            let batch = CompletionBatch::new(user_data, results);
            described.completions = batch.as_ptr();
            described.completions_count = batch.count();
            lent.push(batch);
        }
        Event::Request(request) => {
            described.kind = LIBRAFT_QUEUE_REQUEST;
            described.request = request.info();
        }
    }
    described
}

/// Room in a queue for the completions of one call. Dropping it gives the room back.
pub struct Reservation {
    queue: Arc<QueueObject>,
    count: u64,
}

impl Reservation {
    pub fn deliver(mut self, user_data: UserPointer, results: Vec<Result<Completion>>) {
        let bytes = results.iter().flatten().map(|done| done.result.len() as u64).sum();
        let mut state = self.queue.lock();
        // What is delivered counts until it is reaped; a batch brings exactly as many as were
        // reserved.
        state.outstanding = state.outstanding - self.count + results.len() as u64;
        state.result_bytes += bytes;
        self.count = 0;
        self.queue.push(state, Event::Completions { user_data, results, bytes });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.count > 0 {
            self.queue.lock().outstanding -= self.count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(completions_max: u64) -> Arc<QueueObject> {
        let options = libraft_queue_options { completions_max, ..default_options() };
        Arc::new(QueueObject::open(options).unwrap())
    }

    fn poll(queue: &QueueObject, capacity: usize) -> Vec<libraft_queue_event> {
        let mut events = Vec::new();
        queue.poll(capacity, 0, |event| events.push(event)).unwrap();
        events
    }

    fn is_readable(queue: &QueueObject) -> bool {
        let mut poll =
            libc::pollfd { fd: queue.readable.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor of ours, no waiting.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    fn deliver(queue: &Arc<QueueObject>, tag: usize) {
        let pointer = UserPointer(std::ptr::without_provenance_mut(tag));
        queue.reserve(1).unwrap().deliver(pointer, vec![Ok(Completion::default())]);
    }

    #[test]
    fn the_descriptor_is_readable_exactly_while_events_wait() {
        let queue = queue(10);
        assert!(!is_readable(&queue));
        (1..=3).for_each(|tag| deliver(&queue, tag));
        assert!(is_readable(&queue));
        assert_eq!(poll(&queue, 2).len(), 2);
        assert!(is_readable(&queue));
        assert_eq!(poll(&queue, 2).len(), 1);
        assert!(!is_readable(&queue));
        assert_eq!(poll(&queue, 2).len(), 0);
        deliver(&queue, 4);
        assert!(is_readable(&queue));
    }

    #[test]
    fn completions_count_until_they_are_reaped() {
        let queue = queue(2);
        deliver(&queue, 1);
        let second = queue.reserve(1).unwrap();
        assert_eq!(queue.reserve(1).err().unwrap().code, Code::Busy);
        drop(second);
        assert_eq!(queue.reserve(2).err().unwrap().code, Code::Busy, "one waits to be reaped");
        assert_eq!(poll(&queue, 9).len(), 1);
        assert!(queue.reserve(2).is_ok());
    }

    #[test]
    fn a_queue_that_is_freed_wakes_its_poller_and_takes_nothing_more() {
        let queue = queue(2);
        let under_way = queue.reserve(1).unwrap();
        let poller = std::thread::spawn({
            let queue = queue.clone();
            move || queue.poll(1, LIBRAFT_WAIT_FOREVER, |_| ()).unwrap_err().code
        });
        queue.shut();
        assert_eq!(poller.join().unwrap(), Code::Closed);
        assert_eq!(queue.reserve(1).err().unwrap().code, Code::InvalidHandle);
        under_way.deliver(UserPointer(std::ptr::null_mut()), vec![Ok(Completion::default())]);
        assert!(queue.lock().events.is_empty());
    }
}
