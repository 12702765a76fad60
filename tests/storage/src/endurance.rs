//! Writes many times what a log holds, and measures what that takes.
//!
//! Busy groups write all the time and keep little. Quiet ones keep most, and write so seldom that
//! the journal would be full of segments that only they need: their entries go into sled.

use std::io;
use std::path::Path;
use std::time::Instant;

use libraft::ids::Index;
use libraft::log::{HardState, LogId, Record};

use crate::model::{content, entry};
use crate::node::{Node, Settings};

/// What the log holds at any time, once it is full.
pub const LIVE_BYTES: u64 = 256 << 20;
const BUSY_GROUPS: u64 = 4;
const QUIET_GROUPS: u64 = 4;
const BUSY_BYTES: u64 = 16 << 20;
const QUIET_BYTES: u64 = LIVE_BYTES / QUIET_GROUPS - BUSY_BYTES;
const ENTRY_BYTES: usize = 32 << 10;
/// Entries of one record.
const RECORD_ENTRIES: u64 = 8;
/// How often a quiet group writes: once while the busy ones write so much.
const QUIET_INTERVAL_BYTES: u64 = 8 << 20;
const SETTINGS: Settings = Settings { segment_bytes: 16 << 20, segments_max: 8, seed: 5 };

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What was measured at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub written_bytes: u64,
    pub live_bytes: u64,
    pub directory_bytes: u64,
    pub journal_bytes: u64,
    pub checkpoint_bytes: u64,
    /// Resident memory of this process.
    pub memory_bytes: u64,
    /// How long the last opening took, in milliseconds.
    pub open_ms: u64,
}

struct Group {
    log_id: LogId,
    first: Index,
    next: Index,
    /// Entries that it keeps.
    kept: u64,
}

/// Writes `bytes` bytes of entries below `root`, and reports after each of `samples` parts of it.
/// The directory is closed and opened again on the way.
pub fn run(root: &Path, bytes: u64, samples: u64, mut report: impl FnMut(Sample)) -> Result<()> {
    let mut node = Node::open(root, SETTINGS)?;
    let kept = |number: u64| match number < BUSY_GROUPS {
        true => BUSY_BYTES / ENTRY_BYTES as u64,
        false => QUIET_BYTES / ENTRY_BYTES as u64,
    };
    let mut groups: Vec<Group> = (0..BUSY_GROUPS + QUIET_GROUPS)
        .map(|number| Group {
            log_id: node.log.create_group(number + 1),
            first: 1,
            next: 1,
            kept: kept(number),
        })
        .collect();
    let (mut written, mut quiet_due, mut open_ms) = (0, 0, 0);
    for sample in 1..=samples {
        while written < bytes / samples * sample {
            for number in 0..BUSY_GROUPS {
                written += append(&mut node, &mut groups[number as usize]);
            }
            // At first they are filled as quickly as the others.
            let fills = groups.last().is_some_and(|group| group.next <= group.kept);
            if fills || written >= quiet_due {
                quiet_due = written + QUIET_INTERVAL_BYTES;
                for number in BUSY_GROUPS..BUSY_GROUPS + QUIET_GROUPS {
                    written += append(&mut node, &mut groups[number as usize]);
                }
            }
            node.barrier()?;
            node.chores()?;
        }
        if sample % 4 == 0 {
            (node, open_ms) = reopen(node, root)?;
        }
        check(&node, &groups)?;
        let status = node.log.status();
        report(Sample {
            written_bytes: written,
            live_bytes: groups.iter().map(|group| group.next - group.first).sum::<u64>()
                * ENTRY_BYTES as u64,
            directory_bytes: bytes_below(root)?,
            journal_bytes: status.journal_bytes,
            checkpoint_bytes: status.checkpoint_bytes,
            memory_bytes: memory_bytes()?,
            open_ms,
        });
    }
    Ok(node.close()?)
}

/// Appends a record of entries and drops what the group does not keep; the bytes written.
fn append(node: &mut Node, group: &mut Group) -> u64 {
    let log_id = group.log_id;
    // One content for all entries of a record: making it must not be what takes the time.
    let data = content(log_id << 32 ^ group.next, ENTRY_BYTES);
    let entries = (group.next..group.next + RECORD_ENTRIES).map(|index| {
        let mut entry = entry(log_id, index, 1, 0);
        entry.data = data.clone();
        entry
    });
    node.log.append(log_id, Record::Entries(entries.collect()), true);
    group.next += RECORD_ENTRIES;
    let hard_state = HardState { term: 1, vote: 1, commit: group.next - 1 };
    node.log.append(log_id, Record::HardState(hard_state), false);
    if group.next - group.first > group.kept + group.kept / 8 {
        group.first = group.next - group.kept;
        node.log.append(log_id, Record::Compact { index: group.first - 1, term: 1 }, false);
    }
    RECORD_ENTRIES * ENTRY_BYTES as u64
}

fn reopen(node: Node, root: &Path) -> Result<(Node, u64)> {
    node.close()?;
    let started = Instant::now();
    let node = Node::open(root, SETTINGS)?;
    Ok((node, started.elapsed().as_millis() as u64))
}

/// Each group holds what it keeps, and the first and the last of its entries can be read.
fn check(node: &Node, groups: &[Group]) -> Result<()> {
    for group in groups {
        let reader = node.log.reader(group.log_id);
        for index in [group.first, group.next - 1] {
            let first_of_record = (index - 1) / RECORD_ENTRIES * RECORD_ENTRIES + 1;
            let entries = reader.read(index, index + 1, 1)?;
            let expected = content(group.log_id << 32 ^ first_of_record, ENTRY_BYTES);
            if entries.len() != 1 || entries[0].index != index || entries[0].data != expected {
                return Err(format!("entry {index} of log {} is another one", group.log_id).into());
            }
        }
    }
    Ok(())
}

/// What the files take on the disk.
fn bytes_below(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => bytes_below(&entry.path())?,
            false => metadata.blocks() * 512,
        };
    }
    Ok(bytes)
}

fn memory_bytes() -> Result<u64> {
    Ok(libraft_tests::process_status(std::process::id(), "VmRSS") * 1024)
}
