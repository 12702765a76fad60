//! Every call completes exactly once, and truly.

use std::collections::BTreeMap;

use libraft::error::Outcome;
use libraft::ids::{GroupId, Index, Term};
use libraft::machine::AppliedEntry;
use libraft::{Completion, Error};

use super::commits::Commits;
use super::linearizability::Operation as Timed;
use super::machines::Machines;
use super::{broken, Verdict};
use crate::observation::{Answer, CallId, Operation, Place, Violation};
use crate::registers::Payload;

/// Counts the observations of a world: what happened before what.
pub type Moment = u64;

/// See the module.
#[derive(Default)]
pub struct Calls {
    calls: BTreeMap<CallId, Call>,
    pending: BTreeMap<CallId, Place>,
}

struct Call {
    place: Place,
    group_id: GroupId,
    operation: Operation,
    called: Moment,
    fate: Fate,
    /// Where the swap took effect, and what it replaced.
    effect: Option<(Index, Term, u64)>,
}

/// What the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    /// It had no effect, and never will.
    Rejected,
    Value(u64, Moment),
    Done,
    Unknown,
}

impl Calls {
    pub fn called(
        &mut self,
        call: CallId,
        place: Place,
        group_id: GroupId,
        operation: Operation,
        called: Moment,
    ) -> Verdict {
        let known = Call { place, group_id, operation, called, fate: Fate::Pending, effect: None };
        self.pending.insert(call, place);
        match self.calls.insert(call, known) {
            None => Ok(()),
            Some(_) => broken("completion", || format!("call {call} is made twice")),
        }
    }

    /// A call that waits ends.
    fn end(&mut self, call: CallId) -> Result<&mut Call, Violation> {
        let waited = self.pending.remove(&call).is_some();
        match self.calls.get_mut(&call) {
            Some(known) if waited => Ok(known),
            known => Err(Violation {
                rule: "completion",
                what: format!(
                    "call {call} completes, and nobody waits: {:?}",
                    known.map(|known| known.fate)
                ),
            }),
        }
    }

    pub fn refused(&mut self, call: CallId, error: &Error) -> Verdict {
        self.end(call)?.reject(call, error)
    }

    pub fn completed(
        &mut self,
        call: CallId,
        answer: &Answer,
        now: Moment,
        (machines, commits): (&Machines, &Commits),
    ) -> Verdict {
        let known = self.end(call)?;
        match answer {
            Answer::Value(value, completion) => {
                known.fate = Fate::Value(*value, now);
                known.require_true(call, *value, completion, machines)?;
                known.require_committed(call, completion, commits)
            }
            Answer::Done(completion) => {
                known.fate = Fate::Done;
                known.require_committed(call, completion, commits)
            }
            Answer::Failed(error) => match error.outcome {
                Outcome::Rejected => known.reject(call, error),
                Outcome::Unknown => {
                    known.fate = Fate::Unknown;
                    known.require_unknown(call, error)
                }
                Outcome::Applied => {
                    broken("completion", || format!("call {call} failed, and was applied: {error}"))
                }
            },
        }
    }

    /// A state machine applied an entry as the first of all.
    pub fn took_effect(&mut self, group_id: GroupId, entry: &AppliedEntry, result: u64) -> Verdict {
        let payload = Payload::decode(&entry.data);
        let known = payload.and_then(|payload| self.calls.get_mut(&payload.call));
        let (Some(payload), Some(known)) = (payload, known) else {
            return broken("applied call", || {
                format!("nobody proposed {entry:?} in group {group_id}")
            });
        };
        let (call, operation) =
            (payload.call, Operation::Swap { key: payload.key, value: payload.value });
        if (known.group_id, known.operation) != (group_id, operation) {
            return broken("applied call", || {
                format!(
                    "call {call} was {:?} in group {}, not {operation:?}",
                    known.operation, known.group_id
                )
            });
        }
        if let Some((index, ..)) = known.effect {
            return broken("applied call", || {
                format!(
                    "call {call} is applied twice in group {group_id}: at {index} and at {}",
                    entry.index
                )
            });
        }
        if known.fate == Fate::Rejected {
            return broken("rejected", || {
                format!(
                    "call {call} was rejected, and is applied at {} of group {group_id}",
                    entry.index
                )
            });
        }
        known.effect = Some((entry.index, entry.term, result));
        Ok(())
    }

    /// Nobody at a place waits any more.
    pub fn crashed(&mut self, place: Place) {
        self.pending.retain(|_, of| *of != place);
    }

    pub fn closed(&self, place: Place) -> Verdict {
        match self.pending.iter().find(|(_, of)| **of == place) {
            None => Ok(()),
            Some((call, _)) => broken("completion", || {
                format!("{place:?} is closed, and call {call} never completed")
            }),
        }
    }

    pub fn finish(&self) -> Verdict {
        match self.pending.first_key_value() {
            None => Ok(()),
            Some((call, place)) => {
                broken("completion", || format!("call {call} at {place:?} never completes"))
            }
        }
    }

    /// What clients did to the registers, and saw in them.
    pub fn histories(&self) -> BTreeMap<(GroupId, u8), Vec<Timed>> {
        let mut histories: BTreeMap<(GroupId, u8), Vec<Timed>> = BTreeMap::new();
        for (call, known) in &self.calls {
            if let Some((key, timed)) = known.timed(*call) {
                histories.entry((known.group_id, key)).or_default().push(timed);
            }
        }
        histories
    }
}

impl Call {
    fn reject(&mut self, call: CallId, error: &Error) -> Verdict {
        self.fate = Fate::Rejected;
        if error.outcome != Outcome::Rejected {
            return broken("completion", || {
                format!("call {call} was refused at once, and may be applied: {error:?}")
            });
        }
        match self.effect {
            None => Ok(()),
            Some(effect) => broken("rejected", || {
                format!("call {call} was applied: {effect:?}, and not: {error:?}")
            }),
        }
    }

    fn require_unknown(&self, call: CallId, error: &Error) -> Verdict {
        if error.retriable() {
            return broken("retriable", || {
                format!("call {call} may be applied, and may be made again: {error:?}")
            });
        }
        if let Operation::Read { .. } = self.operation {
            return broken("completion", || {
                format!("nobody knows what became of the read {call}: {error:?}")
            });
        }
        Ok(())
    }

    /// What a client was told is what happened, and the machine of its own node had come there.
    fn require_true(
        &self,
        call: CallId,
        value: u64,
        completion: &Completion,
        machines: &Machines,
    ) -> Verdict {
        let (index, term) = (completion.index, completion.term);
        let reached = machines.reached(self.place, self.group_id);
        let is_true = match self.operation {
            Operation::Swap { .. } => self.effect == Some((index, term, value)) && index <= reached,
            Operation::Read { .. } => term == 0,
            Operation::Other(_) => false,
        };
        if is_true {
            return Ok(());
        }
        broken("completion", || {
            let effect = self.effect;
            format!("call {call} completes with {value} at {index} in term {term}: it had {effect:?}, at {reached}")
        })
    }

    fn require_committed(
        &self,
        call: CallId,
        completion: &Completion,
        commits: &Commits,
    ) -> Verdict {
        let committed = commits.last(self.group_id);
        if completion.index <= committed {
            return Ok(());
        }
        broken("completion", || {
            format!("call {call} completes with {}, and {committed} is committed", completion.index)
        })
    }

    /// The call as an operation on a register. A swap of which the client does not know what became counts if it took
    /// effect, which it may do at any later time. If it did not, nobody can tell that it was there.
    fn timed(&self, call: CallId) -> Option<(u8, Timed)> {
        let called = self.called;
        match (self.operation, self.fate, self.effect) {
            (Operation::Read { key }, Fate::Value(saw, ended), _) => {
                Some((key, Timed { call, called, ended: Some(ended), saw, puts: None }))
            }
            (Operation::Swap { key, value }, Fate::Value(saw, ended), _) => {
                Some((key, Timed { call, called, ended: Some(ended), saw, puts: Some(value) }))
            }
            (Operation::Swap { key, value }, _, Some((.., saw))) => {
                Some((key, Timed { call, called, ended: None, saw, puts: Some(value) }))
            }
            _ => None,
        }
    }
}
