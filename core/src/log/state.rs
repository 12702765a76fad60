//! What a group's records add up to, apart from the entries themselves.

use bytes::Bytes;

use super::codec::{put_varint, Change, EntriesHeader, Fields};
use super::record::{HardState, LogId, Record, RecoveredGroup};
use crate::ids::{GroupId, Uuid};

impl RecoveredGroup {
    pub(crate) fn new(log_id: LogId, group_id: GroupId) -> RecoveredGroup {
        RecoveredGroup {
            log_id,
            group_id,
            hard_state: HardState::default(),
            membership_index: 0,
            membership: Bytes::new(),
            meta: Bytes::new(),
            compacted_index: 0,
            compacted_term: 0,
            last_index: 0,
            terms: Vec::new(),
            unrestored: None,
        }
    }

    /// Takes a record into account. `None` if it cannot follow the ones before.
    pub(super) fn fold(&mut self, change: &Change) -> Option<()> {
        match change {
            Change::Entries(header) => self.fold_entries(*header)?,
            Change::HardState(state) => self.hard_state = *state,
            Change::Membership { index, membership } => {
                self.membership_index = *index;
                self.membership = membership.clone();
            }
            Change::Meta(meta) => self.meta = meta.clone(),
            Change::Compact { index, term } if *index > self.compacted_index => {
                self.compacted_index = *index;
                self.compacted_term = *term;
                self.last_index = self.last_index.max(*index);
                self.trim_terms();
            }
            Change::Reset { index, term, membership, snapshot, hard_state } => {
                self.compacted_index = *index;
                self.compacted_term = *term;
                self.last_index = *index;
                self.terms.clear();
                self.membership_index = *index;
                self.membership = membership.clone();
                self.hard_state = *hard_state;
                self.unrestored = Some((*snapshot, *index));
            }
            Change::Restored { snapshot } => {
                if self.unrestored.is_some_and(|(unrestored, _)| unrestored == *snapshot) {
                    self.unrestored = None;
                }
            }
            Change::Compact { .. } | Change::Created { .. } | Change::Removed | Change::Seal => {}
        }
        Some(())
    }

    /// Takes a record that was appended into account, so that a group that is stopped can start
    /// again from what the log holds by then. A record that cannot follow the ones before is passed
    /// over: the log refuses it by itself.
    pub(crate) fn note(&mut self, record: &Record) {
        let change = match record {
            Record::Entries(entries) => {
                // Terms never fall within a log, so this is nearly always a single run.
                for run in entries.chunk_by(|entry, next| entry.term == next.term) {
                    let (first, term, count) = (run[0].index, run[0].term, run.len() as u32);
                    let _ = self.fold_entries(EntriesHeader { first, term, count });
                }
                return;
            }
            Record::HardState(state) => Change::HardState(*state),
            Record::Membership { index, membership } => {
                Change::Membership { index: *index, membership: membership.clone() }
            }
            Record::Meta(meta) => Change::Meta(meta.clone()),
            Record::Compact { index, term } => Change::Compact { index: *index, term: *term },
            Record::Reset { index, term, membership, snapshot, hard_state } => Change::Reset {
                index: *index,
                term: *term,
                membership: membership.clone(),
                snapshot: *snapshot,
                hard_state: *hard_state,
            },
            Record::Restored { snapshot } => Change::Restored { snapshot: *snapshot },
        };
        let _ = self.fold(&change);
    }

    fn fold_entries(&mut self, header: EntriesHeader) -> Option<()> {
        let first = header.first.max(self.compacted_index + 1);
        if first > self.last_index + 1 {
            return None;
        }
        self.terms.retain(|(_, from)| *from < first);
        if first <= header.last() && self.terms.last().is_none_or(|(term, _)| *term != header.term)
        {
            self.terms.push((header.term, first));
        }
        self.last_index = header.last().max(first - 1);
        Some(())
    }

    fn trim_terms(&mut self) {
        let first = self.compacted_index + 1;
        let passed = self.terms.partition_point(|(_, from)| *from <= first);
        self.terms.drain(..passed.saturating_sub(1));
        if first > self.last_index {
            self.terms.clear();
        } else if let Some((_, from)) = self.terms.first_mut() {
            *from = (*from).max(first);
        }
    }

    /// The row that the checkpoint keeps for the group.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(128 + self.membership.len() + self.meta.len());
        let (snapshot, snapshot_index) = self.unrestored.unwrap_or((Uuid::NIL, 0));
        for number in [
            self.group_id,
            self.hard_state.term,
            self.hard_state.vote,
            self.hard_state.commit,
            self.compacted_index,
            self.compacted_term,
            self.last_index,
            self.membership_index,
            snapshot_index,
        ] {
            row.extend_from_slice(&number.to_le_bytes());
        }
        row.push(u8::from(self.unrestored.is_some()));
        row.extend_from_slice(&snapshot.0);
        for bytes in [&self.membership, &self.meta] {
            put_varint(&mut row, bytes.len() as u64);
            row.extend_from_slice(bytes);
        }
        put_varint(&mut row, self.terms.len() as u64);
        for (term, from) in &self.terms {
            put_varint(&mut row, *term);
            put_varint(&mut row, *from);
        }
        row
    }

    pub(super) fn decode(log_id: LogId, row: &[u8]) -> Option<RecoveredGroup> {
        let mut fields = Fields(row);
        let mut group = RecoveredGroup::new(log_id, fields.u64()?);
        group.hard_state = fields.hard_state()?;
        group.compacted_index = fields.u64()?;
        group.compacted_term = fields.u64()?;
        group.last_index = fields.u64()?;
        group.membership_index = fields.u64()?;
        let snapshot_index = fields.u64()?;
        let is_unrestored = fields.u8()? != 0;
        let snapshot = fields.uuid()?;
        group.unrestored = is_unrestored.then_some((snapshot, snapshot_index));
        for bytes in [&mut group.membership, &mut group.meta] {
            let length = usize::try_from(fields.varint()?).ok()?;
            *bytes = Bytes::copy_from_slice(fields.bytes(length)?);
        }
        for _ in 0..fields.varint()? {
            group.terms.push((fields.varint()?, fields.varint()?));
        }
        fields.0.is_empty().then_some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(first: u64, term: u64, count: u32) -> Change {
        Change::Entries(EntriesHeader { first, term, count })
    }

    fn folded(changes: &[Change]) -> RecoveredGroup {
        let mut group = RecoveredGroup::new(1, 7);
        for change in changes {
            group.fold(change).unwrap();
        }
        group
    }

    #[test]
    fn terms_follow_appends_truncations_and_compactions() {
        let mut group = folded(&[entries(1, 1, 10), entries(11, 3, 10), entries(16, 4, 1)]);
        assert_eq!((group.last_index, &group.terms[..]), (16, &[(1, 1), (3, 11), (4, 16)][..]));
        group.fold(&Change::Compact { index: 12, term: 3 });
        assert_eq!(group.terms, [(3, 13), (4, 16)]);
        group.fold(&Change::Compact { index: 16, term: 4 });
        assert_eq!((group.last_index, group.terms.len()), (16, 0));
        assert!(group.fold(&entries(18, 4, 1)).is_none(), "a gap");
        group.fold(&Change::Compact { index: 30, term: 5 });
        assert_eq!((group.compacted_index, group.last_index), (30, 30));
    }

    #[test]
    fn a_row_comes_back_as_it_was_and_a_cut_one_is_refused() {
        let snapshot = Uuid([9; 16]);
        let hard_state = HardState { term: 5, vote: 2, commit: 9 };
        let membership = Bytes::from_static(b"members");
        let reset = Change::Reset { index: 9, term: 4, membership, snapshot, hard_state };
        let meta = Change::Meta(Bytes::from_static(b"meta"));
        let group = folded(&[reset, meta, entries(10, 5, 3), entries(12, 6, 1)]);
        let row = group.encode();
        let decoded = RecoveredGroup::decode(1, &row).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{group:?}"));
        for length in 0..row.len() {
            assert!(RecoveredGroup::decode(1, &row[..length]).is_none(), "{length}");
        }
    }
}
