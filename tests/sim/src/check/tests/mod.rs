//! For every rule a history that keeps it, and one that breaks just that one.

use super::*;

mod calls;
mod commits;
mod elections;
mod logs;
mod machines;
mod trial;

use trial::{entry, place, Trial, GROUP};

/// That a history breaks just this rule, with its last step.
fn breaks(rule: &str, verdict: Verdict) {
    match verdict {
        Err(violation) => assert_eq!(violation.rule, rule, "{}", violation.what),
        Ok(()) => panic!("nobody noticed that `{rule}` is broken"),
    }
}

#[test]
fn a_history_in_which_all_goes_well_breaks_no_rule() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    for call in 0..4 {
        trial.swap(1, call, call as u8 % 2, 100 + call);
    }
    // Another leader comes, with all that is committed.
    trial.replicate(1, &[2, 3], &[entry(6, 2, 90, 0, 1)]);
    trial.lead(2, 3);
    trial.crash(1, 6);
    trial.replicate(2, &[1, 3], &[trial::empty(7, 3)]);
    trial.commit(2, 7).unwrap();
    trial.finish().unwrap();
}

#[test]
fn no_more_of_something_may_be_in_use_than_its_bound() {
    let mut trial = Trial::begun();
    let bound = |used| Observation::Bound { place: place(1), what: "things", used, limit: 3 };
    trial.see(bound(3)).unwrap();
    breaks("bound", trial.see(bound(4)));
}
