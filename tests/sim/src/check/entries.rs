//! Every entry that any log of a group ever held, by index and term: the same index and term are the same entry
//! everywhere, behind the same one.

use std::rc::Rc;

use bytes::Bytes;
use libraft::ids::{GroupId, Term};
use libraft::replica::{ConfChange, Membership, ProposalId};
use raft::eraftpb::{Entry, EntryType};

use super::configuration::Electorate;
use super::state::Position;
use super::{broken, Verdict};

/// What an entry is for.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// A new leader's, without anything in it.
    Empty,
    /// Shown to the state machine, as this.
    Payload(Bytes),
    /// Who votes from then on.
    Configuration(Rc<Electorate>),
}

/// An entry that was in some log.
#[derive(Debug)]
pub struct Known {
    term: Term,
    previous_term: Term,
    kind: EntryType,
    data: Bytes,
    context: Bytes,
    pub meaning: Meaning,
}

/// Those of one group. Every index has few: one for each leader that put something there.
#[derive(Debug, Default)]
pub struct Entries {
    known: Vec<Vec<Known>>,
}

impl Entries {
    pub fn get(&self, at: Position) -> Option<&Known> {
        self.known.get(at.index as usize)?.iter().find(|known| known.term == at.term)
    }

    /// Whether the state machine is shown an entry.
    pub fn is_shown(&self, at: Position) -> bool {
        self.get(at).is_some_and(|known| matches!(known.meaning, Meaning::Payload(_)))
    }

    /// Some log holds an entry, behind one of `previous_term`.
    pub fn note(&mut self, group_id: GroupId, entry: &Entry, previous_term: Term) -> Verdict {
        let at = Position { index: entry.index, term: entry.term };
        let Some(known) = self.get(at) else {
            return self.add(group_id, entry, previous_term);
        };
        let same = known.data == entry.data && known.kind == entry.entry_type;
        if !same || known.context != entry.context {
            return broken("log matching", || {
                format!("two entries of group {group_id} are at {at:?}: {known:?} and {entry:?}")
            });
        }
        if known.previous_term != previous_term {
            return broken("log matching", || {
                let other = known.previous_term;
                format!("entry {at:?} of group {group_id} is behind one of term {previous_term}, and of {other}")
            });
        }
        Ok(())
    }

    fn add(&mut self, group_id: GroupId, entry: &Entry, previous_term: Term) -> Verdict {
        let Ok(meaning) = meaning_of(entry) else {
            return broken("log matching", || {
                format!("group {group_id} has {entry:?}, which cannot be read")
            });
        };
        if previous_term > entry.term {
            return broken("log matching", || {
                format!(
                    "entry {} of group {group_id} goes back to term {}",
                    entry.index, entry.term
                )
            });
        }
        let index = entry.index as usize;
        if self.known.len() <= index {
            self.known.resize_with(index + 1, Vec::new);
        }
        // A copy: the buffer that the data is a slice of may be much larger.
        let data = Bytes::copy_from_slice(&entry.data);
        let meaning = match meaning {
            Meaning::Payload(payload) => Meaning::Payload(data.slice(data.len() - payload.len()..)),
            other => other,
        };
        let (kind, context) = (entry.entry_type, entry.context.clone());
        self.known[index].push(Known {
            term: entry.term,
            previous_term,
            kind,
            data,
            context,
            meaning,
        });
        Ok(())
    }
}

fn meaning_of(entry: &Entry) -> libraft::Result<Meaning> {
    if entry.entry_type != EntryType::EntryNormal {
        let (_, membership) = ConfChange::from_bytes(&entry.data)?;
        return Ok(Meaning::Configuration(Rc::new(Electorate::of(&membership))));
    }
    if entry.data.is_empty() {
        return Ok(Meaning::Empty);
    }
    let id_bytes = ProposalId::read(&entry.data).map_or(0, |(_, bytes)| bytes);
    Ok(Meaning::Payload(entry.data.slice(id_bytes..)))
}

/// Who votes according to a membership in a record.
pub fn electorate_in(membership: &[u8]) -> Option<Electorate> {
    Membership::from_bytes(membership).ok().map(|membership| Electorate::of(&membership))
}
