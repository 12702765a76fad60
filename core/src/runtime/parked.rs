//! Calls that no replica has seen yet: those that wait for it to open, and membership changes whose new nodes are being
//! asked who they are. Whatever becomes of the group, each of them completes; and none waits longer than its timeout.

use super::call::Call;
use super::event_loop::EventLoop;
use super::hosted::Stage;
use super::inbox::{stopped, Command, GroupKey};
use super::introduction::{adds_nodes, resolve_all};
use crate::error::{Code, Error, Result};
use crate::group::Change;
use crate::replica::{Event, MemberChange};

/// The calls of one group; bounded by its limits on what is pending.
#[derive(Default)]
pub(crate) struct Parked {
    /// Each with the tick at which its time is over.
    opening: Vec<(u64, Event<Call>)>,
    introducing: Vec<Introducing>,
}

struct Introducing {
    number: u64,
    deadline: u64,
    call: Call,
}

impl Parked {
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.opening.iter().any(|(deadline, _)| *deadline <= now)
            || self.introducing.iter().any(|asked| asked.deadline <= now)
    }
}

impl EventLoop {
    /// Keeps an event until the group's replica is open, if a call depends on it.
    pub(super) fn park(&mut self, key: GroupKey, mut event: Event<Call>) {
        if !carries_call(&event) {
            return;
        }
        let timeout_ticks = timeout_of(&mut event).map_or(u64::MAX, |ticks| *ticks);
        let deadline = self.ticks.saturating_add(timeout_ticks);
        if let Some(hosted) = self.groups.get_mut(&key) {
            hosted.parked.opening.push((deadline, event));
        }
    }

    /// The replica is open: hands it what waited for that.
    pub(super) fn unpark(&mut self, key: GroupKey) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        for (deadline, mut event) in std::mem::take(&mut hosted.parked.opening) {
            if let Some(ticks) = timeout_of(&mut event) {
                *ticks = deadline.saturating_sub(self.ticks).max(1);
            }
            self.step(key, event);
        }
    }

    /// Completes all of a group that will not get a replica any more.
    pub(super) fn refuse_parked(&mut self, key: GroupKey, error: &Error) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let Parked { opening, introducing } = std::mem::take(&mut hosted.parked);
        for (_, event) in opening {
            self.refuse(key, event, error.clone());
        }
        for asked in introducing {
            self.complete(key, asked.call, Err(error.clone()));
        }
    }

    /// Completes those whose time is over. They never left, so nothing can come of them.
    pub(super) fn expire_parked(&mut self, key: GroupKey) {
        let now = self.ticks;
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let group_id = hosted.seat.group_id;
        let Parked { opening, introducing } = std::mem::take(&mut hosted.parked);
        let (late, opening): (Vec<_>, Vec<_>) =
            opening.into_iter().partition(|(deadline, _)| *deadline <= now);
        let (silent, introducing): (Vec<_>, Vec<_>) =
            introducing.into_iter().partition(|asked| asked.deadline <= now);
        hosted.parked = Parked { opening, introducing };
        for (_, event) in late {
            let message = format!("group {group_id} did not open in time on this node");
            self.refuse(key, event, Error::rejected(Code::Timeout, message));
        }
        for asked in silent {
            let message = "a node to be added did not say in time who it is: is it running?";
            self.complete(key, asked.call, Err(Error::rejected(Code::Timeout, message)));
        }
    }

    /// Changes the membership. Nodes to be added are asked who they are first, on a thread that may wait.
    pub(super) fn change_membership(
        &mut self,
        key: GroupKey,
        changes: Vec<Change>,
        timeout_ticks: u64,
        call: Call,
    ) {
        let node = self.node.clone();
        if !changes.iter().any(adds_nodes) {
            return self.changes_resolved(key, resolve_all(&node, changes), timeout_ticks, call);
        }
        let deadline = self.ticks.saturating_add(timeout_ticks);
        let number = self.random.next();
        match self.groups.get_mut(&key) {
            Some(hosted) if !matches!(hosted.stage, Stage::Failed) => {
                hosted.parked.introducing.push(Introducing { number, deadline, call });
            }
            hosted => {
                let error = not_running(hosted.map(|hosted| &*hosted));
                return self.complete(key, call, Err(error));
            }
        }
        self.node.greeters.run(move || {
            let change = resolve_all(&node, changes);
            // After the close nobody waits for it.
            let _ = node.command(Command::Introduced { key, number, change });
        });
    }

    /// The nodes to be added have said who they are, or one has not.
    pub(super) fn introduced(
        &mut self,
        key: GroupKey,
        number: u64,
        change: Result<Vec<MemberChange>>,
    ) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let introducing = &mut hosted.parked.introducing;
        let found = introducing.iter().position(|asked| asked.number == number);
        let Some(asked) = found.map(|at| introducing.swap_remove(at)) else { return };
        let timeout_ticks = asked.deadline.saturating_sub(self.ticks).max(1);
        self.changes_resolved(key, change, timeout_ticks, asked.call);
    }

    fn changes_resolved(
        &mut self,
        key: GroupKey,
        change: Result<Vec<MemberChange>>,
        timeout_ticks: u64,
        completion: Call,
    ) {
        match change {
            Ok(change) => {
                self.step(key, Event::ChangeMembership { change, completion, timeout_ticks })
            }
            Err(error) => self.complete(key, completion, Err(error)),
        }
    }

    /// Completes the calls of an event that no replica will see.
    pub(super) fn refuse(&mut self, key: GroupKey, event: Event<Call>, error: Error) {
        match event {
            Event::Propose { proposals, .. } => {
                for (_, call) in proposals {
                    self.complete(key, call, Err(error.clone()));
                }
            }
            Event::ReadIndex { completion, .. }
            | Event::ChangeMembership { completion, .. }
            | Event::TransferLeadership { completion, .. }
            | Event::TakeSnapshot { completion } => self.complete(key, completion, Err(error)),
            _ => {}
        }
    }
}

/// The error of calls to a group that does not run here.
pub(super) fn not_running(group: Option<&super::hosted::Hosted>) -> Error {
    group.and_then(|hosted| hosted.group.check_in_service().err()).unwrap_or_else(stopped)
}

fn carries_call(event: &Event<Call>) -> bool {
    matches!(
        event,
        Event::Propose { .. }
            | Event::ReadIndex { .. }
            | Event::ChangeMembership { .. }
            | Event::TransferLeadership { .. }
            | Event::TakeSnapshot { .. }
    )
}

fn timeout_of(event: &mut Event<Call>) -> Option<&mut u64> {
    match event {
        Event::Propose { timeout_ticks, .. }
        | Event::ReadIndex { timeout_ticks, .. }
        | Event::ChangeMembership { timeout_ticks, .. }
        | Event::TransferLeadership { timeout_ticks, .. } => Some(timeout_ticks),
        _ => None,
    }
}
