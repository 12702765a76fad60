//! Calls: those of clients, one after the other, and those that the program's callbacks make.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use libraft::error::{Code, Result};
use libraft::group::BatchCompleter;
use libraft::ids::{GroupId, Term};
use libraft::{Completer, Completion, Error, Group};

use crate::event::{Event, LifeId, MS};
use crate::hub::{Hub, Life};
use crate::machine::{lock, Shared};
use crate::observation::{Answer, CallId, Observation, Operation};
use crate::registers::Payload;

/// The registers that are in use.
const KEYS: u64 = 5;
/// Calls of callbacks are made in the name of clients of their own, from this number on.
const CALLBACK_CLIENTS: u64 = 1 << 32;

/// A group that runs in some life of a node, with the registers of its machine.
#[derive(Clone)]
pub struct Running {
    pub group: Group,
    pub shared: Shared,
}

#[derive(Default)]
struct Table {
    running: BTreeMap<(LifeId, GroupId), Running>,
    next_call: CallId,
    next_value: u64,
    /// Calls that have not completed: whose life they were made in, and the client that waits.
    pending: BTreeMap<CallId, (LifeId, Option<usize>)>,
    /// The highest term in which a swap of a group was applied.
    terms: BTreeMap<GroupId, Term>,
}

/// Makes calls. A clone is the same.
#[derive(Clone)]
pub struct Caller {
    hub: Hub,
    table: Arc<Mutex<Table>>,
}

/// Told how a call ended.
pub type Done = Box<dyn FnOnce(&Result<Completion>) + Send>;

impl Caller {
    pub fn new(hub: &Hub) -> Caller {
        let table = Table { next_value: 1, ..Table::default() };
        Caller { hub: hub.clone(), table: Arc::new(Mutex::new(table)) }
    }

    pub fn runs(&self, life: LifeId, group_id: GroupId, running: Running) {
        lock(&self.table).running.insert((life, group_id), running);
    }

    pub fn running(&self, life: LifeId, group_id: GroupId) -> Option<Running> {
        lock(&self.table).running.get(&(life, group_id)).cloned()
    }

    pub fn stopped(&self, life: LifeId, group_id: GroupId) -> Option<Running> {
        lock(&self.table).running.remove(&(life, group_id))
    }

    /// Lets go of the groups of a life that is about to end.
    pub fn forget_groups(&self, life: LifeId) {
        let mut table = lock(&self.table);
        let groups = std::mem::take(&mut table.running).into_iter();
        let (gone, kept): (Vec<_>, Vec<_>) = groups.partition(|((of, _), _)| *of == life);
        table.running.extend(kept);
        drop(table);
        // Dropping a handle is a call into the core.
        drop(gone);
    }

    /// A life is over. Its clients do not wait any more.
    pub fn life_over(&self, life: LifeId) {
        self.forget_groups(life);
        let mut table = lock(&self.table);
        let calls = std::mem::take(&mut table.pending).into_iter();
        let (lost, kept): (Vec<_>, Vec<_>) = calls.partition(|(_, (of, _))| *of == life);
        table.pending.extend(kept);
        drop(table);
        let mut clients: Vec<usize> =
            lost.into_iter().filter_map(|(_, (_, client))| client).collect();
        clients.dedup();
        clients.into_iter().for_each(|client| self.next_turn_of(Some(client)));
    }

    pub fn pending(&self) -> usize {
        lock(&self.table).pending.len()
    }

    pub fn applied_term(&self, group_id: GroupId) -> Term {
        lock(&self.table).terms.get(&group_id).copied().unwrap_or(0)
    }

    /// A client makes its next call after a while.
    fn next_turn_of(&self, client: Option<usize>) {
        let Some(client) = client else { return };
        let mut core = self.hub.core();
        let delay = core.random.skewed(1, 200) * MS;
        core.after(delay, Event::Client { client });
    }

    fn begin(
        &self,
        life: &Life,
        group_id: GroupId,
        client: Option<usize>,
        operation: Operation,
    ) -> CallId {
        let mut table = lock(&self.table);
        let call = table.next_call;
        table.next_call += 1;
        table.pending.insert(call, (life.id, client));
        drop(table);
        let place = life.place;
        // A client's calls of one batch overlap: each is made in the name of another one.
        let client = client.map_or(CALLBACK_CLIENTS + call, |client| client as u64);
        self.hub.count("calls");
        life.tell(move |see| {
            see(&Observation::Called { call, client, place, group_id, operation });
        });
        call
    }

    fn refused(&self, life: &Life, call: CallId, error: &Error, client: Option<usize>) {
        lock(&self.table).pending.remove(&call);
        self.count_error(error);
        let error = error.clone();
        life.tell(move |see| see(&Observation::Refused { call, error: &error }));
        self.next_turn_of(client);
    }

    fn count_error(&self, error: &Error) {
        self.hub.count(match error.code {
            Code::Busy => "answers busy",
            Code::NotLeader => "answers not leader",
            Code::NoLeader => "answers no leader",
            Code::Timeout => "answers timeout",
            Code::NoSpace => "answers no space",
            Code::Overwritten => "answers overwritten",
            Code::OutcomeLost => "answers outcome lost",
            Code::Stopped | Code::Closed => "answers closed",
            Code::MembershipInvalid | Code::MembershipBusy => "answers membership",
            Code::Forming => "answers forming",
            Code::Removed => "answers removed",
            Code::StorageFailed | Code::Io => "answers storage failed",
            Code::ApplyFailed | Code::SaveFailed | Code::RestoreFailed => "answers machine failed",
            Code::UnknownMember => "answers unknown member",
            _ => "answers with another error",
        });
    }

    /// A call has completed. After the end of its life nobody is there to hear it.
    fn completed(&self, life: &Life, call: CallId, answer: Answer) -> bool {
        if life.is_over() {
            return false;
        }
        let known = lock(&self.table).pending.remove(&call);
        if let Answer::Failed(error) = &answer {
            self.count_error(error);
        }
        life.tell(move |see| see(&Observation::Completed { call, answer }));
        self.next_turn_of(known.and_then(|(_, client)| client));
        true
    }

    fn swap_answer(&self, group_id: GroupId, result: Result<Completion>) -> Answer {
        match result {
            Ok(completion) => {
                self.hub.count("swaps applied");
                let mut table = lock(&self.table);
                let term = table.terms.entry(group_id).or_default();
                *term = completion.term.max(*term);
                Answer::Value(value_of(&completion.result), completion)
            }
            Err(error) => Answer::Failed(error),
        }
    }

    fn payload(&self, call: CallId, key: u8, value: u64) -> Bytes {
        let padding = self.hub.core().random.skewed(0, 4_000) as usize;
        Payload { call, key, value }.encode(padding)
    }

    fn fresh_value(&self) -> u64 {
        let mut table = lock(&self.table);
        table.next_value += 1;
        table.next_value
    }

    fn draw(&self, limit: u64) -> u64 {
        self.hub.core().random.below(limit)
    }

    fn begin_swap(&self, life: &Life, group_id: GroupId, client: Option<usize>) -> (CallId, Bytes) {
        let (key, value) = (self.draw(KEYS) as u8, self.fresh_value());
        let call = self.begin(life, group_id, client, Operation::Swap { key, value });
        (call, self.payload(call, key, value))
    }

    /// Whether a call was not refused at once.
    fn accepted(
        &self,
        life: &Life,
        call: CallId,
        client: Option<usize>,
        result: Result<()>,
    ) -> bool {
        if let Err(error) = &result {
            self.refused(life, call, error, client);
        }
        result.is_ok()
    }

    /// Swaps a value into some register. `false` if nothing will complete.
    pub fn swap(
        &self,
        life: &Life,
        group_id: GroupId,
        client: Option<usize>,
        done: Option<Done>,
    ) -> bool {
        let Some(running) = self.running(life.id, group_id) else { return false };
        let (call, data) = self.begin_swap(life, group_id, client);
        let (caller, life_then) = (self.clone(), life.clone());
        let callback = self.draw(20) == 0;
        let deliver = move |result: Result<Completion>| {
            if let Some(done) = done {
                done(&result);
            }
            let answer = caller.swap_answer(group_id, result);
            if caller.completed(&life_then, call, answer) && callback {
                caller.call_back(&life_then, group_id);
            }
        };
        let completer = self.completer(deliver);
        let proposed = running.group.propose(&data, completer);
        self.accepted(life, call, client, proposed)
    }

    fn completer(&self, deliver: impl FnOnce(Result<Completion>) + Send + 'static) -> Completer {
        match self.draw(2) {
            0 => Completer::new(deliver),
            _ => Completer::quick(deliver),
        }
    }

    /// Swaps values into several registers at once.
    pub fn batch(&self, life: &Life, group_id: GroupId, client: usize) {
        let Some(running) = self.running(life.id, group_id) else {
            return self.next_turn_of(Some(client));
        };
        let count = 2 + self.draw(8) as usize;
        let (mut calls, mut data, mut offsets) = (Vec::new(), Vec::new(), vec![0]);
        for position in 0..count {
            // The last to complete says when the client goes on.
            let waits = (position + 1 == count).then_some(client);
            let (call, payload) = self.begin_swap(life, group_id, None);
            lock(&self.table).pending.insert(call, (life.id, waits));
            calls.push(call);
            data.extend_from_slice(&payload);
            offsets.push(data.len());
        }
        let (caller, life_then, batch) = (self.clone(), life.clone(), calls.clone());
        let completer = BatchCompleter::new(move |results| {
            for (call, result) in batch.into_iter().zip(results) {
                let answer = caller.swap_answer(group_id, result);
                caller.completed(&life_then, call, answer);
            }
        });
        self.hub.count("batches");
        if let Err(error) = running.group.propose_batch(&data, &offsets, completer) {
            for call in calls {
                self.refused(life, call, &error, None);
            }
            self.next_turn_of(Some(client));
        }
    }

    /// Reads a register, linearizably.
    pub fn read(
        &self,
        life: &Life,
        group_id: GroupId,
        client: Option<usize>,
        done: Option<Done>,
    ) -> bool {
        let Some(running) = self.running(life.id, group_id) else { return false };
        let key = self.draw(KEYS) as u8;
        let call = self.begin(life, group_id, client, Operation::Read { key });
        let (caller, life_then, shared) = (self.clone(), life.clone(), running.shared);
        let completer = self.completer(move |result| {
            if let Some(done) = done {
                done(&result);
            }
            let answer = match result {
                Ok(completion) => {
                    caller.hub.count("reads");
                    Answer::Value(lock(&shared).read(key), completion)
                }
                Err(error) => Answer::Failed(error),
            };
            caller.completed(&life_then, call, answer);
        });
        let asked = running.group.read_index(completer);
        self.accepted(life, call, client, asked)
    }

    /// Any other call.
    pub fn other(
        &self,
        life: &Life,
        group_id: GroupId,
        what: &'static str,
        make: impl FnOnce(&Group, Completer) -> Result<()>,
        done: Done,
    ) {
        let Some(running) = self.running(life.id, group_id) else { return };
        let call = self.begin(life, group_id, None, Operation::Other(what));
        let (caller, life_then) = (self.clone(), life.clone());
        let done = Arc::new(Mutex::new(Some(done)));
        let done_then = done.clone();
        let completer = self.completer(move |result| {
            let done = lock(&done_then).take();
            if let Some(done) = done {
                done(&result);
            }
            let answer = result.map_or_else(Answer::Failed, Answer::Done);
            caller.completed(&life_then, call, answer);
        });
        if let Err(error) = make(&running.group, completer) {
            self.refused(life, call, &error, None);
            let done = lock(&done).take();
            if let Some(done) = done {
                done(&Err(error));
            }
        }
    }

    /// What a callback of the program calls from inside.
    pub fn call_back(&self, life: &Life, group_id: GroupId) {
        match self.draw(3) {
            0 => drop(self.swap(life, group_id, None, None)),
            1 => drop(self.read(life, group_id, None, None)),
            _ => {
                let Some(running) = self.running(life.id, group_id) else { return };
                // Whatever they say: they must not block, and nothing else is asked of them here.
                drop((running.group.status(), running.group.members()));
            }
        }
    }

    /// A client's next call, of a group that runs in this life.
    pub fn next_call(&self, life: &Life, group_id: GroupId, client: usize) {
        match self.draw(10) {
            0 => self.batch(life, group_id, client),
            1..=3 => drop(self.read(life, group_id, Some(client), None)),
            _ => drop(self.swap(life, group_id, Some(client), None)),
        }
    }
}

fn value_of(result: &Bytes) -> u64 {
    result.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
}
