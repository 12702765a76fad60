//! What must hold at every step of a world.
//!
//! One file for each family of rules. They share what they know: `logs` is what every log holds, `commits` what is
//! committed, `machines` what every machine was shown.

use libraft::ids::GroupId;
use libraft::log::{HardState, Lsn, Record};

use crate::observation::{Held, Judge, Observation, Place, Violation, WorldTime};

mod calls;
mod commits;
mod configuration;
mod elections;
mod entries;
mod linearizability;
mod logs;
mod machines;
mod state;
#[cfg(test)]
mod tests;

use calls::{Calls, Moment};
use commits::Commits;
use elections::Elections;
use logs::Logs;
use machines::Machines;

/// Whether a rule holds.
type Verdict = Result<(), Violation>;

fn broken(rule: &'static str, what: impl FnOnce() -> String) -> Verdict {
    Err(Violation { rule, what: what() })
}

/// All rules: see the module.
#[derive(Default)]
pub struct Checks {
    moment: Moment,
    logs: Logs,
    elections: Elections,
    commits: Commits,
    machines: Machines,
    calls: Calls,
}

impl Checks {
    pub fn new() -> Checks {
        Checks::default()
    }

    fn opened(&mut self, place: Place, held: &[Held]) -> Verdict {
        self.all_ended(place);
        self.logs.opened(place, held)?;
        for held in held {
            let (group_id, hard_state) = (held.group.group_id, held.group.hard_state);
            self.elections.promised(place, group_id, hard_state);
            self.commits.prove(place, group_id, hard_state.commit, &self.logs)?;
        }
        Ok(())
    }

    /// Nothing runs at a place any more.
    fn all_ended(&mut self, place: Place) {
        self.elections.all_ended(place);
        self.commits.all_ended(place);
        self.machines.all_ended(place);
    }

    /// What runs of a group at a place begins anew, or has ended.
    fn ended(&mut self, place: Place, group_id: GroupId) {
        self.elections.ended(place, group_id);
        self.commits.ended(place, group_id);
    }

    fn appended(&mut self, place: Place, group_id: GroupId, lsn: Lsn, record: &Record) -> Verdict {
        let before = self.logs.current(place, group_id).map(|log| log.hard_state);
        let before = before.unwrap_or_default();
        self.logs.appended(place, group_id, lsn, record)?;
        if let Some(next) = hard_state_in(record) {
            self.elections.promise(place, group_id, before, next)?;
        }
        self.commits.appended(place, group_id, record, before, &self.logs)
    }

    fn durable(&mut self, place: Place, lsn: Lsn) {
        let elections = &mut self.elections;
        self.logs.durable(place, lsn, &mut |group_id, hard_state| {
            elections.promised(place, group_id, hard_state);
        });
    }

    fn of_machine(&mut self, observation: &Observation<'_>) -> Verdict {
        match *observation {
            Observation::MachineOpened { place, group_id, applied, .. } => {
                self.ended(place, group_id);
                self.machines.opened(place, group_id, applied)
            }
            Observation::Applied { place, group_id, entry, result, hash } => {
                self.commits.prove(place, group_id, entry.index, &self.logs)?;
                let known = (&self.logs, &self.commits);
                match self.machines.applied(place, group_id, entry, (result, hash), known)? {
                    true => self.calls.took_effect(group_id, entry, result),
                    false => Ok(()),
                }
            }
            Observation::Saved { place, group_id, applied, hash } => {
                self.machines.saved(place, group_id, applied, hash)
            }
            Observation::Restored { place, group_id, applied, hash } => {
                let known = (&self.logs, &self.commits);
                self.machines.restored(place, group_id, (applied, hash), known)
            }
            _ => Ok(()),
        }
    }

    fn of_client(&mut self, observation: &Observation<'_>) -> Verdict {
        match observation {
            Observation::Called { call, place, group_id, operation, .. } => {
                self.calls.called(*call, *place, *group_id, *operation, self.moment)
            }
            Observation::Refused { call, error } => self.calls.refused(*call, error),
            Observation::Completed { call, answer } => {
                let known = (&self.machines, &self.commits);
                self.calls.completed(*call, answer, self.moment, known)
            }
            _ => Ok(()),
        }
    }
}

fn hard_state_in(record: &Record) -> Option<HardState> {
    match record {
        Record::HardState(hard_state) | Record::Reset { hard_state, .. } => Some(*hard_state),
        _ => None,
    }
}

impl Judge for Checks {
    fn observe(&mut self, _now: WorldTime, observation: &Observation<'_>) -> Verdict {
        self.moment += 1;
        match observation {
            Observation::Opened { place, held } => self.opened(*place, held),
            Observation::Appended { place, group_id, lsn, record } => {
                self.appended(*place, *group_id, *lsn, record)
            }
            Observation::Durable { place, lsn } => {
                self.durable(*place, *lsn);
                Ok(())
            }
            Observation::Crashed { place } => {
                self.all_ended(*place);
                self.calls.crashed(*place);
                Ok(())
            }
            Observation::Closed { place } => {
                self.all_ended(*place);
                self.calls.closed(*place)
            }
            Observation::Lost { place } => {
                self.logs.lost(*place);
                Ok(())
            }
            Observation::Status { place, group_id, status, voters } => {
                self.commits.status(*place, *group_id, status, voters, &self.logs)?;
                self.elections.status(*place, *group_id, status, &self.logs, &self.commits)
            }
            Observation::Stopped { place, group_id, .. } => {
                self.ended(*place, *group_id);
                Ok(())
            }
            Observation::Bound { place, what, used, limit } if used > limit => {
                broken("bound", || format!("{place:?} has {used} {what}, and {limit} is the limit"))
            }
            Observation::Bound { .. } => Ok(()),
            Observation::MachineOpened { .. }
            | Observation::Applied { .. }
            | Observation::Saved { .. }
            | Observation::Restored { .. } => self.of_machine(observation),
            Observation::Called { .. }
            | Observation::Refused { .. }
            | Observation::Completed { .. } => self.of_client(observation),
        }
    }

    fn finish(&mut self, _now: WorldTime) -> Verdict {
        self.calls.finish()?;
        for ((group_id, key), operations) in self.calls.histories() {
            linearizability::require(group_id, key, &operations)?;
        }
        Ok(())
    }
}
