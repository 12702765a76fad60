//! The numbers and names by which things are known.

use std::fmt;

/// Names a node within its cluster. Chosen by the user, never 0, kept when the node is wiped.
pub type NodeId = u64;
/// Names a group within its cluster. Chosen by the user, never 0.
pub type GroupId = u64;
/// Names a replica within its group: what raft-rs knows a member by. Comes from the group's replicated counter, never 0,
/// never used twice; a wiped node comes back with a new one.
pub type RaftId = u64;
/// A position in a group's log. The first entry a fresh group can hold has index 2 (see `docs/format.md`).
pub type Index = u64;
/// A Raft term.
pub type Term = u64;

/// Indexes and terms at or above this are refused wherever they come from (2^62): arithmetic on them stays exact.
pub const NUMBER_LIMIT: u64 = 1 << 62;
/// The longest address of a node in bytes: a host's name (253) and a port need fewer, and C has 264 with the NUL.
pub const ADDRESS_BYTES_MAX: usize = 263;

/// Sixteen bytes that name one thing for ever: an incarnation of a data directory, a formation of a group, a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    pub const NIL: Uuid = Uuid([0; 16]);

    pub fn is_nil(&self) -> bool {
        *self == Uuid::NIL
    }

    pub fn from_slice(bytes: &[u8]) -> Option<Uuid> {
        bytes.try_into().ok().map(Uuid)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
