use libraft::Role;

use super::trial::{change, empty, membership};
use super::*;

#[test]
fn nothing_is_committed_before_a_quorum_has_it_durable() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[], &[empty(2, 2)]);
    trial.append(2, &[empty(2, 2)]).unwrap();
    breaks("commit quorum", trial.commit(1, 2));

    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[], &[empty(2, 2)]);
    trial.append(2, &[empty(2, 2)]).unwrap();
    trial.sync(2);
    trial.commit(1, 2).unwrap();
}

#[test]
fn what_a_status_shows_as_committed_counts_as_well() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[], &[empty(2, 2)]);
    let status = trial.status(1, Role::Leader, 2, 2);
    breaks("commit quorum", trial.says(1, &status));
}

#[test]
fn another_entry_at_the_index_is_none_that_a_quorum_has() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[], &[empty(2, 2)]);
    trial.replicate(2, &[3], &[empty(2, 1)]);
    breaks("commit quorum", trial.commit(1, 2));
}

#[test]
fn a_joint_configuration_commits_with_both_halves() {
    let commit_on = |nodes: &[u64]| {
        let mut trial = Trial::formed_by(membership(&[1, 2, 3], &[3, 4, 5]));
        for node in nodes {
            trial.append(*node, &[empty(2, 1)]).unwrap();
            trial.sync(*node);
        }
        trial.commit(1, 2)
    };
    breaks("commit quorum", commit_on(&[1, 2, 3]));
    breaks("commit quorum", commit_on(&[1, 4, 5]));
    commit_on(&[1, 2, 4, 5]).unwrap();
}

#[test]
fn a_quorum_that_had_it_durable_counts_though_a_place_was_lost_later() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[2], &[empty(2, 2)]);
    trial.see(Observation::Crashed { place: place(2) }).unwrap();
    trial.see(Observation::Lost { place: place(2) }).unwrap();
    trial.commit(1, 2).unwrap();
}

#[test]
fn a_new_configuration_counts_once_it_is_committed() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[2, 3], &[change(2, 2, &[1, 4, 5])]);
    trial.commit(1, 2).unwrap();
    // The one before may be in force at its leader still, but not the one before that.
    trial.replicate(1, &[2, 3], &[change(3, 2, &[1, 4, 6])]);
    trial.commit(1, 3).unwrap();
    trial.replicate(1, &[2, 3], &[empty(4, 2)]);
    breaks("commit quorum", trial.commit(1, 4));
}

#[test]
fn a_commit_index_never_goes_back() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[2, 3], &[empty(2, 2), empty(3, 2)]);
    trial.commit(1, 3).unwrap();
    breaks("commit index", trial.commit(1, 2));

    let status = |trial: &Trial, commit| trial.status(2, Role::Follower, 2, commit);
    let (two, three) = (status(&trial, 2), status(&trial, 3));
    trial.says(2, &three).unwrap();
    breaks("commit index", trial.says(2, &two));
    // A group that is started again may have to learn it again.
    trial.says(3, &three).unwrap();
    trial.open_machine(3, 0).unwrap();
    trial.says(3, &two).unwrap();
}

#[test]
fn nothing_is_committed_beyond_the_log_or_applied_beyond_the_committed() {
    let mut trial = Trial::begun();
    trial.replicate(1, &[2, 3], &[empty(2, 1)]);
    trial.commit(1, 2).unwrap();
    let status = trial.status(2, Role::Follower, 1, 3);
    breaks("commit index", trial.says(2, &status));
    let mut status = trial.status(3, Role::Follower, 1, 1);
    status.applied_index = 2;
    breaks("commit index", trial.says(3, &status));
}

#[test]
fn what_is_committed_never_changes() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[2], &[empty(2, 2)]);
    trial.commit(1, 2).unwrap();
    trial.append(3, &[empty(2, 1)]).unwrap();
    breaks("committed log", trial.commit(3, 2));
}

#[test]
fn nobody_replaces_what_he_knows_to_be_committed() {
    let mut trial = Trial::begun();
    trial.lead(1, 2);
    trial.replicate(1, &[2, 3], &[empty(2, 2)]);
    trial.commit(1, 2).unwrap();
    breaks("committed log", trial.append(1, &[empty(2, 3)]));
}

#[test]
fn a_snapshot_ends_with_the_entry_that_is_committed_there() {
    let begun = || {
        let mut trial = Trial::begun();
        trial.lead(1, 2);
        trial.replicate(1, &[2], &[empty(2, 2), empty(3, 2)]);
        trial.commit(1, 3).unwrap();
        trial
    };
    let reset = |trial: &mut Trial, index, term| {
        let hard_state = HardState { term: 2, vote: 0, commit: index };
        trial.reset(3, index, term, membership(&[1, 2, 3], &[]).to_bytes(), hard_state)
    };
    reset(&mut begun(), 3, 2).unwrap();
    breaks("committed log", reset(&mut begun(), 3, 1));
    breaks("committed log", reset(&mut begun(), 4, 2));
    let compact = |trial: &mut Trial, term| trial.record(1, Record::Compact { index: 2, term });
    compact(&mut begun(), 2).unwrap();
    breaks("committed log", compact(&mut begun(), 1));
}

#[test]
fn a_leader_has_everything_that_was_committed_before() {
    let begun = || {
        let mut trial = Trial::begun();
        trial.lead(1, 2);
        trial.replicate(1, &[2], &[empty(2, 2)]);
        trial.commit(1, 2).unwrap();
        for node in [2, 3] {
            trial.vote(node, 3, 3).unwrap();
            trial.sync(node);
        }
        trial
    };
    breaks("leader completeness", begun().leads(3, 3));
    let mut trial = begun();
    trial.append(3, &[empty(2, 2)]).unwrap();
    trial.leads(3, 3).unwrap();
}

#[test]
fn the_voters_are_those_of_the_configuration_that_is_in_force() {
    let begun = || {
        let mut trial = Trial::begun();
        trial.lead(1, 2);
        trial.replicate(1, &[2, 3], &[change(2, 2, &[1, 2]), empty(3, 2)]);
        trial.commit(1, 3).unwrap();
        trial
    };
    let says = |applied_index, voters: &[u64]| {
        let mut trial = begun();
        let mut status = trial.status(2, Role::Follower, 2, 3);
        status.applied_index = applied_index;
        trial.says_with(2, &status, [voters.to_vec(), vec![]])
    };
    // As long as it is not applied, the one before may be.
    says(0, &[3, 2, 1]).unwrap();
    says(0, &[2, 1]).unwrap();
    says(2, &[2, 1]).unwrap();
    breaks("configuration", says(2, &[1, 2, 3]));
    breaks("configuration", says(0, &[1, 3]));
}

#[test]
fn a_membership_that_is_recorded_is_the_one_in_force() {
    let begun = || {
        let mut trial = Trial::begun();
        trial.lead(1, 2);
        trial.replicate(1, &[2, 3], &[empty(2, 2), change(3, 2, &[1, 2])]);
        trial.commit(1, 3).unwrap();
        trial
    };
    let record = |index, voters: &[u64]| {
        let membership = membership(voters, &[]).to_bytes();
        begun().record(1, Record::Membership { index, membership })
    };
    record(2, &[1, 2, 3]).unwrap();
    record(3, &[1, 2]).unwrap();
    breaks("configuration", record(3, &[1, 2, 3]));
    let hard_state = HardState { term: 2, vote: 0, commit: 3 };
    let lost = membership(&[1, 2, 3], &[]).to_bytes();
    breaks("configuration", begun().reset(3, 3, 2, lost, hard_state));
}
