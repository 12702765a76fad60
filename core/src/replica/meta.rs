//! What a replica remembers of itself: its raft id, the life of the data directory it belongs to,
//! and how the group was formed. One record of the log, written whenever it changes.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, Index, NodeId, RaftId, Uuid};
use crate::options::InitialMember;

#[derive(Clone, PartialEq, prost::Message)]
struct MetaRecord {
    #[prost(uint64, tag = "1")]
    raft_id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    incarnation: Bytes,
    /// Empty until the group is formed.
    #[prost(bytes = "bytes", tag = "3")]
    formation: Bytes,
    /// The node ids of the initial members, ascending: initial member i has raft id i + 1. Empty if
    /// the node joined later.
    #[prost(uint64, repeated, tag = "4")]
    initial_nodes: Vec<u64>,
    #[prost(message, repeated, tag = "5")]
    stored: Vec<StoredIncarnation>,
    #[prost(bytes = "bytes", tag = "6")]
    members: Bytes,
    #[prost(uint64, optional, tag = "7")]
    shown_index: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredIncarnation {
    #[prost(uint64, tag = "1")]
    raft_id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    incarnation: Bytes,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub raft_id: RaftId,
    pub incarnation: Uuid,
    /// Nil until the group is formed.
    pub formation: Uuid,
    pub initial_nodes: Vec<NodeId>,
    /// The incarnations of the initial members, as far as they are known.
    pub stored: BTreeMap<RaftId, Uuid>,
    /// The digest of the initial members' list; nil if the node joined later.
    pub members: Uuid,
    /// Of an on-disk machine: the last entry that it was shown before the newest snapshot. If it says at its opening that
    /// it has this one, it lacks nothing of what was compacted. `None` if the newest snapshot is of a machine in memory.
    pub shown_index: Option<Index>,
}

impl Meta {
    pub fn to_bytes(&self) -> Bytes {
        let uuid = |uuid: &Uuid| Bytes::copy_from_slice(&uuid.0);
        let or_empty = |id: &Uuid| if id.is_nil() { Bytes::new() } else { uuid(id) };
        let stored = self.stored.iter().map(|(raft_id, incarnation)| StoredIncarnation {
            raft_id: *raft_id,
            incarnation: uuid(incarnation),
        });
        let record = MetaRecord {
            raft_id: self.raft_id,
            incarnation: uuid(&self.incarnation),
            formation: or_empty(&self.formation),
            initial_nodes: self.initial_nodes.clone(),
            stored: stored.collect(),
            members: or_empty(&self.members),
            shown_index: self.shown_index,
        };
        record.encode_to_vec().into()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Meta> {
        let damaged = || {
            Error::rejected(Code::Corrupted, "the log's record of who this replica is is damaged")
        };
        let record = MetaRecord::decode(bytes).map_err(|_| damaged())?;
        let uuid = |bytes: &Bytes| Uuid::from_slice(bytes).ok_or_else(damaged);
        let or_nil = |bytes: &Bytes| if bytes.is_empty() { Ok(Uuid::NIL) } else { uuid(bytes) };
        let mut stored = BTreeMap::new();
        for one in &record.stored {
            stored.insert(one.raft_id, uuid(&one.incarnation)?);
        }
        if record.raft_id == 0 {
            return Err(damaged());
        }
        Ok(Meta {
            raft_id: record.raft_id,
            incarnation: uuid(&record.incarnation)?,
            formation: or_nil(&record.formation)?,
            initial_nodes: record.initial_nodes,
            stored,
            members: or_nil(&record.members)?,
            shown_index: record.shown_index,
        })
    }
}

/// Names a list of initial members: all of them must have been given the same one.
pub fn members_digest(group_id: GroupId, sorted: &[InitialMember]) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"libraft initial members");
    hash.update(group_id.to_be_bytes());
    for member in sorted {
        hash.update(member.node_id.to_be_bytes());
        hash.update((member.address.len() as u64).to_be_bytes());
        hash.update(member.address.as_bytes());
    }
    uuid_of(hash)
}

/// Names what a group was formed from: its initial members, and the lives of their data
/// directories.
pub fn formation_id(digest: Uuid, incarnations: &BTreeMap<RaftId, Uuid>) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"libraft formation");
    hash.update(digest.0);
    for (raft_id, incarnation) in incarnations {
        hash.update(raft_id.to_be_bytes());
        hash.update(incarnation.0);
    }
    uuid_of(hash)
}

/// Names a snapshot: the same replica never takes two under one name, nor do two replicas.
pub fn snapshot_id(formation: Uuid, raft_id: RaftId, boot: u64, counter: u64) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"libraft snapshot");
    hash.update(formation.0);
    hash.update(raft_id.to_be_bytes());
    hash.update(boot.to_be_bytes());
    hash.update(counter.to_be_bytes());
    uuid_of(hash)
}

/// The first half of a hash, marked as a UUID of version 8.
fn uuid_of(hash: Sha256) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_reads_back_who_it_is() {
        let meta = Meta {
            raft_id: 2,
            incarnation: Uuid([7; 16]),
            formation: Uuid::NIL,
            initial_nodes: vec![10, 20],
            stored: BTreeMap::from([(1, Uuid([8; 16])), (2, Uuid([7; 16]))]),
            members: Uuid([6; 16]),
            shown_index: Some(99),
        };
        assert_eq!(Meta::from_bytes(&meta.to_bytes()).unwrap(), meta);
        let formed = Meta { formation: Uuid([9; 16]), ..meta };
        assert_eq!(Meta::from_bytes(&formed.to_bytes()).unwrap(), formed);
        assert_eq!(Meta::from_bytes(&formed.to_bytes()[3..]).unwrap_err().code, Code::Corrupted);
    }
}
