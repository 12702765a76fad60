//! What a log must hold, as plainly as it can be said.

use std::collections::BTreeMap;

use bytes::Bytes;
use libraft::ids::{GroupId, Index, Term, Uuid};
use libraft::log::{HardState, Log, LogId, Record, RecoveredGroup};
use libraft_tests::random::Random;
use raft::eraftpb::{Entry, EntryType};

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub groups: BTreeMap<LogId, ModelGroup>,
}

#[derive(Clone, Debug, Default)]
pub struct ModelGroup {
    pub group_id: GroupId,
    pub hard_state: HardState,
    pub membership: (Index, Bytes),
    pub meta: Bytes,
    pub compacted: (Index, Term),
    /// Term and length of each entry held; [`entry`] makes the rest of it.
    pub entries: BTreeMap<Index, (Term, usize)>,
    pub unrestored: Option<(Uuid, Index)>,
}

/// The entry that stands at an index of a log, in a term: there is only one, but for its length.
pub fn entry(log_id: LogId, index: Index, term: Term, length: usize) -> Entry {
    let mut random = Random::new(log_id << 40 ^ index << 16 ^ term);
    let mut entry = Entry { index, term, ..Entry::default() };
    if random.below(10) == 0 {
        entry.entry_type = EntryType::EntryConfChangeV2;
        entry.context = Bytes::from_static(b"context");
    }
    entry.data = content(random.draw(), length);
    entry
}

/// Bytes that follow from a seed.
pub fn content(seed: u64, length: usize) -> Bytes {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.draw().to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

impl ModelGroup {
    pub fn last(&self) -> Index {
        self.entries.keys().next_back().copied().unwrap_or(self.compacted.0)
    }

    pub fn last_term(&self) -> Term {
        self.entries.values().next_back().map_or(self.compacted.1, |(term, _)| *term)
    }

    /// The term of an index that is held, or was the last to be compacted.
    pub fn term(&self, index: Index) -> Option<Term> {
        match self.entries.get(&index) {
            Some((term, _)) => Some(*term),
            None => (index == self.compacted.0).then_some(self.compacted.1),
        }
    }

    pub fn append(&mut self, first: Index, term: Term, lengths: &[usize]) {
        self.entries.split_off(&first);
        for (index, length) in (first..).zip(lengths) {
            if index > self.compacted.0 {
                self.entries.insert(index, (term, *length));
            }
        }
    }

    /// All records but entries.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Entries(_) => panic!("entries are appended"),
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
                self.unrestored.take_if(|(unrestored, _)| unrestored == snapshot);
            }
        }
    }

    fn terms(&self) -> Vec<(Term, Index)> {
        let mut terms: Vec<(Term, Index)> = Vec::new();
        for (index, (term, _)) in &self.entries {
            if terms.last().is_none_or(|(last, _)| last != term) {
                terms.push((*term, *index));
            }
        }
        terms
    }

    /// How the group that a log recovered differs, or what its entries differ in.
    fn difference(&self, log: &Log, group: &RecoveredGroup) -> libraft::Result<Option<String>> {
        let expected = (
            self.group_id,
            self.hard_state,
            self.membership.clone(),
            self.meta.clone(),
            (self.compacted, self.last(), self.terms(), self.unrestored),
        );
        let compacted = (group.compacted_index, group.compacted_term);
        let found = (
            group.group_id,
            group.hard_state,
            (group.membership_index, group.membership.clone()),
            group.meta.clone(),
            (compacted, group.last_index, group.terms.clone(), group.unrestored),
        );
        if found != expected {
            return Ok(Some(format!("{found:?} was found, {expected:?} was written")));
        }
        let reader = log.reader(group.log_id);
        let mut next = self.compacted.0 + 1;
        while next <= self.last() {
            for found in reader.read(next, self.last() + 1, 1 << 20)? {
                let Some((term, length)) = self.entries.get(&next) else { break };
                let expected = entry(group.log_id, next, *term, *length);
                if found != expected {
                    let (found, expected) = (outline(&found), outline(&expected));
                    return Ok(Some(format!("{found} was found, {expected} was written")));
                }
                next += 1;
            }
        }
        Ok(None)
    }
}

/// An entry without its data.
fn outline(entry: &Entry) -> String {
    let Entry { index, term, entry_type, data, context, .. } = entry;
    let crc = crc32c::crc32c(data);
    format!("entry {index}: {term} {entry_type:?} {} bytes, {crc:x}, {context:?}", data.len())
}

impl Model {
    /// How what a log recovered, and can read, differs from this; `None` if it does not.
    ///
    /// **Errors**: those of reading.
    pub fn difference(
        &self,
        log: &Log,
        recovered: &[RecoveredGroup],
    ) -> libraft::Result<Option<String>> {
        let found: Vec<LogId> = recovered.iter().map(|group| group.log_id).collect();
        let expected: Vec<LogId> = self.groups.keys().copied().collect();
        if found != expected {
            return Ok(Some(format!("logs {found:?} were found, {expected:?} were written")));
        }
        for (group, (log_id, model)) in recovered.iter().zip(&self.groups) {
            if let Some(difference) = model.difference(log, group)? {
                return Ok(Some(format!("log {log_id}: {difference}")));
            }
        }
        Ok(None)
    }
}
