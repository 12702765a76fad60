//! Machines that answer later, from a thread of their own: an event loop or an interpreter with a lock needs no thread
//! of the library's for each callback.

mod support;

use std::io::{Read, Write};
use std::sync::{mpsc, Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use libraft::machine::{Apply, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply};
use libraft::{
    BatchCompleter, Code, Group, GroupOptions, InitialMember, Node, Outcome, StateMachine,
};
use support::{
    completer, eventually, group_options, keeping_nothing, members_of, node_options, propose,
    propose_many, status, take_snapshot, Folder, PATIENCE,
};

/// A request that was handed over.
enum Request {
    Open(Reply<Opened>),
    Apply(Apply),
    Sync(Reply<()>),
    Prepare(Reply<Box<dyn PreparedSnapshot>>),
    Save(Box<dyn Write + Send>, Reply<()>),
    Restore(Box<dyn Read + Send>, Reply<()>),
}

/// Hands every request over, and returns at once.
struct Deferring {
    kind: MachineKind,
    requests: mpsc::Sender<Request>,
}

impl Deferring {
    fn hand_over(&self, request: Request) {
        // A request that nobody takes any more is dropped here, unanswered.
        let _ = self.requests.send(request);
    }
}

impl StateMachine for Deferring {
    fn kind(&self) -> MachineKind {
        self.kind
    }

    fn open(&mut self, reply: Reply<Opened>) {
        self.hand_over(Request::Open(reply));
    }

    fn apply(&mut self, request: Apply) {
        self.hand_over(Request::Apply(request));
    }

    fn sync(&mut self, reply: Reply<()>) {
        self.hand_over(Request::Sync(reply));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        self.hand_over(Request::Prepare(reply));
    }

    fn save_snapshot(&mut self, writer: Box<dyn Write + Send>, reply: Reply<()>) {
        self.hand_over(Request::Save(writer, reply));
    }

    fn restore_snapshot(&mut self, reader: Box<dyn Read + Send>, reply: Reply<()>) {
        self.hand_over(Request::Restore(reader, reply));
    }
}

fn deferring(kind: MachineKind) -> (Box<Deferring>, mpsc::Receiver<Request>) {
    let (requests, receiver) = mpsc::channel();
    (Box::new(Deferring { kind, requests }), receiver)
}

/// The program's own thread, and the state that only it touches.
struct Program {
    thread: JoinHandle<Vec<Bytes>>,
    names: Arc<Mutex<Vec<&'static str>>>,
}

impl Program {
    /// Answers every request in the order in which they came, until the machine is gone. `state` is what an on-disk
    /// machine would have kept.
    fn start(requests: mpsc::Receiver<Request>, state: Vec<Bytes>, applied_index: u64) -> Program {
        let names = Arc::new(Mutex::new(Vec::new()));
        let of_thread = names.clone();
        let thread = std::thread::spawn(move || {
            let mut state = state;
            for request in requests {
                of_thread.lock().unwrap().push(name(&request));
                answer(request, &mut state, applied_index);
            }
            state
        });
        Program { thread, names }
    }

    fn saw(&self, name: &str) -> bool {
        self.names.lock().unwrap().contains(&name)
    }

    /// The state at the end; the machine must be gone.
    fn end(self) -> Vec<Bytes> {
        self.thread.join().unwrap()
    }
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::Open(_) => "open",
        Request::Apply(_) => "apply",
        Request::Sync(_) => "sync",
        Request::Prepare(_) => "prepare",
        Request::Save(..) => "save",
        Request::Restore(..) => "restore",
    }
}

fn answer(request: Request, state: &mut Vec<Bytes>, applied_index: u64) {
    match request {
        Request::Open(reply) => reply.send(Ok(Opened { applied_index, blob: Bytes::new() })),
        Request::Apply(request) => {
            let entries: Vec<Bytes> =
                request.entries.iter().map(|entry| Bytes::copy_from_slice(&entry.data)).collect();
            state.extend(entries.iter().cloned());
            request.reply.send(Ok(entries));
        }
        Request::Sync(reply) => reply.send(Ok(())),
        Request::Prepare(reply) => reply.send(Ok(Box::new(View(state.clone())))),
        Request::Save(mut writer, reply) => reply.send(write(state, &mut *writer)),
        Request::Restore(mut reader, reply) => {
            let mut bytes = String::new();
            let read = reader.read_to_string(&mut bytes);
            *state = bytes.lines().map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
            reply.send(read.map(|_| ()).map_err(Into::into));
        }
    }
}

struct View(Vec<Bytes>);

impl PreparedSnapshot for View {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        write(&self.0, writer)
    }
}

fn write(state: &[Bytes], writer: &mut dyn Write) -> MachineResult<()> {
    for entry in state {
        writer.write_all(entry)?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}

fn open(folder: &Folder) -> (Node, Vec<InitialMember>) {
    let node = Node::open(node_options(folder, 1)).unwrap();
    let members = members_of(std::slice::from_ref(&node));
    (node, members)
}

fn start(
    node: &Node,
    members: &[InitialMember],
    group_id: u64,
    kind: MachineKind,
) -> (Group, mpsc::Receiver<Request>) {
    let (machine, requests) = deferring(kind);
    let options = GroupOptions { group_id, ..keeping_nothing(group_options(members)) };
    (node.start_group(options, machine).unwrap(), requests)
}

#[test]
fn every_kind_of_request_may_be_answered_later_from_another_thread() {
    for kind in [MachineKind::InMemory, MachineKind::Concurrent, MachineKind::OnDisk] {
        let folder = Folder::new();
        let (node, members) = open(&folder);
        let (group, requests) = start(&node, &members, 1, kind);
        let program = Program::start(requests, Vec::new(), 0);
        propose_many(&group, "entry", 50);
        take_snapshot(&group).unwrap();
        let last = propose(&group, "last").unwrap().index;
        let saves = match kind {
            MachineKind::InMemory => "save",
            MachineKind::Concurrent => "prepare",
            MachineKind::OnDisk => "sync",
        };
        assert!(program.saw(saves), "{saves}");
        node.close().unwrap();
        let state = program.end();
        let expected: Vec<String> = (0..50).map(|number| format!("entry {number}")).collect();
        let texts: Vec<&str> = state.iter().map(|e| std::str::from_utf8(e).unwrap()).collect();
        assert_eq!(texts[..50], expected, "in the order in which they were proposed");

        let (node, _) = open(&folder);
        let (group, requests) = start(&node, &[], 1, kind);
        let (kept, index) = match kind {
            MachineKind::OnDisk => (state.clone(), last),
            _ => (Vec::new(), 0),
        };
        let program = Program::start(requests, kept, index);
        group.wait_ready(PATIENCE).unwrap();
        assert_eq!(program.saw("restore"), kind != MachineKind::OnDisk);
        node.close().unwrap();
        assert_eq!(program.end(), state);
    }
}

#[test]
fn nothing_else_is_asked_of_a_machine_before_it_has_answered() {
    let folder = Folder::new();
    let (node, members) = open(&folder);
    let (group, requests) = start(&node, &members, 1, MachineKind::InMemory);
    let next = || requests.recv_timeout(PATIENCE).unwrap();
    answer(next(), &mut Vec::new(), 0);
    let (first, first_done) = completer();
    group.propose(b"first", first).unwrap();
    let Request::Apply(applying) = next() else { panic!("an apply was expected") };
    let (second, second_done) = completer();
    group.propose(b"second", second).unwrap();
    // The group lives meanwhile: it commits, and says how far it is.
    eventually("the second to be committed", || {
        let status = status(&group);
        (status.commit_index > applying.entries[0].index).then_some(())
    });
    let (snapshot, snapshot_done) = completer();
    group.take_snapshot(snapshot).unwrap();
    assert!(requests.try_recv().is_err(), "the machine was asked for two things at once");
    applying.reply.send(Ok(vec![Bytes::from_static(b"one")]));
    assert_eq!(&first_done.recv_timeout(PATIENCE).unwrap().unwrap().result[..], b"one");
    let mut state = Vec::new();
    for expected in ["apply", "save"] {
        let request = next();
        assert_eq!(name(&request), expected);
        assert!(requests.try_recv().is_err(), "the machine was asked for two things at once");
        answer(request, &mut state, 0);
    }
    assert_eq!(&second_done.recv_timeout(PATIENCE).unwrap().unwrap().result[..], b"second");
    snapshot_done.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn a_node_closes_while_a_request_of_each_kind_is_unanswered() {
    for wanted in ["open", "apply", "save", "prepare", "sync"] {
        let folder = Folder::new();
        let (node, members) = open(&folder);
        let kind = match wanted {
            "prepare" => MachineKind::Concurrent,
            "sync" => MachineKind::OnDisk,
            _ => MachineKind::InMemory,
        };
        let (group, requests) = start(&node, &members, 1, kind);
        if wanted != "open" {
            answer(requests.recv_timeout(PATIENCE).unwrap(), &mut Vec::new(), 0);
            group.wait_ready(PATIENCE).unwrap();
        }
        let (proposal, proposed) = completer();
        group.propose(b"entry", proposal).unwrap();
        let (snapshot, taken) = completer();
        group.take_snapshot(snapshot).unwrap();
        let kept = loop {
            let request = requests.recv_timeout(PATIENCE).unwrap();
            if name(&request) == wanted {
                break request;
            }
            answer(request, &mut Vec::new(), 0);
        };
        node.close().unwrap();
        for done in [proposed, taken] {
            if let Err(error) = done.recv_timeout(PATIENCE).unwrap() {
                let expected = [Code::Closed, Code::Stopped];
                assert!(expected.contains(&error.code), "{wanted}: {error}");
            }
        }
        // An answer that comes too late is of no interest, and does no harm; nor does one that never comes.
        answer(kept, &mut Vec::new(), 0);
        open(&folder).0.close().unwrap();
    }
}

#[test]
fn a_request_that_is_dropped_fails_its_group_and_no_other() {
    let folder = Folder::new();
    let (node, members) = open(&folder);
    let (healthy, healthy_requests) = start(&node, &members, 1, MachineKind::InMemory);
    let program = Program::start(healthy_requests, Vec::new(), 0);

    let (group, requests) = start(&node, &members, 2, MachineKind::InMemory);
    answer(requests.recv_timeout(PATIENCE).unwrap(), &mut Vec::new(), 0);
    let (proposal, proposed) = completer();
    group.propose(b"entry", proposal).unwrap();
    drop(requests.recv_timeout(PATIENCE).unwrap());
    let error = proposed.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_eq!((error.code, error.outcome), (Code::ApplyFailed, Outcome::Unknown));
    assert!(error.message.contains("without an answer"), "{}", error.message);
    assert_eq!(propose(&group, "refused").unwrap_err().code, Code::ApplyFailed);

    let (third, requests) = start(&node, &members, 3, MachineKind::InMemory);
    drop(requests);
    assert_eq!(third.wait_ready(PATIENCE).unwrap_err().code, Code::OpenFailed);

    propose(&healthy, "goes on").unwrap();
    node.close().unwrap();
    assert_eq!(program.end().len(), 1);
}

/// Quick, and called on the event loop: which waits there, each time, until it is let go.
struct Gate {
    entered: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

/// A request that another thread is to answer, and with what.
type HandedOver = (Reply<Vec<Bytes>>, Vec<Bytes>);

/// Quick, and hands over its first request, but answers the others at once.
struct Hasty {
    applied: u64,
    first: Option<mpsc::Sender<HandedOver>>,
}

impl StateMachine for Gate {
    fn quick(&self) -> bool {
        true
    }

    fn apply(&mut self, request: Apply) {
        self.entered.send(()).unwrap();
        self.go.recv_timeout(PATIENCE).unwrap();
        request.reply.send(Ok(vec![Bytes::new(); request.entries.len()]));
    }

    fn save_snapshot(&mut self, _writer: Box<dyn Write + Send>, reply: Reply<()>) {
        reply.send(Ok(()));
    }

    fn restore_snapshot(&mut self, _reader: Box<dyn Read + Send>, reply: Reply<()>) {
        reply.send(Ok(()));
    }
}

impl StateMachine for Hasty {
    fn quick(&self) -> bool {
        true
    }

    fn apply(&mut self, request: Apply) {
        let before = self.applied;
        self.applied += request.entries.len() as u64;
        let results = (before + 1..=self.applied).map(|count| count.to_string().into()).collect();
        match self.first.take() {
            Some(first) => first.send((request.reply, results)).unwrap(),
            None => request.reply.send(Ok(results)),
        }
    }

    fn save_snapshot(&mut self, _writer: Box<dyn Write + Send>, reply: Reply<()>) {
        reply.send(Ok(()));
    }

    fn restore_snapshot(&mut self, _reader: Box<dyn Read + Send>, reply: Reply<()>) {
        reply.send(Ok(()));
    }
}

#[test]
fn an_answer_from_another_thread_is_not_overtaken_by_that_of_the_next_request() {
    let folder = Folder::new();
    let (node, members) = open(&folder);
    let start = |group_id, machine: Box<dyn StateMachine>| {
        let options = GroupOptions { group_id, ..group_options(&members) };
        let group = node.start_group(options, machine).unwrap();
        group.wait_ready(PATIENCE).unwrap();
        group
    };
    // One group on each side of the one that matters: whatever their order is, the loop is held up before it.
    let (entered, entering) = mpsc::channel();
    let mut gates = Vec::new();
    let mut gate = |group_id| {
        let (go, going) = mpsc::channel();
        let group = start(group_id, Box::new(Gate { entered: entered.clone(), go: going }));
        gates.push((group, go));
    };
    let (first, handed_over) = mpsc::channel();
    gate(1);
    let hasty = start(2, Box::new(Hasty { applied: 0, first: Some(first) }));
    gate(3);
    let (done, first_result) = completer();
    hasty.propose(b"first", done).unwrap();
    let (reply, results) = handed_over.recv_timeout(PATIENCE).unwrap();

    // While the loop stands still, all is proposed that it then commits and applies in one turn.
    gates[0].0.propose(b"x", completer().0).unwrap();
    entering.recv_timeout(PATIENCE).unwrap();
    for (gate, _) in &gates {
        gate.propose(b"x", completer().0).unwrap();
    }
    let (sender, batch_results) = mpsc::channel();
    let done = BatchCompleter::new(move |results| sender.send(results).unwrap());
    hasty.propose_batch(b"abc", &[0, 1, 2, 3], done).unwrap();
    gates[0].1.send(()).unwrap();
    // In that turn it stands in a gate again, and then the first request is answered.
    entering.recv_timeout(PATIENCE).unwrap();
    reply.send(Ok(results));
    gates.iter().for_each(|(_, go)| go.send(()).unwrap());

    assert_eq!(first_result.recv_timeout(PATIENCE).unwrap().unwrap().result, "1");
    let results = batch_results.recv_timeout(PATIENCE).unwrap();
    let results: Vec<_> = results.into_iter().map(|result| result.unwrap().result).collect();
    assert_eq!(results, ["2", "3", "4"]);
    node.close().unwrap();
}
