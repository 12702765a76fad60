use super::trial::empty;
use super::*;

#[test]
fn the_same_index_and_term_are_the_same_entry_everywhere() {
    let mut trial = Trial::begun();
    trial.append(1, &[empty(2, 2), entry(3, 2, 0, 1, 10)]).unwrap();
    trial.append(2, &[empty(2, 2), entry(3, 2, 0, 1, 10)]).unwrap();
    breaks("log matching", trial.append(3, &[empty(2, 2), entry(3, 2, 0, 1, 11)]));
}

#[test]
fn the_same_entry_is_behind_the_same_one_everywhere() {
    let mut trial = Trial::begun();
    trial.append(1, &[empty(2, 2), empty(3, 3)]).unwrap();
    trial.append(3, &[empty(2, 1)]).unwrap();
    breaks("log matching", trial.append(3, &[empty(3, 3)]));
}

#[test]
fn a_log_has_no_gap_and_no_term_that_goes_back() {
    let mut trial = Trial::begun();
    breaks("log matching", trial.append(1, &[empty(3, 2)]));
    let mut trial = Trial::begun();
    breaks("log matching", trial.append(1, &[empty(2, 2), empty(4, 2)]));
    let mut trial = Trial::begun();
    breaks("log matching", trial.append(1, &[empty(2, 3), empty(3, 2)]));
}

/// Node 3 has entry 2 durable, and entries 3 to 5 appended.
fn half_durable() -> Trial {
    let mut trial = Trial::begun();
    trial.append(3, &[empty(2, 2)]).unwrap();
    trial.sync(3);
    trial.append(3, &[empty(3, 2), entry(4, 2, 0, 1, 10), entry(5, 2, 1, 1, 11)]).unwrap();
    trial.see(Observation::Crashed { place: place(3) }).unwrap();
    trial
}

#[test]
fn what_was_not_durable_may_be_lost_from_any_point_on() {
    for last in 2..=5 {
        let mut trial = half_durable();
        let held = trial.held(3, last);
        trial.open(3, held).unwrap();
    }
}

#[test]
fn what_was_durable_is_there_after_opening() {
    let mut trial = half_durable();
    let held = trial.held(3, 1);
    breaks("durable log", trial.open(3, held));
    let mut trial = half_durable();
    breaks("durable log", trial.see(Observation::Opened { place: place(3), held: Vec::new() }));
}

#[test]
fn a_hard_state_that_was_durable_is_there_after_opening() {
    let mut trial = half_durable();
    let mut held = trial.held(3, 5);
    held.group.hard_state.term = 0;
    breaks("durable log", trial.open(3, held));
    let mut trial = half_durable();
    let mut held = trial.held(3, 5);
    held.group.hard_state.commit = 0;
    breaks("durable log", trial.open(3, held));
}

#[test]
fn nothing_truncated_comes_back() {
    let mut trial = Trial::begun();
    trial.append(3, &[empty(2, 2), empty(3, 2), empty(4, 2)]).unwrap();
    let before = trial.held(3, 4);
    trial.append(3, &[empty(3, 3)]).unwrap();
    trial.sync(3);
    trial.see(Observation::Crashed { place: place(3) }).unwrap();
    breaks("durable log", trial.open(3, before));
}

#[test]
fn a_log_holds_what_it_says_that_it_holds() {
    let mut trial = half_durable();
    let mut held = trial.held(3, 5);
    held.entries.pop();
    breaks("durable log", trial.open(3, held));
    let mut trial = half_durable();
    let mut held = trial.held(3, 5);
    held.entries[2] = entry(4, 2, 0, 1, 99);
    breaks("log matching", trial.open(3, held));
}

#[test]
fn groups_of_a_node_lose_what_was_appended_from_the_same_point_on() {
    let second = |trial: &mut Trial, lsn| {
        let record = &Record::Meta("other".into());
        let group_id = GROUP + 1;
        trial.see(Observation::Appended { place: place(3), group_id, lsn, record })
    };
    let held_of_both = |trial: &Trial| {
        let held = trial.held(3, 1);
        let mut other = held.clone();
        other.group.group_id = GROUP + 1;
        let group = libraft::log::RecoveredGroup {
            hard_state: HardState::default(),
            membership_index: 0,
            membership: "".into(),
            meta: "other".into(),
            compacted_index: 0,
            compacted_term: 0,
            last_index: 0,
            ..other.group
        };
        [held, Held { group, entries: Vec::new() }]
    };
    // The record of the second group is behind the entry of the first one: it cannot be there without it.
    let mut trial = Trial::begun();
    trial.append(3, &[empty(2, 2)]).unwrap();
    second(&mut trial, 100).unwrap();
    trial.see(Observation::Crashed { place: place(3) }).unwrap();
    let held = held_of_both(&trial).to_vec();
    breaks("durable log", trial.see(Observation::Opened { place: place(3), held }));

    let mut trial = Trial::begun();
    second(&mut trial, 100).unwrap();
    let held = held_of_both(&trial).to_vec();
    trial.append(3, &[empty(2, 2)]).unwrap();
    trial.see(Observation::Crashed { place: place(3) }).unwrap();
    trial.see(Observation::Opened { place: place(3), held }).unwrap();
}

#[test]
fn of_a_place_that_is_lost_nothing_need_be_there() {
    let mut trial = Trial::begun();
    let before = trial.held(3, 1);
    trial.append(3, &[empty(2, 2)]).unwrap();
    trial.sync(3);
    trial.see(Observation::Crashed { place: place(3) }).unwrap();
    trial.see(Observation::Lost { place: place(3) }).unwrap();
    trial.open(3, before).unwrap();
}
