//! Whether what the clients of a register saw can be explained by all operations having happened one after the other,
//! each at some moment between its call and its completion.

use libraft::ids::GroupId;
use porcupine_rs::Model;

use super::calls::Moment;
use super::{broken, Verdict};
use crate::observation::CallId;

/// What a client did to a register.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub call: CallId,
    pub called: Moment,
    /// `None` if the client never heard: it may have happened at any time after the call.
    pub ended: Option<Moment>,
    /// What was in the register.
    pub saw: u64,
    /// What is in it from then on; `None` for a read.
    pub puts: Option<u64>,
}

#[derive(Clone, Debug)]
struct Register;

impl Model for Register {
    type State = u64;
    type Op = (u64, Option<u64>);
    type Metadata = ();

    fn init() -> u64 {
        0
    }

    fn step(state: &u64, (saw, puts): &(u64, Option<u64>)) -> (bool, u64) {
        (saw == state, puts.unwrap_or(*state))
    }
}

/// See the module: the operations on the register `key` of a group.
pub fn require(group_id: GroupId, key: u8, operations: &[Operation]) -> Verdict {
    let history = operations.iter().map(|operation| porcupine_rs::Operation::<Register> {
        client_id: None,
        call_time: operation.called as i64,
        return_time: operation.ended.map_or(i64::MAX, |ended| ended as i64),
        op: (operation.saw, operation.puts),
        metadata: None,
    });
    if porcupine_rs::check_operations(&history.collect::<Vec<_>>()) {
        return Ok(());
    }
    broken("linearizability", || {
        let culprit = culprit(operations);
        format!("nothing explains what clients saw of register {key} of group {group_id}; maybe call {culprit:?} is wrong")
    })
}

/// An operation that saw what another one, which had ended before, had replaced already; or what nobody had put there.
fn culprit(operations: &[Operation]) -> Option<&Operation> {
    operations.iter().find(|operation| {
        let putter = operations.iter().find(|other| other.puts == Some(operation.saw));
        let is_early =
            putter.is_some_and(|putter| operation.ended.is_some_and(|ended| ended < putter.called));
        let is_of_nobody = operation.saw != 0 && putter.is_none();
        let replaces = |other: &&Operation| other.puts.is_some() && other.saw == operation.saw;
        let is_late = operations.iter().filter(replaces).any(|other| {
            other.call != operation.call
                && other.ended.is_some_and(|ended| ended < operation.called)
        });
        is_early || is_of_nobody || is_late
    })
}
