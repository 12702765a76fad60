//! One node: what its threads would do, as pieces that the world does when it wants.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use libraft::disk::MemoryDisk;
use libraft::group::GroupStatus;
use libraft::ids::{GroupId, NodeId, RaftId, Uuid};
use libraft::log::{Barrier, FinishedBarrier};
use libraft::runtime::SteppedNode;
use libraft::NodeOptions;

use crate::behaviour::Behaviour;
use crate::event::{LifeId, Time};
use crate::hub::Life;
use crate::machine::Store;
use crate::observation::Place;

pub type Work = Box<dyn FnOnce() + Send>;

/// A node of the world, whether it runs or not.
pub struct Node {
    pub index: usize,
    pub incarnation: Uuid,
    pub disk: MemoryDisk,
    /// What on-disk machines keep by themselves.
    pub stores: BTreeMap<GroupId, Store>,
    pub options: NodeOptions,
    pub running: Option<Running>,
    /// Its process stands still until then.
    pub paused_until: Time,
    /// How long a barrier may take at most.
    pub barrier_max: Time,
    /// Its disk is ordered to refuse writes or syncs.
    pub disk_fails: bool,
    pub behaviour: Behaviour,
    /// Since when it is not open.
    pub down_since: Time,
    /// When it last went down with a directory that was lost then: it waits to be added to the groups that there were.
    pub lost_at: Option<Time>,
    /// A file was damaged while it was down: it may refuse to open.
    pub damaged: bool,
    /// An older image of its directory was put back: it counts as lost, and is to be emptied.
    pub set_back: bool,
    /// When it is closed in peace, a bit of its files is to be flipped.
    pub flip: bool,
    /// An older image of the directory.
    pub image: Option<(MemoryDisk, BTreeMap<GroupId, Store>)>,
    /// Who votes in its groups, as it last said: the two halves.
    pub views: BTreeMap<GroupId, [Vec<Place>; 2]>,
}

/// A life of a node.
pub struct Running {
    pub life: Life,
    pub stepped: SteppedNode,
    /// Bodies that want a thread.
    pub spawned: Arc<Mutex<Vec<Work>>>,
    pub barrier: Option<RunningBarrier>,
    pub visits: VecDeque<Work>,
    pub visiting: usize,
    pub deliveries: VecDeque<Work>,
    pub delivering: bool,
    pub stage: Stage,
    pub groups: BTreeMap<GroupId, HostedGroup>,
    pub turns: u64,
    /// It is to be ended soon.
    pub killed: bool,
    /// After its end it is opened again, and how long after.
    pub reopen_after: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Turning,
    /// The loop wants to end, but a barrier runs.
    Closing,
    /// The machines go.
    Ending,
}

/// A barrier: before it was run, or after, when only its end is still to come.
pub struct RunningBarrier {
    pub barrier: Option<Barrier>,
    pub finished: Option<FinishedBarrier>,
    /// From then on the standby thread turns the loop.
    pub standby_from: Time,
}

pub struct HostedGroup {
    pub seen: Option<Seen>,
    pub stopping: bool,
}

/// What of a group's status makes it worth telling again.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    numbers: [u64; 7],
    role: libraft::Role,
    leader: Option<NodeId>,
    failed: bool,
    pub voters: [Vec<RaftId>; 2],
}

impl Seen {
    pub fn of(status: &GroupStatus, voters: [Vec<RaftId>; 2]) -> Seen {
        let numbers = [
            status.raft_id,
            status.term,
            status.first_index,
            status.last_index,
            status.commit_index,
            status.applied_index,
            status.snapshot_index,
        ];
        let leader = status.leader.as_ref().map(|leader| leader.node_id);
        Seen { numbers, role: status.role, leader, failed: status.failure.is_some(), voters }
    }
}

impl Seen {
    pub fn leads(&self) -> bool {
        self.role == libraft::Role::Leader
    }

    pub fn commit(&self) -> u64 {
        self.numbers[4]
    }

    pub fn is_joint(&self) -> bool {
        !self.voters[1].is_empty()
    }
}

impl Node {
    pub fn place(&self) -> Place {
        Place { node_id: self.index as u64 + 1, incarnation: self.incarnation }
    }

    pub fn life(&self) -> Option<&Life> {
        self.running.as_ref().map(|running| &running.life)
    }

    /// The running life, if it is this one.
    pub fn in_life(&mut self, life: LifeId) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| running.life.id == life)
    }

    /// Whether clients can call it.
    pub fn serves(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.stage == Stage::Turning)
    }
}

impl Running {
    /// Takes out what waits for apply threads and the completion thread.
    pub fn gather(&mut self) {
        while let Some(work) = self.stepped.next_visit() {
            self.visits.push_back(work);
        }
        while let Some(work) = self.stepped.next_deliveries() {
            self.deliveries.push_back(work);
        }
    }

    /// Whether nothing of it is left to be done.
    pub fn is_idle(&self) -> bool {
        let none_wait = self.visits.is_empty() && self.deliveries.is_empty();
        none_wait && self.visiting == 0 && !self.delivering
    }
}
