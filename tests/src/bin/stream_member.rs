//! A member with an on-disk state machine whose state is made up as it is streamed: as large as is asked for, and none
//! of it in memory. For measuring what the library itself needs for a transfer.
//!
//! Arguments: node id, directory, size of the state in bytes, `first` for the member that forms the group or `joins`.
//! Prints its address. `add <node id>=<address>` adds a voter and prints `added <index>`; `memory` prints the peak of the
//! resident memory in KiB; `restored` waits for a restore and prints its length and checksum.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use libraft::machine::{
    Apply, MachineError, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply,
};
use libraft::{
    Change, Completer, Group, GroupOptions, InitialMember, Node, NodeOptions, StateMachine,
};

const PATIENCE: Duration = Duration::from_secs(300);
const BLOCK: usize = 64 << 10;

/// Remembers how far it is in memory: the test never reopens a member.
struct Streamed {
    applied_index: u64,
    bytes: u64,
    restored: mpsc::Sender<String>,
}

struct View {
    applied_index: u64,
    bytes: u64,
}

/// The `number`th block of the state: different from its neighbours, the same on every member.
fn block(number: u64) -> [u8; BLOCK] {
    let mut block = [number as u8; BLOCK];
    block[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    block
}

impl PreparedSnapshot for View {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        writer.write_all(&self.applied_index.to_le_bytes())?;
        for number in 0..self.bytes / BLOCK as u64 {
            writer.write_all(&block(number))?;
        }
        Ok(())
    }
}

impl Streamed {
    fn restore(&mut self, reader: &mut dyn Read) -> std::io::Result<u64> {
        let mut index = [0; 8];
        reader.read_exact(&mut index)?;
        let mut buffer = vec![0; BLOCK];
        let mut blocks = 0;
        loop {
            match reader.read(&mut buffer[..1])? {
                0 => break,
                _ => reader.read_exact(&mut buffer[1..])?,
            }
            if buffer[..] != block(blocks) {
                return Err(std::io::Error::other(format!("block {blocks} differs")));
            }
            blocks += 1;
        }
        self.applied_index = u64::from_le_bytes(index);
        Ok(blocks * BLOCK as u64)
    }
}

impl StateMachine for Streamed {
    fn kind(&self) -> MachineKind {
        MachineKind::OnDisk
    }

    fn open(&mut self, reply: Reply<Opened>) {
        reply.send(Ok(Opened { applied_index: self.applied_index, ..Opened::default() }));
    }

    fn apply(&mut self, request: Apply) {
        let results = request.entries.iter().map(|_| Default::default()).collect();
        self.applied_index = request.entries.last().map_or(0, |entry| entry.index);
        request.reply.send(Ok(results));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        reply.send(Ok(Box::new(View { applied_index: self.applied_index, bytes: self.bytes })));
    }

    fn save_snapshot(&mut self, _writer: Box<dyn Write + Send>, reply: Reply<()>) {
        reply.send(Err(MachineError::new("an on-disk machine prepares its snapshots")));
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn Read + Send>, reply: Reply<()>) {
        let restored = self.restore(&mut reader);
        let line = match &restored {
            Ok(bytes) => format!("restored {bytes}"),
            Err(error) => format!("failed {error}"),
        };
        // The test has ended if nobody listens.
        let _ = self.restored.send(line);
        reply.send(restored.map(|_| ()).map_err(MachineError::from));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        println!("failed {error}");
        std::process::exit(1);
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [node_id, directory, bytes, how] = arguments else {
        return Err("arguments are missing".into());
    };
    let node_id: u64 = node_id.parse()?;
    let node = Node::open(NodeOptions {
        cluster: "stream".to_string(),
        node_id,
        directory: PathBuf::from(directory),
        tick_ms: 20,
        segment_bytes: 2 << 20,
        ..NodeOptions::default()
    })?;
    let address = node.status()?.address;
    let initial_members = match how.as_str() {
        "first" => vec![InitialMember { node_id, address: address.clone() }],
        _ => Vec::new(),
    };
    let (restored, has_restored) = mpsc::channel();
    let machine = Streamed { applied_index: 0, bytes: bytes.parse()?, restored };
    let options = GroupOptions { group_id: 1, initial_members, ..GroupOptions::default() };
    let group = node.start_group(options, Box::new(machine))?;
    println!("{address}");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("add", member)) => println!("{}", add(&group, member)?),
            _ if line == "memory" => println!("{}", peak_kib()?),
            _ if line == "restored" => println!("{}", has_restored.recv_timeout(PATIENCE)?),
            _ => return Err(format!("'{line}' is not understood").into()),
        }
    }
    node.close()?;
    Ok(())
}

fn add(group: &Group, member: &str) -> Result<String, Box<dyn std::error::Error>> {
    let (node_id, address) = member.split_once('=').ok_or("a member is <id>=<address>")?;
    group.wait_ready(PATIENCE)?;
    let (sender, receiver) = mpsc::channel();
    let change = Change::AddLearner { node_id: node_id.parse()?, address: address.to_string() };
    group.change_membership(
        vec![change],
        Completer::new(move |result| {
            let _ = sender.send(result);
        }),
    )?;
    Ok(format!("added {}", receiver.recv_timeout(PATIENCE)??.index))
}

/// The largest resident memory of this process so far.
fn peak_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("the system does not tell the peak of the memory")?.parse()?)
}
