//! The processes of the demo: their ports, folders, lives and ends.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{Client, Status};
use crate::confine::Confinement;
use crate::Failure;

/// How long anything may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const CLUSTER: &str = "demo";
/// Small enough for snapshots to be taken, and the log to be cut, while a few hundred files go by.
const SNAPSHOT_ENTRIES: u32 = 25;
const RETAINED_ENTRIES: u32 = 5;

pub struct Node {
    pub id: u64,
    pub raft: SocketAddr,
    pub client: SocketAddr,
    /// The program that it runs, with the arguments that come first.
    pub program: Vec<String>,
    process: Option<Child>,
    /// Hold the two ports while the process is down, so that nobody else gets them.
    _reservations: [OwnedFd; 2],
}

/// The nodes. Processes are started by the thread that made this, and die with it.
pub struct Cluster {
    folder: PathBuf,
    pub nodes: Vec<Node>,
    confinement: Option<Arc<Confinement>>,
}

impl Cluster {
    /// `folder` is empty and gets the program and the nodes' data.
    pub fn of_one_program(folder: &Path, program: &Path, count: usize) -> Result<Cluster, Failure> {
        fs::copy(program, folder.join("kv"))
            .map_err(|error| Failure(format!("cannot copy {}: {error}", program.display())))?;
        Cluster::of_programs(folder, &vec!["./kv".to_owned(); count])
    }

    /// A node for each command; `folder` is empty and gets the nodes' data.
    pub fn of_programs(folder: &Path, programs: &[String]) -> Result<Cluster, Failure> {
        let nodes = (1..).zip(programs).map(|(id, program)| Node::new(id, program));
        let nodes = nodes.collect::<io::Result<Vec<Node>>>();
        let nodes = nodes.map_err(|error| Failure(format!("cannot reserve a port: {error}")))?;
        Ok(Cluster { folder: folder.to_owned(), nodes, confinement: None })
    }

    /// Whether the nodes run different programs.
    pub fn is_mixed(&self) -> bool {
        self.nodes.iter().any(|node| node.program != self.nodes[0].program)
    }

    pub fn node(&self, id: u64) -> &Node {
        &self.nodes[id as usize - 1]
    }

    /// Starts a process; `members` are those that form the cluster, none for a newcomer.
    pub fn start(&mut self, id: u64, members: &[u64]) -> Result<(), Failure> {
        let command = self.command(id, members);
        let child = command.and_then(|mut command| command.spawn());
        let child = child.map_err(|error| Failure(format!("cannot start node {id}: {error}")))?;
        self.nodes[id as usize - 1].process = Some(child);
        Ok(())
    }

    /// From now on, processes are started without access to `tree`. Returns how, or None if this
    /// machine has no way. Programs of several languages lie in the tree themselves, and need it.
    pub fn confine(&mut self, tree: &Path, probe: &Path) -> Option<&'static str> {
        if self.is_mixed() {
            return None;
        }
        for candidate in Confinement::candidates(tree, probe, &self.folder) {
            let candidate = Arc::new(candidate);
            let entering = candidate.clone();
            let mut trial = Command::new("./kv");
            trial.arg("--version").current_dir(&self.folder).stdout(Stdio::null());
            // SAFETY: `enter` only makes system calls.
            unsafe { trial.pre_exec(move || entering.enter()) };
            if trial.status().is_ok_and(|status| status.success()) {
                let name = candidate.name();
                self.confinement = Some(candidate);
                return Some(name);
            }
        }
        None
    }

    fn command(&self, id: u64, members: &[u64]) -> io::Result<Command> {
        let node = self.node(id);
        let log_path = self.folder.join(format!("node-{id}.log"));
        let log = File::options().create(true).append(true).open(log_path)?;
        let mut command = Command::new(&node.program[0]);
        command
            .current_dir(&self.folder)
            .args(&node.program[1..])
            .args(["--cluster", CLUSTER, "--node", &id.to_string()])
            .args(["--directory", &format!("node-{id}")])
            .args(["--listen", &node.raft.to_string()])
            .args(["--clients", &node.client.port().to_string()])
            .args(["--snapshot-entries", &SNAPSHOT_ENTRIES.to_string()])
            .args(["--retained-entries", &RETAINED_ENTRIES.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for member in members {
            command.args(["--member", &format!("{member}={}", self.node(*member).raft)]);
        }
        let parent = std::process::id();
        let confinement = self.confinement.clone();
        // SAFETY: the closure runs between fork and exec and only makes system calls.
        unsafe {
            command.pre_exec(move || {
                if let Some(confinement) = &confinement {
                    confinement.enter()?;
                }
                // Behind the confinement, because a change of user namespace resets it.
                die_with_parent(parent)
            });
        }
        Ok(command)
    }

    /// Waits until `condition` holds for one of `ids`, and returns which.
    pub fn wait_for(
        &mut self,
        what: &str,
        ids: &[u64],
        condition: impl Fn(&Status) -> bool,
    ) -> Result<(u64, Status), Failure> {
        let started = Instant::now();
        let mut clients: Vec<Option<Client>> = ids.iter().map(|_| None).collect();
        let mut latest = String::new();
        loop {
            for (id, client) in ids.iter().zip(&mut clients) {
                self.check_alive(*id)?;
                if client.is_none() {
                    *client = Client::connect(self.node(*id).client).ok();
                }
                match client.as_mut().map(Client::status) {
                    Some(Ok(status)) if condition(&status) => return Ok((*id, status)),
                    Some(Ok(status)) => {
                        latest = format!("node {id} is {}", status.text("role"));
                    }
                    Some(Err(error)) => {
                        latest = format!("node {id}: {error}");
                        *client = None;
                    }
                    None => latest = format!("node {id} does not answer"),
                }
            }
            if started.elapsed() > PATIENCE {
                let waited = PATIENCE.as_secs();
                return Err(Failure(format!("waited {waited} s for {what}; at last {latest}")));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    pub fn wait_for_leader(&mut self, ids: &[u64]) -> Result<(u64, Status), Failure> {
        self.wait_for("a leader", ids, |status| status.text("role") == "leader")
    }

    fn check_alive(&mut self, id: u64) -> Result<(), Failure> {
        let node = &mut self.nodes[id as usize - 1];
        match node.process.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            Some(Ok(Some(status))) => Err(Failure(format!(
                "node {id} ended with {status}; its last words:\n{}",
                self.last_words(id)
            ))),
            Some(Err(error)) => Err(Failure(format!("cannot watch node {id}: {error}"))),
            None => Err(Failure(format!("node {id} was not started"))),
        }
    }

    fn last_words(&self, id: u64) -> String {
        let log = fs::read(self.folder.join(format!("node-{id}.log"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// SIGKILL, as a crash would be.
    pub fn kill(&mut self, id: u64) -> Result<(), Failure> {
        let node = &mut self.nodes[id as usize - 1];
        if let Some(mut child) = node.process.take() {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(|error| Failure(format!("cannot kill node {id}: {error}")))?;
        }
        Ok(())
    }

    /// SIGTERM to all, and each must end by itself, in order.
    pub fn stop_all(&mut self) -> Result<(), Failure> {
        for node in &self.nodes {
            if let Some(child) = &node.process {
                // SAFETY: a system call without pointers; the child was not waited for yet.
                unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
            }
        }
        let started = Instant::now();
        for node in &mut self.nodes {
            let Some(child) = &mut node.process else { continue };
            let status = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break status,
                    Ok(None) if started.elapsed() < PATIENCE => std::thread::sleep(POLL_INTERVAL),
                    Ok(None) => {
                        return Err(Failure(format!("node {} does not stop on SIGTERM", node.id)))
                    }
                    Err(error) => {
                        return Err(Failure(format!("cannot wait for node {}: {error}", node.id)))
                    }
                }
            };
            node.process = None;
            if !status.success() {
                let how = match status.signal() {
                    Some(signal) => format!("by signal {signal}"),
                    None => status.to_string(),
                };
                return Err(Failure(format!("node {} did not stop cleanly, but {how}", node.id)));
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.process {
                // Nothing is left to do about an error: the process dies with this one at the
                // latest.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Node {
    fn new(id: u64, program: &str) -> io::Result<Node> {
        let program = program.split(' ').map(str::to_owned).collect();
        let (raft, raft_reservation) = reserve_port()?;
        let (client, client_reservation) = reserve_port()?;
        let reservations = [raft_reservation, client_reservation];
        Ok(Node { id, raft, client, program, process: None, _reservations: reservations })
    }
}

/// Finds a free port of the loopback address and keeps it: a socket that is bound, with
/// SO_REUSEADDR, but does not listen keeps the kernel from giving the port away, and lets a
/// listener that asks for it by number have it.
fn reserve_port() -> io::Result<(SocketAddr, OwnedFd)> {
    // SAFETY: system calls on a descriptor owned here and structs that live during the calls; an
    // all-zero `sockaddr_in` is valid.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let fd = socket.as_raw_fd();
        let yes: libc::c_int = 1;
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        let value = (&raw const yes).cast();
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        if libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, value, size) != 0
            || libc::bind(fd, (&raw const address).cast(), length) != 0
            || libc::getsockname(fd, (&raw mut address).cast(), &mut length) != 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok((SocketAddr::from(([127, 0, 0, 1], u16::from_be(address.sin_port))), socket))
    }
}

/// The kernel kills the calling process when the thread that made it ends. `parent` is the process
/// expected to be it.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: system calls without pointers.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have gone before the call. In another process namespace it would have
        // another number; none is entered here.
        if libc::getppid() as u32 != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
    Ok(())
}
