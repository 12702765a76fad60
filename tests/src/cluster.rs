//! Members as processes: started, loaded, stopped, killed, asked.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::check::History;
use crate::process::Process;

pub struct Cluster {
    program: String,
    directory: PathBuf,
    addresses: Vec<String>,
    members: Vec<Option<Process>>,
    settings: Settings,
    pub history: History,
    next_entry: u64,
}

#[derive(Clone, Copy)]
pub struct Settings {
    pub members: usize,
    pub snapshot_entries: u64,
    pub quick: bool,
}

/// How long a healed cluster may take to answer: far more than it needs, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

impl Cluster {
    /// `program` is the path of `list_member`; the members' directories are made below `directory`.
    pub fn start(program: &str, directory: &Path, settings: Settings) -> Cluster {
        let addresses = free_addresses(settings.members);
        let mut cluster = Cluster {
            program: program.to_string(),
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
        ];
        for (position, address) in self.addresses.iter().enumerate() {
            arguments.push(format!("{}={address}", position + 1));
        }
        let mut process = Process::start(&self.program, &arguments);
        let first = process.hear(PATIENCE);
        assert_eq!(first.as_deref(), Some("ready"), "member {} does not start", member + 1);
        self.members[member] = Some(process);
    }

    /// Proposes `count` entries at a member, each with a text of its own.
    pub fn put(&mut self, member: usize, count: u64) {
        let Some(process) = &mut self.members[member] else { return };
        for _ in 0..count {
            let text = format!("{}-{}", self.next_entry, member + 1);
            self.next_entry += 1;
            self.history.proposed(&text);
            if !process.say(&format!("put {text}")) {
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
        let deadline = Instant::now() + PATIENCE;
        let alive: Vec<usize> = (0..self.members.len()).filter(|m| self.is_running(*m)).collect();
        while self.history.unanswered(&alive) > 0 {
            assert!(
                Instant::now() < deadline,
                "{} proposals of running members were never answered",
                self.history.unanswered(&alive)
            );
            for member in &alive {
                let Some(process) = &mut self.members[*member] else { continue };
                if let Some(line) = process.hear(Duration::from_millis(5)) {
                    self.history.heard(&line);
                }
            }
            self.listen();
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

    /// Every member holds the same, and it is what the history allows. Returns how many entries that are.
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

/// Addresses on loopback that are free now. Another process may take one; the caller's start then fails and says so.
fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"))
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound").to_string())
        .collect()
}
