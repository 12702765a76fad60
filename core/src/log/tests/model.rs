//! What a log must hold, as plainly as it can be said.

use std::collections::BTreeMap;

use raft::eraftpb::Entry;

use super::super::*;
use crate::ids::{Term, Uuid};

#[derive(Clone, Default)]
pub struct Model {
    pub groups: BTreeMap<LogId, ModelGroup>,
}

#[derive(Clone, Default)]
pub struct ModelGroup {
    pub group_id: GroupId,
    pub hard_state: HardState,
    pub membership: (Index, bytes::Bytes),
    pub meta: bytes::Bytes,
    pub compacted: (Index, Term),
    /// With the position of the record that brought the entry.
    pub entries: BTreeMap<Index, (Lsn, Entry)>,
    pub unrestored: Option<(Uuid, Index)>,
}

impl ModelGroup {
    pub fn last(&self) -> Index {
        self.entries.keys().next_back().copied().unwrap_or(self.compacted.0)
    }

    pub fn last_term(&self) -> Term {
        self.entries.values().next_back().map_or(self.compacted.1, |(_, entry)| entry.term)
    }

    pub fn apply(&mut self, record: &Record, lsn: Lsn) {
        match record {
            Record::Entries(entries) => {
                self.entries.split_off(&entries[0].index);
                for entry in entries.iter().filter(|entry| entry.index > self.compacted.0) {
                    self.entries.insert(entry.index, (lsn, entry.clone()));
                }
            }
            Record::HardState(state) => self.hard_state = *state,
            Record::Membership { index, membership } => {
                self.membership = (*index, membership.clone())
            }
            Record::Meta(meta) => self.meta = meta.clone(),
            Record::Compact { index, term } => {
                if *index > self.compacted.0 {
                    self.compacted = (*index, *term);
                    self.entries = self.entries.split_off(&(index + 1));
                }
            }
            Record::Reset { index, term, membership, snapshot, hard_state } => {
                self.compacted = (*index, *term);
                self.entries.clear();
                self.membership = (*index, membership.clone());
                self.hard_state = *hard_state;
                self.unrestored = Some((*snapshot, *index));
            }
            Record::Restored { snapshot } => {
                if self.unrestored.is_some_and(|(unrestored, _)| unrestored == *snapshot) {
                    self.unrestored = None;
                }
            }
        }
    }

    fn terms(&self) -> Vec<(Term, Index)> {
        let mut terms: Vec<(Term, Index)> = Vec::new();
        for (index, (_, entry)) in &self.entries {
            if terms.last().is_none_or(|(term, _)| *term != entry.term) {
                terms.push((entry.term, *index));
            }
        }
        terms
    }
}

impl Model {
    /// Compares everything with what a log recovered and can read.
    pub fn check(&self, log: &Log, recovered: &[RecoveredGroup], context: &str) {
        let ids: Vec<LogId> = recovered.iter().map(|group| group.log_id).collect();
        let expected: Vec<LogId> = self.groups.keys().copied().collect();
        assert_eq!(ids, expected, "{context}");
        for (group, (log_id, model)) in recovered.iter().zip(&self.groups) {
            let context = format!("{context}, log {log_id}");
            assert_eq!(group.group_id, model.group_id, "{context}");
            assert_eq!(group.hard_state, model.hard_state, "{context}");
            let membership = (group.membership_index, group.membership.clone());
            assert_eq!(membership, model.membership, "{context}");
            assert_eq!(group.meta, model.meta, "{context}");
            let compacted = (group.compacted_index, group.compacted_term);
            assert_eq!(compacted, model.compacted, "{context}");
            assert_eq!(group.last_index, model.last(), "{context}");
            assert_eq!(group.terms, model.terms(), "{context}");
            assert_eq!(group.unrestored, model.unrestored, "{context}");
            let read = log.read_all(group).unwrap_or_else(|error| panic!("{context}: {error}"));
            let expected = model.entries.values().map(|(_, entry)| entry);
            assert!(read.iter().eq(expected), "{context}: entries differ");
        }
    }
}
