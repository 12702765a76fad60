//! Events of a group on their way to its listeners.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use libraft::ids::GroupId;
use libraft::Notice;

use crate::deliveries::Deliveries;
use crate::flat::Writer;

/// How many events of a group may wait for its listeners; what comes then is lost, as in the core.
const WAITING_MAX: usize = 1_024;

// The kinds of events, as in `GroupEvents.java`.
const ROLE: u8 = 1;
const LEADER: u8 = 2;
const MEMBERSHIP: u8 = 3;
const SNAPSHOT_TAKEN: u8 = 4;
const SNAPSHOT_INSTALLED: u8 = 5;
const FAILED: u8 = 6;
const SNAPSHOT_SENDING: u8 = 7;
const SNAPSHOT_RECEIVING: u8 = 8;

/// Passes the events of one group on.
pub struct Events {
    pub group_id: GroupId,
    pub deliveries: Arc<Deliveries>,
    pub waiting: Arc<AtomicUsize>,
}

impl Events {
    pub fn tell(&self, notice: &Notice) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.deliveries.event(|writer| {
            writer.long(self.group_id);
            write(writer, notice);
        });
    }
}

/// Every event has the same three numbers; what a kind does not use is zero.
fn write(writer: &mut Writer, notice: &Notice) {
    let (kind, numbers) = match *notice {
        Notice::Role { role, term } => (ROLE, [role as u64, term, 0]),
        Notice::Leader { leader, term } => (LEADER, [leader.unwrap_or(0), term, 0]),
        Notice::Membership { index } => (MEMBERSHIP, [0, index, 0]),
        Notice::SnapshotTaken { index, bytes } => (SNAPSHOT_TAKEN, [0, index, bytes]),
        Notice::SnapshotInstalled { index } => (SNAPSHOT_INSTALLED, [0, index, 0]),
        Notice::SnapshotSending { to, index, bytes } => (SNAPSHOT_SENDING, [to, index, bytes]),
        Notice::SnapshotReceiving { from, index, bytes } => {
            (SNAPSHOT_RECEIVING, [from, index, bytes])
        }
        Notice::Failed => (FAILED, [0, 0, 0]),
    };
    writer.byte(kind);
    for number in numbers {
        writer.long(number);
    }
}
