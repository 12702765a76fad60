//! Work for a node's log and snapshots, drawn from a seed: appends, truncations, compaction,
//! snapshots of its own and from a peer, groups that come and go, full disks, and closing.
//!
//! Barriers run on this thread, housekeeping and snapshots on one each, as on a node.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use bytes::Bytes;
use libraft::ids::{Index, Term, Uuid};
use libraft::log::{HardState, LogId, Record};
use libraft::snapshot::SnapshotPoint;
use libraft_tests::random::Random;

use crate::history::{apply, Note, SnapshotNote, What};
use crate::keeper::Keeper;
use crate::model::{content, entry, Model, ModelGroup};
use crate::node::{Node, Settings};
use crate::peer;

/// The largest entry: it still has a frame to itself.
const LARGE_BYTES: u64 = 150_000;
/// More than a record of small entries takes.
const RECORD_BYTES: u64 = 30_000;
const GROUPS_MAX: usize = 4;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Does `steps` steps in the directory `root`, and closes it.
pub fn run(root: &Path, notes: Box<dyn Write>, settings: Settings, steps: u64) -> Result<()> {
    let mut load = Load::open(root, notes, settings)?;
    for _ in 0..steps {
        match load.random.below(400) {
            0 => load = load.reopen(root)?,
            _ => load.step()?,
        }
    }
    load.finish()?;
    Ok(load.node.close()?)
}

struct Load {
    settings: Settings,
    notes: Box<dyn Write>,
    random: Random,
    node: Node,
    model: Model,
    /// Per log up to where entries are final.
    committed: HashMap<LogId, Index>,
    keeper: Keeper,
    courier: Option<Receiver<Result<Taken>>>,
    is_tight: bool,
}

/// A snapshot that was taken or received.
struct Taken {
    note: SnapshotNote,
    term: Term,
}

impl Load {
    fn open(root: &Path, notes: Box<dyn Write>, settings: Settings) -> Result<Load> {
        let node = Node::open(root, settings)?;
        let mut load = Load {
            settings,
            notes,
            random: Random::new(settings.seed),
            node,
            model: Model::default(),
            committed: HashMap::new(),
            keeper: Keeper::start(),
            courier: None,
            is_tight: false,
        };
        // The first is known whatever becomes of the second.
        load.note_recovered()?;
        load.note_boot()?;
        Ok(load)
    }

    fn note(&mut self, note: &Note) -> io::Result<()> {
        // One write is one record of the trace.
        self.notes.write_all(note.to_string().as_bytes())
    }

    fn note_boot(&mut self) -> io::Result<()> {
        let identity = self.node.directory.identity();
        let (counter, incarnation) = (identity.boot_counter, identity.incarnation);
        self.note(&Note::Boot { counter, incarnation })
    }

    /// What was there before counts as appended, and durable.
    fn note_recovered(&mut self) -> io::Result<()> {
        let lsn = self.node.log.status().appended_lsn;
        for group in self.node.recovered.clone() {
            let log_id = group.log_id;
            self.applied(lsn, log_id, What::Created(group.group_id))?;
            let mut records = Vec::new();
            let (index, term) = (group.compacted_index, group.compacted_term);
            if let Some((snapshot, reset)) = group.unrestored {
                let (membership, hard_state) = (Bytes::new(), HardState::default());
                // If it was compacted since, the term of the reset is not known any more.
                records.push(Record::Reset {
                    index: reset,
                    term,
                    membership,
                    snapshot,
                    hard_state,
                });
            }
            records.push(Record::Compact { index, term });
            records.push(Record::HardState(group.hard_state));
            let (index, membership) = (group.membership_index, group.membership.clone());
            records.push(Record::Membership { index, membership });
            records.push(Record::Meta(group.meta.clone()));
            for record in records {
                self.applied(lsn, log_id, What::Record(record))?;
            }
            let entries = self.entries_of(log_id, group.compacted_index, group.last_index)?;
            for (index, term, length) in entries {
                self.applied(
                    lsn,
                    log_id,
                    What::Entries { first: index, term, lengths: vec![length] },
                )?;
            }
            self.committed.insert(log_id, group.last_index);
        }
        self.note(&Note::Durable { lsn })
    }

    fn entries_of(
        &self,
        log_id: LogId,
        after: Index,
        last: Index,
    ) -> io::Result<Vec<(Index, Term, usize)>> {
        let reader = self.node.log.reader(log_id);
        let mut entries = Vec::new();
        let mut next = after + 1;
        while next <= last {
            for entry in reader.read(next, last + 1, 1 << 20).map_err(io::Error::other)? {
                entries.push((entry.index, entry.term, entry.data.len()));
                next = entry.index + 1;
            }
        }
        Ok(entries)
    }

    fn applied(&mut self, lsn: u64, log_id: LogId, what: What) -> io::Result<()> {
        apply(&mut self.model, log_id, &what);
        self.note(&Note::Appended { lsn, log_id, what })
    }

    fn step(&mut self) -> Result<()> {
        self.poll()?;
        match self.random.below(1000) {
            0..=519 => self.append(),
            520..=539 => self.create_or_remove(),
            540..=859 => self.barrier(),
            860..=919 => self.chore(false),
            920..=929 => self.chore(true),
            930..=959 => self.take_snapshot(),
            960..=969 => self.receive_snapshot(),
            970..=979 => {
                self.is_tight = !self.is_tight && self.random.below(3) == 0;
                self.node.disk.set_tight(self.is_tight);
                Ok(())
            }
            _ => self.poll_until_idle(),
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

    fn append(&mut self) -> Result<()> {
        let Some(log_id) = self.some_group() else { return self.create_or_remove() };
        if !self.node.log.admits(RECORD_BYTES) {
            return self.poll_until_idle();
        }
        let group = self.model.groups[&log_id].clone();
        match self.random.below(20) {
            0..=14 => self.append_entries(log_id, &group),
            15..=16 => {
                let (term, vote) = (group.last_term(), self.random.below(5));
                let commit = self.committed[&log_id];
                self.put(log_id, Record::HardState(HardState { term, vote, commit }))
            }
            17 => {
                let (index, membership) = (group.last(), self.some_bytes());
                self.put(log_id, Record::Membership { index, membership })
            }
            18 => {
                let meta = self.some_bytes();
                self.put(log_id, Record::Meta(meta))
            }
            _ => match group.unrestored {
                Some((snapshot, _)) => self.put(log_id, Record::Restored { snapshot }),
                None => Ok(()),
            },
        }
    }

    fn some_bytes(&mut self) -> Bytes {
        let length = self.random.below(60) as usize;
        content(self.random.draw(), length)
    }

    fn put(&mut self, log_id: LogId, record: Record) -> Result<()> {
        let must_sync = self.random.below(4) > 0;
        let lsn = self.node.log.append(log_id, record.clone(), must_sync);
        Ok(self.applied(lsn, log_id, What::Record(record))?)
    }

    /// Sometimes overwrites entries that are not final.
    fn append_entries(&mut self, log_id: LogId, group: &ModelGroup) -> Result<()> {
        let (last, committed) = (group.last(), self.committed[&log_id]);
        let overwritten = match self.random.below(50) {
            0..=6 => self.random.below(20),
            7 => self.random.below(400),
            _ => 0,
        };
        let first = last.saturating_sub(overwritten).max(committed) + 1;
        let is_newer = first <= last || self.random.below(10) == 0;
        let term = group.last_term().max(1) + u64::from(is_newer);
        let is_large = self.random.below(60) == 0 && self.node.log.admits(2 * LARGE_BYTES);
        let (count, most) = match is_large {
            true => (1, LARGE_BYTES),
            false => (1 + self.random.below(9), 2500),
        };
        let lengths: Vec<usize> = (0..count).map(|_| self.random.below(most) as usize).collect();
        let entries =
            (first..).zip(&lengths).map(|(index, length)| entry(log_id, index, term, *length));
        let lsn = self.node.log.append(log_id, Record::Entries(entries.collect()), true);
        Ok(self.applied(lsn, log_id, What::Entries { first, term, lengths })?)
    }

    fn create_or_remove(&mut self) -> Result<()> {
        if self.courier.is_some() {
            return Ok(());
        }
        if self.model.groups.len() < GROUPS_MAX {
            let held: Vec<u64> = self.model.groups.values().map(|group| group.group_id).collect();
            let group_id = 1 + self.random.below(6);
            if held.contains(&group_id) {
                return Ok(());
            }
            let log_id = self.node.log.create_group(group_id);
            self.committed.insert(log_id, 0);
            let lsn = self.node.log.status().appended_lsn;
            self.applied(lsn, log_id, What::Created(group_id))?;
        } else if self.random.below(6) == 0 {
            let Some(log_id) = self.some_group() else { return Ok(()) };
            self.note(&Note::Removing { log_id })?;
            self.node.snapshots.remove_group(self.model.groups[&log_id].group_id)?;
            self.node.log.remove_group(log_id);
            let lsn = self.node.log.status().appended_lsn;
            self.applied(lsn, log_id, What::Removed)?;
        }
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        if self.node.log.wants_barrier() {
            let lsn = self.node.barrier()?;
            self.note(&Note::Durable { lsn })?;
        }
        Ok(())
    }

    /// Hands a chore to its thread. May append a seal if the node is idle.
    fn chore(&mut self, idle: bool) -> Result<()> {
        if self.keeper.is_busy {
            return Ok(());
        }
        let before = self.node.log.status().appended_lsn;
        if let Some(chore) = self.node.log.begin_chore(idle) {
            self.keeper.give(chore)?;
        }
        let lsn = self.node.log.status().appended_lsn;
        if lsn > before {
            self.note(&Note::Appended { lsn, log_id: 0, what: What::Seal })?;
        }
        Ok(())
    }

    /// Takes what the other threads have done.
    fn poll(&mut self) -> Result<()> {
        if let Some(finished) = self.keeper.done()? {
            self.node.log.finish_chore(finished)?;
        }
        match self.courier.as_ref().map(Receiver::try_recv) {
            Some(Ok(taken)) => {
                self.courier = None;
                self.took(taken?)
            }
            Some(Err(TryRecvError::Disconnected)) => Err("the courier died".into()),
            _ => Ok(()),
        }
    }

    /// Waits for the other threads, and does all the housekeeping.
    fn poll_until_idle(&mut self) -> Result<()> {
        self.is_tight = false;
        self.node.disk.set_tight(false);
        if let Some(courier) = self.courier.take() {
            let taken = courier.recv().map_err(|_| "the courier died")?;
            self.took(taken?)?;
        }
        loop {
            if self.keeper.is_busy {
                let finished = self.keeper.wait()?;
                self.node.log.finish_chore(finished)?;
            }
            self.barrier()?;
            self.chore(false)?;
            if !self.keeper.is_busy && !self.node.log.wants_barrier() {
                return Ok(());
            }
        }
    }

    /// Takes a snapshot of a group at a durable entry, which becomes final.
    fn take_snapshot(&mut self) -> Result<()> {
        let Some(log_id) = self.some_group() else { return Ok(()) };
        let group = self.model.groups[&log_id].clone();
        if self.courier.is_some() || group.unrestored.is_some() || group.entries.is_empty() {
            return Ok(());
        }
        self.node.barrier().map(|lsn| self.note(&Note::Durable { lsn }))??;
        let (first, last) = (self.committed[&log_id].max(group.compacted.0), group.last());
        if first >= last {
            return Ok(());
        }
        let index = first + 1 + self.random.below(last - first);
        let Some(term) = group.term(index) else { return Ok(()) };
        self.committed.insert(log_id, index);
        let point = self.point(log_id, &group, index, term);
        let bytes = self.random.below(200_000) as usize;
        let note = self.snapshot_note(log_id, &point, bytes, false);
        let store = self.node.snapshots.clone();
        self.courier = Some(spawn(move || {
            let mut writer = store.begin(point)?;
            writer.write_all(&content(note.seed(), bytes))?;
            writer.finish()?;
            Ok(Taken { note, term })
        }));
        Ok(())
    }

    /// Receives a snapshot that replaces a group's log.
    fn receive_snapshot(&mut self) -> Result<()> {
        let Some(log_id) = self.some_group() else { return Ok(()) };
        let group = self.model.groups[&log_id].clone();
        if self.courier.is_some() {
            return Ok(());
        }
        let index = self.committed[&log_id] + 1 + self.random.below(30);
        let term = group.last_term() + 1;
        let point = self.point(log_id, &group, index, term);
        let bytes = self.random.below(200_000) as usize;
        let note = self.snapshot_note(log_id, &point, bytes, true);
        let store = self.node.snapshots.clone();
        self.courier = Some(spawn(move || {
            peer::send(&store, point, &content(note.seed(), bytes))?;
            Ok(Taken { note, term })
        }));
        // As while a peer sends: what comes meanwhile is not final, or the snapshot is refused.
        Ok(())
    }

    fn point(
        &mut self,
        log_id: LogId,
        group: &ModelGroup,
        index: Index,
        term: Term,
    ) -> SnapshotPoint {
        let id = u128::from(self.random.draw()) << 64 | u128::from(log_id);
        let snapshot = Uuid(id.to_be_bytes());
        let (group_id, membership) = (group.group_id, self.some_bytes());
        SnapshotPoint { group_id, snapshot, index, term, membership }
    }

    fn snapshot_note(
        &self,
        log_id: LogId,
        point: &SnapshotPoint,
        bytes: usize,
        is_received: bool,
    ) -> SnapshotNote {
        let (group_id, snapshot, index) = (point.group_id, point.snapshot, point.index);
        SnapshotNote { log_id, group_id, snapshot, index, bytes, is_received }
    }

    /// Compacts the log behind a snapshot that is durable, or resets it to one that was received.
    fn took(&mut self, taken: Taken) -> Result<()> {
        let SnapshotNote { log_id, group_id, snapshot, index, is_received, .. } = taken.note;
        self.note(&Note::Snapshot(taken.note))?;
        let group = self.model.groups[&log_id].clone();
        if !is_received {
            let back = self.random.below(index - group.compacted.0 + 1).min(20);
            let compacted = index - back;
            let Some(term) = group.term(compacted) else { return Ok(()) };
            return self.put(log_id, Record::Compact { index: compacted, term });
        }
        let (membership, term) = (self.some_bytes(), taken.term);
        let hard_state = HardState { term, vote: 0, commit: index };
        self.committed.insert(log_id, index);
        self.put(log_id, Record::Reset { index, term, membership, snapshot, hard_state })?;
        self.put(log_id, Record::Meta(Bytes::new()))?;
        let lsn = self.node.barrier()?;
        self.note(&Note::Durable { lsn })?;
        self.node.snapshots.installed(group_id, snapshot);
        Ok(self.node.snapshots.collect()?)
    }

    fn reopen(mut self, root: &Path) -> Result<Load> {
        self.finish()?;
        self.settings.seed += 1;
        let Load { settings, notes, random, node, model, committed, keeper, .. } = self;
        node.close()?;
        let node = Node::open(root, settings)?;
        if let Some(difference) = model.difference(&node.log, &node.recovered)? {
            return Err(format!("after closing: {difference}").into());
        }
        let (courier, is_tight) = (None, false);
        let mut load =
            Load { settings, notes, random, node, model, committed, keeper, courier, is_tight };
        load.note_boot()?;
        Ok(load)
    }

    /// Ends what is under way, and says that a seal may follow.
    fn finish(&mut self) -> Result<()> {
        self.poll_until_idle()?;
        let lsn = self.node.log.status().appended_lsn + 1;
        self.note(&Note::Appended { lsn, log_id: 0, what: What::Seal })?;
        Ok(())
    }
}

fn spawn(work: impl FnOnce() -> Result<Taken> + Send + 'static) -> Receiver<Result<Taken>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver
}
