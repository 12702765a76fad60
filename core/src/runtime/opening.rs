//! Opening a node: directory, log, snapshots, sockets, threads.

use std::collections::{HashMap, VecDeque};
use std::sync::{mpsc, Arc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::baton::Baton;
use super::closing::Threads;
use super::errands::guarded;
use super::event_loop::{EventLoop, FIRST_TRANSPORT_TOKEN, WAKER};
use super::group_handle::GroupHandle;
use super::hosted::StoppedGroup;
use super::inbox::{Command, Inbox, Taken};
use super::node_handle::{NodeHandle, Parts, FRAME_BYTES_MAX};
use super::random::{fresh_uuid, Random};
use super::seat::Seat;
use super::thread;
use crate::directory::Directory;
use crate::disk::FileSystem;
use crate::error::{Code, Error, Result};
use crate::log::{Log, LogOptions};
use crate::machine::StateMachine;
use crate::options::{GroupOptions, NodeOptions};
use crate::replica::{Effects, PeerIdentity};
use crate::snapshot::SnapshotStore;
use crate::transport::{Transport, TransportOptions};

/// How long a barrier may take before the standby thread steps in, unless a tick is shorter.
const PATIENCE: Duration = Duration::from_millis(20);
const EVENTS_PER_POLL: usize = 256;

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
    let log_options = LogOptions {
        segment_bytes: options.segment_bytes,
        segments_max: options.segments_max,
        free_bytes_min: options.free_bytes_min,
        salt_seed: random.next(),
        checkpoint_directory: Some(directory.log_directory().join("sled")),
    };
    let log_disk = Arc::new(FileSystem::new(directory.log_directory()));
    // The store behind the log starts threads of its own.
    let (log, recovered) = thread::with_signals_blocked(|| Log::open(log_disk, log_options))?;
    let snapshot_disk = Arc::new(FileSystem::new(directory.snapshot_directory()));
    let snapshots =
        Arc::new(SnapshotStore::open(snapshot_disk, &recovered, options.free_bytes_min)?);

    let poll = mio::Poll::new().map_err(|error| no_poll(&error))?;
    let waker = mio::Waker::new(poll.registry(), WAKER).map_err(|error| no_poll(&error))?;
    let registry = poll.registry().try_clone().map_err(|error| no_poll(&error))?;
    let transport = Transport::bind(
        registry,
        FIRST_TRANSPORT_TOKEN,
        transport_options(&options, &directory, random.next()),
    )?;

    let node = Arc::new(NodeHandle::new(Parts {
        identity: directory.identity().clone(),
        address: transport.local_address().to_string(),
        inbox: Arc::new(Inbox::new(waker)),
        snapshots,
        options,
    }));
    let now = Instant::now();
    let mut event_loop = EventLoop {
        node: node.clone(),
        poll,
        events: mio::Events::with_capacity(EVENTS_PER_POLL),
        transport,
        log,
        groups: HashMap::new(),
        keys: HashMap::new(),
        recovered: recovered.into_iter().map(StoppedGroup::of_log).collect(),
        waiting_for_disk: Vec::new(),
        dirty: Vec::new(),
        unpersisted: VecDeque::new(),
        effects: Effects::new(),
        inbound: Vec::new(),
        taken: Taken::default(),
        deliveries: Vec::new(),
        peers_changed: false,
        chore_running: false,
        chore_due: true,
        admits: true,
        failure: None,
        closing: false,
        random,
        started: now,
        next_tick: now,
        ticks: 0,
        last_busy: now,
    };
    event_loop.publish_node();
    start_threads(&node, event_loop, directory)?;
    Ok(node)
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

fn no_poll(error: &std::io::Error) -> Error {
    Error::rejected(Code::Io, format!("the system has no event queue for sockets: {error}"))
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
        node.forget_group(group.options.group_id, group.key);
        return Err(error);
    }
    Ok(group)
}
