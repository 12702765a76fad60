//! The newest entries of the log, in memory, without a gap up to the last one.

use std::collections::VecDeque;

use raft::eraftpb::Entry;

use super::entry::entry_bytes;
use crate::ids::Index;

/// Bounded in bytes, but for what must stay: what is not persisted, or not handed out by raft-rs,
/// is never evicted.
#[derive(Debug, Default)]
pub struct EntryCache {
    entries: VecDeque<Entry>,
    bytes: u64,
    bytes_max: u64,
    /// Entries above `large_bytes_min`, and the largest of them since there was one: what the
    /// window of messages in flight is sized by.
    large_bytes_min: u64,
    large_count: u64,
    largest_bytes: u64,
}

impl EntryCache {
    pub fn new(bytes_max: u64, large_bytes_min: u64) -> EntryCache {
        EntryCache { bytes_max, large_bytes_min, ..EntryCache::default() }
    }

    /// The index of the first entry held, if any is.
    pub fn first_index(&self) -> Option<Index> {
        self.entries.front().map(|entry| entry.index)
    }

    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The size of the largest entry held, if it is a large one. Never too small; it may be that of
    /// one evicted.
    pub fn largest_bytes(&self) -> u64 {
        self.largest_bytes
    }

    #[cfg(test)]
    fn get(&self, index: Index) -> Option<&Entry> {
        let first = self.first_index()?;
        self.entries.get(index.checked_sub(first)? as usize)
    }

    /// Entries from `low` up to, not including, `high`: as many as fit into `bytes_max`, but at
    /// least one. `None` if `low` is not held.
    pub fn range(&self, low: Index, high: Index, bytes_max: u64) -> Option<Vec<Entry>> {
        let first = self.first_index()?;
        let start = low.checked_sub(first)? as usize;
        let end = self.entries.len().min((high.saturating_sub(first)) as usize);
        if start >= end {
            return None;
        }
        let mut bytes = 0u64;
        let mut count = 0;
        for entry in self.entries.range(start..end) {
            bytes += entry_bytes(entry);
            if count > 0 && bytes > bytes_max {
                break;
            }
            count += 1;
        }
        Some(self.entries.range(start..start + count).cloned().collect())
    }

    /// Appends entries, after deleting all from the first one's index on.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.truncate_from(first.index);
        self.entries.reserve(entries.len());
        for entry in entries {
            let bytes = entry_bytes(entry);
            self.bytes += bytes;
            if bytes > self.large_bytes_min {
                self.large_count += 1;
                self.largest_bytes = self.largest_bytes.max(bytes);
            }
            self.entries.push_back(entry.clone());
        }
    }

    /// Deletes the entries from `index` on.
    pub fn truncate_from(&mut self, index: Index) {
        while self.entries.back().is_some_and(|entry| entry.index >= index) {
            let entry = self.entries.pop_back();
            self.forget(entry);
        }
    }

    /// Deletes the entries up to and including `index`.
    pub fn compact(&mut self, index: Index) {
        while self.entries.front().is_some_and(|entry| entry.index <= index) {
            let entry = self.entries.pop_front();
            self.forget(entry);
        }
    }

    pub fn clear(&mut self) {
        self.truncate_from(0);
    }

    /// Gives memory back, from the oldest entry on, but nothing above `evictable`.
    pub fn evict(&mut self, evictable: Index) {
        while self.bytes > self.bytes_max
            && self.entries.front().is_some_and(|entry| entry.index <= evictable)
        {
            let entry = self.entries.pop_front();
            self.forget(entry);
        }
    }

    fn forget(&mut self, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        let bytes = entry_bytes(&entry);
        self.bytes -= bytes;
        if bytes > self.large_bytes_min {
            self.large_count -= 1;
            if self.large_count == 0 {
                self.largest_bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: Index, data_bytes: usize) -> Entry {
        Entry { index, term: 1, data: vec![0; data_bytes].into(), ..Entry::default() }
    }

    fn cache(bytes_max: u64, indexes: std::ops::RangeInclusive<u64>) -> EntryCache {
        let mut cache = EntryCache::new(bytes_max, 1_000);
        let entries: Vec<Entry> = indexes.map(|index| entry(index, 68)).collect();
        cache.append(&entries);
        cache
    }

    #[test]
    fn what_may_not_be_evicted_stays_even_above_the_limit() {
        let mut cache = cache(300, 5..=14);
        cache.evict(8);
        assert_eq!(cache.first_index(), Some(9));
        assert_eq!(cache.bytes(), 600);
        cache.evict(14);
        assert_eq!(cache.first_index(), Some(12), "it evicts no more than it must");
    }

    #[test]
    fn appending_replaces_what_follows() {
        let mut cache = cache(10_000, 5..=14);
        let mut other = entry(7, 68);
        other.term = 2;
        cache.append(&[other]);
        assert_eq!(cache.get(7).map(|entry| entry.term), Some(2));
        assert!(cache.get(8).is_none());
        assert_eq!(cache.bytes(), 300);
    }

    #[test]
    fn a_range_holds_at_least_one_entry_and_otherwise_fits() {
        let cache = cache(10_000, 5..=14);
        let count = |low, high, max| cache.range(low, high, max).map(|entries| entries.len());
        assert_eq!(count(5, 15, 1), Some(1));
        assert_eq!(count(5, 15, 300), Some(3));
        assert_eq!(count(6, 9, u64::MAX), Some(3));
        assert_eq!(count(4, 9, u64::MAX), None);
        assert_eq!(count(15, 16, u64::MAX), None);
    }

    #[test]
    fn the_largest_entry_is_known_while_a_large_one_is_held() {
        let mut cache = cache(10_000, 5..=6);
        assert_eq!(cache.largest_bytes(), 0);
        cache.append(&[entry(7, 5_000)]);
        assert_eq!(cache.largest_bytes(), 5_032);
        cache.truncate_from(7);
        assert_eq!(cache.largest_bytes(), 0);
    }
}
