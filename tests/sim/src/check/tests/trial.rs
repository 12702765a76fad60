//! A small world that is told to the checks step by step: three places, one group with an in-memory machine on each.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use libraft::ids::{GroupId, Index, Term, Uuid};
use libraft::log::{HardState, Lsn, Record, RecoveredGroup};
use libraft::machine::{AppliedEntry, MachineKind};
use libraft::replica::{ConfChange, Member, Membership, ProposalId, Seat};
use libraft::{Completion, GroupStatus, Role};
use raft::eraftpb::{Entry, EntryType};

use super::super::{Checks, Verdict};
use crate::observation::{Answer, CallId, Held, Judge, Observation, Operation, Place};
use crate::registers::{Payload, Registers};

pub const GROUP: GroupId = 7;

pub fn place(node: u64) -> Place {
    Place { node_id: node, incarnation: Uuid([node as u8; 16]) }
}

/// An entry with a swap: `call` puts `value` into the register `key`.
pub fn entry(index: Index, term: Term, call: CallId, key: u8, value: u64) -> Entry {
    let mut data = BytesMut::new();
    ProposalId { raft_id: 1, boot: 1, sequence: call + 1 }.write(&mut data);
    data.extend_from_slice(&Payload { call, key, value }.encode(3));
    Entry { index, term, data: data.freeze(), ..Entry::default() }
}

/// What a new leader appends.
pub fn empty(index: Index, term: Term) -> Entry {
    Entry { index, term, ..Entry::default() }
}

/// The entry from which on these nodes vote.
pub fn change(index: Index, term: Term, voters: &[u64]) -> Entry {
    let data = ConfChange::leave(&membership(voters, &[])).to_bytes();
    Entry { index, term, data, entry_type: EntryType::EntryConfChangeV2, ..Entry::default() }
}

/// Nodes that vote, and those that vote in the old half of a joint configuration.
pub fn membership(voters: &[u64], outgoing: &[u64]) -> Membership {
    let member = |node: u64| Member {
        raft_id: node,
        node_id: node,
        incarnation: Bytes::copy_from_slice(&place(node).incarnation.0),
        address: format!("node{node}:1"),
        seat: if voters.contains(&node) { Seat::Voter as i32 } else { Seat::Leaving as i32 },
        outgoing: outgoing.contains(&node),
    };
    let is_member = |node: &u64| voters.contains(node) || outgoing.contains(node);
    let members = (1..=9).filter(is_member).map(member).collect();
    Membership { next_raft_id: 10, members, shown_index: None }
}

/// What the checks were told of a place.
#[derive(Clone, Default)]
struct Node {
    lsn: Lsn,
    entries: BTreeMap<Index, Entry>,
    hard_state: HardState,
    registers: Registers,
}

pub struct Trial {
    checks: Checks,
    nodes: BTreeMap<u64, Node>,
    formed: Membership,
}

impl Trial {
    /// The three nodes have formed the group.
    pub fn begun() -> Trial {
        Trial::formed_by(membership(&[1, 2, 3], &[]))
    }

    pub fn formed_by(formed: Membership) -> Trial {
        let nodes = formed.members.iter().map(|member| (member.node_id, Node::default()));
        let mut trial = Trial { checks: Checks::new(), nodes: nodes.collect(), formed };
        for node in trial.nodes.keys().copied().collect::<Vec<u64>>() {
            trial.see(Observation::Opened { place: place(node), held: Vec::new() }).unwrap();
            trial.open_machine(node, 0).unwrap();
            trial.form(node).unwrap();
            trial.sync(node);
        }
        trial
    }

    pub fn form(&mut self, node: u64) -> Verdict {
        let membership = self.formed.to_bytes();
        self.reset(node, 1, 1, membership, HardState { term: 1, vote: 0, commit: 1 })?;
        self.record(node, Record::Restored { snapshot: Uuid([5; 16]) })?;
        self.record(node, Record::Meta(Bytes::from_static(b"meta")))
    }

    pub fn reset(
        &mut self,
        node: u64,
        index: Index,
        term: Term,
        membership: Bytes,
        hard_state: HardState,
    ) -> Verdict {
        let snapshot = Uuid([5; 16]);
        self.record(node, Record::Reset { index, term, membership, snapshot, hard_state })
    }

    pub fn see(&mut self, observation: Observation<'_>) -> Verdict {
        self.checks.observe(0, &observation)
    }

    pub fn finish(&mut self) -> Verdict {
        self.checks.finish(0)
    }

    fn node(&mut self, node: u64) -> &mut Node {
        self.nodes.entry(node).or_default()
    }

    pub fn record(&mut self, node: u64, record: Record) -> Verdict {
        let known = self.node(node);
        known.lsn += 1;
        match &record {
            Record::Entries(entries) => {
                let first = entries.first().map_or(Index::MAX, |entry| entry.index);
                known.entries.split_off(&first);
                known.entries.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
            }
            Record::HardState(hard_state) | Record::Reset { hard_state, .. } => {
                known.hard_state = *hard_state;
            }
            _ => {}
        }
        let lsn = known.lsn;
        let (place, group_id, record) = (place(node), GROUP, &record);
        self.see(Observation::Appended { place, group_id, lsn, record })
    }

    pub fn append(&mut self, node: u64, entries: &[Entry]) -> Verdict {
        self.record(node, Record::Entries(entries.to_vec()))
    }

    pub fn vote(&mut self, node: u64, term: Term, vote: u64) -> Verdict {
        let commit = self.node(node).hard_state.commit;
        self.record(node, Record::HardState(HardState { term, vote, commit }))
    }

    /// All that a node appended is durable.
    pub fn sync(&mut self, node: u64) {
        let lsn = self.node(node).lsn;
        self.see(Observation::Durable { place: place(node), lsn }).unwrap();
    }

    pub fn status(&self, node: u64, role: Role, term: Term, commit_index: Index) -> GroupStatus {
        let first_index = 2;
        let (group_id, raft_id) = (GROUP, node);
        GroupStatus {
            group_id,
            raft_id,
            role,
            term,
            first_index,
            commit_index,
            ..GroupStatus::default()
        }
    }

    pub fn says(&mut self, node: u64, status: &GroupStatus) -> Verdict {
        self.says_with(node, status, [vec![], vec![]])
    }

    pub fn says_with(&mut self, node: u64, status: &GroupStatus, voters: [Vec<u64>; 2]) -> Verdict {
        self.see(Observation::Status { place: place(node), group_id: GROUP, status, voters })
    }

    /// A node says that it leads.
    pub fn leads(&mut self, node: u64, term: Term) -> Verdict {
        let commit = self.node(node).hard_state.commit;
        let status = self.status(node, Role::Leader, term, commit);
        self.says(node, &status)
    }

    /// Two nodes elect one of them.
    pub fn lead(&mut self, node: u64, term: Term) {
        for voter in [node, node % 3 + 1] {
            self.vote(voter, term, node).unwrap();
            self.sync(voter);
        }
        self.leads(node, term).unwrap();
    }

    /// Entries reach the disks of a leader and some followers.
    pub fn replicate(&mut self, leader: u64, followers: &[u64], entries: &[Entry]) {
        let term = self.node(leader).hard_state.term;
        for node in [leader].iter().chain(followers).copied() {
            let HardState { term: own, vote, .. } = self.node(node).hard_state;
            self.vote(node, term, if own == term { vote } else { 0 }).unwrap();
            self.append(node, entries).unwrap();
            self.sync(node);
        }
    }

    /// A node knows that everything up to an index is committed.
    pub fn commit(&mut self, node: u64, index: Index) -> Verdict {
        let hard_state = HardState { commit: index, ..self.node(node).hard_state };
        self.record(node, Record::HardState(hard_state))
    }

    pub fn open_machine(&mut self, node: u64, applied: Index) -> Verdict {
        let (place, group_id, kind) = (place(node), GROUP, MachineKind::InMemory);
        self.see(Observation::MachineOpened { place, group_id, kind, applied })
    }

    /// A node's machine applies an entry of its log, rightly.
    pub fn apply(&mut self, node: u64, index: Index) -> Verdict {
        let entry = self.node(node).entries[&index].clone();
        let (_, id_bytes) = ProposalId::read(&entry.data).unwrap();
        let (term, data) = (entry.term, entry.data.slice(id_bytes..));
        let registers = &mut self.node(node).registers;
        let result = registers.apply(index, term, &data);
        let hash = registers.hash;
        self.applies(node, &AppliedEntry { index, term, data }, result, hash)
    }

    pub fn applies(&mut self, node: u64, entry: &AppliedEntry, result: u64, hash: u64) -> Verdict {
        let (place, group_id) = (place(node), GROUP);
        self.see(Observation::Applied { place, group_id, entry, result, hash })
    }

    /// The state of a node's machine, which was last shown an entry that it was shown rightly.
    pub fn registers(&self, node: u64) -> &Registers {
        &self.nodes[&node].registers
    }

    pub fn saved(&mut self, node: u64, applied: Index, hash: u64) -> Verdict {
        let (place, group_id) = (place(node), GROUP);
        self.see(Observation::Saved { place, group_id, applied, hash })
    }

    pub fn restored(&mut self, node: u64, applied: Index, hash: u64) -> Verdict {
        let (place, group_id) = (place(node), GROUP);
        self.see(Observation::Restored { place, group_id, applied, hash })
    }

    pub fn call(&mut self, node: u64, call: CallId, operation: Operation) -> Verdict {
        let (place, group_id, client) = (place(node), GROUP, call);
        self.see(Observation::Called { call, client, place, group_id, operation })
    }

    pub fn complete(&mut self, call: CallId, answer: Answer) -> Verdict {
        self.see(Observation::Completed { call, answer })
    }

    /// A swap from its call at the leader until its completion, on the disks of all and in the machine of the leader.
    pub fn swap(&mut self, leader: u64, call: CallId, key: u8, value: u64) {
        let term = self.node(leader).hard_state.term;
        let index = self.node(leader).entries.keys().max().map_or(2, |index| index + 1);
        self.call(leader, call, Operation::Swap { key, value }).unwrap();
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|node| *node != leader).collect();
        self.replicate(leader, &others, &[entry(index, term, call, key, value)]);
        let before = self.node(leader).registers.read(key);
        self.commit(leader, index).unwrap();
        self.apply(leader, index).unwrap();
        let completion = Completion { index, term, ..Completion::default() };
        self.complete(call, Answer::Value(before, completion)).unwrap();
    }

    /// What a node's log would hold now, with entries only up to `last`.
    pub fn held(&self, node: u64, last: Index) -> Held {
        let known = &self.nodes[&node];
        let entries: Vec<Entry> =
            known.entries.range(..=last).map(|(_, entry)| entry.clone()).collect();
        let mut terms: Vec<(Term, Index)> =
            entries.iter().map(|entry| (entry.term, entry.index)).collect();
        terms.dedup_by_key(|(term, _)| *term);
        let group = RecoveredGroup {
            log_id: 1,
            group_id: GROUP,
            hard_state: known.hard_state,
            membership_index: 1,
            membership: self.formed.to_bytes(),
            meta: Bytes::from_static(b"meta"),
            compacted_index: 1,
            compacted_term: 1,
            last_index: entries.last().map_or(1, |entry| entry.index),
            terms,
            unrestored: None,
        };
        Held { group, entries }
    }

    pub fn open(&mut self, node: u64, held: Held) -> Verdict {
        self.see(Observation::Opened { place: place(node), held: vec![held] })
    }

    /// A node crashes and comes back with its entries up to `last`.
    pub fn crash(&mut self, node: u64, last: Index) {
        self.see(Observation::Crashed { place: place(node) }).unwrap();
        let held = self.held(node, last);
        self.node(node).entries.split_off(&(last + 1));
        self.node(node).registers = Registers::default();
        self.open(node, held).unwrap();
        self.open_machine(node, 0).unwrap();
    }
}
