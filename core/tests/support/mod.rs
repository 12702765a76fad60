//! What the tests of the public API share.

// Each file of tests is a program of its own, and none uses all of this.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libraft::machine::{Apply, MachineError, Reply};
use libraft::{
    Completer, Completion, Error, Group, GroupOptions, InitialMember, Node, NodeOptions, Role,
    StateMachine,
};

/// Far more than anything here needs, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is deleted at the end of the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("runtime-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the test's folder can be made");
        Folder(path)
    }

    pub fn node(&self, node_id: u64) -> PathBuf {
        self.0.join(format!("node-{node_id}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn node_options(folder: &Folder, node_id: u64) -> NodeOptions {
    NodeOptions {
        cluster: "tests".to_string(),
        node_id,
        directory: folder.node(node_id),
        tick_ms: 10,
        segment_bytes: 1 << 20,
        ..NodeOptions::default()
    }
}

/// What a test's machine does besides remembering what it applied.
#[derive(Default)]
pub struct Behaviour {
    pub quick: bool,
    /// Called before each apply; an error fails it.
    pub before_apply: Option<Box<dyn FnMut() -> Result<(), MachineError> + Send>>,
}

/// Remembers what it applied. The result of an entry is the entry.
pub struct Recorder {
    applied: Arc<Mutex<Vec<Bytes>>>,
    behaviour: Behaviour,
    _dropped: mpsc::Sender<()>,
}

pub struct Probe {
    pub applied: Arc<Mutex<Vec<Bytes>>>,
    pub dropped: mpsc::Receiver<()>,
}

impl Probe {
    pub fn texts(&self) -> Vec<String> {
        let applied = self.applied.lock().expect("no test panics while it holds it");
        applied.iter().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
    }

    /// Whether the machine was dropped.
    pub fn is_dropped(&self) -> bool {
        matches!(self.dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected))
    }
}

pub fn recorder(behaviour: Behaviour) -> (Box<Recorder>, Probe) {
    let applied = Arc::new(Mutex::new(Vec::new()));
    let (sender, dropped) = mpsc::channel();
    let recorder = Recorder { applied: applied.clone(), behaviour, _dropped: sender };
    (Box::new(recorder), Probe { applied, dropped })
}

impl StateMachine for Recorder {
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
        self.applied.lock().expect("it is not poisoned").extend(results.iter().cloned());
        request.reply.send(Ok(results));
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn std::io::Write + Send>, reply: Reply<()>) {
        let mut saved = Ok(());
        for entry in self.applied.lock().expect("it is not poisoned").iter() {
            let length = (entry.len() as u32).to_le_bytes();
            saved = saved.and_then(|()| writer.write_all(&length));
            saved = saved.and_then(|()| writer.write_all(entry));
        }
        reply.send(saved.map_err(MachineError::from));
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn std::io::Read + Send>, reply: Reply<()>) {
        let mut saved = Vec::new();
        let read = reader.read_to_end(&mut saved);
        let mut entries = Vec::new();
        let mut rest = &saved[..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (entry, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            entries.push(Bytes::copy_from_slice(entry));
            rest = behind;
        }
        *self.applied.lock().expect("it is not poisoned") = entries;
        reply.send(read.map(|_| ()).map_err(MachineError::from));
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
    let nodes: Vec<Node> = (1..=count)
        .map(|node_id| Node::open(node_options(folder, node_id)).expect("the node opens"))
        .collect();
    let initial_members = members_of(&nodes);
    let members: Vec<Member> = nodes
        .into_iter()
        .zip(1..)
        .map(|(node, node_id)| {
            let (machine, probe) = recorder(behaviour(node_id));
            let options = group_options(&initial_members);
            let group = node.start_group(options, machine).expect("the group starts");
            Member { node, group, probe }
        })
        .collect();
    for member in &members {
        member.group.wait_ready(PATIENCE).expect("the group forms");
    }
    members
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
