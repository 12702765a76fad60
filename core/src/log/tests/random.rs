//! Random operations with power cuts, beside the model. A seed that fails is in the message; run it
//! alone with `one_seed`.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};

use super::super::*;
use super::model::{Model, ModelGroup};
use super::{open, Random};
use crate::disk::MemoryDisk;
use crate::ids::Uuid;

struct World {
    random: Random,
    disk: MemoryDisk,
    log: Option<Log>,
    barrier: Option<Barrier>,
    barrier_done: Option<FinishedBarrier>,
    chore: Option<Chore>,
    chore_done: Option<FinishedChore>,
    model: Model,
    /// The model after each position that is not known to be durable, and the last one that is.
    past: BTreeMap<Lsn, Model>,
    context: String,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    power_cuts: u64,
    lost: u64,
    moves: u64,
    checkpoint_reads: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let disk = MemoryDisk::new();
        let (log, _) = open(&disk, seed).unwrap();
        World {
            random: Random(seed),
            disk,
            log: Some(log),
            barrier: None,
            barrier_done: None,
            chore: None,
            chore_done: None,
            model: Model::default(),
            past: BTreeMap::from([(0, Model::default())]),
            context: format!("seed {seed}"),
            counts: Counts::default(),
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn remember(&mut self) {
        let lsn = self.log().status().appended_lsn;
        self.past.insert(lsn, self.model.clone());
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=44 => self.append(),
            45..=46 => self.create_or_remove(),
            47..=64 => self.step_barrier(),
            65..=84 => self.step_chore(),
            85..=95 => self.read(),
            96 if self.random.below(3) == 0 => self.power_cut(),
            96 => self.append(),
            97 => {
                let operations = self.random.below(6);
                self.disk.stop_after(operations);
                let barrier = self.log().begin_barrier();
                self.barrier_done = self.barrier.take().or(barrier).map(Barrier::run);
                self.power_cut();
            }
            98 if self.random.below(2) == 0 => self.close_and_reopen(),
            98 => self.read(),
            _ => {
                if self.chore.is_some() {
                    let operations = self.random.below(8);
                    self.disk.stop_after(operations);
                    self.chore_done = self.chore.take().map(Chore::run);
                    self.power_cut();
                }
            }
        }
    }

    fn some_group(&mut self) -> Option<LogId> {
        let count = self.model.groups.len() as u64;
        if count == 0 {
            return None;
        }
        let position = self.random.below(count) as usize;
        self.model.groups.keys().nth(position).copied()
    }

    fn append(&mut self) {
        let Some(log_id) = self.some_group() else { return self.create_or_remove() };
        let record = self.record(log_id);
        let must_sync = self.random.below(4) > 0;
        let lsn = self.log().append(log_id, record.clone(), must_sync);
        self.model.groups.get_mut(&log_id).unwrap().apply(&record, lsn);
        self.remember();
    }

    fn record(&mut self, log_id: LogId) -> Record {
        let group = self.model.groups[&log_id].clone();
        let random = &mut self.random;
        let (last, compacted) = (group.last(), group.compacted.0);
        let bytes = |random: &mut Random| {
            let length = random.below(30) as usize;
            Bytes::from(vec![random.next() as u8; length])
        };
        match random.below(20) {
            0..=13 => {
                // Sometimes so far back that the checkpoint holds what is overwritten.
                let overwritten = match random.below(50) {
                    0..=8 => random.below(20),
                    9 => random.below(400),
                    _ => 0,
                };
                let first = last.saturating_sub(overwritten).max(compacted) + 1;
                let newer = u64::from(overwritten > 0 || random.below(10) == 0);
                let term = group.last_term().max(1) + newer;
                let largest = if random.below(40) == 0 { 150_000 } else { 1500 };
                let count = if largest > 1500 { 1 } else { 1 + random.below(9) };
                let make = |index| entry(random, index, term, largest);
                Record::Entries((first..first + count).map(make).collect())
            }
            14..=15 => {
                let (term, vote) = (group.last_term(), random.below(5));
                Record::HardState(HardState { term, vote, commit: random.below(last + 1) })
            }
            16 => Record::Membership { index: last, membership: bytes(random) },
            17 => Record::Meta(bytes(random)),
            18 => {
                let index = compacted + random.below((last - compacted + 1).min(60));
                let index = if random.below(30) == 0 { last + random.below(9) } else { index };
                let term = group.entries.get(&index).map_or(group.last_term(), |(_, e)| e.term);
                Record::Compact { index, term }
            }
            _ => match group.unrestored {
                Some((snapshot, _)) => Record::Restored { snapshot },
                None if random.below(4) > 0 => Record::Meta(bytes(random)),
                None => Record::Reset {
                    index: (last + random.below(30)).saturating_sub(10).max(1),
                    term: group.last_term() + 1,
                    membership: bytes(random),
                    snapshot: Uuid([random.next() as u8; 16]),
                    hard_state: HardState { term: group.last_term() + 1, vote: 0, commit: last },
                },
            },
        }
    }

    fn create_or_remove(&mut self) {
        if self.model.groups.len() < 3 {
            let group_id = 1 + self.random.below(5);
            let log_id = self.log().create_group(group_id);
            let group = ModelGroup { group_id, ..ModelGroup::default() };
            assert!(self.model.groups.insert(log_id, group).is_none(), "{}", self.context);
        } else if let Some(log_id) = self.some_group() {
            self.log().remove_group(log_id);
            self.model.groups.remove(&log_id);
        }
        self.remember();
    }

    fn step_barrier(&mut self) {
        if let Some(done) = self.barrier_done.take() {
            let lsn = self.log().finish_barrier(done).expect("a barrier");
            self.forget_before(lsn);
        } else if let Some(barrier) = self.barrier.take() {
            self.barrier_done = Some(barrier.run());
        } else if self.log().wants_barrier() {
            self.barrier = self.log().begin_barrier();
            assert!(self.barrier.is_some(), "{}", self.context);
        }
    }

    fn step_chore(&mut self) {
        if let Some(done) = self.chore_done.take() {
            self.log().finish_chore(done).expect("a chore");
        } else if let Some(chore) = self.chore.take() {
            self.counts.moves += u64::from(matches!(chore.work, chore::Work::Move(..)));
            self.chore_done = Some(chore.run());
        } else {
            let idle = self.random.below(8) == 0;
            self.chore = self.log().begin_chore(idle);
            self.remember();
        }
    }

    fn forget_before(&mut self, lsn: Lsn) {
        let newest = *self.past.range(..=lsn).next_back().unwrap().0;
        self.past = self.past.split_off(&newest);
    }

    fn read(&mut self) {
        let Some(log_id) = self.some_group() else { return };
        let group = &self.model.groups[&log_id];
        let low = match self.random.below(2) {
            0 => self.random.below(group.last() + 3),
            _ => group.compacted.0 + self.random.below(4),
        };
        let high = low + 1 + self.random.below(30);
        let bytes_max = self.random.below(20_000);
        let log = self.log.as_ref().unwrap();
        let durable = log.status().durable_lsn;
        let is_held = group.entries.get(&low).is_some_and(|(lsn, _)| *lsn <= durable);
        let is_moved = low > 0 && log.groups[&log_id].lock().checkpointed().1 >= low;
        match log.reader(log_id).read(low, high, bytes_max) {
            Ok(entries) => {
                self.counts.checkpoint_reads += u64::from(is_moved);
                assert!(!entries.is_empty(), "{}", self.context);
                let expected = group.entries.range(low..high).map(|(_, (_, entry))| entry);
                let expected: Vec<_> = expected.take(entries.len()).cloned().collect();
                assert!(entries == expected, "{}: read {low}..{high}", self.context);
            }
            Err(error) => {
                assert_eq!(error.code, Code::Internal, "{}: {error}", self.context);
                assert!(!is_held, "{}: entry {low} is held, but {error}", self.context);
            }
        }
    }

    fn close_and_reopen(&mut self) {
        while self.barrier.is_some() || self.barrier_done.is_some() {
            self.step_barrier();
        }
        while self.chore.is_some() || self.chore_done.is_some() {
            self.step_chore();
        }
        self.log.take().unwrap().close().expect("a close");
        let (log, groups) = open(&self.disk, self.random.next()).expect("a reopening");
        self.model.check(&log, &groups, &self.context);
        self.log = Some(log);
        self.past.clear();
        self.remember();
    }

    /// Cuts the power, possibly again during the recovery, and compares.
    fn power_cut(&mut self) {
        let acknowledged = self.log().status().durable_lsn;
        let appended = self.log().status().appended_lsn;
        self.log = None;
        (self.barrier, self.barrier_done) = (None, None);
        (self.chore, self.chore_done) = (None, None);
        self.disk = self.disk.crash(self.random.next());
        if self.random.below(3) == 0 {
            let operations = self.random.below(4);
            self.disk.stop_after(operations);
            let _ = open(&self.disk, self.random.next());
            self.disk = self.disk.crash(self.random.next());
        }
        let seed = self.random.next();
        let (log, groups) =
            open(&self.disk, seed).unwrap_or_else(|error| panic!("{}: {error}", self.context));
        let lsn = log.status().appended_lsn;
        let context =
            format!("{}: of {appended}, {acknowledged} acknowledged, {lsn} found", self.context);
        assert!(acknowledged <= lsn && lsn <= appended, "{context}");
        self.model = self.past.range(..=lsn).next_back().unwrap().1.clone();
        self.model.check(&log, &groups, &context);
        self.log = Some(log);
        self.past.clear();
        self.remember();
        self.counts.power_cuts += 1;
        self.counts.lost += u64::from(lsn < appended);
    }
}

fn entry(random: &mut Random, index: Index, term: u64, largest: u64) -> Entry {
    let length = random.below(largest) as usize;
    let mut entry = super::entry(index, term, vec![random.next() as u8; length]);
    if random.below(10) == 0 {
        entry.entry_type = EntryType::EntryConfChangeV2;
        entry.context = Bytes::from_static(b"context");
    }
    entry
}

fn run(seed: u64, steps: u64) -> Counts {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.close_and_reopen();
    world.counts
}

#[test]
fn whatever_happens_the_acknowledged_records_are_there_and_nothing_truncated_comes_back() {
    let mut total = Counts::default();
    for seed in 0..30 {
        let counts = run(seed, 1000);
        total.power_cuts += counts.power_cuts;
        total.lost += counts.lost;
        total.moves += counts.moves;
        total.checkpoint_reads += counts.checkpoint_reads;
    }
    // The test means nothing if these did not happen.
    assert!(total.power_cuts > 200 && total.lost > 80, "{}, {}", total.power_cuts, total.lost);
    assert!(
        total.moves > 300 && total.checkpoint_reads > 30,
        "{}, {}",
        total.moves,
        total.checkpoint_reads
    );
}
