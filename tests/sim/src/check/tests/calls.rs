use libraft::{Code, Completion, Error, Outcome};

use super::trial::{empty, membership};
use super::*;
use crate::observation::{Answer, Operation};

const SWAP: Operation = Operation::Swap { key: 1, value: 10 };

fn value(value: u64, index: u64, term: u64) -> Answer {
    Answer::Value(value, Completion { index, term, ..Completion::default() })
}

fn failed(outcome: Outcome) -> Answer {
    let error = match outcome {
        Outcome::Unknown => Error::unknown(Code::Timeout, ""),
        _ => Error::rejected(Code::Busy, ""),
    };
    Answer::Failed(Error { outcome, ..error })
}

/// Call 0 is a swap at node 1, whose entry 2 is on all disks.
fn begun() -> Trial {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.call(1, 0, SWAP).unwrap();
    trial.replicate(1, &[2, 3], &[entry(2, 2, 0, 1, 10)]);
    trial
}

fn applied() -> Trial {
    let mut trial = begun();
    trial.apply(1, 2).unwrap();
    trial
}

#[test]
fn a_call_completes_once() {
    let mut trial = applied();
    trial.complete(0, value(0, 2, 2)).unwrap();
    breaks("completion", trial.complete(0, value(0, 2, 2)));
    breaks("completion", trial.complete(1, value(0, 2, 2)));
    breaks("completion", applied().call(1, 0, SWAP));
}

#[test]
fn a_call_that_was_refused_never_completes() {
    let mut trial = begun();
    let busy = Error::rejected(Code::Busy, "");
    trial.see(Observation::Refused { call: 0, error: &busy }).unwrap();
    breaks("completion", trial.complete(0, failed(Outcome::Rejected)));
    let unknown = Error::unknown(Code::Timeout, "");
    let refused = Observation::Refused { call: 0, error: &unknown };
    breaks("completion", begun().see(refused));
}

#[test]
fn what_a_completion_says_is_what_happened() {
    applied().complete(0, value(0, 2, 2)).unwrap();
    breaks("completion", applied().complete(0, value(1, 2, 2)));
    breaks("completion", applied().complete(0, value(0, 1, 2)));
    breaks("completion", applied().complete(0, value(0, 2, 1)));
    breaks("completion", begun().complete(0, value(0, 2, 2)));
    breaks("completion", applied().complete(0, failed(Outcome::Applied)));
}

#[test]
fn a_call_completes_once_the_machine_of_its_own_node_has_applied_it() {
    let mut trial = begun();
    trial.apply(2, 2).unwrap();
    breaks("completion", trial.complete(0, value(0, 2, 2)));
}

#[test]
fn nothing_is_answered_with_an_index_that_is_not_committed() {
    for (operation, answer) in [
        (Operation::Read { key: 1 }, value(10, 3, 0)),
        (
            Operation::Other("snapshot"),
            Answer::Done(Completion { index: 3, ..Completion::default() }),
        ),
    ] {
        let mut trial = applied();
        trial.append(1, &[empty(3, 2)]).unwrap();
        trial.call(1, 1, operation).unwrap();
        breaks("completion", trial.complete(1, answer));
    }
}

#[test]
fn what_was_rejected_is_never_applied() {
    breaks("rejected", applied().complete(0, failed(Outcome::Rejected)));
    let mut trial = begun();
    trial.complete(0, failed(Outcome::Rejected)).unwrap();
    breaks("rejected", trial.apply(2, 2));
    let mut trial = begun();
    let busy = Error::rejected(Code::Busy, "");
    trial.see(Observation::Refused { call: 0, error: &busy }).unwrap();
    breaks("rejected", trial.apply(2, 2));
}

#[test]
fn what_is_unknown_may_be_applied_or_not() {
    let mut trial = begun();
    trial.complete(0, failed(Outcome::Unknown)).unwrap();
    trial.apply(2, 2).unwrap();
    trial.finish().unwrap();
    let mut trial = begun();
    trial.complete(0, failed(Outcome::Unknown)).unwrap();
    trial.finish().unwrap();
}

#[test]
fn a_read_has_no_effect_that_could_be_unknown() {
    let mut trial = Trial::begun();
    trial.call(1, 0, Operation::Read { key: 1 }).unwrap();
    breaks("completion", trial.complete(0, failed(Outcome::Unknown)));
}

#[test]
fn only_what_somebody_called_is_applied_and_once() {
    let mut trial = begun();
    trial.replicate(1, &[2, 3], &[entry(3, 2, 0, 1, 10), entry(4, 2, 9, 1, 10)]);
    trial.apply(1, 2).unwrap();
    breaks("applied call", trial.apply(1, 3));
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[2, 3], &[entry(2, 2, 0, 1, 10)]);
    breaks("applied call", trial.apply(1, 2));
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.call(1, 0, Operation::Swap { key: 1, value: 11 }).unwrap();
    trial.replicate(1, &[2, 3], &[entry(2, 2, 0, 1, 10)]);
    breaks("applied call", trial.apply(1, 2));
}

#[test]
fn at_the_end_nothing_waits_but_what_crashed() {
    breaks("completion", begun().finish());
    breaks("completion", begun().see(Observation::Closed { place: place(1) }));
    begun().see(Observation::Closed { place: place(2) }).unwrap();
    let mut trial = begun();
    trial.see(Observation::Crashed { place: place(1) }).unwrap();
    trial.finish().unwrap();
    breaks("completion", trial.complete(0, failed(Outcome::Unknown)));
}

/// One register, 20 swaps one after the other, and then a read that saw what the swap `saw` put there.
fn read_after_swaps(saw: u64) -> Verdict {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    for call in 0..20 {
        trial.swap(1, call, 1, 100 + call);
    }
    trial.call(1, 20, Operation::Read { key: 1 }).unwrap();
    trial.complete(20, value(100 + saw, 21, 0)).unwrap();
    trial.finish()
}

#[test]
fn a_read_sees_what_was_there_when_it_was_called_or_later() {
    read_after_swaps(19).unwrap();
    breaks("linearizability", read_after_swaps(18));
    breaks("linearizability", read_after_swaps(20));
}

#[test]
fn a_swap_of_which_nobody_knows_happens_at_any_time_after_its_call() {
    let read = |trial: &mut Trial, call, saw| {
        trial.call(1, call, Operation::Read { key: 1 }).unwrap();
        trial.complete(call, value(saw, 2, 0))
    };
    // Its client crashes; it takes effect much later, and only from then on it is seen.
    let crashed = || {
        let mut trial = begun();
        trial.see(Observation::Crashed { place: place(1) }).unwrap();
        trial.apply(2, 2).unwrap();
        trial
    };
    let mut trial = crashed();
    read(&mut trial, 1, 0).unwrap();
    read(&mut trial, 2, 10).unwrap();
    read(&mut trial, 3, 10).unwrap();
    trial.finish().unwrap();
    let mut trial = crashed();
    read(&mut trial, 1, 10).unwrap();
    read(&mut trial, 2, 0).unwrap();
    breaks("linearizability", trial.finish());
}

#[test]
fn many_reads_at_the_same_time_are_explained_quickly() {
    let mut trial = Trial::formed_by(membership(&[1, 2, 3], &[]));
    trial.lead(1, 2);
    for round in 0..30 {
        for call in 0..10 {
            trial.call(1, 1000 + round * 10 + call, Operation::Read { key: 1 }).unwrap();
        }
        trial.swap(1, round, 1, 100 + round);
        for call in 0..10 {
            let saw = if round == 0 || call % 2 == 0 { 100 + round } else { 99 + round };
            trial.complete(1000 + round * 10 + call, value(saw, 2, 0)).unwrap();
        }
    }
    trial.finish().unwrap();
}
