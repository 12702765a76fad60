//! A large state is saved, sent and restored in a constant amount of memory. A program of its own, since it measures the
//! process.

mod support;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use libraft::machine::{Apply, MachineError, MachineKind, MachineResult, PreparedSnapshot, Reply};
use libraft::{Change, Node, StateMachine};
use support::{
    change, group_options, keeping_nothing, members_of, node_options, propose, Folder, PATIENCE,
};

const STATE_BYTES: u64 = 64 << 20;
/// What both ends together may take beyond what they had, with all buffers and threads.
const GROWTH_BYTES_MAX: u64 = 12 << 20;
/// Odd, so that the blocks lie across the borders of chunks.
const BLOCK_BYTES: usize = 60_001;

/// A machine with a large state that it makes up as it is asked for it.
struct Bulky {
    kind: MachineKind,
    restored_bytes: Arc<AtomicU64>,
}

/// The state's block with this number; no two are alike.
fn fill(block: &mut [u8], number: u64) {
    let (head, rest) = block.split_at_mut(8);
    head.copy_from_slice(&number.to_le_bytes());
    rest.fill(number as u8);
}

fn write_state(writer: &mut dyn Write) -> MachineResult<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = STATE_BYTES;
    for number in 0.. {
        let count = left.min(BLOCK_BYTES as u64);
        if count == 0 {
            break;
        }
        fill(&mut block, number);
        writer.write_all(&block[..count as usize])?;
        left -= count;
    }
    Ok(())
}

fn check_state(reader: &mut dyn Read) -> MachineResult<u64> {
    let (mut block, mut expected) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut total = 0;
    for number in 0.. {
        let count = (STATE_BYTES - total).min(BLOCK_BYTES as u64) as usize;
        fill(&mut expected, number);
        reader.read_exact(&mut block[..count])?;
        if block[..count] != expected[..count] {
            return Err(MachineError::new(format!("block {number} is not what was saved")));
        }
        total += count as u64;
        if total == STATE_BYTES {
            break;
        }
    }
    match reader.read(&mut block)? {
        0 => Ok(total),
        _ => Err(MachineError::new("the state is longer than what was saved")),
    }
}

impl StateMachine for Bulky {
    fn kind(&self) -> MachineKind {
        self.kind
    }

    fn apply(&mut self, request: Apply) {
        request.reply.send(Ok(vec![Bytes::new(); request.entries.len()]));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        reply.send(Ok(Box::new(View)));
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn Write + Send>, reply: Reply<()>) {
        reply.send(write_state(&mut *writer));
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn Read + Send>, reply: Reply<()>) {
        let checked = check_state(&mut *reader);
        reply.send(checked.map(|bytes| {
            self.restored_bytes.store(bytes, Ordering::SeqCst);
        }));
    }
}

struct View;

impl PreparedSnapshot for View {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        write_state(writer)
    }
}

/// A line of /proc/self/status, in bytes.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let found = status.lines().find_map(|found| found.strip_prefix(line));
    let kibibytes =
        found.and_then(|rest| rest.trim_matches([':', '\t', ' ', 'k', 'B']).parse().ok());
    kibibytes.map_or_else(|| panic!("no {line} in {status}"), |kibibytes: u64| kibibytes << 10)
}

#[test]
fn sixty_four_mebibytes_of_state_reach_a_joiner_in_a_constant_amount_of_memory() {
    for kind in [MachineKind::InMemory, MachineKind::Concurrent, MachineKind::OnDisk] {
        let folder = Folder::new();
        let bulky = || {
            let restored_bytes = Arc::new(AtomicU64::new(0));
            (Box::new(Bulky { kind, restored_bytes: restored_bytes.clone() }), restored_bytes)
        };
        let node = Node::open(node_options(&folder, 1)).unwrap();
        let members = members_of(std::slice::from_ref(&node));
        let group = node.start_group(keeping_nothing(group_options(&members)), bulky().0).unwrap();
        propose(&group, "entry").unwrap();
        let joiner = Node::open(node_options(&folder, 2)).unwrap();
        let (machine, restored_bytes) = bulky();
        let joining = joiner.start_group(keeping_nothing(group_options(&[])), machine).unwrap();

        // Begins a new peak.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("VmRSS");
        let address = folder.address(2);
        change(&group, vec![Change::AddLearner { node_id: 2, address }]).unwrap();
        joining.wait_ready(PATIENCE).unwrap();
        assert_eq!(restored_bytes.load(Ordering::SeqCst), STATE_BYTES);
        let growth = memory("VmHWM").saturating_sub(before);
        assert!(growth < GROWTH_BYTES_MAX, "{kind:?}: {growth} bytes were needed");
        node.close().unwrap();
        joiner.close().unwrap();
    }
}
