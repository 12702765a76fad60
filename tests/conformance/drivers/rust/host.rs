//! The nodes and groups of this process, and what the commands do with them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libraft::logging::{set_log_listener, LogLevel};
use libraft::machine::MachineKind;
use libraft::{
    BatchCompleter, Change, Completer, Completion, Error, Group, GroupOptions, InitialMember, Node,
    NodeOptions,
};
use libraft_conformance::words::{hex, unhex, Words};

use crate::line::{self, answer, node_at, number, outcome_name, Answer, Request};
use crate::machine::{CloseInCallback, Form, LedgerMachine, Shared, DESTROYED};
use crate::status;

static LOGGED: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
pub struct Host {
    nodes: Mutex<HashMap<u64, Node>>,
    groups: Mutex<HashMap<(u64, u64), Started>>,
}

#[derive(Clone)]
struct Started {
    group: Group,
    machine: Arc<Shared>,
}

impl Host {
    /// Starts what the line asks for. What blocks its thread gets one of its own.
    pub fn serve(self: &Arc<Host>, request: Request) {
        let host = self.clone();
        match request.command.as_str() {
            "open" => spawn(request, move |request| host.open(request)),
            "wait_ready" => spawn(request, move |request| {
                let timeout = Duration::from_millis(request.number("timeout_ms")?);
                host.started(request)?.group.wait_ready(timeout)?;
                Ok(Words::default())
            }),
            "stop" => spawn(request, move |request| {
                host.started(request)?.group.stop()?;
                Ok(Words::default())
            }),
            "close" => self.close(request),
            "propose" => self.propose(request),
            "propose_batch" => self.propose_batch(request),
            "read_index" | "transfer_leadership" | "take_snapshot" | "change_membership" => {
                self.call(request)
            }
            "read" => self.read(request),
            "close_in_callback" => self.close_in_callback(request),
            _ => {
                let result = self.at_once(&request);
                answer(&request.id, result);
            }
        }
    }

    /// Commands that have their answer at once.
    fn at_once(&self, request: &Request) -> Answer {
        let mut words = Words::default();
        match request.command.as_str() {
            "version" => words.push("version", env!("CARGO_PKG_VERSION")),
            "start_group" => self.start_group(request)?,
            "dump" => {
                let ledger = self.started(request)?.machine.ledger();
                words.push("applied", ledger.applied);
                words.push("count", ledger.count);
                words.push("hash", ledger.hash);
                words.push("keys", ledger.items.len());
            }
            "node_status" => return status::of_node(&self.node(request)?),
            "group_status" => return status::of_group(&self.started(request)?.group),
            "members" => return status::of_members(&self.started(request)?.group),
            "events" => self.set_events(request)?,
            "machine" => self.set_machine(request)?,
            "destroyed" => words.push("count", DESTROYED.load(Ordering::SeqCst)),
            "log" => set_log(request.text("level")?)?,
            "logged" => words.push("count", LOGGED.load(Ordering::SeqCst)),
            command => return Err(format!("there is no command '{command}'").into()),
        }
        Ok(words)
    }

    fn open(&self, request: &Request) -> Answer {
        let mut options = NodeOptions {
            cluster: request.text("cluster")?.to_string(),
            node_id: request.number("node")?,
            directory: PathBuf::from(request.hex_text("directory")?.unwrap_or_default()),
            insecure_transport: request.get("insecure") == Some("1"),
            ..NodeOptions::default()
        };
        if let Some(address) = request.hex_text("listen")? {
            options.listen_address = address;
        }
        if let Some(address) = request.hex_text("advertise")? {
            options.advertised_address = address;
        }
        request.set("tick_ms", &mut options.tick_ms)?;
        request.set("election_ticks", &mut options.election_ticks)?;
        request.set("heartbeat_ticks", &mut options.heartbeat_ticks)?;
        request.set("segment_bytes", &mut options.segment_bytes)?;
        let node_id = options.node_id;
        let node = Node::open(options)?;
        let mut words = Words::default();
        words.push("address", hex(node.status()?.address.as_bytes()));
        lock(&self.nodes).insert(node_id, node);
        Ok(words)
    }

    fn start_group(&self, request: &Request) -> Result<(), line::Failure> {
        let mut options = GroupOptions { group_id: request.number("group")?, ..Default::default() };
        for member in request.list("members")? {
            let (node_id, address) = node_at(member)?;
            options.initial_members.push(InitialMember { node_id, address });
        }
        request.set("proposal_bytes_max", &mut options.proposal_bytes_max)?;
        request.set("pending_bytes_max", &mut options.pending_bytes_max)?;
        request.set("pending_count_max", &mut options.pending_count_max)?;
        request.set("snapshot_entries", &mut options.snapshot_entries)?;
        request.set("snapshot_log_bytes", &mut options.snapshot_log_bytes)?;
        request.set("retained_entries", &mut options.retained_entries)?;
        request.set("proposal_timeout_ms", &mut options.proposal_timeout_ms)?;
        request.set("snapshot_transfer_timeout_ms", &mut options.snapshot_transfer_timeout_ms)?;
        request.set("snapshot_restore_timeout_ms", &mut options.snapshot_restore_timeout_ms)?;
        let kind = match request.text("machine")? {
            "memory" => MachineKind::InMemory,
            "concurrent" => MachineKind::Concurrent,
            "disk" => MachineKind::OnDisk,
            kind => return Err(format!("there is no machine '{kind}'").into()),
        };
        let form = Form {
            kind,
            asynchronous: request.get("style") == Some("async"),
            quick: request.get("quick") == Some("1"),
            folder: PathBuf::from(request.hex_text("state")?.unwrap_or_default()),
        };
        let (machine, shared) = LedgerMachine::new(form);
        if let Some(callback) = request.get("fail") {
            shared.set_fail(callback);
        }
        let group = self.node(request)?.start_group(options, Box::new(machine))?;
        let key = (request.number("node")?, request.number("group")?);
        lock(&self.groups).insert(key, Started { group, machine: shared });
        Ok(())
    }

    fn propose(&self, request: Request) {
        let (id, completer) = completing(&request, |completion| {
            let mut words = Words::default();
            words.push("index", completion.index);
            words.push("term", completion.term);
            words.push("result", hex(&completion.result));
            words
        });
        refused(&id, || {
            let data = request.bytes("data")?;
            Ok(self.started(&request)?.group.propose(&data, completer)?)
        });
    }

    fn propose_batch(&self, request: Request) {
        let id = request.id.clone();
        let completer = BatchCompleter::new(move |results| {
            let mut words = Words::default();
            for result in results {
                words.push(
                    "r",
                    match result {
                        Ok(done) => format!("{}:{}:{}", done.index, done.term, hex(&done.result)),
                        Err(error) => {
                            format!("{}:{}", error.code, outcome_name(error.outcome))
                        }
                    },
                );
            }
            answer(&id, Ok(words));
        });
        refused(&request.id, || {
            let mut data = Vec::new();
            let mut offsets = vec![0];
            for entry in request.text("data")?.split(',') {
                data.extend(unhex(entry)?);
                offsets.push(data.len());
            }
            Ok(self.started(&request)?.group.propose_batch(&data, &offsets, completer)?)
        });
    }

    /// The calls that complete with an index, or with nothing.
    fn call(&self, request: Request) {
        let has_index = matches!(request.command.as_str(), "read_index" | "take_snapshot");
        let (id, completer) = completing(&request, move |completion| {
            let mut words = Words::default();
            if has_index {
                words.push("index", completion.index);
            }
            words
        });
        refused(&id, || {
            let group = self.started(&request)?.group;
            let accepted = match request.command.as_str() {
                "read_index" => group.read_index(completer),
                "take_snapshot" => group.take_snapshot(completer),
                "transfer_leadership" => {
                    group.transfer_leadership(request.number("to")?, completer)
                }
                _ => {
                    let steps = request.list("steps")?;
                    let steps: Result<Vec<Change>, String> = steps.into_iter().map(step).collect();
                    group.change_membership(steps?, completer)
                }
            };
            Ok(accepted?)
        });
    }

    fn read(&self, request: Request) {
        refused(&request.id, || {
            let key = request.bytes("key")?;
            let started = self.started(&request)?;
            let machine = started.machine;
            let (_, completer) = completing(&request, move |completion| {
                let value = machine.value(&key);
                let mut words = Words::default();
                words.push("index", completion.index);
                words.push("found", u8::from(value.is_some()));
                words.push("value", hex(&value.unwrap_or_default()));
                words
            });
            Ok(started.group.read_index(completer)?)
        });
    }

    fn close(&self, request: Request) {
        let node = match self.node(&request) {
            Ok(node) => node,
            Err(message) => return answer(&request.id, Err(message.into())),
        };
        match request.get("how") {
            Some("async") => {
                let id = request.id.clone();
                node.close_async(Box::new(move |result| {
                    answer(&id, result.map(|()| Words::default()).map_err(Into::into));
                }));
            }
            Some("forget") => {
                let node_id = request.number("node").unwrap_or_default();
                lock(&self.nodes).remove(&node_id);
                lock(&self.groups).retain(|(of, _), _| *of != node_id);
                drop(node);
                answer(&request.id, Ok(Words::default()));
            }
            _ => spawn(request, move |_| {
                node.close()?;
                Ok(Words::default())
            }),
        }
    }

    fn close_in_callback(&self, request: Request) {
        let id = request.id.clone();
        refused(&request.id, || {
            let node = self.node(&request)?;
            let tell = Box::new(move |result: Result<(), Error>| {
                let mut words = Words::default();
                words.push(
                    "code",
                    result.map_or_else(|error| error.code.to_string(), |()| "OK".into()),
                );
                answer(&id, Ok(words));
            });
            self.started(&request)?.machine.close_in_next_apply(CloseInCallback { node, tell });
            Ok(())
        });
    }

    fn set_events(&self, request: &Request) -> Result<(), line::Failure> {
        let node_id = request.number("node")?;
        let group_id = request.number("group")?;
        let on = request.text("on")? == "1";
        let listener = move |notice| line::say(&status::event(node_id, group_id, &notice));
        self.started(request)?.group.set_listener(if on {
            Some(Box::new(listener))
        } else {
            None
        })?;
        Ok(())
    }

    fn set_machine(&self, request: &Request) -> Result<(), line::Failure> {
        let machine = self.started(request)?.machine;
        if request.get("block_ms").is_some() {
            machine.set_block(Duration::from_millis(request.number("block_ms")?));
        }
        if let Some(callback) = request.get("fail") {
            machine.set_fail(callback);
        }
        if let Some(callback) = request.get("pend") {
            machine.set_pend(callback);
        }
        if request.get("release") == Some("1") {
            machine.release();
        }
        Ok(())
    }

    fn node(&self, request: &Request) -> Result<Node, String> {
        let node_id = request.number("node")?;
        let node = lock(&self.nodes).get(&node_id).cloned();
        node.ok_or_else(|| format!("there is no node {node_id} here"))
    }

    fn started(&self, request: &Request) -> Result<Started, String> {
        let key = (request.number("node")?, request.number("group")?);
        let started = lock(&self.groups).get(&key).cloned();
        started.ok_or_else(|| format!("there is no group {} on node {} here", key.1, key.0))
    }
}

/// Answers from a thread of its own.
fn spawn(request: Request, command: impl FnOnce(&Request) -> Answer + Send + 'static) {
    std::thread::spawn(move || answer(&request.id, command(&request)));
}

/// A completer that answers the request.
fn completing(
    request: &Request,
    words: impl FnOnce(Completion) -> Words + Send + 'static,
) -> (String, Completer) {
    let id = request.id.clone();
    let completer = Completer::new(move |result| {
        answer(&id, result.map(words).map_err(Into::into));
    });
    (request.id.clone(), completer)
}

/// Answers if the call was refused: then its completer is never called.
fn refused(id: &str, call: impl FnOnce() -> Result<(), line::Failure>) {
    if let Err(failure) = call() {
        answer(id, Err(failure));
    }
}

fn step(text: &str) -> Result<Change, String> {
    let (verb, operand) = text.split_once(':').ok_or_else(|| format!("'{text}' is no step"))?;
    let at = || node_at(operand);
    Ok(match verb {
        "add_learner" => at().map(|(node_id, address)| Change::AddLearner { node_id, address })?,
        "add_voter" => at().map(|(node_id, address)| Change::AddVoter { node_id, address })?,
        "set_address" => at().map(|(node_id, address)| Change::SetAddress { node_id, address })?,
        "promote" => Change::Promote { node_id: number(operand)? },
        "demote" => Change::Demote { node_id: number(operand)? },
        "remove" => Change::Remove { node_id: number(operand)? },
        _ => return Err(format!("there is no step '{verb}'")),
    })
}

fn set_log(level: &str) -> Result<(), line::Failure> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let level = levels
        .iter()
        .position(|name| *name == level)
        .and_then(|number| LogLevel::from_number(number as i32))
        .ok_or_else(|| format!("there is no level '{level}'"))?;
    let count = |_: &libraft::logging::LogRecord| {
        LOGGED.fetch_add(1, Ordering::SeqCst);
    };
    Ok(set_log_listener(level, Some(Arc::new(count)))?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
