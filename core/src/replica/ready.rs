//! What raft-rs has ready: records for the log, messages, committed entries. Only its asynchronous
//! interface is used.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, HardState, Message, MessageType};
use raft::{Ready, StateRole};

use super::apply::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX};
use super::core::Replica;
use super::effect::MachineWork;
use super::message::PeerMessage;
use super::persist::PendingReady;
use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::Index;
use crate::log::{self, Record};

/// The membership is written again after so many entries: what is to be looked through at the next
/// start is bounded.
const MEMBERSHIP_REFRESH_ENTRIES: u64 = 65_536;

impl<C> Replica<C> {
    /// Does everything that follows from what was taken in.
    pub(super) fn work(&mut self) {
        self.form();
        loop {
            self.propose_all();
            self.ask_reads();
            self.handle_readies();
            let changes = self.drive_change();
            let has_ready = self.raft.as_ref().is_some_and(|raft| raft.has_ready());
            if !changes && !has_ready && !self.can_propose() {
                break;
            }
        }
        if !self.is_removed() {
            self.feed_machine();
            self.drive_snapshots();
        }
        self.refresh_membership();
        self.fit_window(0);
        if let Some(raft) = self.raft.as_mut() {
            let handed_out = self.apply.handed_out();
            raft.mut_store().evict(handed_out);
            self.out.reads.extend(raft.mut_store().take_reads());
        }
    }

    fn handle_readies(&mut self) {
        while let Some(raft) = self.raft.as_mut().filter(|raft| raft.has_ready()) {
            let ready = raft.ready();
            if let Err(error) = self.handle_ready(ready) {
                return self.fail(error);
            }
            self.release();
        }
    }

    fn handle_ready(&mut self, mut ready: Ready) -> Result<()> {
        let number = ready.number();
        let messages = ready.take_messages();
        let held = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        let read_states = ready.take_read_states();
        let entries = ready.take_entries();
        let hard_state = ready.hs().cloned();
        if ready.must_sync() {
            self.persist.requires_sync();
            self.out.must_sync = true;
        }
        let snapshot_index = self.reset_to(&mut ready)?;
        let bytes = entries.iter().map(super::entry::entry_bytes).sum();
        let last_index = entries.last().map_or(0, |entry| entry.index);
        let Some(raft) = self.raft.as_mut() else { return Ok(()) };
        let truncates = raft.mut_store().append(&entries) || snapshot_index > 0;
        raft.advance_append_async(ready);
        if !entries.is_empty() {
            self.out.records.push(Record::Entries(entries));
        }
        // The record of a snapshot has the hard state with it.
        if let Some(hard_state) = hard_state.filter(|_| snapshot_index == 0) {
            self.out.records.push(Record::HardState(hard_state_of(&hard_state)));
        }
        let pending = PendingReady {
            ready: number,
            messages: held,
            last_index,
            snapshot_index,
            entry_bytes: bytes,
            ..PendingReady::default()
        };
        self.persist.push(pending, truncates);
        for state in read_states {
            self.read_index_known(&state.request_ctx, state.index);
        }
        self.send_raft(messages);
        self.commit(committed)
    }

    /// raft-rs handed out committed entries. For it they are applied with that.
    fn commit(&mut self, entries: Vec<Entry>) -> Result<()> {
        let Some(last) = entries.last().map(|entry| entry.index) else { return Ok(()) };
        self.apply.hand_out(&entries);
        self.snapshots.log_grew(&entries);
        for entry in &entries {
            if entry.entry_type != EntryType::EntryNormal {
                self.apply_configuration(entry)?;
            }
            if self.change.is_some() {
                self.settle_change(entry.term);
            }
        }
        if let Some(raft) = self.raft.as_mut() {
            raft.advance_apply_to(last);
        }
        Ok(())
    }

    /// Records up to `number` are durable.
    pub(super) fn persisted(&mut self, number: u64) {
        self.persist.persisted(number);
        self.forming_persisted(number);
        self.release();
    }

    /// Tells raft-rs what is durable, in order, and sends what waited for it.
    fn release(&mut self) {
        while self.raft.is_some() {
            let Some(pending) = self.persist.pop() else { return };
            let Some(raft) = self.raft.as_mut() else { return };
            raft.on_persist_ready(pending.ready);
            let leads = raft.raft.state == StateRole::Leader;
            if leads && pending.last_index > 0 && is_on(Bug::CommitWithoutAQuorum) {
                raft.raft.raft_log.commit_to(pending.last_index);
            }
            if pending.last_index > 0 {
                raft.mut_store().persisted(pending.last_index);
            }
            if pending.snapshot_index > 0 {
                raft.advance_apply_to(pending.snapshot_index);
                self.install(pending.snapshot_index);
            }
            self.send_raft(pending.messages);
        }
    }

    /// Sends messages of raft-rs to whom they are for.
    pub(super) fn send_raft(&mut self, mut messages: Vec<Message>) {
        join_appends(&mut messages);
        for message in messages {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.send_snapshot(message);
            } else {
                self.post(message.to, PeerMessage::Raft(message));
            }
        }
    }

    /// Gives the machine what it can take.
    pub(super) fn feed_machine(&mut self) {
        while let Some((low, high)) = self.apply.wanted() {
            let Some(raft) = self.raft.as_ref() else { return };
            let high = high.min(low + BATCH_ENTRIES_MAX);
            let Some(entries) = raft.store().cache.range(low, high, BATCH_BYTES_MAX) else {
                let first = raft.store().cache.first_index();
                let high = first.map_or(high, |first| high.min(first));
                self.apply.reads(low);
                self.out.reads.push((low, high, BATCH_BYTES_MAX));
                return;
            };
            self.give(&entries);
        }
    }

    fn give(&mut self, entries: &[Entry]) {
        let (raft_id, boot) = (self.meta.raft_id, self.proposal_boot());
        let shown = self.apply.give(entries, raft_id, boot);
        if !shown.is_empty() {
            self.out.work.push(MachineWork::Apply { entries: shown });
        }
        self.skip_unshown();
        let given = self.apply.given();
        while self.history.get(1).is_some_and(|(index, _)| *index <= given) {
            self.history.pop_front();
        }
    }

    pub(super) fn entries_read(&mut self, low: Index, entries: Result<Vec<Entry>>) {
        let compacted = self.raft.as_ref().map_or(0, |raft| raft.store().compacted_index());
        let is_applied = self.apply.read_ended(low) && self.apply.given() + 1 == low;
        let entries = match entries {
            Ok(entries) => entries,
            // Compacted in the meantime, or replaced by entries that are not written yet: raft-rs
            // asks again, if it still wants them, and is told how things stand.
            Err(error) if low <= compacted || error.code == Code::Internal && !is_applied => {
                Vec::new()
            }
            Err(error) => return self.fail(error),
        };
        if is_applied {
            let continues = |(at, entry): (usize, &Entry)| entry.index == low + at as u64;
            if entries.is_empty() || !entries.iter().enumerate().all(continues) {
                let message = format!("the log did not return entry {low}, which is to be applied");
                return self.fail(Error::unknown(Code::Internal, message));
            }
            let handed_out = self.apply.handed_out();
            let count = entries.iter().take_while(|entry| entry.index <= handed_out).count();
            self.give(&entries[..count]);
        }
        let largest = entries.iter().map(super::entry::entry_bytes).max().unwrap_or(0);
        self.fit_window(largest);
        let Some(raft) = self.raft.as_mut() else { return };
        for context in raft.mut_store().begin_fetched(low, entries) {
            raft.on_entries_fetched(context);
        }
        raft.mut_store().end_fetched();
    }

    /// The machine applied the oldest batch it has.
    pub(super) fn applied(&mut self, results: Vec<Bytes>) {
        match self.apply.take_done(Some(&results)) {
            Ok(Some(batch)) => {
                self.complete_applied(&batch.given, results, batch.through_term);
                self.skip_unshown();
            }
            Ok(None) => {}
            Err(wanted) => {
                let message = format!(
                    "apply returned {} results for {wanted} entries; it must return one for each",
                    results.len()
                );
                self.fail(Error::unknown(Code::ApplyFailed, message));
            }
        }
    }

    /// Batches without an entry for the machine are applied once all before them are.
    fn skip_unshown(&mut self) {
        while let Ok(Some(batch)) = self.apply.take_done(None) {
            self.complete_applied(&[], Vec::new(), batch.through_term);
        }
    }

    fn refresh_membership(&mut self) {
        let handed_out = self.apply.handed_out();
        let Some(raft) = self.raft.as_ref() else { return };
        if handed_out < self.snapshots.membership_written + MEMBERSHIP_REFRESH_ENTRIES {
            return;
        }
        // As of the last entry handed out, so never of one that is not in the log.
        if handed_out <= raft.store().last_log_index() && !self.membership.members.is_empty() {
            self.write_membership(handed_out);
        }
    }

    /// Records which membership holds at `index`, up to which entries were handed out.
    pub(super) fn write_membership(&mut self, index: Index) {
        self.snapshots.membership_written = index;
        let membership = self.membership.to_bytes();
        self.out.records.push(Record::Membership { index, membership });
    }
}

pub fn hard_state_of(hard_state: &HardState) -> log::HardState {
    log::HardState { term: hard_state.term, vote: hard_state.vote, commit: hard_state.commit }
}

/// raft-rs sends a message without entries whenever the commit index moves. One that the same batch
/// follows up, or that follows one, with entries for the same peer says nothing of its own.
fn join_appends(messages: &mut Vec<Message>) {
    if messages.len() < 2 {
        return;
    }
    let mut kept: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages.drain(..) {
        let is_append = |other: &Message| other.get_msg_type() == MessageType::MsgAppend;
        if is_append(&message) {
            let mut earlier = kept.iter_mut().rev();
            let previous = earlier.find(|other| other.to == message.to);
            if let Some(previous) = previous.filter(|p| is_append(p) && p.term == message.term) {
                let end = previous.index + previous.entries.len() as u64;
                if previous.entries.is_empty() && previous.index == message.index {
                    *previous = message;
                    continue;
                }
                if message.entries.is_empty() && message.index == end {
                    previous.commit = previous.commit.max(message.commit);
                    continue;
                }
            }
        }
        kept.push(message);
    }
    *messages = kept;
}
