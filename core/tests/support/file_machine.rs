//! A state machine that keeps its state in a file: the simplest on-disk machine that is right.
//!
//! The file is a sequence of records (index, length, bytes), so an entry and its index cannot come apart. What was not
//! synced may be lost; a record that is cut off is.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use libraft::machine::{Apply, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply};
use libraft::StateMachine;

const HEAD_BYTES: usize = 12;

pub struct FileMachine {
    path: PathBuf,
    file: File,
    seen: Arc<Mutex<Seen>>,
}

/// What a test sees of a machine from outside.
#[derive(Default)]
pub struct Seen {
    /// The indexes that came through `apply` since it was opened.
    pub applied: Vec<u64>,
    pub opened_at: u64,
    pub restores: usize,
    pub syncs: usize,
    /// The length of the file when it was last synced.
    pub synced_bytes: u64,
    /// The whole state was written out for a peer.
    pub streams: usize,
}

impl FileMachine {
    pub fn open(path: &Path) -> (Box<FileMachine>, Arc<Mutex<Seen>>) {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let machine = FileMachine {
            path: path.to_path_buf(),
            file: file.expect("the machine's file can be opened"),
            seen: seen.clone(),
        };
        (Box::new(machine), seen)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no machine panics while it holds this")
    }

    fn sync(&mut self) -> MachineResult<()> {
        self.file.sync_data()?;
        let bytes = self.file.metadata()?.len();
        let mut seen = self.seen();
        seen.syncs += 1;
        seen.synced_bytes = bytes;
        Ok(())
    }

    fn recover(&mut self) -> MachineResult<Opened> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        let (records, whole) = parse(&bytes);
        self.file.set_len(whole as u64)?;
        let applied_index = records.last().map_or(0, |(index, _)| *index);
        self.seen().opened_at = applied_index;
        Ok(Opened { applied_index, blob: Bytes::new() })
    }

    fn restore(&mut self, reader: &mut dyn Read) -> MachineResult<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        std::io::copy(reader, &mut file)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        self.file = OpenOptions::new().read(true).append(true).open(&self.path)?;
        self.seen().restores += 1;
        self.sync()
    }
}

impl StateMachine for FileMachine {
    fn kind(&self) -> MachineKind {
        MachineKind::OnDisk
    }

    fn open(&mut self, reply: Reply<Opened>) {
        reply.send(self.recover());
    }

    fn apply(&mut self, request: Apply) {
        let mut bytes = Vec::new();
        for entry in &request.entries {
            bytes.extend_from_slice(&entry.index.to_le_bytes());
            bytes.extend_from_slice(&(entry.data.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&entry.data);
        }
        if let Err(error) = self.file.write_all(&bytes) {
            return request.reply.send(Err(error.into()));
        }
        self.seen().applied.extend(request.entries.iter().map(|entry| entry.index));
        let results = request.entries.into_iter().map(|entry| entry.data).collect();
        request.reply.send(Ok(results));
    }

    fn sync(&mut self, reply: Reply<()>) {
        reply.send(FileMachine::sync(self));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        self.seen().streams += 1;
        let view = File::open(&self.path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let view = view.map(|(bytes, file)| Box::new(View(file.take(bytes))) as Box<_>);
        reply.send(view.map_err(Into::into));
    }

    fn save_snapshot(&mut self, _writer: Box<dyn Write + Send>, _reply: Reply<()>) {
        unreachable!("an on-disk machine prepares its snapshots");
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn Read + Send>, reply: Reply<()>) {
        reply.send(self.restore(&mut *reader));
    }
}

/// The file as long as it was at one moment: it only ever grows at its end.
struct View(std::io::Take<File>);

impl PreparedSnapshot for View {
    fn save(mut self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        std::io::copy(&mut self.0, writer)?;
        Ok(())
    }
}

/// The whole records in a file, and how many bytes they are.
fn parse(bytes: &[u8]) -> (Vec<(u64, String)>, usize) {
    let mut records = Vec::new();
    let mut rest = bytes;
    while rest.len() >= HEAD_BYTES {
        let index = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes"));
        let length = u32::from_le_bytes(rest[8..12].try_into().expect("four bytes")) as usize;
        let Some(data) = rest.get(HEAD_BYTES..HEAD_BYTES + length) else { break };
        records.push((index, String::from_utf8_lossy(data).into_owned()));
        rest = &rest[HEAD_BYTES + length..];
    }
    (records, bytes.len() - rest.len())
}

/// What a machine's file holds: each entry's index and text.
pub fn records(path: &Path) -> Vec<(u64, String)> {
    parse(&std::fs::read(path).expect("the machine's file can be read")).0
}
