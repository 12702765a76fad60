//! Much data, and readers beside it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::*;
use super::checkpoint::Folder;
use super::{entries, small};

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn readers_on_other_threads_never_see_what_a_recycled_segment_holds_now() {
    let folder = Folder::new("readers");
    let (mut log, _) = folder.open(small()).unwrap();
    let log_id = log.create_group(1);
    let (written, compacted) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_done = AtomicBool::new(false);
    let reader = log.reader(log_id);
    std::thread::scope(|scope| {
        let read = || {
            let mut count = 0u64;
            while !is_done.load(Ordering::Acquire) {
                let last = written.load(Ordering::Acquire);
                // The whole range, again and again from another place.
                let low = compacted.load(Ordering::Acquire) + 1 + count % 97;
                if low > last {
                    std::thread::yield_now();
                    continue;
                }
                match reader.read(low, last + 1, 20_000) {
                    Ok(found) => {
                        for (index, entry) in (low..).zip(&found) {
                            assert_eq!(entry.index, index);
                            let byte = (index % 251) as u8 ^ 1;
                            assert!(entry.data.len() == 500 && entry.data[..] == [byte; 500][..]);
                        }
                        count += 1;
                    }
                    Err(error) => {
                        let now = compacted.load(Ordering::Acquire);
                        assert!(low <= now, "{low}, compacted {now}: {error}");
                    }
                }
            }
            count
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        // Also when this thread panics: else the others would go on for ever.
        let stop = Stop(&is_done);
        for round in 0..500 {
            log.append(log_id, entries(round * 8 + 1, 8, 1, 500), true);
            log.barrier().unwrap();
            written.store(round * 8 + 8, Ordering::Release);
            if round % 50 == 49 && round > 50 {
                // Said first, so that a reader never asks for what it could know to be gone.
                compacted.store(round * 8 - 400, Ordering::Release);
                log.append(log_id, Record::Compact { index: round * 8 - 400, term: 1 }, true);
            }
            log.chores().unwrap();
        }
        drop(stop);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    log.close().unwrap();
}

#[test]
fn a_million_small_entries_are_recovered() {
    let folder = Folder::new("million");
    let options = LogOptions { free_bytes_min: 0, ..LogOptions::default() };
    let (mut log, _) = folder.open(options.clone()).unwrap();
    let log_id = log.create_group(1);
    let count = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    for first in (1..count).step_by(1000) {
        log.append(log_id, entries(first, 1000, 1, 128), true);
        log.barrier().unwrap();
    }
    log.close().unwrap();
    let started = std::time::Instant::now();
    let (log, groups) = folder.open(options).unwrap();
    let took = started.elapsed();
    assert_eq!(groups[0].last_index, count);
    let last = log.reader(log_id).read(count, count + 1, 1).unwrap();
    assert_eq!((last.len(), last[0].index, last[0].data.len()), (1, count, 128));
    assert!(cfg!(debug_assertions) || took.as_millis() < 1000, "{took:?}");
    log.close().unwrap();
}
