//! The proposals of this node that are not done yet, each of which completes exactly once.
//!
//! A proposal waits in the queue until it can leave, to raft-rs at the leader or in a message to
//! it. It leaves under the term of that moment, and can only ever be appended in that term. Terms
//! never go back along a log, so an applied entry of a later term settles that it will not be
//! applied: that, a refusal and never having left are the only grounds on which a proposal is
//! rejected.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::effect::Completion;
use super::entry::{ProposalId, PROPOSAL_ID_BYTES_MAX};
use super::payload::Payload;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::{RaftId, Term};

pub type Done<C> = Vec<(C, Result<Completion>)>;

/// A proposal that has not left.
struct Queued<C> {
    payload: Payload,
    completion: C,
    deadline: u64,
}

/// Proposals that left together. Their sequence numbers are consecutive.
struct Run<C> {
    first_sequence: u64,
    slots: Vec<Slot<C>>,
    /// How many are not done.
    open: usize,
    term: Term,
    /// The leader they went to; this replica's own id if it was the leader.
    to: RaftId,
    deadline_min: u64,
}

struct Slot<C> {
    completion: Option<C>,
    bytes: u32,
    deadline: u64,
}

pub struct Proposals<C> {
    queue: VecDeque<Queued<C>>,
    queue_bytes: u64,
    queue_deadline_min: u64,
    runs: VecDeque<Run<C>>,
    /// Where the last match was found: entries are applied in the order in which they left.
    cursor: usize,
    next_sequence: u64,
    count: u64,
    bytes: u64,
}

impl<C> Proposals<C> {
    /// `first_sequence` is that of the first proposal.
    pub fn new(first_sequence: u64) -> Proposals<C> {
        Proposals {
            queue: VecDeque::new(),
            queue_bytes: 0,
            queue_deadline_min: u64::MAX,
            runs: VecDeque::new(),
            cursor: 0,
            next_sequence: first_sequence,
            count: 0,
            bytes: 0,
        }
    }

    /// How many are not done, and the bytes of their payloads.
    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of the payloads that have not left.
    pub fn queue_bytes(&self) -> u64 {
        self.queue_bytes
    }

    /// The sequence of the proposal that leaves next.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The bytes of the entry that leaves next, at most.
    pub fn next_bytes(&self) -> u64 {
        let next = self.queue.front();
        next.map_or(0, |queued| (queued.payload.len() + PROPOSAL_ID_BYTES_MAX) as u64)
    }

    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn enqueue(&mut self, payload: Payload, completion: C, deadline: u64) {
        self.count += 1;
        self.bytes += payload.len() as u64;
        self.queue_bytes += payload.len() as u64;
        self.queue_deadline_min = self.queue_deadline_min.min(deadline);
        self.queue.push_back(Queued { payload, completion, deadline });
    }

    /// Takes proposals from the queue that are about to leave: as many as fit into `bytes_max`, but
    /// at least one. Returns the data of their entries: that of short ones is cut from one buffer.
    pub fn leave(
        &mut self,
        raft_id: RaftId,
        boot: u64,
        term: Term,
        to: RaftId,
        bytes_max: u64,
    ) -> Vec<Bytes> {
        let mut count = 0;
        let (mut bytes, mut short_bytes) = (0, 0);
        for queued in &self.queue {
            let entry_bytes = queued.payload.len() + PROPOSAL_ID_BYTES_MAX;
            bytes += entry_bytes;
            if count > 0 && bytes as u64 > bytes_max {
                break;
            }
            count += 1;
            if !Payload::is_long(queued.payload.len()) {
                short_bytes += entry_bytes;
            }
        }
        let mut short = BytesMut::with_capacity(short_bytes);
        // The data of a long one, or where that of a short one ends.
        let mut data = Vec::with_capacity(count);
        let mut slots = Vec::with_capacity(count);
        let mut deadline_min = u64::MAX;
        let first_sequence = self.next_sequence;
        for queued in self.queue.drain(..count) {
            let id = ProposalId { raft_id, boot, sequence: self.next_sequence };
            self.next_sequence += 1;
            let bytes = queued.payload.len();
            self.queue_bytes -= bytes as u64;
            data.push(queued.payload.leave(id, &mut short).ok_or(short.len()));
            deadline_min = deadline_min.min(queued.deadline);
            slots.push(Slot {
                completion: Some(queued.completion),
                bytes: bytes as u32,
                deadline: queued.deadline,
            });
        }
        if self.queue.is_empty() {
            self.queue_deadline_min = u64::MAX;
        }
        if count > 0 {
            let run = Run { first_sequence, slots, open: count, term, to, deadline_min };
            self.runs.push_back(run);
        }
        let short = short.freeze();
        let mut start = 0;
        let mut cut = |end| short.slice(std::mem::replace(&mut start, end)..end);
        data.into_iter().map(|data| data.unwrap_or_else(&mut cut)).collect()
    }

    /// Completes everything in the queue: it never left.
    pub fn reject_queued(&mut self, done: &mut Done<C>, mut error: impl FnMut() -> Error) {
        for queued in self.queue.drain(..) {
            self.count -= 1;
            self.bytes -= queued.payload.len() as u64;
            done.push((queued.completion, Err(error())));
        }
        self.queue_bytes = 0;
        self.queue_deadline_min = u64::MAX;
    }

    /// An entry of this replica was applied, or refused by the leader it went to.
    pub fn complete(&mut self, sequence: u64, done: &mut Done<C>, result: Result<Completion>) {
        let Some(position) = self.find(sequence) else { return };
        self.cursor = position;
        let run = &mut self.runs[position];
        let mut offset = (sequence - run.first_sequence) as usize;
        if run.open > 1 && is_on(Bug::AnswerAnotherCall) {
            offset = run.slots.iter().rposition(|slot| slot.completion.is_some()).unwrap_or(offset);
        }
        let slot = &mut run.slots[offset];
        if let Some(completion) = slot.completion.take() {
            run.open -= 1;
            self.count -= 1;
            self.bytes -= u64::from(slot.bytes);
            done.push((completion, result));
        }
        self.drop_done_runs();
    }

    /// Whether the proposal left to this leader: only that one may refuse it.
    pub fn went_to(&self, sequence: u64, leader: RaftId) -> bool {
        self.find(sequence).is_some_and(|position| self.runs[position].to == leader)
    }

    /// Whether something left under a term before this one.
    pub fn has_terms_below(&self, term: Term) -> bool {
        self.runs.front().is_some_and(|run| run.term < term)
    }

    /// Completes all that left under a term that `applies` to.
    pub fn complete_terms(
        &mut self,
        applies: impl Fn(Term) -> bool,
        done: &mut Done<C>,
        mut error: impl FnMut() -> Error,
    ) {
        for run in &mut self.runs {
            // Terms ascend from run to run.
            if !applies(run.term) {
                break;
            }
            for slot in &mut run.slots {
                if let Some(completion) = slot.completion.take() {
                    self.count -= 1;
                    self.bytes -= u64::from(slot.bytes);
                    done.push((completion, Err(error())));
                }
            }
            run.open = 0;
        }
        self.drop_done_runs();
    }

    /// Whether the time of some is over at tick `now`.
    pub fn is_late(&self, now: u64) -> bool {
        self.queue_deadline_min <= now
            || self.runs.iter().any(|run| run.open > 0 && run.deadline_min <= now)
    }

    /// Completes all whose time is over at tick `now`. `why` says why those that wait could not leave.
    pub fn expire(&mut self, now: u64, why: &str, done: &mut Done<C>) {
        if self.queue_deadline_min <= now {
            self.expire_queue(now, why, done);
        }
        for run in self.runs.iter_mut().filter(|run| run.open > 0 && run.deadline_min <= now) {
            run.deadline_min = u64::MAX;
            for slot in run.slots.iter_mut().filter(|slot| slot.completion.is_some()) {
                if slot.deadline > now {
                    run.deadline_min = run.deadline_min.min(slot.deadline);
                } else if let Some(completion) = slot.completion.take() {
                    run.open -= 1;
                    self.count -= 1;
                    self.bytes -= u64::from(slot.bytes);
                    let message = "the proposal was not applied in time; it still may be";
                    let error = match is_on(Bug::RejectWhatIsUnknown) {
                        true => Error::rejected(Code::Timeout, message),
                        false => Error::unknown(Code::Timeout, message),
                    };
                    done.push((completion, Err(error)));
                }
            }
            if run.open == 0 {
                run.slots = Vec::new();
            }
        }
        self.drop_done_runs();
    }

    fn expire_queue(&mut self, now: u64, why: &str, done: &mut Done<C>) {
        self.queue_deadline_min = u64::MAX;
        for queued in std::mem::take(&mut self.queue) {
            if queued.deadline > now {
                self.queue_deadline_min = self.queue_deadline_min.min(queued.deadline);
                self.queue.push_back(queued);
                continue;
            }
            self.count -= 1;
            self.bytes -= queued.payload.len() as u64;
            self.queue_bytes -= queued.payload.len() as u64;
            let message = format!("the proposal was not made in time: {why}");
            done.push((queued.completion, Err(Error::rejected(Code::Timeout, message))));
        }
    }

    fn find(&self, sequence: u64) -> Option<usize> {
        let holds = |position: usize| {
            let run = self.runs.get(position)?;
            let offset = sequence.checked_sub(run.first_sequence)?;
            (offset < run.slots.len() as u64).then_some(position)
        };
        holds(self.cursor).or_else(|| holds(self.cursor + 1)).or_else(|| {
            let after = self.runs.partition_point(|run| run.first_sequence <= sequence);
            holds(after.checked_sub(1)?)
        })
    }

    /// Gives the memory of runs back that are done, wherever they stand.
    fn drop_done_runs(&mut self) {
        if let Some(run) = self.runs.get_mut(self.cursor).filter(|run| run.open == 0) {
            run.slots = Vec::new();
        }
        while self.runs.front().is_some_and(|run| run.open == 0) {
            self.runs.pop_front();
            self.cursor = self.cursor.saturating_sub(1);
        }
    }
}
