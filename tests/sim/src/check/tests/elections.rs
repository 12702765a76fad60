use libraft::log::HardState;
use libraft::Role;

use super::trial::membership;
use super::*;

#[test]
fn a_term_has_one_leader() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.leads(1, 2).unwrap();
    trial.lead(2, 3);
    breaks("one leader", trial.leads(3, 3));
}

#[test]
fn nobody_leads_without_the_durable_votes_of_a_quorum() {
    let mut trial = Trial::begun();
    trial.vote(1, 2, 1).unwrap();
    trial.vote(2, 2, 1).unwrap();
    breaks("election quorum", trial.leads(1, 2));

    let mut trial = Trial::begun();
    trial.vote(1, 2, 1).unwrap();
    trial.vote(2, 2, 1).unwrap();
    trial.sync(2);
    trial.leads(1, 2).unwrap();
}

#[test]
fn a_joint_configuration_elects_with_both_halves() {
    let mut trial = Trial::formed_by(membership(&[1, 2, 3], &[3, 4, 5]));
    for node in [1, 2, 3] {
        trial.vote(node, 2, 1).unwrap();
        trial.sync(node);
    }
    breaks("election quorum", trial.leads(1, 2));

    let mut trial = Trial::formed_by(membership(&[1, 2, 3], &[3, 4, 5]));
    for node in [1, 2, 4, 5] {
        trial.vote(node, 2, 1).unwrap();
        trial.sync(node);
    }
    trial.leads(1, 2).unwrap();
}

#[test]
fn a_vote_that_may_be_durable_is_not_changed() {
    let mut trial = Trial::begun();
    trial.vote(3, 2, 1).unwrap();
    trial.vote(3, 3, 2).unwrap();
    breaks("one vote", trial.vote(3, 3, 1));
}

#[test]
fn a_vote_is_not_forgotten_after_a_crash() {
    let mut trial = Trial::begun();
    trial.vote(3, 2, 1).unwrap();
    trial.sync(3);
    trial.crash(3, 1);
    breaks("one vote", trial.vote(3, 2, 2));

    // One that never became durable may be.
    let mut trial = Trial::begun();
    let before = trial.held(3, 1);
    trial.vote(3, 2, 1).unwrap();
    trial.see(Observation::Crashed { place: place(3) }).unwrap();
    trial.open(3, before).unwrap();
    trial.vote(3, 2, 2).unwrap();
}

#[test]
fn a_term_never_goes_back_in_the_log() {
    let mut trial = Trial::begun();
    trial.vote(3, 4, 1).unwrap();
    let hard_state = HardState { term: 3, vote: 0, commit: 1 };
    breaks("term", trial.record(3, Record::HardState(hard_state)));
}

#[test]
fn a_term_never_goes_back_while_a_replica_runs_nor_below_what_is_durable() {
    let mut trial = Trial::begun();
    let status = |trial: &Trial, term| trial.status(3, Role::Follower, term, 1);
    let (second, fourth, fifth) = (status(&trial, 2), status(&trial, 4), status(&trial, 5));
    trial.says(3, &fifth).unwrap();
    breaks("term", trial.says(3, &fourth));

    // What was only shown may be forgotten when the group starts anew, and what is durable may not.
    let mut trial = Trial::begun();
    trial.says(3, &fifth).unwrap();
    trial.vote(3, 4, 1).unwrap();
    trial.sync(3);
    trial.crash(3, 1);
    trial.says(3, &fourth).unwrap();
    trial.crash(3, 1);
    breaks("term", trial.says(3, &second));
}
