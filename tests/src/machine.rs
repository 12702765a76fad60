//! A state machine that keeps every entry it was given, in order: so that nothing lost, doubled or
//! swapped goes unseen.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use libraft::machine::{Apply, MachineResult, Reply, StateMachine};

/// What was applied, shared with the program.
pub type Applied = Arc<Mutex<Vec<Bytes>>>;

pub struct List {
    applied: Applied,
    quick: bool,
}

impl List {
    pub fn new(quick: bool) -> (List, Applied) {
        let applied = Applied::default();
        (List { applied: applied.clone(), quick }, applied)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Bytes>> {
        self.applied.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn save(&self, writer: &mut dyn Write) -> MachineResult<()> {
        for entry in self.lock().iter() {
            writer.write_all(&(entry.len() as u32).to_le_bytes())?;
            writer.write_all(entry)?;
        }
        Ok(())
    }

    fn restore(&self, reader: &mut dyn Read) -> MachineResult<()> {
        let mut saved = Vec::new();
        reader.read_to_end(&mut saved)?;
        let mut saved = Bytes::from(saved);
        let mut entries = Vec::new();
        while saved.len() >= 4 {
            let length = saved.split_to(4);
            let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
            entries.push(saved.split_to(length as usize));
        }
        *self.lock() = entries;
        Ok(())
    }
}

impl StateMachine for List {
    fn quick(&self) -> bool {
        self.quick
    }

    /// The result of an entry is its position in the list, from 0.
    fn apply(&mut self, request: Apply) {
        let mut results = Vec::new();
        let mut applied = self.lock();
        for entry in request.entries {
            results.push(Bytes::copy_from_slice(&(applied.len() as u64).to_le_bytes()));
            // A copy: the entry is a slice of a larger buffer that would be kept alive.
            applied.push(Bytes::copy_from_slice(&entry.data));
        }
        drop(applied);
        request.reply.send(Ok(results));
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn Write + Send>, reply: Reply<()>) {
        reply.send(self.save(&mut writer));
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn Read + Send>, reply: Reply<()>) {
        reply.send(self.restore(&mut reader));
    }
}
