//! kv: a replicated key-value store, whole. The same program as `examples/c/kv.c`, which describes
//! how it is started and what clients may say; processes of both can form one cluster.
//!
//! Every process holds all keys in memory. Changes go through libraft, which hands them to each
//! process in the same order (`Store::apply`) and keeps them, as long as most of the processes
//! live. A client may talk to any of them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use libraft::logging::{set_log_listener, LogLevel, LogRecord};
use libraft::machine::{Apply, MachineError, MachineResult, Reply};
use libraft::{
    Change, Code, Completer, Completion, Error, Group, GroupOptions, InitialMember, MemberRole,
    Node, NodeOptions, Notice, Outcome, Role, StateMachine,
};

const KEY_BYTES_MAX: usize = 4095;
const LINE_BYTES_MAX: u64 = KEY_BYTES_MAX as u64 + 64;
/// An entry may have 8 MiB.
const VALUE_BYTES_MAX: usize = (8 << 20) - 2 * KEY_BYTES_MAX;
const CLIENTS_MAX: usize = 256;
const DUMP_TIMEOUT: Duration = Duration::from_secs(30);

// ---------------------------------------------------------------- the state

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

/// Changed by the callbacks of the state machine, read by the clients' threads.
#[derive(Default)]
struct State {
    items: Items,
    /// Of the last entry that is in `items`.
    applied_index: u64,
    snapshot_bytes: u64,
    installed_index: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    applied_changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What `dump` prints, and what a snapshot holds.
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "dump {} {}", self.applied_index, self.items.len())?;
        for (key, value) in &self.items {
            write!(out, "{} ", value.len())?;
            out.write_all(key)?;
            out.write_all(b"\n")?;
            out.write_all(value)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

// ---------------------------------------------------------------- the state machine

struct Store(Arc<Shared>);

impl StateMachine for Store {
    fn apply(&mut self, request: Apply) {
        let mut state = self.0.lock();
        let results = request.entries.iter().map(|entry| {
            let found = apply_entry(&mut state.items, &entry.data)?;
            state.applied_index = entry.index;
            Ok(Bytes::from_static(if found { b"1" } else { b"0" }))
        });
        let results = results.collect();
        drop(state);
        self.0.applied_changed.notify_all();
        request.reply.send(results);
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn Write + Send>, reply: Reply<()>) {
        reply.send(self.0.lock().print(&mut writer).map_err(MachineError::from));
    }

    /// The state is replaced when all of the snapshot is there, and not before.
    fn restore_snapshot(&mut self, reader: Box<dyn Read + Send>, reply: Reply<()>) {
        let restored = read_snapshot(&mut BufReader::new(reader)).map(|(applied_index, items)| {
            let mut state = self.0.lock();
            state.items = items;
            state.applied_index = applied_index;
            self.0.applied_changed.notify_all();
        });
        reply.send(restored.map_err(MachineError::from));
    }
}

/// An entry is 'P' or 'D', the key, a zero byte, and for 'P' the value. Returns whether a key that
/// was to be deleted was there.
fn apply_entry(items: &mut Items, data: &[u8]) -> MachineResult<bool> {
    // Better to stop than to differ from the others.
    let stranger = || MachineError::new("an entry is not kv's: who else is here?");
    let (kind, rest) = data.split_first().ok_or_else(stranger)?;
    let zero = rest.iter().position(|byte| *byte == 0).ok_or_else(stranger)?;
    let (key, value) = (&rest[..zero], &rest[zero + 1..]);
    match kind {
        b'P' => {
            items.insert(key.to_vec(), value.to_vec());
            Ok(true)
        }
        b'D' => Ok(items.remove(key).is_some()),
        _ => Err(stranger()),
    }
}

fn read_snapshot(input: &mut dyn BufRead) -> io::Result<(u64, Items)> {
    let first = read_line(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [b"dump", applied_index, count] = words[..] else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (applied_index, count) = (parse(applied_index), parse(count));
    let mut items = BTreeMap::new();
    for _ in 0..count.ok_or(io::ErrorKind::InvalidData)? {
        let line = read_line(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (length, key) = split_length(&line).ok_or(io::ErrorKind::InvalidData)?;
        let mut value = vec![0; length + 1];
        input.read_exact(&mut value)?;
        if value.pop() != Some(b'\n') {
            return Err(io::ErrorKind::InvalidData.into());
        }
        items.insert(key.to_vec(), value);
    }
    Ok((applied_index.ok_or(io::ErrorKind::InvalidData)?, items))
}

// ---------------------------------------------------------------- the requests of clients

struct Client<'a> {
    shared: &'a Shared,
    group: &'a Group,
    input: BufReader<TcpStream>,
}

/// An answer as it goes to the client. An error of `io` ends the connection.
type Answer = io::Result<Vec<u8>>;

impl Client<'_> {
    fn serve(&mut self) -> io::Result<()> {
        while let Some(line) = read_line(&mut self.input)? {
            // Empty is the line break that a person types behind a value.
            if !line.is_empty() {
                let answer = self.answer(&line)?;
                self.input.get_mut().write_all(&answer)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, line: &[u8]) -> Answer {
        let space = line.iter().position(|byte| *byte == b' ');
        let (verb, rest) = match space {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &b""[..]),
        };
        match (verb, rest.is_empty()) {
            (b"put", false) => self.put(rest),
            (b"del", false) => self.propose(b'D', rest, &[]),
            (b"get", false) => self.get(rest),
            (b"keys", true) => self.keys(),
            (b"dump", false) => self.dump(rest),
            (b"status", true) => Ok(self.status()),
            (b"members", true) => Ok(self.members()),
            (b"add" | b"promote" | b"remove", false) => Ok(self.change(verb, rest)),
            (b"transfer", false) => Ok(self.transfer(rest)),
            _ => Ok(refuse_request(
                "there are get, put, del, keys, dump, status, members, add, promote, remove and \
                 transfer",
            )),
        }
    }

    fn put(&mut self, rest: &[u8]) -> Answer {
        let Some((length, key)) = split_length(rest).filter(|(_, key)| !key.is_empty()) else {
            let usage = refuse_request("usage: put LENGTH KEY, then the bytes (8 MiB at most)");
            self.input.get_mut().write_all(&usage)?;
            // Where the next request begins cannot be known.
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut value = vec![0; length];
        self.input.read_exact(&mut value)?;
        self.propose(b'P', key, &value)
    }

    /// Proposes a change and waits until it is applied here.
    fn propose(&self, kind: u8, key: &[u8], value: &[u8]) -> Answer {
        let entry = [&[kind], key, b"\0", value].concat();
        Ok(match wait(|completer| self.group.propose(&entry, completer)) {
            Ok(done) if done.result[..] == *b"0" => b"none\n".to_vec(),
            Ok(done) => format!("ok {}\n", done.index).into_bytes(),
            Err(error) => refuse(&error),
        })
    }

    fn get(&self, key: &[u8]) -> Answer {
        // From here on, this process's own state has all that was acknowledged anywhere before.
        if let Err(error) = wait(|completer| self.group.read_index(completer)) {
            return Ok(refuse(&error));
        }
        let state = self.shared.lock();
        Ok(match state.items.get(key) {
            Some(value) => [format!("value {}\n", value.len()).as_bytes(), value, b"\n"].concat(),
            None => b"none\n".to_vec(),
        })
    }

    fn keys(&self) -> Answer {
        if let Err(error) = wait(|completer| self.group.read_index(completer)) {
            return Ok(refuse(&error));
        }
        let state = self.shared.lock();
        let mut answer = format!("keys {}\n", state.items.len()).into_bytes();
        for key in state.items.keys() {
            answer.extend_from_slice(key);
            answer.push(b'\n');
        }
        Ok(answer)
    }

    fn dump(&self, rest: &[u8]) -> Answer {
        let index = parse(rest).unwrap_or(0);
        let state = self.shared.lock();
        let waited = self
            .shared
            .applied_changed
            .wait_timeout_while(state, DUMP_TIMEOUT, |state| state.applied_index < index);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Ok(refuse_request("this process has not applied that index"));
        }
        let mut answer = Vec::new();
        state.print(&mut answer)?;
        Ok(answer)
    }

    fn status(&self) -> Vec<u8> {
        let now = match self.group.status() {
            Ok(now) => now,
            Err(error) => return refuse(&error),
        };
        let state = self.shared.lock();
        format!(
            "status role={} term={} leader={} first={} last={} commit={} applied={} keys={} \
             snapshot={} snapshot_bytes={} installed={}\n",
            role_name(now.role),
            now.term,
            now.leader.map_or(0, |leader| leader.node_id),
            now.first_index,
            now.last_index,
            now.commit_index,
            state.applied_index,
            state.items.len(),
            now.snapshot_index,
            state.snapshot_bytes,
            state.installed_index
        )
        .into_bytes()
    }

    fn members(&self) -> Vec<u8> {
        let members = match self.group.members() {
            Ok(members) => members,
            Err(error) => return refuse(&error),
        };
        let mut answer = format!("members {}\n", members.len());
        for member in members {
            let role = match member.role {
                MemberRole::Voter => "voter",
                MemberRole::Learner => "learner",
                MemberRole::Outgoing => "outgoing",
            };
            answer.push_str(&format!("{} {role} {}\n", member.node_id, member.address));
        }
        answer.into_bytes()
    }

    fn change(&self, verb: &[u8], rest: &[u8]) -> Vec<u8> {
        let (number, address) = match rest.iter().position(|byte| *byte == b' ') {
            Some(space) => (&rest[..space], &rest[space + 1..]),
            None => (rest, &b""[..]),
        };
        let node_id = parse(number).unwrap_or(0);
        let address = String::from_utf8_lossy(address).into_owned();
        let change = match verb {
            b"add" => Change::AddLearner { node_id, address },
            b"promote" => Change::Promote { node_id },
            _ => Change::Remove { node_id },
        };
        done(wait(|completer| self.group.change_membership(vec![change], completer)))
    }

    fn transfer(&self, rest: &[u8]) -> Vec<u8> {
        let to = parse(rest).unwrap_or(0);
        done(wait(|completer| self.group.transfer_leadership(to, completer)))
    }
}

/// Makes a call and waits for its completion.
fn wait(call: impl FnOnce(Completer) -> libraft::Result<()>) -> libraft::Result<Completion> {
    let (sender, receiver) = mpsc::sync_channel(1);
    call(Completer::quick(move |result| drop(sender.try_send(result))))?;
    let lost = |_| Err(Error::unknown(Code::Internal, "the call was not completed"));
    receiver.recv().unwrap_or_else(lost)
}

fn done(result: libraft::Result<Completion>) -> Vec<u8> {
    match result {
        Ok(_) => b"ok\n".to_vec(),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &Error) -> Vec<u8> {
    let outcome = if error.outcome == Outcome::Unknown { "unknown" } else { "rejected" };
    let retriable = if error.retriable() { "retriable" } else { "final" };
    format!("error {} {outcome} {retriable} {}\n", error.code, error.message).into_bytes()
}

fn refuse_request(message: &str) -> Vec<u8> {
    format!("error INVALID_ARGUMENT rejected final {message}\n").into_bytes()
}

/// A line without its end; `None` at the end of the input, and an error if it is too long.
fn read_line(input: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

fn parse(number: &[u8]) -> Option<u64> {
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// `LENGTH KEY`, if both can be.
fn split_length(line: &[u8]) -> Option<(usize, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(parse(&line[..space])?).ok()?;
    (length <= VALUE_BYTES_MAX).then_some((length, &line[space + 1..]))
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Forming => "forming",
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
        Role::Stopped => "stopped",
    }
}

// ---------------------------------------------------------------- threads and connections

fn accept_clients(listener: TcpListener, shared: Arc<Shared>, group: Group) {
    let clients = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        if clients.load(Ordering::SeqCst) >= CLIENTS_MAX {
            continue; // closes it
        }
        clients.fetch_add(1, Ordering::SeqCst);
        let (shared, group, counted) = (shared.clone(), group.clone(), clients.clone());
        let serving = std::thread::Builder::new().spawn(move || {
            let _ = connection.set_nodelay(true);
            let input = BufReader::new(connection);
            // Whatever ends it, the client is gone.
            let _ = Client { shared: &shared, group: &group, input }.serve();
            counted.fetch_sub(1, Ordering::SeqCst);
        });
        if serving.is_err() {
            clients.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// What the library tells of itself: on one thread, in order.
fn on_event(shared: &Shared, notice: Notice) {
    match notice {
        Notice::Role { role, term } => println!("kv: {} in term {term}", role_name(role)),
        Notice::SnapshotTaken { bytes, .. } => shared.lock().snapshot_bytes = bytes,
        Notice::SnapshotInstalled { index } => {
            shared.lock().installed_index = index;
            println!("kv: installed a snapshot of index {index}");
        }
        Notice::Failed => println!("kv: the group is out of service on this node"),
        _ => {}
    }
}

// ---------------------------------------------------------------- the program

struct Options {
    node: NodeOptions,
    group: GroupOptions,
    port: u16,
}

fn read_options(arguments: &[String]) -> Option<Options> {
    let mut node = NodeOptions { cluster: "kv".to_string(), ..NodeOptions::default() };
    let mut group = GroupOptions { group_id: 1, ..GroupOptions::default() };
    let mut port = 0;
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--node" => node.node_id = value.parse().ok()?,
            "--directory" => node.directory = value.into(),
            "--listen" => node.listen_address = value.clone(),
            "--clients" => port = value.parse().ok()?,
            "--cluster" => node.cluster = value.clone(),
            "--snapshot-entries" => group.snapshot_entries = value.parse().ok()?,
            "--retained-entries" => group.retained_entries = value.parse().ok()?,
            "--member" => {
                let (node_id, address) = value.split_once('=')?;
                let (node_id, address) = (node_id.parse().ok()?, address.to_string());
                group.initial_members.push(InitialMember { node_id, address });
            }
            _ => return None,
        }
    }
    let complete = node.directory.components().next().is_some() && port != 0;
    complete.then_some(Options { node, group, port })
}

fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // Before there is any thread: the signals that end the program are waited for below.
    let ending = block_ending_signals();
    let log = |record: &LogRecord| eprintln!("kv: {}: {}", record.target, record.message);
    set_log_listener(LogLevel::Info, Some(Arc::new(log)))?;
    let node_id = options.node.node_id;
    let node = Node::open(options.node)?;
    let shared = Arc::<Shared>::default();
    let group = node.start_group(options.group, Box::new(Store(shared.clone())))?;
    let listening = shared.clone();
    group.set_listener(Some(Box::new(move |notice| on_event(&listening, notice))))?;

    let listener = TcpListener::bind(("127.0.0.1", options.port))?;
    std::thread::spawn(move || accept_clients(listener, shared, group));
    println!("kv: node {node_id} serves clients on port {}", options.port);

    let mut signal = 0;
    // SAFETY: the set was filled in, and `signal` is valid for writing.
    unsafe { libc::sigwait(&ending, &mut signal) };
    node.close()?;
    println!("kv: closed");
    Ok(())
}

fn block_ending_signals() -> libc::sigset_t {
    let mut ending = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigemptyset` fills the set in, and the other calls read it.
    unsafe {
        libc::sigemptyset(ending.as_mut_ptr());
        libc::sigaddset(ending.as_mut_ptr(), libc::SIGTERM);
        libc::sigaddset(ending.as_mut_ptr(), libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_BLOCK, ending.as_ptr(), std::ptr::null_mut());
        ending.assume_init()
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--version"] {
        println!("kv with libraft {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let Some(options) = read_options(&arguments) else {
        eprintln!(
            "usage: kv-rust --node N --directory DIR --listen HOST:PORT --clients PORT\n         \
             [--member N=HOST:PORT ...] [--cluster NAME]\n         \
             [--snapshot-entries N] [--retained-entries N]"
        );
        return ExitCode::from(2);
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv: {error}");
            ExitCode::FAILURE
        }
    }
}
