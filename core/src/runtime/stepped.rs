//! A node without threads: a simulator owns one, and does what the threads would do, in any order in which they could.
//!
//! Everything else is as in production: this is the worker's event loop with all its parts, and [`Node`] is what the
//! program holds.

use std::sync::Arc;
use std::time::Duration;

use super::closing::Latch;
use super::event_loop::{EventLoop, Observer, Turn};
use super::hosted::Stage;
use super::opening::{assemble, Connected, Storage};
use super::random::Random;
use super::system::{Network, System, Wake};
use crate::directory::Identity;
use crate::disk::Disk;
use crate::error::Result;
use crate::ids::{GroupId, RaftId};
use crate::log::{FinishedBarrier, LogStatus, RecoveredGroup};
use crate::node::Node;
use crate::options::NodeOptions;

/// All that a node has to do with.
pub struct Surroundings {
    pub identity: Identity,
    pub log_disk: Arc<dyn Disk>,
    pub snapshot_disk: Arc<dyn Disk>,
    pub network: Box<dyn Network>,
    /// What peers connect to.
    pub address: String,
    pub waker: Box<dyn Wake>,
    pub system: Arc<dyn System>,
    /// Where all that is random comes from.
    pub seed: u64,
}

/// See the module. **Threads**: its owner calls it from one at a time. The pieces of work that it gives out may block
/// where the system that it was given does; they may run beside it, and each kind beside the others.
pub struct SteppedNode {
    /// What the program holds: who lets go of the last one closes the node.
    node: Node,
    event_loop: EventLoop,
    machines: Option<Arc<Latch>>,
}

/// A piece of work for a thread of the node.
pub type Work = Box<dyn FnOnce() + Send>;

impl SteppedNode {
    /// Opens log and snapshots. The limits of [`NodeOptions`] are not checked: a simulator goes below them.
    pub fn open(options: NodeOptions, around: Surroundings) -> Result<SteppedNode> {
        let mut random = Random::from_seed(around.seed);
        let Surroundings {
            identity, log_disk, snapshot_disk, network, address, waker, system, ..
        } = around;
        let storage = Storage::open(&options, log_disk, snapshot_disk, random.next(), None)?;
        let connected = Connected { address, network, waker, system };
        let event_loop = assemble(options, identity, storage, connected, random);
        let node = Node::of_handle(event_loop.node.clone());
        Ok(SteppedNode { node, event_loop, machines: None })
    }

    /// What the program holds. Its calls that block must not be made: nobody would do what they wait for.
    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn set_observer(&mut self, observer: Observer) {
        self.event_loop.observer = Some(observer);
    }

    /// The groups that the log holds and that do not run.
    pub fn recovered(&self) -> impl Iterator<Item = &RecoveredGroup> {
        self.event_loop.recovered.values().map(|stopped| &stopped.held)
    }

    /// What the log holds of a group that runs here.
    pub fn held(&self, group_id: GroupId) -> Option<&RecoveredGroup> {
        let key = self.event_loop.keys.get(&group_id)?;
        self.event_loop.groups.get(key)?.held.as_ref()
    }

    /// The raft ids that vote in a group that runs here: see [`crate::replica::Replica::voters`].
    pub fn voters(&self, group_id: GroupId) -> Option<[Vec<RaftId>; 2]> {
        let key = self.event_loop.keys.get(&group_id)?;
        match &self.event_loop.groups.get(key)?.stage {
            Stage::Running(replica) => Some(replica.voters()),
            _ => None,
        }
    }

    /// Entries of a group as the log reads them back.
    pub fn read_log(
        &self,
        group: &RecoveredGroup,
        low: u64,
        high: u64,
    ) -> Result<Vec<raft::eraftpb::Entry>> {
        self.event_loop.log.reader(group.log_id).read(low, high, u64::MAX)
    }

    pub fn log_status(&self) -> LogStatus {
        self.event_loop.log.status()
    }

    /// For how long a turn would sleep now. From now on the waker is called when there is a reason to turn sooner.
    pub fn sleep_for(&mut self) -> Duration {
        self.event_loop.prepare_to_sleep()
    }

    /// One turn of the event loop, as the worker makes it; or the standby thread, while a barrier runs.
    pub fn turn(&mut self) -> Turn {
        self.event_loop.turn()
    }

    pub fn barrier_done(&mut self, finished: FinishedBarrier) {
        self.event_loop.barrier_done(finished);
    }

    /// What an apply thread would do now: visit a seat.
    pub fn next_visit(&self) -> Option<Work> {
        let seat = self.event_loop.node.pool.try_next()?;
        Some(Box::new(move || seat.work()))
    }

    /// What the completion thread would do now: call completions and listeners.
    pub fn next_deliveries(&self) -> Option<Work> {
        let deliveries = self.event_loop.node.deliveries.try_take();
        if deliveries.is_empty() {
            return None;
        }
        Some(Box::new(move || deliveries.into_iter().for_each(|delivered| delivered.call())))
    }

    /// Begins to end, after a turn that said `Closing`. Then visits and deliveries are to be done until
    /// [`SteppedNode::may_end`].
    pub fn begin_end(&mut self) {
        self.machines = Some(self.event_loop.begin_end());
    }

    /// Whether all machines are dropped and all threads have ended.
    pub fn may_end(&self) -> bool {
        if !self.machines.as_ref().is_some_and(|machines| machines.is_open()) {
            return false;
        }
        let errands = self.event_loop.node.all_errands();
        errands.iter().for_each(|errands| errands.begin_stop());
        errands.iter().all(|errands| errands.is_idle())
    }

    /// Closes the log. Blocks as the disk does.
    pub fn end(self) -> Result<()> {
        let node = self.event_loop.node.clone();
        let result = self.event_loop.end_log();
        node.set_closed(result.clone());
        result
    }
}
