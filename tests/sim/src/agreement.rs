//! A judge that knows the least that must be true: whoever applies an entry applies the same one, one leader a term, and
//! a call completes once, with what was applied.

use std::collections::BTreeMap;

use libraft::ids::{GroupId, Index, Term};
use libraft::{Outcome, Role};

use crate::observation::{
    Answer, CallId, Judge, Observation, Operation, Place, Violation, WorldTime,
};
use crate::registers::Payload;

/// What was applied at an index: term, call, result and the state's hash.
type AppliedThere = (Term, CallId, u64, u64);

#[derive(Default)]
pub struct Agreement {
    applied: BTreeMap<(GroupId, Index), AppliedThere>,
    leaders: BTreeMap<(GroupId, Term), Place>,
    calls: BTreeMap<CallId, (GroupId, Operation, Place)>,
    /// Calls that were said to have had no effect.
    rejected: BTreeMap<CallId, GroupId>,
}

fn broken<T>(rule: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { rule, what })
}

impl Agreement {
    fn applied(
        &mut self,
        at: (GroupId, Index),
        there: AppliedThere,
        place: Place,
    ) -> Result<(), Violation> {
        if self.rejected.contains_key(&there.1) {
            return broken(
                "rejected",
                format!("call {} was rejected, and {place:?} applies it", there.1),
            );
        }
        let first = *self.applied.entry(at).or_insert(there);
        if first != there {
            return broken(
                "agreement",
                format!("{at:?}: {place:?} applies {there:?}, another {first:?}"),
            );
        }
        Ok(())
    }

    fn completed(&mut self, call: CallId, answer: &Answer) -> Result<(), Violation> {
        let Some((group_id, operation, _)) = self.calls.remove(&call) else {
            return broken("completion", format!("call {call} completes, which nobody waits for"));
        };
        match (operation, answer) {
            (Operation::Swap { .. }, Answer::Value(value, completion)) => {
                let there = self.applied.get(&(group_id, completion.index));
                let expected = (completion.term, call, *value);
                if there.map(|(term, call, result, _)| (*term, *call, *result)) != Some(expected) {
                    return broken(
                        "completion",
                        format!("call {call}: {completion:?}, but {there:?} was applied"),
                    );
                }
            }
            (Operation::Swap { .. }, Answer::Failed(error))
                if error.outcome == Outcome::Rejected =>
            {
                if self.applied.values().any(|(_, applied, ..)| *applied == call) {
                    return broken("rejected", format!("call {call} was applied, but {error}"));
                }
                self.rejected.insert(call, group_id);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Judge for Agreement {
    fn observe(&mut self, _now: WorldTime, observation: &Observation<'_>) -> Result<(), Violation> {
        match observation {
            Observation::Applied { place, group_id, entry, result, hash } => {
                let call = Payload::decode(&entry.data).map_or(CallId::MAX, |payload| payload.call);
                self.applied((*group_id, entry.index), (entry.term, call, *result, *hash), *place)
            }
            Observation::Status { place, group_id, status, .. } if status.role == Role::Leader => {
                let leader = *self.leaders.entry((*group_id, status.term)).or_insert(*place);
                if leader != *place {
                    let what =
                        format!("term {} of group {group_id}: {leader:?}, {place:?}", status.term);
                    return broken("one leader", what);
                }
                Ok(())
            }
            Observation::Called { call, place, group_id, operation, .. } => {
                self.calls.insert(*call, (*group_id, *operation, *place));
                Ok(())
            }
            Observation::Refused { call, .. } => {
                let known = self.calls.remove(call);
                self.rejected.extend(known.map(|(group_id, ..)| (*call, group_id)));
                Ok(())
            }
            Observation::Completed { call, answer } => self.completed(*call, answer),
            Observation::Crashed { place } => {
                self.calls.retain(|_, (.., of)| of != place);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _now: WorldTime) -> Result<(), Violation> {
        match self.calls.first_key_value() {
            None => Ok(()),
            Some((call, known)) => {
                broken("completion", format!("call {call} never completes: {known:?}"))
            }
        }
    }
}
