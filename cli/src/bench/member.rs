//! One member of the benchmark's cluster: a process that is told by lines on its input what to do.
//!
//! `start <id>=<address> ...` forms the group; `run <bytes> <in flight> <mode> <seconds>` measures at the leader; `applied`
//! prints the index up to which the member has applied; `cpu` prints the seconds of CPU used so far; the end of the input
//! ends the process. With `checksum` as its first argument it is the member of Rust in the benchmark of languages
//! (tests/conformance/PROTOCOL.md), which is also asked for `state`.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use libraft::machine::{Apply, MachineError, Reply};
use libraft::{Group, GroupOptions, InitialMember, Node, NodeOptions, Role, StateMachine};

use super::checksum::Checksum;
use super::driver::{self, Load};
use super::Outcome;

const GROUP: u64 = 1;

/// Counts entries, and answers each with the count.
struct Counter {
    count: u64,
}

impl StateMachine for Counter {
    fn quick(&self) -> bool {
        true
    }

    fn apply(&mut self, request: Apply) {
        let first = self.count;
        self.count += request.entries.len() as u64;
        let mut results = Vec::with_capacity(request.entries.len());
        let flat: Vec<u8> = (first + 1..=self.count).flat_map(u64::to_le_bytes).collect();
        let flat = Bytes::from(flat);
        for position in 0..request.entries.len() {
            results.push(flat.slice(position * 8..position * 8 + 8));
        }
        request.reply.send(Ok(results));
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn std::io::Write + Send>, reply: Reply<()>) {
        let saved = writer.write_all(&self.count.to_le_bytes());
        reply.send(saved.map_err(MachineError::from));
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn std::io::Read + Send>, reply: Reply<()>) {
        let mut count = [0; 8];
        let read = reader.read_exact(&mut count);
        self.count = u64::from_le_bytes(count);
        reply.send(read.map_err(MachineError::from));
    }
}

pub fn run(arguments: &[String]) -> Outcome<()> {
    let (node_id, directory, reads) = match arguments {
        [node_id, directory] => (node_id, directory, false),
        [checksum, node_id, directory] if checksum == "checksum" => (node_id, directory, true),
        _ => return Err("bench-member needs a node id and a directory".into()),
    };
    let node = Node::open(NodeOptions {
        cluster: "bench".to_string(),
        node_id: node_id.parse()?,
        directory: PathBuf::from(directory),
        ..NodeOptions::default()
    })?;
    println!("{}", node.status()?.address);
    let checksum = Checksum::default();
    let totals = checksum.totals();
    let mut machine: Option<Box<dyn StateMachine>> =
        Some(if reads { Box::new(checksum) } else { Box::new(Counter { count: 0 }) });
    let mut group = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match (words[0], &group) {
            ("start", _) => {
                let machine = machine.take().ok_or("the group was started before")?;
                group = Some(start(&node, &words[1..], machine)?);
                println!("started");
            }
            ("role", Some(group)) => println!("{:?}", role(group)?),
            ("applied", Some(group)) => println!("{}", applied(group)?),
            ("run", Some(group)) => println!("{}", measure(group, &words[1..])?),
            ("state", _) => {
                let crc = totals.crc.load(Ordering::Relaxed);
                println!("{} {crc}", totals.count.load(Ordering::Relaxed));
            }
            ("cpu", _) => println!("{}", cpu_seconds()?),
            _ => return Err(format!("'{line}' is not understood").into()),
        }
    }
    node.close()?;
    Ok(())
}

fn start(node: &Node, members: &[&str], machine: Box<dyn StateMachine>) -> Outcome<Group> {
    let mut initial_members = Vec::new();
    for member in members {
        let (node_id, address) = member.split_once('=').ok_or("a member is <id>=<address>")?;
        initial_members
            .push(InitialMember { node_id: node_id.parse()?, address: address.to_string() });
    }
    let options = GroupOptions { group_id: GROUP, initial_members, ..GroupOptions::default() };
    let group = node.start_group(options, machine)?;
    group.wait_ready(Duration::from_secs(30))?;
    Ok(group)
}

fn role(group: &Group) -> Outcome<Role> {
    Ok(group.status()?.role)
}

fn applied(group: &Group) -> Outcome<u64> {
    let status = group.status()?;
    match status.failure {
        Some(failure) => Err(failure.into()),
        None => Ok(status.applied_index),
    }
}

fn measure(group: &Group, words: &[&str]) -> Outcome<String> {
    let [bytes, in_flight, mode, seconds] = words else {
        return Err("run needs bytes, in flight, mode and seconds".into());
    };
    let load = Load {
        bytes: bytes.parse()?,
        in_flight: in_flight.parse()?,
        mode: mode.parse()?,
        seconds: seconds.parse()?,
    };
    let measured = driver::run(group, &load)?;
    Ok(format!(
        "{} {} {} {}",
        measured.proposals, measured.seconds, measured.p50_us, measured.p99_us
    ))
}

/// User and system time of this process, all threads.
fn cpu_seconds() -> Outcome<f64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is valid for writing.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: `getrusage` succeeded and filled it in.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}
