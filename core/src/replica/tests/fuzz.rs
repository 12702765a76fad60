//! Messages of chance, from members who may say anything: the replica may refuse them or believe
//! them, and never panics.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::random::Chance;
use super::world::{options, World, GROUP};
use crate::ids::Uuid;
use crate::replica::{
    Envelope, Event, PeerIdentity, PeerMessage, ReceivedSnapshot, ReplicaOptions,
};

const KINDS: [MessageType; 19] = [
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// Near what the replica has, mostly; sometimes far from it.
fn number(chance: &mut Chance, near: u64) -> u64 {
    match chance.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 62,
        3 => chance.below(1_000),
        4..=8 => near,
        _ => near.saturating_add(chance.below(5)).saturating_sub(2),
    }
}

fn entry(chance: &mut Chance, index: u64, term: u64) -> Entry {
    let data: Bytes = match chance.below(6) {
        0 => Bytes::new(),
        1 => vec![0xff; chance.below(20) as usize].into(),
        _ => vec![1, 1, 1, 7].into(),
    };
    let mut entry = Entry { index, term, data, ..Entry::default() };
    if chance.one_in(15) {
        entry.set_entry_type(EntryType::EntryConfChangeV2);
    }
    entry
}

fn message(chance: &mut Chance, to: u64, term: u64, last: u64) -> Message {
    let index = number(chance, last);
    let term = if chance.one_in(5) { number(chance, term) } else { term };
    let mut message = Message {
        from: 1 + chance.below(4),
        to,
        term,
        index,
        log_term: number(chance, term),
        commit: number(chance, last),
        commit_term: number(chance, term),
        reject: chance.one_in(3),
        reject_hint: number(chance, last),
        request_snapshot: if chance.one_in(6) { number(chance, last) } else { 0 },
        ..Message::default()
    };
    message.set_msg_type(KINDS[chance.below(KINDS.len() as u64) as usize]);
    if chance.one_in(2) {
        let entries: Vec<Entry> = (1..=chance.below(4))
            .map(|at| {
                let index =
                    if chance.one_in(8) { number(chance, last) } else { index.wrapping_add(at) };
                let term = if chance.one_in(6) { number(chance, term) } else { term };
                entry(chance, index, term)
            })
            .collect();
        message.set_entries(entries.into());
    }
    if chance.one_in(10) {
        message.context = Bytes::from_static(b"CampaignTransfer");
    }
    message
}

fn body(chance: &mut Chance, message: Message, last: u64) -> PeerMessage {
    let (term, boot, sequence) = (message.term, 1, number(chance, 3));
    match chance.below(30) {
        0 => PeerMessage::Propose { term, proposals: vec![vec![1, 1, 1, 7].into(), Bytes::new()] },
        1 => {
            PeerMessage::Propose { term, proposals: vec![vec![message.from as u8, 1, 9, 7].into()] }
        }
        2 => PeerMessage::ProposeRefused {
            boot,
            sequences: vec![sequence, u64::MAX],
            code: crate::error::Code::Busy,
        },
        3 => PeerMessage::Read { boot, sequence },
        4 => PeerMessage::ReadIndex { boot, sequence, index: number(chance, last) },
        5 => PeerMessage::ReadRefused { boot, sequence, code: crate::error::Code::Busy },
        6 => PeerMessage::Formation {
            members: Uuid::NIL,
            incarnation: Uuid([message.from as u8; 16]),
            stored: vec![(sequence, Uuid::NIL)],
            answer_wanted: true,
        },
        _ => PeerMessage::Raft(message),
    }
}

fn run(seed: u64) {
    let mut chance = Chance::new(seed);
    let mut world = World::default();
    for node_id in 1..=3 {
        let options = ReplicaOptions { entry_cache_bytes: 200, ..options(node_id, &[1, 2, 3]) };
        world.add(options).expect("the options are right");
    }
    world.settle();
    world.elect(1);
    for _ in 0..3_000 {
        let to = 1 + chance.below(3);
        let status = world.status(to);
        let message = message(&mut chance, status.raft_id, status.term, status.last_index);
        let from = message.from;
        let peer = PeerIdentity { node_id: from, incarnation: Uuid([from as u8; 16]) };
        let event = if chance.one_in(60) {
            let snapshot = ReceivedSnapshot {
                snapshot: Uuid([7; 16]),
                index: message.index,
                term: message.log_term,
                membership: world.node(to).durable.membership.1.clone(),
            };
            // The store holds what it reports.
            let machine = world.node(to).machine.clone();
            let stored = super::world::StoredSnapshot { received: snapshot.clone(), machine };
            world.node_mut(to).store.insert(snapshot.snapshot, stored);
            Event::SnapshotReceived { from, peer, term: message.term, snapshot }
        } else {
            let envelope = Envelope {
                group_id: GROUP,
                formation: status.formation,
                from,
                to: message.to,
                to_incarnation: Uuid([to as u8; 16]),
                body: body(&mut chance, message, status.last_index),
            };
            Event::Message { peer, envelope }
        };
        world.step(to, event);
        match chance.below(8) {
            0 => {
                world.sync(to);
            }
            1 => world.tick(to),
            2 => {
                world.propose(to, "x");
            }
            3 => {
                world.read(to);
            }
            _ => {}
        }
        world.node_mut(to).work.clear();
        world.network.clear();
        let failure = world.status(to).failure;
        assert!(failure.is_none(), "seed {seed}: {failure:?}");
    }
}

#[test]
fn no_message_makes_a_replica_panic() {
    let seeds = std::env::var("REPLICA_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 1..=seeds.unwrap_or(20) {
        println!("seed {seed}");
        run(seed);
    }
}
