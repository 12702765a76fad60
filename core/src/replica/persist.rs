//! What waits for the disk: readies of raft-rs, in order, each with the messages that may only
//! leave when it is durable.

use std::collections::VecDeque;

use raft::eraftpb::Message;

use crate::deliberate::{is_on, Bug};
use crate::ids::Index;

/// A ready of raft-rs that is on its way to the disk.
#[derive(Debug, Default)]
pub struct PendingReady {
    pub ready: u64,
    /// To be sent once it is durable.
    pub messages: Vec<Message>,
    /// The last of its entries; 0 if it has none.
    pub last_index: Index,
    /// The index of its snapshot; 0 if it has none.
    pub snapshot_index: Index,
    /// The bytes of its entries.
    pub entry_bytes: u64,
    /// The effects that must be durable first; set by the queue.
    pub release_at: u64,
}

#[derive(Debug, Default)]
pub struct PersistQueue {
    queue: VecDeque<PendingReady>,
    /// The number of the last effects with records.
    issued: u64,
    /// The number of the last effects with records that must be synced; maybe of those being
    /// gathered.
    must_sync: u64,
    durable: u64,
    /// The bytes of all entries in the queue.
    entry_bytes: u64,
}

impl PersistQueue {
    /// The number that the effects being gathered will have if they have records.
    pub fn next_number(&self) -> u64 {
        self.issued + 1
    }

    /// The effects being gathered have a record that must be synced.
    pub fn requires_sync(&mut self) {
        self.must_sync = self.next_number();
    }

    /// The effects being gathered have records and are complete.
    pub fn issue(&mut self) -> u64 {
        self.issued += 1;
        self.issued
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts a ready behind the others. `truncates` says that its entries replace some that may be
    /// on their way: those count as durable with it and not before, so that nothing which is about
    /// to be deleted is ever reported.
    pub fn push(&mut self, ready: PendingReady, truncates: bool) {
        let release_at = self.must_sync;
        if truncates {
            for pending in &mut self.queue {
                pending.release_at = release_at;
                pending.last_index = 0;
            }
        }
        self.entry_bytes += ready.entry_bytes;
        self.queue.push_back(PendingReady { release_at, ..ready });
    }

    /// The bytes of entries that are on their way to the disk.
    pub fn entry_bytes(&self) -> u64 {
        self.entry_bytes
    }

    /// Whether the effects with this number are durable.
    pub fn is_durable(&self, number: u64) -> bool {
        number <= self.durable
    }

    pub fn persisted(&mut self, number: u64) {
        self.durable = self.durable.max(number);
    }

    /// The next ready that is durable, if any.
    pub fn pop(&mut self) -> Option<PendingReady> {
        let release_at = self.queue.front()?.release_at;
        if release_at > self.durable && !is_on(Bug::AcknowledgeBeforeTheBarrier) {
            return None;
        }
        let pending = self.queue.pop_front()?;
        self.entry_bytes -= pending.entry_bytes;
        Some(pending)
    }
}
