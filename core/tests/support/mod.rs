//! What the tests of the public API share.

// Every test file is a program of its own, and none uses all of this.
#![allow(dead_code)]

pub mod file_machine;
pub mod membership;
pub mod proxy;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libraft::machine::{Apply, MachineKind, MachineResult, PreparedSnapshot, Reply};
use libraft::{
    Change, Completer, Completion, Error, Group, GroupOptions, GroupStatus, InitialMember, Node,
    NodeOptions, Role, StateMachine,
};

/// Far more than anything here needs, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is deleted at the end of the test, and the addresses of the nodes in it.
pub struct Folder {
    path: PathBuf,
    number: u64,
}

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("api-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the test's folder can be made");
        Folder { path, number }
    }

    pub fn node(&self, node_id: u64) -> PathBuf {
        self.path.join(format!("node-{node_id}"))
    }

    /// Where a node listens, now and after a restart. All of 127.0.0.0/8 is this machine, so an address that nobody else
    /// asks for is easily had.
    pub fn address(&self, node_id: u64) -> String {
        let process = u64::from(std::process::id());
        let (high, low) = (1 + (process >> 8) % 250, process & 255);
        format!("127.{high}.{low}.{}:{}", node_id % 250 + 1, 20_000 + self.number)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub fn node_options(folder: &Folder, node_id: u64) -> NodeOptions {
    NodeOptions {
        cluster: "tests".to_string(),
        node_id,
        directory: folder.node(node_id),
        listen_address: folder.address(node_id),
        tick_ms: 10,
        segment_bytes: 1 << 20,
        ..NodeOptions::default()
    }
}

/// Called by a test's machine at a certain moment; an error fails the callback.
pub type Hook = Box<dyn FnMut() -> MachineResult<()> + Send>;

/// What a test's machine does besides remembering what it applied.
#[derive(Default)]
pub struct Behaviour {
    pub kind: MachineKind,
    pub quick: bool,
    /// Called before each apply.
    pub before_apply: Option<Hook>,
    /// Called before the state is written to a snapshot: beside `apply` if the machine is concurrent.
    pub before_save: Option<Arc<Mutex<Hook>>>,
    pub before_restore: Option<Hook>,
}

/// Keeps what it applied, in memory. The result of an entry is the entry.
pub struct Recorder {
    state: Arc<Mutex<State>>,
    behaviour: Behaviour,
    _dropped: mpsc::Sender<()>,
}

#[derive(Default)]
pub struct State {
    /// All entries that the machine's state consists of.
    pub entries: Vec<Bytes>,
    /// The indexes of those that came through `apply`, and not with a snapshot.
    pub applied: Vec<u64>,
    pub restores: usize,
}

/// What a test sees of a machine from outside.
pub struct Probe {
    state: Arc<Mutex<State>>,
    dropped: mpsc::Receiver<()>,
}

impl Probe {
    pub fn texts(&self) -> Vec<String> {
        let state = self.state();
        state.entries.iter().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
    }

    pub fn applied(&self) -> Vec<u64> {
        self.state().applied.clone()
    }

    pub fn restores(&self) -> usize {
        self.state().restores
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no machine panics while it holds its state")
    }

    /// Whether the machine was dropped.
    pub fn is_dropped(&self) -> bool {
        matches!(self.dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected))
    }
}

pub fn recorder(behaviour: Behaviour) -> (Box<Recorder>, Probe) {
    let state = Arc::new(Mutex::new(State::default()));
    let (sender, dropped) = mpsc::channel();
    let recorder = Recorder { state: state.clone(), behaviour, _dropped: sender };
    (Box::new(recorder), Probe { state, dropped })
}

impl StateMachine for Recorder {
    fn kind(&self) -> MachineKind {
        self.behaviour.kind
    }

    fn quick(&self) -> bool {
        self.behaviour.quick
    }

    fn apply(&mut self, request: Apply) {
        if let Some(before_apply) = &mut self.behaviour.before_apply {
            if let Err(error) = before_apply() {
                return request.reply.send(Err(error));
            }
        }
        let results: Vec<Bytes> =
            request.entries.iter().map(|entry| Bytes::copy_from_slice(&entry.data)).collect();
        let mut state = self.state.lock().expect("it is not poisoned");
        state.entries.extend(results.iter().cloned());
        state.applied.extend(request.entries.iter().map(|entry| entry.index));
        drop(state);
        request.reply.send(Ok(results));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        reply.send(Ok(Box::new(self.view())));
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn std::io::Write + Send>, reply: Reply<()>) {
        let saved = Box::new(self.view()).save(&mut *writer);
        reply.send(saved);
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn std::io::Read + Send>, reply: Reply<()>) {
        if let Some(before_restore) = &mut self.behaviour.before_restore {
            if let Err(error) = before_restore() {
                return reply.send(Err(error));
            }
        }
        let mut saved = Vec::new();
        if let Err(error) = reader.read_to_end(&mut saved) {
            return reply.send(Err(error.into()));
        }
        let mut entries = Vec::new();
        let mut rest = &saved[..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (entry, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            entries.push(Bytes::copy_from_slice(entry));
            rest = behind;
        }
        let mut state = self.state.lock().expect("it is not poisoned");
        state.entries = entries;
        state.applied.clear();
        state.restores += 1;
        drop(state);
        reply.send(Ok(()));
    }
}

impl Recorder {
    fn view(&self) -> View {
        let entries = self.state.lock().expect("it is not poisoned").entries.clone();
        View { entries, before_save: self.behaviour.before_save.clone() }
    }
}

/// The state of a recorder as it was at one moment.
struct View {
    entries: Vec<Bytes>,
    before_save: Option<Arc<Mutex<Hook>>>,
}

impl PreparedSnapshot for View {
    fn save(self: Box<Self>, writer: &mut (dyn std::io::Write + Send)) -> MachineResult<()> {
        if let Some(before_save) = &self.before_save {
            let mut before_save = before_save.lock().expect("it is not poisoned");
            before_save()?;
        }
        for entry in &self.entries {
            writer.write_all(&(entry.len() as u32).to_le_bytes())?;
            writer.write_all(entry)?;
        }
        Ok(())
    }
}

/// A completer, and where its result arrives.
pub fn completer() -> (Completer, mpsc::Receiver<Result<Completion, Error>>) {
    let (sender, receiver) = mpsc::channel();
    let completer = Completer::new(move |result| {
        let _ = sender.send(result);
    });
    (completer, receiver)
}

/// Proposes and waits.
pub fn propose(group: &Group, text: &str) -> Result<Completion, Error> {
    let (completer, receiver) = completer();
    group.propose(text.as_bytes(), completer)?;
    receiver.recv_timeout(PATIENCE).expect("every accepted proposal completes")
}

/// Reads and waits.
pub fn read(group: &Group) -> Result<Completion, Error> {
    let (completer, receiver) = completer();
    group.read_index(completer)?;
    receiver.recv_timeout(PATIENCE).expect("every accepted read completes")
}

/// Proposes as many entries, and waits for all of them.
pub fn propose_many(group: &Group, name: &str, count: usize) {
    for number in 0..count {
        propose(group, &format!("{name} {number}")).expect("the proposal is applied");
    }
}

/// Takes a snapshot and waits. Returns its index.
pub fn take_snapshot(group: &Group) -> Result<u64, Error> {
    let (completer, receiver) = completer();
    group.take_snapshot(completer)?;
    let completion =
        receiver.recv_timeout(PATIENCE).expect("every snapshot that is asked for ends");
    completion.map(|completion| completion.index)
}

/// Changes the membership and waits.
pub fn change(group: &Group, changes: Vec<Change>) -> Result<Completion, Error> {
    let (completer, receiver) = completer();
    group.change_membership(changes, completer)?;
    receiver.recv_timeout(PATIENCE).expect("every change that is accepted ends")
}

/// Asks the leader to hand over to a node, and waits.
pub fn transfer(group: &Group, to: u64) -> Result<Completion, Error> {
    let (completer, receiver) = completer();
    group.transfer_leadership(to, completer)?;
    receiver.recv_timeout(PATIENCE).expect("every transfer that is accepted ends")
}

pub fn status(group: &Group) -> GroupStatus {
    group.status().expect("the process did not fork")
}

/// Repeats what may fail for a while, as a program would.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Member {
    pub node: Node,
    pub group: Group,
    pub probe: Probe,
}

/// Nodes 1 to `count` with one group of all of them.
pub fn cluster(folder: &Folder, count: u64, behaviour: impl Fn(u64) -> Behaviour) -> Vec<Member> {
    cluster_with(folder, count, behaviour, |options| options)
}

/// The same, with options of one's own.
pub fn cluster_with(
    folder: &Folder,
    count: u64,
    behaviour: impl Fn(u64) -> Behaviour,
    options: impl Fn(GroupOptions) -> GroupOptions,
) -> Vec<Member> {
    let nodes: Vec<Node> = (1..=count)
        .map(|node_id| Node::open(node_options(folder, node_id)).expect("the node opens"))
        .collect();
    let initial_members = members_of(&nodes);
    let members: Vec<Member> = nodes
        .into_iter()
        .zip(1..)
        .map(|(node, node_id)| {
            let options = options(group_options(&initial_members));
            start(node, options, behaviour(node_id))
        })
        .collect();
    for member in &members {
        member.group.wait_ready(PATIENCE).expect("the group forms");
    }
    members
}

/// Opens a node again, or for the first time, and its group without initial members.
pub fn reopen(
    folder: &Folder,
    node_id: u64,
    options: GroupOptions,
    behaviour: Behaviour,
) -> Member {
    let node = Node::open(node_options(folder, node_id)).expect("the node opens");
    start(node, GroupOptions { initial_members: Vec::new(), ..options }, behaviour)
}

fn start(node: Node, options: GroupOptions, behaviour: Behaviour) -> Member {
    let (machine, probe) = recorder(behaviour);
    let group = node.start_group(options, machine).expect("the group starts");
    Member { node, group, probe }
}

/// Options of a group that snapshots on demand only and keeps nothing of the log behind one.
pub fn keeping_nothing(options: GroupOptions) -> GroupOptions {
    GroupOptions { snapshot_entries: 0, snapshot_log_bytes: 0, retained_entries: 0, ..options }
}

pub fn group_options(initial_members: &[InitialMember]) -> GroupOptions {
    GroupOptions {
        group_id: 1,
        initial_members: initial_members.to_vec(),
        ..GroupOptions::default()
    }
}

pub fn members_of(nodes: &[Node]) -> Vec<InitialMember> {
    nodes
        .iter()
        .map(|node| {
            let status = node.status().expect("an open node has a status");
            InitialMember { node_id: status.node_id, address: status.address }
        })
        .collect()
}

pub fn leader(members: &[Member]) -> usize {
    eventually("the election of a leader", || {
        members.iter().position(|member| {
            member.group.status().is_ok_and(|status| status.role == Role::Leader)
        })
    })
}

/// Waits until a member's state is that of another one.
pub fn same_texts(behind: &Probe, ahead: &Probe) {
    eventually("the same state on both members", || {
        (behind.texts() == ahead.texts()).then_some(())
    });
}
