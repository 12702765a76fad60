//! A state machine's seat: its work waits here, strictly in order, and is done by one thread at a time.
//!
//! The event loop puts work in; an apply thread takes it out and calls the program. A quick machine with nothing waiting
//! is called by the event loop itself. A request may be answered later, from any thread: until then the seat is *busy*
//! and nothing else is started.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::apply::ApplyPool;
use super::inbox::{Command, GroupKey, Inbox, MachineAnswer};
use super::saving::Saving;
use super::transfer::Shipment;
use crate::ids::GroupId;
use crate::machine::{Apply, MachineError, MachineKind, MachineResult, Reply, StateMachine};
use crate::replica::{AppliedEntry, MachineWork};
use crate::snapshot::SnapshotPoint;

/// What is asked of a machine.
pub(crate) enum Work {
    Open,
    Machine(MachineWork),
    /// Send the state to a peer, straight from the machine.
    Stream(Shipment, SnapshotPoint),
}

pub(crate) struct Seat {
    pub(crate) key: GroupKey,
    pub(crate) group_id: GroupId,
    pub(crate) kind: MachineKind,
    pub(crate) quick: bool,
    machine: Mutex<Option<Box<dyn StateMachine>>>,
    state: Mutex<State>,
    inbox: Arc<Inbox>,
    pool: Arc<ApplyPool>,
    saving: Arc<Saving>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    /// A request is not answered yet.
    busy: bool,
    /// A thread is in the seat, or on its way to it.
    occupied: bool,
    /// The event loop is in the seat, and takes the answer with it.
    inline: bool,
    inline_answer: Option<MachineAnswer>,
    /// Answers on their way to the event loop, which must not take a later one first.
    underway: usize,
    /// A request failed that the machine cannot go on without: it is asked for nothing any more, since whatever came next
    /// would find a state that its group never had.
    failed: bool,
    /// Nothing is done any more, and answers are of no interest.
    closed: bool,
    on_vacated: Option<Box<dyn FnOnce() + Send>>,
}

impl Seat {
    pub(crate) fn new(
        key: GroupKey,
        group_id: GroupId,
        machine: Box<dyn StateMachine>,
        inbox: Arc<Inbox>,
        pool: Arc<ApplyPool>,
        saving: Arc<Saving>,
    ) -> Seat {
        Seat {
            key,
            group_id,
            kind: machine.kind(),
            quick: machine.quick(),
            machine: Mutex::new(Some(machine)),
            state: Mutex::default(),
            inbox,
            pool,
            saving,
        }
    }

    /// Puts work behind all that waits. The replica bounds how much that can be.
    pub(crate) fn push(self: &Arc<Seat>, work: Work) {
        let mut state = self.state();
        if state.closed || state.failed {
            return;
        }
        state.queue.push_back(work);
        self.call_thread(state);
    }

    /// Applies on this thread, which is the event loop's, if the machine is quick and idle. The answer is returned if it
    /// came at once; else it comes through the inbox.
    pub(crate) fn apply_inline(
        self: &Arc<Seat>,
        entries: Vec<AppliedEntry>,
    ) -> Option<MachineAnswer> {
        let mut state = self.state();
        let idle = !state.occupied && !state.busy && state.queue.is_empty();
        if !self.quick || !idle || state.closed || state.failed {
            drop(state);
            self.push(Work::Machine(MachineWork::Apply { entries }));
            return None;
        }
        state.occupied = true;
        state.busy = true;
        state.inline = true;
        drop(state);
        self.apply(entries);
        let mut state = self.state();
        state.inline = false;
        state.occupied = false;
        let answer = state.inline_answer.take();
        self.call_thread(state);
        answer
    }

    /// The body of an apply thread's visit: does what waits until the seat is busy or there is nothing left.
    pub(crate) fn work(self: &Arc<Seat>) {
        loop {
            let mut state = self.state();
            if state.closed {
                state.occupied = false;
                self.vacate(state);
                return;
            }
            let next = if state.busy { None } else { state.queue.pop_front() };
            let Some(work) = next else {
                state.occupied = false;
                return;
            };
            state.busy = true;
            drop(state);
            self.perform(work);
        }
    }

    /// Drops the machine as soon as no thread is inside it, then calls `done`. What waits is dropped with it.
    pub(crate) fn close(self: &Arc<Seat>, done: Box<dyn FnOnce() + Send>) {
        let mut state = self.state();
        state.closed = true;
        state.queue.clear();
        state.on_vacated = Some(done);
        self.call_thread(state);
    }

    /// Drops the machine, on an apply thread: dropping it is the program's code.
    fn vacate(&self, mut state: MutexGuard<'_, State>) {
        let done = state.on_vacated.take();
        drop(state);
        let machine = lock(&self.machine).take();
        if catch_unwind(AssertUnwindSafe(|| drop(machine))).is_err() {
            tracing::error!(group = self.group_id, "dropping the state machine panicked");
        }
        if let Some(done) = done {
            done();
        }
    }

    fn perform(self: &Arc<Seat>, work: Work) {
        match work {
            Work::Open => {
                let reply = self.reply(MachineAnswer::Opened);
                self.with_machine(|machine| machine.open(reply));
            }
            Work::Machine(MachineWork::Apply { entries }) => self.apply(entries),
            Work::Machine(MachineWork::TakeSnapshot { snapshot, index, term, membership }) => {
                let group_id = self.group_id;
                let point = SnapshotPoint { group_id, snapshot, index, term, membership };
                self.saving.take(self, point);
            }
            Work::Machine(MachineWork::Restore { snapshot, index, .. }) => {
                self.saving.restore(self, snapshot, index);
            }
            // The event loop makes a shipment of it first.
            Work::Machine(MachineWork::Stream { .. }) => self.answered(None),
            Work::Stream(shipment, point) => self.saving.stream(self, shipment, point),
        }
    }

    fn apply(self: &Arc<Seat>, entries: Vec<AppliedEntry>) {
        let reply = self.reply(MachineAnswer::Applied);
        self.with_machine(|machine| machine.apply(Apply { entries, blob: Bytes::new(), reply }));
    }

    /// A reply that frees the seat and takes the answer to the event loop.
    fn reply<T: Send + 'static>(
        self: &Arc<Seat>,
        answer: impl FnOnce(MachineResult<T>) -> MachineAnswer + Send + 'static,
    ) -> Reply<T> {
        let seat = self.clone();
        Reply::new(move |result| seat.answered(Some(answer(result))))
    }

    /// Calls the program. A panic in it ends here; the request it held answers itself as it is dropped.
    pub(crate) fn with_machine(&self, call: impl FnOnce(&mut dyn StateMachine)) {
        let mut machine = lock(&self.machine);
        let Some(machine) = machine.as_mut() else { return };
        if catch_unwind(AssertUnwindSafe(|| call(machine.as_mut()))).is_err() {
            tracing::error!(group = self.group_id, "a state machine callback panicked");
        }
    }

    /// The request in hand is answered: the next may start. `None` if the event loop hears of it in another way.
    pub(crate) fn answered(self: &Arc<Seat>, answer: Option<MachineAnswer>) {
        let mut state = self.state();
        state.busy = false;
        if state.closed {
            return;
        }
        if answer.as_ref().is_some_and(MachineAnswer::is_failure) {
            state.failed = true;
            state.queue.clear();
        }
        match answer {
            Some(answer) if state.inline && state.underway == 0 => {
                state.inline_answer = Some(answer);
                return;
            }
            // With the lock held, so that nobody answers the next request before. After the node's close nobody listens.
            Some(answer) => {
                state.underway += 1;
                let _ = self.inbox.command(Command::Answered { key: self.key, answer });
            }
            None => (),
        }
        self.call_thread(state);
    }

    /// The event loop has taken an answer that was underway.
    pub(crate) fn answer_taken(&self) {
        self.state().underway -= 1;
    }

    /// Says something to the event loop. After the node's close nobody listens.
    pub(crate) fn tell_loop(&self, answer: MachineAnswer) {
        let _ = self.inbox.command(Command::Machine { key: self.key, answer });
    }

    /// Calls an apply thread to the seat if there is work for it.
    fn call_thread(self: &Arc<Seat>, mut state: MutexGuard<'_, State>) {
        let wanted = if state.closed {
            state.on_vacated.is_some()
        } else {
            !state.busy && !state.queue.is_empty()
        };
        if state.occupied || !wanted {
            return;
        }
        state.occupied = true;
        drop(state);
        self.pool.schedule(self.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A failure of the program's callback in words.
pub(crate) fn describe(what: &str, group_id: GroupId, error: &MachineError) -> String {
    format!("{what} of group {group_id} failed: {error}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
