//! The state machines of a world: one shape for all three kinds.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use libraft::ids::{GroupId, Index};
use libraft::machine::{
    Apply, MachineError, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply,
};
use libraft::StateMachine;

use crate::behaviour::{Behaviour, MachineShape};
use crate::client::Caller;
use crate::hub::Life;
use crate::observation::Observation;
use crate::random::Random;
use crate::registers::Registers;

/// The registers of a machine that runs, which its clients may look at.
pub type Shared = Arc<Mutex<Registers>>;

/// What an on-disk machine keeps by itself.
#[derive(Clone, Default)]
pub struct Store {
    states: Arc<Mutex<Vec<(Registers, Bytes)>>>,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Vec<(Registers, Bytes)>> {
        lock(&self.states)
    }

    fn newest(&self) -> (Registers, Bytes) {
        self.lock().last().cloned().unwrap_or_default()
    }

    fn put(&self, registers: Registers, blob: Bytes) {
        let mut states = self.lock();
        if states.is_empty() {
            states.push(Default::default());
        }
        states.push((registers, blob));
    }

    /// Only the newest state is there after a crash.
    fn sync(&self) {
        let newest = self.newest();
        *self.lock() = vec![newest];
    }

    /// The store after a crash: with the power, any state since the last sync may be what is left.
    pub fn after_crash(&self, random: Option<&mut Random>) -> Store {
        let states = self.lock();
        let kept = match random {
            Some(random) => random.pick(&states).cloned(),
            None => states.last().cloned(),
        };
        Store { states: Arc::new(Mutex::new(kept.into_iter().collect())) }
    }
}

/// See the module.
pub struct RegisterMachine {
    pub life: Life,
    pub group_id: GroupId,
    pub shape: MachineShape,
    pub behaviour: Behaviour,
    pub shared: Shared,
    pub store: Store,
    pub caller: Caller,
}

impl RegisterMachine {
    fn is_on_disk(&self) -> bool {
        self.shape.kind == MachineKind::OnDisk
    }

    fn registers(&self) -> Registers {
        lock(&self.shared).clone()
    }

    /// Blocks for a while, now and then; never on the event loop.
    fn dawdle(&self) {
        self.behaviour.dawdle(&self.life);
    }

    fn failure(&self) -> Option<MachineError> {
        self.behaviour.fails(&self.life).then(|| MachineError::new("the callback fails on purpose"))
    }

    /// Answers a request, now or later.
    fn answer<T: Send + 'static>(&self, reply: Reply<T>, result: MachineResult<T>) {
        match self.behaviour.answers_after(&self.life) {
            Some(delay) => self.life.later(delay, move || reply.send(result)),
            None => reply.send(result),
        }
    }

    fn apply_one(&self, entry: libraft::machine::AppliedEntry) -> Bytes {
        let mut registers = lock(&self.shared);
        let result = registers.apply(entry.index, entry.term, &entry.data);
        let hash = registers.hash;
        drop(registers);
        let (place, group_id) = (self.life.place, self.group_id);
        self.life.tell(move |see| {
            see(&Observation::Applied { place, group_id, entry: &entry, result, hash });
        });
        Bytes::copy_from_slice(&result.to_le_bytes())
    }

    fn tell_saved(&self, registers: &Registers) {
        let (place, group_id) = (self.life.place, self.group_id);
        let (applied, hash) = (registers.applied, registers.hash);
        self.life.tell(move |see| see(&Observation::Saved { place, group_id, applied, hash }));
    }

    fn saved_bytes(&self, registers: &Registers) -> Vec<u8> {
        let state = registers.encode();
        let mut bytes = (state.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&state);
        let mut filler = Random::new(registers.hash);
        let end = bytes.len() + self.shape.padding;
        while bytes.len() < end {
            bytes.extend_from_slice(&filler.next().to_le_bytes());
        }
        bytes
    }
}

impl StateMachine for RegisterMachine {
    fn kind(&self) -> MachineKind {
        self.shape.kind
    }

    fn quick(&self) -> bool {
        self.shape.quick
    }

    fn open(&mut self, reply: Reply<Opened>) {
        self.dawdle();
        if let Some(failure) = self.failure() {
            return self.answer(reply, Err(failure));
        }
        let (registers, blob) = match self.is_on_disk() {
            true => self.store.newest(),
            false => Default::default(),
        };
        let (place, group_id, kind) = (self.life.place, self.group_id, self.shape.kind);
        let applied = registers.applied;
        *lock(&self.shared) = registers;
        self.life
            .tell(move |see| see(&Observation::MachineOpened { place, group_id, kind, applied }));
        self.answer(reply, Ok(Opened { applied_index: applied, blob }));
    }

    fn apply(&mut self, request: Apply) {
        if !self.shape.quick {
            self.dawdle();
        }
        if let Some(failure) = self.failure() {
            return self.answer(request.reply, Err(failure));
        }
        let Apply { entries, blob, reply } = request;
        let results = entries.into_iter().map(|entry| self.apply_one(entry)).collect();
        if self.is_on_disk() {
            self.store.put(self.registers(), blob);
        }
        if self.behaviour.calls_back(&self.life) {
            self.caller.call_back(&self.life, self.group_id);
        }
        self.answer(reply, Ok(results));
    }

    fn sync(&mut self, reply: Reply<()>) {
        self.dawdle();
        if let Some(failure) = self.failure() {
            return self.answer(reply, Err(failure));
        }
        self.store.sync();
        self.answer(reply, Ok(()));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        if let Some(failure) = self.failure() {
            return self.answer(reply, Err(failure));
        }
        let registers = self.registers();
        self.tell_saved(&registers);
        let bytes = self.saved_bytes(&registers);
        let (life, behaviour) = (self.life.clone(), self.behaviour.clone());
        self.answer(reply, Ok(Box::new(Prepared { bytes, life, behaviour })));
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn Write + Send>, reply: Reply<()>) {
        self.dawdle();
        if let Some(failure) = self.failure() {
            return self.answer(reply, Err(failure));
        }
        let registers = self.registers();
        self.tell_saved(&registers);
        let written = writer.write_all(&self.saved_bytes(&registers)).map_err(MachineError::from);
        self.answer(reply, written);
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn Read + Send>, reply: Reply<()>) {
        self.dawdle();
        if let Some(failure) = self.failure() {
            return self.answer(reply, Err(failure));
        }
        let mut bytes = Vec::new();
        if let Err(error) = reader.read_to_end(&mut bytes) {
            return self.answer(reply, Err(error.into()));
        }
        let Some(registers) = decode_saved(&bytes) else {
            return self.answer(reply, Err(MachineError::new("this is no saved state")));
        };
        let (place, group_id) = (self.life.place, self.group_id);
        let (applied, hash): (Index, u64) = (registers.applied, registers.hash);
        if self.is_on_disk() {
            self.store.put(registers.clone(), Bytes::new());
            self.store.sync();
        }
        *lock(&self.shared) = registers;
        self.life.tell(move |see| see(&Observation::Restored { place, group_id, applied, hash }));
        self.answer(reply, Ok(()));
    }
}

/// The registers in a saved state, which are followed by padding.
fn decode_saved(bytes: &[u8]) -> Option<Registers> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    Registers::decode(bytes.get(4..4 + length)?)
}

struct Prepared {
    bytes: Vec<u8>,
    life: Life,
    behaviour: Behaviour,
}

impl PreparedSnapshot for Prepared {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        for piece in self.bytes.chunks(10_000) {
            self.behaviour.dawdle(&self.life);
            if self.behaviour.fails(&self.life) {
                return Err(MachineError::new("the callback fails on purpose"));
            }
            writer.write_all(piece)?;
        }
        Ok(())
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
