//! What a load did and what it was told is durable: notes, one line each.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use libraft::ids::{GroupId, Index, Term, Uuid};
use libraft::log::{HardState, LogId, Lsn, Record};

use crate::model::{Model, ModelGroup};

/// One thing that happened. Whatever will be written is noted before, whatever is acknowledged
/// after.
#[derive(Clone, Debug)]
pub enum Note {
    /// The directory is open.
    Boot { counter: u64, incarnation: Uuid },
    /// A record was appended.
    Appended { lsn: Lsn, log_id: LogId, what: What },
    /// Everything up to here is durable.
    Durable { lsn: Lsn },
    /// A group is about to go, and its snapshots before it.
    Removing { log_id: LogId },
    /// A snapshot is complete and durable.
    Snapshot(SnapshotNote),
}

#[derive(Clone, Debug)]
pub enum What {
    Created(GroupId),
    Removed,
    Entries {
        first: Index,
        term: Term,
        lengths: Vec<usize>,
    },
    /// Anything else.
    Record(Record),
    Seal,
}

#[derive(Clone, Debug)]
pub struct SnapshotNote {
    /// The life of the group that it belongs to.
    pub log_id: LogId,
    pub group_id: GroupId,
    pub snapshot: Uuid,
    pub index: Index,
    pub bytes: usize,
    /// It came from a peer, and counts from the reset on that names it.
    pub is_received: bool,
}

impl SnapshotNote {
    /// The seed of its stream.
    pub fn seed(&self) -> u64 {
        u64::from_le_bytes(self.snapshot.0[..8].try_into().expect("eight bytes"))
    }
}

/// The log as it was when `lsn` had been appended and nothing after it.
pub fn model_at(notes: &[Note], lsn: Lsn) -> Model {
    let mut model = Model::default();
    for note in notes {
        match note {
            Note::Appended { lsn: at, log_id, what } if *at <= lsn => {
                apply(&mut model, *log_id, what)
            }
            _ => {}
        }
    }
    model
}

pub fn apply(model: &mut Model, log_id: LogId, what: &What) {
    match what {
        What::Seal => return,
        What::Created(group_id) => {
            let group = ModelGroup { group_id: *group_id, ..ModelGroup::default() };
            model.groups.insert(log_id, group);
            return;
        }
        What::Removed => {
            model.groups.remove(&log_id);
            return;
        }
        _ => {}
    }
    let group = model.groups.get_mut(&log_id).expect("records belong to a group");
    match what {
        What::Entries { first, term, lengths } => group.append(*first, *term, lengths),
        What::Record(record) => group.apply(record),
        _ => {}
    }
}

/// The last position that was appended.
pub fn appended(notes: &[Note]) -> Lsn {
    let lsns = notes.iter().filter_map(|note| match note {
        Note::Appended { lsn, .. } => Some(*lsn),
        _ => None,
    });
    lsns.max().unwrap_or(0)
}

/// Every position that was acknowledged as durable, ascending.
pub fn durable(notes: &[Note]) -> Vec<Lsn> {
    let lsns = notes.iter().filter_map(|note| match note {
        Note::Durable { lsn } => Some(*lsn),
        _ => None,
    });
    lsns.collect()
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Boot { counter, incarnation } => write!(f, "boot {counter} {incarnation}"),
            Note::Durable { lsn } => write!(f, "durable {lsn}"),
            Note::Removing { log_id } => write!(f, "removing {log_id}"),
            Note::Snapshot(note) => write!(
                f,
                "snapshot {} {} {} {} {} {}",
                note.log_id, note.group_id, note.snapshot, note.index, note.bytes, note.is_received
            ),
            Note::Appended { lsn, log_id, what } => write!(f, "append {lsn} {log_id} {what}"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hard = |state: &HardState| format!("{} {} {}", state.term, state.vote, state.commit);
        match self {
            What::Created(group_id) => write!(f, "created {group_id}"),
            What::Removed => write!(f, "removed"),
            What::Seal => write!(f, "seal"),
            What::Entries { first, term, lengths } => {
                write!(f, "entries {first} {term}")?;
                lengths.iter().try_for_each(|length| write!(f, " {length}"))
            }
            What::Record(Record::HardState(state)) => write!(f, "hard {}", hard(state)),
            What::Record(Record::Membership { index, membership }) => {
                write!(f, "membership {index} {}", Hex(membership))
            }
            What::Record(Record::Meta(meta)) => write!(f, "meta {}", Hex(meta)),
            What::Record(Record::Compact { index, term }) => write!(f, "compact {index} {term}"),
            What::Record(Record::Reset { index, term, membership, snapshot, hard_state }) => {
                let (hard, bytes) = (hard(hard_state), Hex(membership));
                write!(f, "reset {index} {term} {snapshot} {hard} {bytes}")
            }
            What::Record(Record::Restored { snapshot }) => write!(f, "restored {snapshot}"),
            What::Record(Record::Entries(_)) => Err(fmt::Error),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    /// With a dot before it, so that nothing is a word too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Note {
    type Err = String;

    fn from_str(line: &str) -> Result<Note, String> {
        parse(&mut line.split(' ')).ok_or_else(|| format!("not a note: {line}"))
    }
}

type Words<'a> = std::str::Split<'a, char>;

fn parse(words: &mut Words<'_>) -> Option<Note> {
    Some(match words.next()? {
        "boot" => Note::Boot { counter: number(words)?, incarnation: uuid(words)? },
        "durable" => Note::Durable { lsn: number(words)? },
        "removing" => Note::Removing { log_id: number(words)? },
        "snapshot" => Note::Snapshot(SnapshotNote {
            log_id: number(words)?,
            group_id: number(words)?,
            snapshot: uuid(words)?,
            index: number(words)?,
            bytes: number(words)? as usize,
            is_received: words.next()? == "true",
        }),
        "append" => {
            Note::Appended { lsn: number(words)?, log_id: number(words)?, what: parse_what(words)? }
        }
        _ => return None,
    })
}

fn parse_what(words: &mut Words<'_>) -> Option<What> {
    let record = match words.next()? {
        "created" => return Some(What::Created(number(words)?)),
        "removed" => return Some(What::Removed),
        "seal" => return Some(What::Seal),
        "entries" => {
            let (first, term) = (number(words)?, number(words)?);
            let lengths = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
            return Some(What::Entries { first, term, lengths });
        }
        "hard" => Record::HardState(hard_state(words)?),
        "membership" => Record::Membership { index: number(words)?, membership: bytes(words)? },
        "meta" => Record::Meta(bytes(words)?),
        "compact" => Record::Compact { index: number(words)?, term: number(words)? },
        "reset" => {
            let (index, term) = (number(words)?, number(words)?);
            let (snapshot, hard_state) = (uuid(words)?, hard_state(words)?);
            Record::Reset { index, term, snapshot, hard_state, membership: bytes(words)? }
        }
        "restored" => Record::Restored { snapshot: uuid(words)? },
        _ => return None,
    };
    Some(What::Record(record))
}

fn number(words: &mut Words<'_>) -> Option<u64> {
    words.next()?.parse().ok()
}

fn hard_state(words: &mut Words<'_>) -> Option<HardState> {
    Some(HardState { term: number(words)?, vote: number(words)?, commit: number(words)? })
}

fn uuid(words: &mut Words<'_>) -> Option<Uuid> {
    let digits: String = words.next()?.chars().filter(|character| *character != '-').collect();
    u128::from_str_radix(&digits, 16).ok().map(|number| Uuid(number.to_be_bytes()))
}

fn bytes(words: &mut Words<'_>) -> Option<Bytes> {
    let digits = words.next()?.strip_prefix('.')?;
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}
