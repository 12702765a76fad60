//! Opening a node: directory, log, snapshots, sockets, threads.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{mpsc, Arc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::baton::Baton;
use super::closing::Threads;
use super::errands::guarded;
use super::event_loop::EventLoop;
use super::group_handle::GroupHandle;
use super::hosted::StoppedGroup;
use super::inbox::{Command, Inbox, Taken};
use super::lingering::Lingering;
use super::node_handle::{NodeHandle, Parts, FRAME_BYTES_MAX};
use super::random::{fresh_uuid, Random};
use super::seat::Seat;
use super::sockets::{no_poll, Sockets, FIRST_TRANSPORT_TOKEN};
use super::system::{Network, OperatingSystem, System, Wake};
use super::thread;
use crate::directory::{Directory, Identity};
use crate::disk::{Disk, FileSystem};
use crate::error::{Code, Error, Result};
use crate::log::{Admission, Log, LogOptions, RecoveredGroup};
use crate::machine::StateMachine;
use crate::options::{GroupOptions, NodeOptions};
use crate::replica::{Effects, PeerIdentity};
use crate::snapshot::SnapshotStore;
use crate::transport::{Transport, TransportOptions};

/// How long a barrier may take before the standby thread steps in, unless a tick is shorter.
const PATIENCE: Duration = Duration::from_millis(20);

pub(crate) fn open(options: NodeOptions) -> Result<Arc<NodeHandle>> {
    options.check()?;
    thread::refuse_in_forked_child()?;
    let mut random = Random::from_system()?;
    let directory = Directory::open(
        &options.directory,
        options.snapshot_directory.as_deref(),
        &options.cluster,
        options.node_id,
        fresh_uuid()?,
    )?;
    let log_disk = Arc::new(FileSystem::new(directory.log_directory()));
    let snapshot_disk = Arc::new(FileSystem::new(directory.snapshot_directory()));
    let sled = directory.log_directory().join("sled");
    // The store behind the log starts threads of its own.
    let storage = thread::with_signals_blocked(|| {
        Storage::open(&options, log_disk, snapshot_disk, random.next(), Some(sled))
    })?;

    let (poll, waker) = Sockets::poll()?;
    let transport = Transport::bind(
        poll.registry().try_clone().map_err(|error| no_poll(&error))?,
        FIRST_TRANSPORT_TOKEN,
        transport_options(&options, &directory, random.next()),
    )?;
    let connected = Connected {
        address: transport.local_address().to_string(),
        network: Box::new(Sockets::new(poll, transport)),
        waker: Box::new(waker),
        system: Arc::new(OperatingSystem::default()),
    };
    let identity = directory.identity().clone();
    let event_loop = assemble(options, identity, storage, connected, random);
    let node = event_loop.node.clone();
    start_threads(&node, event_loop, directory)?;
    Ok(node)
}

/// What a node holds on its disks.
pub(super) struct Storage {
    log: Log,
    recovered: Vec<RecoveredGroup>,
    snapshots: Arc<SnapshotStore>,
}

impl Storage {
    pub(super) fn open(
        options: &NodeOptions,
        log_disk: Arc<dyn Disk>,
        snapshot_disk: Arc<dyn Disk>,
        salt_seed: u64,
        checkpoint_directory: Option<PathBuf>,
    ) -> Result<Storage> {
        let log_options = LogOptions {
            segment_bytes: options.segment_bytes,
            segments_max: options.segments_max,
            free_bytes_min: options.free_bytes_min,
            salt_seed,
            checkpoint_directory,
        };
        let (log, recovered) = Log::open(log_disk, log_options)?;
        let snapshots = SnapshotStore::open(snapshot_disk, &recovered, options.free_bytes_min)?;
        Ok(Storage { log, recovered, snapshots: Arc::new(snapshots) })
    }
}

/// What connects an event loop with the rest of the world.
pub(super) struct Connected {
    pub(super) address: String,
    pub(super) network: Box<dyn Network>,
    pub(super) waker: Box<dyn Wake>,
    pub(super) system: Arc<dyn System>,
}

/// Makes an event loop, which nobody turns yet.
pub(super) fn assemble(
    options: NodeOptions,
    identity: Identity,
    storage: Storage,
    connected: Connected,
    random: Random,
) -> EventLoop {
    let now = connected.system.now();
    let node = Arc::new(NodeHandle::new(Parts {
        system: connected.system,
        identity,
        address: connected.address,
        inbox: Arc::new(Inbox::new(connected.waker)),
        snapshots: storage.snapshots,
        options,
    }));
    let next_sequence = random.first_sequence();
    let mut event_loop = EventLoop {
        node,
        network: connected.network,
        log: storage.log,
        groups: BTreeMap::new(),
        keys: BTreeMap::new(),
        recovered: storage.recovered.into_iter().map(StoppedGroup::of_log).collect(),
        waiting_for_disk: Vec::new(),
        dirty: Vec::new(),
        with_tidings: Vec::new(),
        unpersisted: VecDeque::new(),
        effects: Effects::new(),
        inbound: Vec::new(),
        taken: Taken::default(),
        deliveries: Vec::new(),
        lingering: Lingering::new(),
        peers_changed: false,
        chore_running: false,
        chore_due: true,
        queued_bytes: 0,
        admission: Admission::Admitted,
        failure: None,
        closing: false,
        random,
        observer: None,
        started: now,
        next_tick: now,
        next_sequence,
        ticks: 0,
        last_busy: now,
    };
    event_loop.publish_node();
    event_loop
}

fn transport_options(options: &NodeOptions, directory: &Directory, seed: u64) -> TransportOptions {
    let identity = directory.identity();
    let peer = PeerIdentity { node_id: identity.node_id, incarnation: identity.incarnation };
    let mut transport = TransportOptions::new(&identity.cluster, peer);
    transport.boot_counter = identity.boot_counter;
    transport.advertised_address = options.advertised_address.clone();
    transport.listen_address = options.listen_address.clone();
    transport.insecure_transport = options.insecure_transport;
    transport.seed = seed;
    transport.frame_bytes_max = FRAME_BYTES_MAX;
    transport.queue_bytes_max = 2 * FRAME_BYTES_MAX;
    transport
}

/// Starts the worker, which starts the others and takes them down again. If one of them cannot be started, all have
/// ended and the directory is free when this returns.
fn start_threads(
    node: &Arc<NodeHandle>,
    event_loop: EventLoop,
    directory: Directory,
) -> Result<()> {
    let (report, reported) = mpsc::sync_channel(1);
    let worker_node = node.clone();
    let worker = thread::spawn("libraft-worker", move || {
        run_worker(&worker_node, event_loop, directory, &report);
    })?;
    let gone = || Err(Error::rejected(Code::Internal, "the worker thread ended at once"));
    let started = reported.recv().unwrap_or_else(|_| gone());
    match started {
        Ok(()) => node.set_worker(worker),
        // Its panics are caught inside.
        Err(_) => drop(worker.join()),
    }
    started
}

/// The body of the worker thread.
fn run_worker(
    node: &Arc<NodeHandle>,
    event_loop: EventLoop,
    directory: Directory,
    report: &mpsc::SyncSender<Result<()>>,
) {
    let patience = PATIENCE.min(Duration::from_millis(node.options.tick_ms));
    let baton = Arc::new(Baton::new(event_loop, node.inbox.clone(), patience));
    let (threads, standby) = match start_helpers(node, &baton) {
        Ok(started) => started,
        Err(error) => {
            drop((baton, directory));
            // The opener waits for it.
            let _ = report.send(Err(error));
            return;
        }
    };
    let _ = report.send(Ok(()));
    let worked = guarded("the event loop", || baton.work());
    baton.stop_standby();
    let _ = standby.join();
    let result = guarded("the end of the node", || match Arc::try_unwrap(baton) {
        Ok(baton) => baton.into_loop().close(worked, directory, threads),
        Err(_) => Err(Error::rejected(Code::Internal, "the event loop is still in use")),
    });
    // Done already, unless the end itself panicked.
    node.pool.stop();
    node.deliveries.stop();
    node.set_closed(result);
}

fn start_helpers(node: &Arc<NodeHandle>, baton: &Arc<Baton>) -> Result<(Threads, JoinHandle<()>)> {
    let completion = {
        let node = node.clone();
        thread::spawn("libraft-completion", move || node.deliveries.run())?
    };
    let mut threads = Threads { apply: Vec::new(), completion };
    match start_the_rest(node, baton, &mut threads.apply) {
        Ok(standby) => Ok((threads, standby)),
        Err(error) => {
            node.pool.stop();
            node.deliveries.stop();
            threads.join();
            Err(error)
        }
    }
}

fn start_the_rest(
    node: &Arc<NodeHandle>,
    baton: &Arc<Baton>,
    apply: &mut Vec<JoinHandle<()>>,
) -> Result<JoinHandle<()>> {
    for _ in 0..node.options.apply_threads {
        let pool = node.pool.clone();
        apply.push(thread::spawn("libraft-apply", move || pool.run())?);
    }
    let baton = baton.clone();
    thread::spawn("libraft-standby", move || baton.stand_by())
}

pub(crate) fn start_group(
    node: &Arc<NodeHandle>,
    options: GroupOptions,
    machine: Box<dyn StateMachine>,
) -> Result<Arc<GroupHandle>> {
    let group = Arc::new(GroupHandle::new(node.next_key(), options, node.options.tick_ms));
    node.enter_group(&group)?;
    let seat = Arc::new(Seat::new(
        group.key,
        group.options.group_id,
        machine,
        node.inbox.clone(),
        node.pool.clone(),
        node.saving.clone(),
    ));
    let command = Command::StartGroup { group: group.clone(), seat };
    if let Err(error) = node.command(command) {
        node.not_started(&group, error.clone());
        return Err(error);
    }
    Ok(group)
}
