//! What a node's handles, its event loop and its other threads share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::apply::ApplyPool;
use super::deliver::{Delivered, Deliveries};
use super::errands::Errands;
use super::group_handle::GroupHandle;
use super::inbox::{closed, Command, GroupKey, Inbox};
use super::lines::{Line, Lines};
use super::saving::Saving;
use super::system::{Dial, System};
use super::thread;
use crate::directory::Identity;
use crate::error::{Code, Error, Result};
use crate::ids::GroupId;
use crate::log::{FinishedChore, LogStatus};
use crate::node::NodeStatus;
use crate::options::NodeOptions;
use crate::replica::{Notice, PeerIdentity};
use crate::snapshot::SnapshotStore;
use crate::stream::Stream;
use crate::wire::Introduction;

/// Told how something ended.
pub(crate) type Done = Box<dyn FnOnce(Result<()>) + Send>;

pub(crate) struct NodeHandle {
    pub(crate) system: Arc<dyn System>,
    pub(crate) options: NodeOptions,
    pub(crate) identity: Identity,
    pub(crate) advertised_address: String,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) deliveries: Deliveries,
    pub(crate) pool: Arc<ApplyPool>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) saving: Arc<Saving>,
    /// Reads the log for those who lag.
    pub(crate) readers: Arc<Errands>,
    /// Does the log's housekeeping.
    pub(crate) housekeepers: Arc<Errands>,
    /// Saves and sends snapshots.
    pub(crate) couriers: Arc<Errands>,
    /// Asks nodes that are to be added who they are. Not the couriers: a transfer may take long.
    pub(crate) greeters: Arc<Errands>,
    /// Receives snapshots. Not the couriers: two nodes that send to each other must not wait for each other.
    pub(crate) receivers: Arc<Errands>,
    /// The connections of the couriers.
    pub(crate) lines: Lines,
    groups: Mutex<BTreeMap<GroupId, Arc<GroupHandle>>>,
    next_key: AtomicU64,
    status: Mutex<NodeStatus>,
    chore: Mutex<Option<Result<FinishedChore>>>,
    forks_at_open: u64,
    end: Mutex<End>,
    ended: Condvar,
}

/// How far the node is with closing.
#[derive(Default)]
struct End {
    begun: bool,
    result: Option<Result<()>>,
    waiting: Vec<Done>,
    worker: Option<JoinHandle<()>>,
}

pub(crate) struct Parts {
    pub(crate) system: Arc<dyn System>,
    pub(crate) options: NodeOptions,
    pub(crate) identity: Identity,
    pub(crate) address: String,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) snapshots: Arc<SnapshotStore>,
}

/// How many snapshots are saved and sent, and how many received, at a time.
const COURIERS_MAX: usize = 4;
const RECEIVERS_MAX: usize = 4;
const GREETERS_MAX: usize = 2;
/// The longest frame body in bytes: the largest entry, and what goes with it.
pub(crate) const FRAME_BYTES_MAX: usize = 36 << 20;

impl NodeHandle {
    pub(crate) fn new(parts: Parts) -> NodeHandle {
        let Parts { system, options, identity, address, inbox, snapshots } = parts;
        let advertised_address = match options.advertised_address.as_str() {
            "" => address.clone(),
            advertised => advertised.to_string(),
        };
        let status = NodeStatus {
            cluster: identity.cluster.clone(),
            node_id: identity.node_id,
            incarnation: identity.incarnation,
            boot_counter: identity.boot_counter,
            address: advertised_address.clone(),
            groups: 0,
            connected_peers: 0,
            refused_frames: 0,
            refused_connections: 0,
            log: LogStatus::default(),
            failure: None,
        };
        let couriers = Errands::new(&system, "libraft-courier", COURIERS_MAX);
        NodeHandle {
            options,
            identity,
            advertised_address,
            inbox,
            deliveries: Deliveries::default(),
            pool: Arc::new(ApplyPool::default()),
            saving: Arc::new(Saving { snapshots: snapshots.clone(), couriers: couriers.clone() }),
            snapshots,
            readers: Errands::new(&system, "libraft-reader", 1),
            housekeepers: Errands::new(&system, "libraft-keeper", 1),
            couriers,
            greeters: Errands::new(&system, "libraft-greeter", GREETERS_MAX),
            receivers: Errands::new(&system, "libraft-receiver", RECEIVERS_MAX),
            lines: Lines::default(),
            system,
            groups: Mutex::default(),
            next_key: AtomicU64::new(1),
            status: Mutex::new(status),
            chore: Mutex::default(),
            forks_at_open: thread::fork_generation(),
            end: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    pub(crate) fn all_errands(&self) -> [&Arc<Errands>; 5] {
        [&self.readers, &self.housekeepers, &self.couriers, &self.greeters, &self.receivers]
    }

    /// Refuses a call in a forked child, which has none of the node's threads.
    pub(crate) fn check_process(&self) -> Result<()> {
        if !self.is_forked() {
            return Ok(());
        }
        Err(Error::rejected(
            Code::Forked,
            "this process was forked from the one that opened the node: open a node of its own, after the fork",
        ))
    }

    pub(crate) fn is_forked(&self) -> bool {
        thread::fork_generation() != self.forks_at_open
    }

    pub(crate) fn command(&self, command: Command) -> Result<()> {
        self.inbox.command(command).map_err(|_| closed())
    }

    pub(crate) fn next_key(&self) -> GroupKey {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a group known; at most one start of it at a time.
    pub(crate) fn enter_group(&self, group: &Arc<GroupHandle>) -> Result<()> {
        let group_id = group.options.group_id;
        let mut groups = lock(&self.groups);
        if groups.contains_key(&group_id) {
            return Err(Error::rejected(
                Code::GroupExists,
                format!(
                    "group {group_id} runs on this node already: stop it before starting it again"
                ),
            ));
        }
        groups.insert(group_id, group.clone());
        Ok(())
    }

    pub(crate) fn group(&self, group_id: GroupId) -> Option<Arc<GroupHandle>> {
        if self.is_forked() {
            // A thread that the child does not have may have held the lock.
            return None;
        }
        lock(&self.groups).get(&group_id).cloned()
    }

    /// A group that was entered does not start. Somebody may have found it meanwhile, and wait for its end.
    pub(crate) fn not_started(&self, group: &GroupHandle, error: Error) {
        self.forget_group(group);
        end_group(group, error);
    }

    fn forget_group(&self, group: &GroupHandle) {
        let group_id = group.options.group_id;
        let mut groups = lock(&self.groups);
        if groups.get(&group_id).is_some_and(|known| known.key == group.key) {
            groups.remove(&group_id);
        }
    }

    /// The group's machine is gone: it may be started again, and whoever waits for that is told.
    pub(crate) fn group_gone(&self, group: &GroupHandle) {
        self.forget_group(group);
        let tell = |done: Done| Delivered::Run(Box::new(move || done(Ok(()))));
        self.deliveries.push_all(&mut group.set_gone().into_iter().map(tell).collect());
    }

    pub(crate) fn status(&self) -> NodeStatus {
        lock(&self.status).clone()
    }

    pub(crate) fn publish(&self, update: impl FnOnce(&mut NodeStatus)) {
        update(&mut lock(&self.status));
    }

    /// Tells a group's listener something, on the completion thread.
    pub(crate) fn tell(&self, group: &Arc<GroupHandle>, notice: Notice) {
        if group.admits_notice() {
            self.deliveries.push_all(&mut vec![Delivered::Notice(group.clone(), notice)]);
        }
    }

    /// Called on the housekeeping thread.
    pub(crate) fn chore_finished(&self, finished: Result<FinishedChore>) {
        *lock(&self.chore) = Some(finished);
        self.inbox.wake_always();
    }

    pub(crate) fn finished_chore(&self) -> Option<Result<FinishedChore>> {
        lock(&self.chore).take()
    }

    pub(crate) fn set_worker(&self, worker: JoinHandle<()>) {
        lock(&self.end).worker = Some(worker);
    }

    /// Begins to close. Does nothing the second time.
    pub(crate) fn begin_close(&self) {
        let begun = std::mem::replace(&mut lock(&self.end).begun, true);
        if !begun {
            // The loop is the only one that ever closes the inbox, and does so after this command.
            let _ = self.inbox.command(Command::Close);
        }
    }

    /// Blocks until the node is closed.
    pub(crate) fn wait_closed(&self) -> Result<()> {
        let mut end = lock(&self.end);
        while end.result.is_none() {
            end = self.ended.wait(end).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        let result = end.result.clone().unwrap_or(Ok(()));
        let worker = end.worker.take();
        drop(end);
        if let Some(worker) = worker {
            // It only returns from its function any more; its panics are caught inside.
            let _ = worker.join();
        }
        result
    }

    /// Calls `done` once the node is closed; at once if it is.
    pub(crate) fn when_closed(&self, done: Done) {
        let mut end = lock(&self.end);
        match end.result.clone() {
            Some(result) => {
                drop(end);
                done(result);
            }
            None => end.waiting.push(done),
        }
    }

    /// The last act of the worker thread. Nobody waits for anything of this node any more.
    pub(crate) fn set_closed(&self, result: Result<()>) {
        self.inbox.close();
        // None is left, unless the end of the node went wrong.
        for group in std::mem::take(&mut *lock(&self.groups)).into_values() {
            end_group(&group, closed());
        }
        let mut end = lock(&self.end);
        end.result = Some(result.clone());
        let waiting = std::mem::take(&mut end.waiting);
        drop(end);
        self.ended.notify_all();
        for done in waiting {
            Delivered::Run(Box::new({
                let result = result.clone();
                move || done(result)
            }))
            .call();
        }
    }

    /// Dials another node, on a thread that may wait. The connection is cut when the node closes.
    pub(crate) fn dial(
        &self,
        dial: &Dial<'_>,
    ) -> Result<(Box<dyn Stream>, PeerIdentity, Line<'_>)> {
        let mut line = None;
        let mut hold = |stream: &dyn Stream| {
            line = Some(self.lines.hold(stream)?);
            Ok(())
        };
        let (stream, peer) = self.system.dial(&self.introduction(), dial, &mut hold)?;
        match line {
            Some(line) => Ok((stream, peer, line)),
            None => Err(Error::rejected(Code::Internal, "a connection was not kept")),
        }
    }

    /// What this node says of itself when it dials another one.
    pub(crate) fn introduction(&self) -> Introduction {
        let identity = &self.identity;
        Introduction {
            cluster: identity.cluster.clone(),
            identity: PeerIdentity { node_id: identity.node_id, incarnation: identity.incarnation },
            boot_counter: identity.boot_counter,
            position: self.status().log.durable_lsn,
            advertised_address: self.advertised_address.clone(),
            frame_bytes_max: FRAME_BYTES_MAX,
        }
    }
}

/// Tells whoever waits for it, here and now, that a group is gone.
fn end_group(group: &GroupHandle, error: Error) {
    group.put_out_of_service(error);
    for done in group.set_gone() {
        Delivered::Run(Box::new(move || done(Ok(())))).call();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
