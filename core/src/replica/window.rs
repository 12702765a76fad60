//! How much may be on its way to one peer.
//!
//! raft-rs limits the messages in flight, not their bytes. A message holds at most
//! `message_bytes_max` bytes of entries, unless a single entry is larger. So the number of messages
//! is the limit in bytes divided by the larger of that and the largest entry that can be sent now:
//! `count * size` never exceeds the limit (but one message always may be sent).

use super::core::{Replica, ReplicaOptions};

/// Messages in flight to one peer when no entry is large: enough to keep a link busy that is slower
/// than the disk.
const MESSAGES_MAX: u64 = 64;
const MESSAGE_BYTES_MIN: u64 = 64 << 10;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of entries in one message, unless a single one is larger.
pub fn message_bytes_max(options: &ReplicaOptions) -> u64 {
    (options.inflight_bytes_max / MESSAGES_MAX).clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX)
}

/// Messages that may be in flight to one peer while the largest entry to be sent has `largest`
/// bytes.
pub fn messages_max(options: &ReplicaOptions, largest: u64) -> usize {
    let message_bytes = message_bytes_max(options).max(largest);
    (options.inflight_bytes_max / message_bytes).clamp(1, MESSAGES_MAX) as usize
}

impl<C> Replica<C> {
    /// Fits the window to the entries that may be sent now: those in memory, and `upcoming` bytes
    /// of one that comes in.
    pub(super) fn fit_window(&mut self, upcoming: u64) {
        let Some(raft) = self.raft.as_mut() else { return };
        let upcoming = if upcoming > message_bytes_max(&self.options) { upcoming } else { 0 };
        let largest = raft.store().cache.largest_bytes().max(upcoming);
        let window = messages_max(&self.options, largest);
        if window == self.window {
            return;
        }
        self.window = window;
        let peers: Vec<u64> = raft.raft.prs().iter().map(|(id, _)| *id).collect();
        for peer in peers {
            raft.raft.adjust_max_inflight_msgs(peer, window);
        }
    }
}
