//! The ledger as a state machine of libraft: of every kind and style, and failing when it is told to.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use libraft::machine::{
    Apply, MachineError, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply,
};
use libraft::{Node, StateMachine};
use libraft_conformance::ledger::Ledger;

/// Machines that were dropped since the driver started.
pub static DESTROYED: AtomicU64 = AtomicU64::new(0);

/// How a machine is made.
#[derive(Clone, Default)]
pub struct Form {
    pub kind: MachineKind,
    /// Answers from another thread, after the callback has returned.
    pub asynchronous: bool,
    pub quick: bool,
    /// The folder of an on-disk machine.
    pub folder: PathBuf,
}

/// The machine, as the library holds it.
pub struct LedgerMachine {
    form: Form,
    shared: Arc<Shared>,
}

/// What the machine and the driver's commands both reach.
#[derive(Default)]
pub struct Shared {
    ledger: Mutex<Ledger>,
    behaviour: Mutex<Behaviour>,
    released: Condvar,
    /// Applies that were begun while they block or pend.
    entered: Condvar,
}

/// What `machine` tells it.
#[derive(Default)]
struct Behaviour {
    block: Duration,
    fail: String,
    /// The callback that does not answer, and how often those that waited were released.
    pend: String,
    releases: u64,
    close: Option<CloseInCallback>,
    /// An `apply` that blocks or pends has begun.
    inside: bool,
}

/// Closes a node from inside of `apply`, and tells what came of it.
pub struct CloseInCallback {
    pub node: Node,
    pub tell: Box<dyn FnOnce(Result<(), libraft::Error>) + Send>,
}

impl LedgerMachine {
    pub fn new(form: Form) -> (LedgerMachine, Arc<Shared>) {
        let shared = Arc::<Shared>::default();
        (LedgerMachine { form, shared: shared.clone() }, shared)
    }

    /// Runs `body` here or, in an asynchronous machine, on a thread of its own.
    fn run(&self, body: impl FnOnce(&Shared) + Send + 'static) {
        let shared = self.shared.clone();
        if self.form.asynchronous {
            // Dropped unused, and with it the reply, if there is no thread: the group fails.
            let _ = std::thread::Builder::new().spawn(move || body(&shared));
        } else {
            body(&shared);
        }
    }
}

impl Drop for LedgerMachine {
    fn drop(&mut self) {
        DESTROYED.fetch_add(1, Ordering::SeqCst);
    }
}

impl Shared {
    pub fn ledger(&self) -> Ledger {
        lock(&self.ledger).clone()
    }

    pub fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        lock(&self.ledger).items.get(key).cloned()
    }

    pub fn set_block(&self, block: Duration) {
        lock(&self.behaviour).block = block;
    }

    pub fn set_fail(&self, callback: &str) {
        lock(&self.behaviour).fail = callback.to_string();
    }

    pub fn set_pend(&self, callback: &str) {
        lock(&self.behaviour).pend = callback.to_string();
    }

    pub fn release(&self) {
        let mut behaviour = lock(&self.behaviour);
        behaviour.pend.clear();
        behaviour.releases += 1;
        self.released.notify_all();
    }

    /// Waits until an `apply` that blocks or pends has begun.
    pub fn wait_entered(&self) {
        let behaviour = lock(&self.behaviour);
        let entered = self.entered.wait_while(behaviour, |behaviour| !behaviour.inside);
        drop(entered.unwrap_or_else(PoisonError::into_inner));
    }

    pub fn close_in_next_apply(&self, close: CloseInCallback) {
        lock(&self.behaviour).close = Some(close);
    }

    /// What every callback does before its work: it waits while it is told to, and fails if it is told to.
    fn behave(&self, callback: &str) -> MachineResult<()> {
        let mut behaviour = lock(&self.behaviour);
        let releases = behaviour.releases;
        if behaviour.pend == callback {
            behaviour = self
                .released
                .wait_while(behaviour, |behaviour| behaviour.releases == releases)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if behaviour.fail == callback {
            return Err(MachineError::new(format!("planned failure of {callback}")));
        }
        Ok(())
    }

    fn apply(&self, request: Apply) {
        let (block, close) = {
            let mut behaviour = lock(&self.behaviour);
            behaviour.inside = behaviour.pend == "apply" || !behaviour.block.is_zero();
            self.entered.notify_all();
            (behaviour.block, behaviour.close.take())
        };
        std::thread::sleep(block);
        if let Some(close) = close {
            (close.tell)(close.node.close());
        }
        let applied = self.behave("apply").and_then(|()| {
            let mut ledger = lock(&self.ledger);
            let results = request.entries.iter().map(|entry| {
                let count = ledger.apply(entry.index, &entry.data).map_err(MachineError::new)?;
                Ok(Bytes::copy_from_slice(&count.to_le_bytes()))
            });
            results.collect::<MachineResult<Vec<Bytes>>>()
        });
        let short = lock(&self.behaviour).fail == "results";
        request.reply.send(applied.map(|mut results| {
            results.truncate(results.len() - usize::from(short));
            results
        }));
    }

    fn restore(&self, bytes: &[u8], folder: Option<&Path>) -> MachineResult<()> {
        let ledger = Ledger::from_bytes(bytes)
            .ok_or_else(|| MachineError::new("the snapshot is not a ledger"))?;
        *lock(&self.ledger) = ledger;
        match folder {
            Some(folder) => self.sync(folder),
            None => Ok(()),
        }
    }

    /// Writes the state into its file, whole or not at all.
    fn sync(&self, folder: &Path) -> MachineResult<()> {
        let new = folder.join("state.new");
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&lock(&self.ledger).to_bytes())?;
        file.sync_all()?;
        std::fs::rename(new, folder.join("state"))?;
        Ok(std::fs::File::open(folder)?.sync_all()?)
    }

    fn open(&self, folder: &Path) -> MachineResult<Opened> {
        match std::fs::read(folder.join("state")) {
            Ok(bytes) => self.restore(&bytes, None)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Opened { applied_index: lock(&self.ledger).applied, ..Opened::default() })
    }
}

impl StateMachine for LedgerMachine {
    fn kind(&self) -> MachineKind {
        self.form.kind
    }

    fn quick(&self) -> bool {
        self.form.quick
    }

    fn open(&mut self, reply: Reply<Opened>) {
        let opened = self.shared.behave("open").and_then(|()| match self.form.kind {
            MachineKind::OnDisk => self.shared.open(&self.form.folder),
            _ => Ok(Opened::default()),
        });
        reply.send(opened);
    }

    fn apply(&mut self, request: Apply) {
        self.run(move |shared| shared.apply(request));
    }

    fn sync(&mut self, reply: Reply<()>) {
        let behaved = self.shared.behave("sync");
        reply.send(behaved.and_then(|()| self.shared.sync(&self.form.folder)));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        let prepared = self.shared.behave("prepare").map(|()| {
            let bytes = lock(&self.shared.ledger).to_bytes();
            Box::new(Prepared { bytes, shared: self.shared.clone() }) as Box<dyn PreparedSnapshot>
        });
        reply.send(prepared);
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn Write + Send>, reply: Reply<()>) {
        self.run(move |shared| {
            let saved = shared.behave("save").and_then(|()| {
                let bytes = lock(&shared.ledger).to_bytes();
                Ok(writer.write_all(&bytes)?)
            });
            reply.send(saved);
        });
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn Read + Send>, reply: Reply<()>) {
        let folder = (self.form.kind == MachineKind::OnDisk).then(|| self.form.folder.clone());
        self.run(move |shared| {
            let restored = shared.behave("restore").and_then(|()| {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes)?;
                shared.restore(&bytes, folder.as_deref())
            });
            reply.send(restored);
        });
    }
}

/// The state as it was when the snapshot was prepared.
struct Prepared {
    bytes: Vec<u8>,
    shared: Arc<Shared>,
}

impl PreparedSnapshot for Prepared {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        self.shared.behave("save")?;
        Ok(writer.write_all(&self.bytes)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
