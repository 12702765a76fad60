//! Linearizable reads: batches of calls that share one read index.
//!
//! A read has no effect, so it may be asked for again: after a change of leadership, or when no
//! answer comes. It can therefore only succeed or be rejected.

use std::collections::VecDeque;

use super::effect::Completion;
use super::pending::Done;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error};
use crate::ids::Index;

/// Batches that may wait for a read index at the same time; later reads share the next one.
const ASKED_MAX: usize = 4;

struct Read<C> {
    completion: C,
    deadline: u64,
}

struct Batch<C> {
    sequence: u64,
    reads: Vec<Read<C>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be asked for from this tick on.
    Due { tick: u64 },
    /// Asked for; again if there is no answer by this tick.
    Asked { again: u64 },
    /// Completes once the machine has applied up to here.
    Known { index: Index },
}

pub struct Reads<C> {
    /// Not part of a batch yet.
    fresh: Vec<Read<C>>,
    batches: VecDeque<Batch<C>>,
    next_sequence: u64,
    count: u64,
    deadline_min: u64,
}

impl<C> Reads<C> {
    /// `first_sequence` is that of the first batch.
    pub fn new(first_sequence: u64) -> Reads<C> {
        Reads {
            fresh: Vec::new(),
            batches: VecDeque::new(),
            next_sequence: first_sequence,
            count: 0,
            deadline_min: u64::MAX,
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sequence of the batch that is asked for next.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub fn add(&mut self, completion: C, deadline: u64) {
        self.count += 1;
        self.deadline_min = self.deadline_min.min(deadline);
        self.fresh.push(Read { completion, deadline });
    }

    /// Whether something is to be asked for at tick `now`.
    pub fn is_due(&self, now: u64) -> bool {
        let asked = self.batches.iter().filter(|batch| batch.state.is_open()).count();
        !self.fresh.is_empty() && asked < ASKED_MAX
            || self.batches.iter().any(|batch| batch.state.is_due(now))
    }

    /// The batches to be asked for at tick `now`; asked again after `patience` ticks.
    pub fn ask(&mut self, now: u64, patience: u64) -> Vec<u64> {
        let asked = self.batches.iter().filter(|batch| batch.state.is_open()).count();
        if !self.fresh.is_empty() && asked < ASKED_MAX {
            let reads = std::mem::take(&mut self.fresh);
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            self.batches.push_back(Batch { sequence, reads, state: State::Due { tick: now } });
        }
        let due = self.batches.iter_mut().filter(|batch| batch.state.is_due(now));
        due.map(|batch| {
            batch.state = State::Asked { again: now + patience };
            batch.sequence
        })
        .collect()
    }

    /// The read index of a batch is known.
    pub fn known(&mut self, sequence: u64, index: Index) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.sequence == sequence) {
            if batch.state.is_open() {
                batch.state = State::Known { index };
            }
        }
    }

    /// The leader refused a batch: it is asked for again at `tick`.
    pub fn refused(&mut self, sequence: u64, tick: u64) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.sequence == sequence) {
            if matches!(batch.state, State::Asked { .. }) {
                batch.state = State::Due { tick };
            }
        }
    }

    /// Who was asked does not lead any more.
    pub fn leader_changed(&mut self, now: u64) {
        for batch in &mut self.batches {
            if batch.state.is_open() {
                batch.state = State::Due { tick: now };
            }
        }
    }

    /// The machine has applied up to `applied`.
    pub fn applied(&mut self, applied: Index, done: &mut Done<C>) {
        let ready = |batch: &Batch<C>| match batch.state {
            State::Known { index } => index <= applied || is_on(Bug::AnswerReadsBeforeTheApply),
            _ => false,
        };
        if !self.batches.iter().any(ready) {
            return;
        }
        for batch in std::mem::take(&mut self.batches) {
            if !ready(&batch) {
                self.batches.push_back(batch);
                continue;
            }
            self.count -= batch.reads.len() as u64;
            for read in batch.reads {
                let completion = Completion { index: applied, ..Completion::default() };
                done.push((read.completion, Ok(completion)));
            }
        }
    }

    /// Whether the time of some is over at tick `now`.
    pub fn is_late(&self, now: u64) -> bool {
        self.deadline_min <= now
    }

    /// Completes all whose time is over at tick `now`; `why` says why.
    pub fn expire(&mut self, now: u64, why: &str, done: &mut Done<C>) {
        if self.deadline_min > now {
            return;
        }
        let mut deadline_min = u64::MAX;
        let mut count = 0;
        let mut keep = |reads: &mut Vec<Read<C>>| {
            for read in std::mem::take(reads) {
                if read.deadline > now {
                    deadline_min = deadline_min.min(read.deadline);
                    count += 1;
                    reads.push(read);
                } else {
                    let message = format!("the group did not serve in time: {why}");
                    done.push((read.completion, Err(Error::rejected(Code::Timeout, message))));
                }
            }
        };
        keep(&mut self.fresh);
        self.batches.iter_mut().for_each(|batch| keep(&mut batch.reads));
        self.batches.retain(|batch| !batch.reads.is_empty());
        self.count = count;
        self.deadline_min = deadline_min;
    }

    /// Completes all: the replica stops.
    pub fn reject_all(&mut self, done: &mut Done<C>, mut error: impl FnMut() -> Error) {
        let batches = self.batches.drain(..).flat_map(|batch| batch.reads);
        for read in batches.chain(self.fresh.drain(..)) {
            done.push((read.completion, Err(error())));
        }
        self.count = 0;
        self.deadline_min = u64::MAX;
    }
}

impl State {
    fn is_open(&self) -> bool {
        !matches!(self, State::Known { .. })
    }

    fn is_due(&self, now: u64) -> bool {
        match self {
            State::Due { tick } => *tick <= now,
            State::Asked { again } => *again <= now,
            State::Known { .. } => false,
        }
    }
}
