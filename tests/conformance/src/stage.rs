//! Where one run of a scenario takes place: the nodes' folders, ports and processes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use crate::expectation::describe;
use crate::lineup::Driver;
use crate::pool::Pool;
use crate::port::Port;
use crate::process::{Answer, Process};
use crate::relay::Relay;
use crate::scenario::Settings;
use crate::Outcome;

/// How long an answer may take. Only what hangs ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Codes of callbacks that failed.
const CALLBACK_FAILURES: &[&str] =
    &["APPLY_FAILED", "OPEN_FAILED", "SAVE_FAILED", "RESTORE_FAILED", "SYNC_FAILED"];

pub struct Stage<'a> {
    pub settings: Settings,
    /// The languages of the nodes: the first is node 1's, and so on around.
    pub drivers: Vec<Driver>,
    folder: PathBuf,
    pool: &'a mut Pool,
    places: BTreeMap<u64, Place>,
    /// By node, or all under 0 when they are together.
    processes: BTreeMap<u64, Process>,
    /// Nodes that were opened and are still held by their process.
    opened: BTreeSet<u64>,
    occupied: Vec<TcpListener>,
}

struct Place {
    port: Port,
    relay: Option<Relay>,
}

impl<'a> Stage<'a> {
    pub fn new(
        settings: Settings,
        drivers: Vec<Driver>,
        folder: PathBuf,
        pool: &'a mut Pool,
    ) -> Outcome<Stage<'a>> {
        std::fs::create_dir_all(&folder)?;
        Ok(Stage {
            settings,
            drivers,
            folder,
            pool,
            places: BTreeMap::new(),
            processes: BTreeMap::new(),
            opened: BTreeSet::new(),
            occupied: Vec::new(),
        })
    }

    pub fn driver(&self, node: u64) -> &Driver {
        &self.drivers[(node as usize).saturating_sub(1) % self.drivers.len()]
    }

    /// The node's data directory.
    pub fn directory(&self, node: u64) -> PathBuf {
        self.folder.join(format!("node-{node}"))
    }

    /// The folder of the node's on-disk machine of a group, which is made.
    pub fn state(&self, node: u64, group: &str) -> Outcome<PathBuf> {
        let folder = self.folder.join(format!("state-{node}-{group}"));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub fn listen_address(&mut self, node: u64) -> Outcome<SocketAddr> {
        Ok(self.place(node)?.port.address)
    }

    /// Where other nodes reach it.
    pub fn address(&mut self, node: u64) -> Outcome<SocketAddr> {
        let place = self.place(node)?;
        Ok(place.relay.as_ref().map_or(place.port.address, |relay| relay.address))
    }

    pub fn relay(&mut self, node: u64) -> Outcome<&Relay> {
        self.place(node)?.relay.as_ref().ok_or_else(|| "the scenario has no relays".into())
    }

    /// The process of a node; a new one if there is none.
    pub fn process(&mut self, node: u64) -> Outcome<&mut Process> {
        let key = self.key(node);
        if !self.processes.contains_key(&key) {
            let driver = self.driver(node).clone();
            let process = self.pool.take(&driver)?;
            self.processes.insert(key, process);
        }
        self.processes.get_mut(&key).ok_or_else(|| "the process is gone".into())
    }

    pub fn ask(&mut self, node: u64, request: &str) -> Outcome<u64> {
        self.process(node)?.ask(request)
    }

    pub fn wait(&mut self, node: u64, request: u64) -> Outcome<Answer> {
        self.process(node)?.wait(request, PATIENCE)
    }

    pub fn call(&mut self, node: u64, request: &str) -> Outcome<Answer> {
        self.process(node)?.call(request, PATIENCE)
    }

    /// Keeps account of what must be closed and destroyed in the end.
    pub fn note(&mut self, node: u64, command: &str, answer: &Answer) -> Outcome<()> {
        match command {
            "open" if answer.ok => {
                self.opened.insert(node);
            }
            "close" if answer.ok => {
                self.opened.remove(&node);
            }
            "start_group" => {
                let process = self.process(node)?;
                process.attempted += 1;
                process.started += u64::from(answer.ok);
            }
            _ => {}
        }
        Ok(())
    }

    /// As a crash would: SIGKILL.
    pub fn kill(&mut self, node: u64) {
        self.processes.remove(&self.key(node));
        let together = self.settings.together;
        self.opened.retain(|opened| !together && *opened != node);
    }

    pub fn wipe(&self, node: u64) -> Outcome<()> {
        Ok(std::fs::remove_dir_all(self.directory(node))?)
    }

    /// Listens where the node wants to.
    pub fn occupy(&mut self, node: u64) -> Outcome<()> {
        let address = self.listen_address(node)?;
        self.occupied.push(TcpListener::bind(address)?);
        Ok(())
    }

    /// Closes what is open, checks that every machine was destroyed once, and gives the processes back.
    pub fn clear(mut self) -> Outcome<()> {
        let mut closing = Vec::new();
        for node in std::mem::take(&mut self.opened) {
            closing.push((node, self.ask(node, &format!("close node={node} how=wait"))?));
        }
        for (node, request) in closing {
            let answer = self.wait(node, request)?;
            // A binding tells at the close what a callback threw; the node is closed all the same.
            let code = answer.words.get("code").unwrap_or_default();
            if !answer.ok && !CALLBACK_FAILURES.contains(&code) {
                return Err(format!("node {node} does not close: {}", describe(&answer)).into());
            }
        }
        for (_, mut process) in std::mem::take(&mut self.processes) {
            check_destroyed(&mut process)?;
            process.forget_events();
            self.pool.give_back(process);
        }
        // What is left of a run that went well is of no use.
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }

    fn key(&self, node: u64) -> u64 {
        if self.settings.together {
            0
        } else {
            node
        }
    }

    fn place(&mut self, node: u64) -> Outcome<&mut Place> {
        if !self.places.contains_key(&node) {
            let port = Port::reserve()?;
            let relay = self.settings.relays.then(|| Relay::start(port.address)).transpose()?;
            self.places.insert(node, Place { port, relay });
        }
        self.places.get_mut(&node).ok_or_else(|| "the node has no place".into())
    }
}

/// A group that could not be started may or may not have taken its machine over.
fn check_destroyed(process: &mut Process) -> Outcome<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = process.call("destroyed", PATIENCE)?;
        let count = answer.words.get("count").and_then(|count| count.parse::<u64>().ok());
        let (started, attempted) = (process.started, process.attempted);
        match count {
            Some(count) if (started..=attempted).contains(&count) => return Ok(()),
            // A node that was forgotten closes in its own time.
            Some(count) if count < started && std::time::Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => {
                return Err(process
                    .explain(&format!(
                        "{started} machines were started, and {count:?} destroyed: {answer:?}"
                    ))
                    .into())
            }
        }
    }
}
