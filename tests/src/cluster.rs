//! Members as processes: started, loaded, stopped, killed, asked.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::check::History;
use crate::process::Process;

pub struct Cluster {
    launch: Launch,
    directory: PathBuf,
    addresses: Vec<String>,
    members: Vec<Option<Process>>,
    settings: Settings,
    pub history: History,
    next_entry: u64,
}

/// Makes the command that runs a member, by its position; the member's arguments are added to it.
pub type Launch = Box<dyn Fn(usize) -> Command>;

#[derive(Clone, Copy)]
pub struct Settings {
    pub members: usize,
    pub snapshot_entries: u64,
    pub quick: bool,
    pub tick_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { members: 3, snapshot_entries: 0, quick: true, tick_ms: 20 }
    }
}

/// What a member says of its replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    pub role: String,
    pub term: u64,
    pub leader: u64,
    pub applied_index: u64,
    pub formation: String,
}

/// What a member says of its node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    pub refused_frames: u64,
    pub refused_connections: u64,
    pub is_full: bool,
    /// The code of the error that put the node out of service, or `-`.
    pub failure: String,
}

/// How long a healed cluster may take to answer: far more than it needs, since the machine may be
/// busy.
const PATIENCE: Duration = Duration::from_secs(60);

impl Cluster {
    /// `program` is the path of `list_member`; the members' directories are made below `directory`.
    pub fn start(program: &str, directory: &Path, settings: Settings) -> Cluster {
        let program = program.to_string();
        Cluster::launch(Box::new(move |_| Command::new(&program)), directory, settings)
    }

    pub fn launch(launch: Launch, directory: &Path, settings: Settings) -> Cluster {
        let addresses = free_addresses(settings.members);
        let mut cluster = Cluster {
            launch,
            directory: directory.to_path_buf(),
            addresses,
            members: (0..settings.members).map(|_| None).collect(),
            settings,
            history: History::default(),
            next_entry: 0,
        };
        for member in 0..settings.members {
            cluster.restart(member);
        }
        cluster
    }

    pub fn restart(&mut self, member: usize) {
        let mut arguments = vec![
            (member + 1).to_string(),
            self.directory.join(format!("node-{}", member + 1)).display().to_string(),
            self.settings.snapshot_entries.to_string(),
            u8::from(self.settings.quick).to_string(),
            self.settings.tick_ms.to_string(),
        ];
        for (position, address) in self.addresses.iter().enumerate() {
            arguments.push(format!("{}={address}", position + 1));
        }
        let mut command = (self.launch)(member);
        command.args(arguments);
        let mut process = Process::run(command);
        let first = process.hear(PATIENCE);
        assert_eq!(first.as_deref(), Some("ready"), "member {} does not start", member + 1);
        self.members[member] = Some(process);
    }

    /// Proposes `count` entries at a member, each with a text of its own.
    pub fn put(&mut self, member: usize, count: u64) {
        self.put_padded(member, count, 0);
    }

    /// The same, each with so many bytes more behind its text.
    pub fn put_padded(&mut self, member: usize, count: u64, padding_bytes: u64) {
        let Some(process) = &mut self.members[member] else { return };
        for _ in 0..count {
            let text = format!("{:08}-{}", self.next_entry, member + 1);
            self.next_entry += 1;
            self.history.proposed(&text);
            if !process.say(&format!("put {text} {padding_bytes}")) {
                break;
            }
        }
    }

    /// Takes note of what the members have said about the proposals so far.
    pub fn listen(&mut self) {
        for process in self.members.iter_mut().flatten() {
            for line in process.heard() {
                self.history.heard(&line);
            }
        }
    }

    pub fn kill(&mut self, member: usize) {
        if let Some(process) = self.members[member].take() {
            process.signal(libc::SIGKILL);
            for line in process.reap() {
                self.history.heard(&line);
            }
        }
    }

    /// Asks all members to end, and waits until they have.
    pub fn finish(&mut self) {
        for process in self.members.iter_mut().filter_map(Option::take) {
            for line in process.finish() {
                self.history.heard(&line);
            }
        }
    }

    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub fn directory(&self, member: usize) -> PathBuf {
        self.directory.join(format!("node-{}", member + 1))
    }

    pub fn process_id(&self, member: usize) -> u32 {
        self.members[member].as_ref().map(Process::id).expect("the member is running")
    }

    /// Whether a member that was not stopped by the test still runs.
    pub fn is_alive(&mut self, member: usize) -> bool {
        self.members[member].as_mut().is_some_and(Process::is_alive)
    }

    pub fn is_running(&self, member: usize) -> bool {
        self.members[member].is_some()
    }

    pub fn signal(&self, member: usize, signal: i32) {
        if let Some(process) = &self.members[member] {
            process.signal(signal);
        }
    }

    /// Waits until every proposal made at a running member was answered.
    pub fn settle(&mut self) {
        let alive: Vec<usize> = (0..self.members.len()).filter(|m| self.is_running(*m)).collect();
        self.settle_at(&alive);
    }

    /// Waits until every proposal made at these members was answered.
    pub fn settle_at(&mut self, members: &[usize]) {
        let deadline = Instant::now() + PATIENCE;
        while self.history.unanswered(members) > 0 {
            assert!(
                Instant::now() < deadline,
                "{} proposals of running members were never answered",
                self.history.unanswered(members)
            );
            for member in members {
                let Some(process) = &mut self.members[*member] else { continue };
                if let Some(line) = process.hear(Duration::from_millis(5)) {
                    self.history.heard(&line);
                } else {
                    assert!(process.is_alive(), "member {} died", member + 1);
                }
            }
            self.listen();
        }
    }

    /// Asks again and again until the answer is yes; fails with `wanted` if it never is.
    pub fn until(&mut self, wanted: &str, mut is_so: impl FnMut(&mut Cluster) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "in vain: {wanted}");
        }
    }

    /// What a member says of its replica.
    pub fn status(&mut self, member: usize) -> ReplicaStatus {
        let words = self.ask(member, "status");
        let [role, term, leader, _first, _last, applied_index, formation] = &words[..] else {
            panic!("member {}: a status of another form: {words:?}", member + 1);
        };
        ReplicaStatus {
            role: role.clone(),
            term: number(term),
            leader: number(leader),
            applied_index: number(applied_index),
            formation: formation.clone(),
        }
    }

    /// What a member says of its node.
    pub fn node_status(&mut self, member: usize) -> NodeStatus {
        let words = self.ask(member, "node");
        let [_connected, frames, connections, full, failure] = &words[..] else {
            panic!("member {}: a status of another form: {words:?}", member + 1);
        };
        NodeStatus {
            refused_frames: number(frames),
            refused_connections: number(connections),
            is_full: full == "true",
            failure: failure.clone(),
        }
    }

    /// The words behind the question in the line that answers it.
    fn ask(&mut self, member: usize, question: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let process = self.members[member].as_mut().expect("the member is running");
        assert!(process.say(question), "member {} is gone", member + 1);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = process.hear(left).unwrap_or_else(|| {
                panic!("member {} ended, or does not answer '{question}'", member + 1)
            });
            let mut words = line.split(' ').map(str::to_string);
            match words.next() {
                Some(word) if word == question => return words.collect(),
                _ => self.history.heard(&line),
            }
        }
    }

    /// Waits until all running members follow one leader in one term; its position and term.
    pub fn leader(&mut self) -> (usize, u64) {
        let alive: Vec<usize> = (0..self.members.len()).filter(|m| self.is_running(*m)).collect();
        self.leader_of(&alive)
    }

    /// Waits until these members follow one of them, in one term; its position and term.
    pub fn leader_of(&mut self, members: &[usize]) -> (usize, u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen: Vec<(u64, u64)> = members
                .iter()
                .map(|member| self.status(*member))
                .map(|status| (status.leader, status.term))
                .collect();
            let (leader, term) = seen[0];
            let is_common = seen.iter().all(|one| *one == seen[0]);
            if is_common && members.iter().any(|member| *member as u64 + 1 == leader) {
                return (leader as usize - 1, term);
            }
            assert!(Instant::now() < deadline, "the members follow no common leader: {seen:?}");
        }
    }

    /// What a member has applied, after a linearizable read.
    pub fn dump(&mut self, member: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(entries) = self.try_dump(member, deadline) {
                return entries;
            }
            assert!(Instant::now() < deadline, "member {} cannot read", member + 1);
        }
    }

    fn try_dump(&mut self, member: usize, deadline: Instant) -> Option<Vec<String>> {
        let process = self.members[member].as_mut()?;
        assert!(process.say("dump"), "member {} is gone", member + 1);
        let mut entries = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = process.hear(left).unwrap_or_else(|| {
                panic!("member {} ended, or does not answer a read", member + 1)
            });
            match line.split_once(' ') {
                Some(("entry", text)) => entries.push(text.to_string()),
                Some(("end", _)) => return Some(entries),
                Some(("failed", why)) => {
                    eprintln!("member {}: {why}", member + 1);
                    return None;
                }
                _ => self.history.heard(&line),
            }
        }
    }

    /// Every member holds the same, and it is what the history allows. Returns how many entries
    /// that are.
    pub fn check(&mut self) -> usize {
        let dumps: Vec<Vec<String>> = (0..self.members.len()).map(|m| self.dump(m)).collect();
        for (member, dump) in dumps.iter().enumerate() {
            self.history.check(dump, &format!("member {}", member + 1));
            // All reads came after all writes were answered, so all members hold the same.
            assert_eq!(dump, &dumps[0], "members 1 and {} differ", member + 1);
        }
        dumps[0].len()
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("'{word}' is not a number"))
}

/// Addresses on loopback that are free now. Another process may take one; the caller's start then
/// fails and says so.
fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"))
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound").to_string())
        .collect()
}
