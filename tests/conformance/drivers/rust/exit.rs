//! The cases of the exit matrix: see PROTOCOL.md.

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;

use libraft::{
    Code, Completer, Completion, Error, Group, GroupOptions, InitialMember, Node, NodeOptions,
};
use libraft_conformance::words::hex;

use crate::line::say;
use crate::machine::{CloseInCallback, Form, LedgerMachine, Shared};

/// How long a call may take before the case has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const IN_FLIGHT: usize = 64;

/// The node, its group and its machine.
struct Program {
    node: Node,
    group: Group,
    machine: Arc<Shared>,
    proposed: u64,
    done: Sender<Result<Completion, Error>>,
    completions: Receiver<Result<Completion, Error>>,
}

pub fn run(case: &str, directory: &str) -> Result<ExitCode, Error> {
    let form = Form { asynchronous: case == "shutdown_pending", ..Form::default() };
    let mut program = Program::start(directory, form.clone(), None)?;
    for _ in 0..100 {
        program.propose_one()?;
    }
    match case {
        "exit_under_load" | "exit_in_thread" => program.keep_in_flight(300)?,
        // That one has something to do before.
        "restore_error" => {}
        _ => say("ending"),
    }
    match case {
        "close" => program.node.close()?,
        "exception" => {
            std::mem::forget(program);
            return Err(Error::rejected(Code::Internal, "nobody handles this one"));
        }
        "forgot" => std::mem::forget(program),
        "apply_error" => {
            program.propose(b"xplanned failure of apply")?;
            let failed = program.completion();
            program.report(failed.map(|_| ()));
        }
        "save_error" => {
            program.machine.set_fail("save");
            let failed = program.take_snapshot();
            program.report(failed);
        }
        "restore_error" => restore_error(program, directory)?,
        "close_in_callback" => close_in_callback(program)?,
        "exit_under_load" => std::process::exit(3),
        "exit_in_thread" => {
            std::thread::spawn(|| std::process::exit(3));
            // Never answered: the process ends first.
            let _ = program.completions.iter().last();
        }
        "shutdown_in_callback" => {
            program.machine.set_block(Duration::from_secs(1));
            program.propose_next()?;
            program.machine.wait_entered();
            std::mem::forget(program);
        }
        "shutdown_pending" => {
            program.machine.set_pend("apply");
            program.propose_next()?;
            program.machine.wait_entered();
            std::mem::forget(program);
        }
        "shutdown_completions" => {
            for _ in 0..1000 {
                program.propose_next()?;
            }
            std::mem::forget(program);
        }
        "kill" => program.keep_in_flight(u64::MAX)?,
        "fork" => fork(program, directory)?,
        _ => return Ok(ExitCode::from(2)),
    }
    Ok(ExitCode::SUCCESS)
}

fn restore_error(mut program: Program, directory: &str) -> Result<(), Error> {
    program.take_snapshot()?;
    for _ in 0..10 {
        program.propose_one()?;
    }
    program.node.close()?;
    say("ending");
    let program = Program::open(directory, Form::default(), Some("restore"))?;
    let failed = program.group.wait_ready(PATIENCE);
    program.report(failed);
    Ok(())
}

fn close_in_callback(mut program: Program) -> Result<(), Error> {
    let tell = Box::new(|result: Result<(), Error>| {
        say(&format!("failed {} -", result.map_or_else(|e| e.code.to_string(), |()| "OK".into())));
    });
    let node = program.node.clone();
    program.machine.close_in_next_apply(CloseInCallback { node, tell });
    program.propose_next()?;
    // Acknowledged or not: the close came in between.
    let _ = program.completion();
    program.node.close()
}

/// In the child every call is refused; the parent goes on.
fn fork(mut program: Program, directory: &str) -> Result<(), Error> {
    // SAFETY: the child makes only calls that are to be refused, and prints.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = |result: Result<(), Error>| {
            result.map_or_else(|error| error.code.to_string(), |()| "OK".to_string())
        };
        let proposed = code(program.propose_next());
        let closed = code(program.node.close());
        let opened = code(open_node(&format!("{directory}-child")).map(|_| ()));
        say(&format!("child {proposed} {closed} {opened}"));
        return Ok(());
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    if waited != child || status != 0 {
        return Err(Error::rejected(Code::Internal, format!("the child ended with {status}")));
    }
    program.propose_one()?;
    program.node.close()
}

fn open_node(directory: &str) -> Result<Node, Error> {
    Node::open(NodeOptions {
        cluster: "exit".to_string(),
        node_id: 1,
        directory: directory.into(),
        listen_address: "127.0.0.1:0".to_string(),
        tick_ms: 20,
        ..NodeOptions::default()
    })
}

impl Program {
    /// Opens the node and starts the group.
    fn open(directory: &str, form: Form, fail: Option<&str>) -> Result<Program, Error> {
        let node = open_node(directory)?;
        let member = InitialMember { node_id: 1, address: "127.0.0.1:0".to_string() };
        let options =
            GroupOptions { group_id: 1, initial_members: vec![member], ..GroupOptions::default() };
        let (machine, shared) = LedgerMachine::new(form);
        if let Some(callback) = fail {
            shared.set_fail(callback);
        }
        let group = node.start_group(options, Box::new(machine))?;
        let (done, completions) = mpsc::channel();
        Ok(Program { node, group, machine: shared, proposed: 0, done, completions })
    }

    fn start(directory: &str, form: Form, fail: Option<&str>) -> Result<Program, Error> {
        let program = Program::open(directory, form, fail)?;
        program.group.wait_ready(PATIENCE)?;
        Ok(program)
    }

    fn propose(&self, data: &[u8]) -> Result<(), Error> {
        let done = self.done.clone();
        self.group.propose(data, Completer::new(move |result| drop(done.send(result))))
    }

    fn propose_next(&mut self) -> Result<(), Error> {
        self.proposed += 1;
        self.propose(format!("s\x01k{}", self.proposed).as_bytes())
    }

    fn completion(&self) -> Result<Completion, Error> {
        let timeout = |_| Err(Error::unknown(Code::Internal, "no completion came"));
        self.completions.recv_timeout(PATIENCE).unwrap_or_else(timeout)
    }

    fn acknowledge(&self) -> Result<(), Error> {
        let result = self.completion()?.result;
        let count = result[..].try_into().map(u64::from_le_bytes);
        say(&format!("acknowledged {}", count.unwrap_or_default()));
        Ok(())
    }

    fn propose_one(&mut self) -> Result<(), Error> {
        self.propose_next()?;
        self.acknowledge()
    }

    /// Prints each that is acknowledged, and leaves as many in flight; says when the end may come.
    fn keep_in_flight(&mut self, count: u64) -> Result<(), Error> {
        for _ in 0..IN_FLIGHT {
            self.propose_next()?;
        }
        for _ in 0..count {
            self.acknowledge()?;
            self.propose_next()?;
        }
        say("ending");
        Ok(())
    }

    fn take_snapshot(&self) -> Result<(), Error> {
        let done = self.done.clone();
        self.group.take_snapshot(Completer::new(move |result| drop(done.send(result))))?;
        self.completion().map(|_| ())
    }

    /// Says what failed, closes, and says what came of that.
    fn report(&self, failed: Result<(), Error>) {
        match failed {
            Ok(()) => say("failed OK -"),
            Err(error) => {
                let message = hex(error.message.as_bytes());
                say(&format!("failed {} {message}", error.code));
            }
        }
        let closed = self.node.close();
        say(&format!("closed {}", closed.map_or_else(|e| e.code.to_string(), |()| "OK".into())));
    }
}
