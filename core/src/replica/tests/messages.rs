//! Messages that would make raft-rs panic, or worse. Each is refused, and the replica serves on.

use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::world::{World, GROUP};
use crate::ids::{NodeId, Uuid, NUMBER_LIMIT};
use crate::replica::{Envelope, Event, PeerIdentity, PeerMessage, ReceivedSnapshot, Role};

fn message(kind: MessageType, from: u64, term: u64) -> Message {
    let mut message = Message { from, to: 2, term, ..Message::default() };
    message.set_msg_type(kind);
    message
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, ..Entry::default() }
}

fn append(index: u64, log_term: u64, entries: Vec<Entry>) -> Message {
    let mut message = message(MessageType::MsgAppend, 1, 2);
    message.index = index;
    message.log_term = log_term;
    message.set_entries(entries.into());
    message
}

fn identity(node_id: NodeId) -> PeerIdentity {
    PeerIdentity { node_id, incarnation: Uuid([node_id as u8; 16]) }
}

fn envelope(world: &World, message: Message) -> Envelope {
    Envelope {
        group_id: GROUP,
        formation: world.status(2).formation,
        from: message.from,
        to: message.to,
        to_incarnation: Uuid([2; 16]),
        body: PeerMessage::Raft(message),
    }
}

/// A group whose leader is replica 1, in term 2, with entries up to index 4.
fn group() -> World {
    let mut world = World::formed(3);
    world.propose(1, "one");
    world.propose(1, "two");
    world.settle();
    let status = world.status(2);
    assert_eq!((status.term, status.last_index, status.commit_index), (2, 4, 4));
    world
}

/// Sends a message to replica 2 and expects that it is refused, and that the group serves on.
#[track_caller]
fn is_refused(mut world: World, message: Message) {
    let envelope = envelope(&world, message);
    let before = world.node(2).replica.as_ref().unwrap().refused_messages;
    let peer = identity(envelope.from);
    world.step(2, Event::Message { peer, envelope });
    assert!(world.network.is_empty(), "it is not answered");
    let replica = world.node(2).replica.as_ref().unwrap();
    assert_eq!(replica.refused_messages, before + 1, "it is counted");
    serves(world);
}

#[track_caller]
fn serves(mut world: World) {
    let call = world.propose(2, "after");
    world.settle();
    assert!(world.outcome(call).is_ok(), "{:?}", world.outcome(call));
    assert!(world.status(2).failure.is_none());
}

#[test]
fn a_heartbeat_that_commits_beyond_the_log_is_refused() {
    let mut heartbeat = message(MessageType::MsgHeartbeat, 1, 2);
    heartbeat.commit = 5;
    is_refused(group(), heartbeat);
}

#[test]
fn votes_and_timeout_now_without_a_term_are_refused() {
    for kind in
        [MessageType::MsgRequestVote, MessageType::MsgRequestPreVote, MessageType::MsgTimeoutNow]
    {
        is_refused(group(), message(kind, 1, 0));
    }
}

#[test]
fn calls_that_are_made_locally_are_refused_from_a_peer() {
    for kind in [
        MessageType::MsgPropose,
        MessageType::MsgReadIndex,
        MessageType::MsgTransferLeader,
        MessageType::MsgReadIndexResp,
        MessageType::MsgSnapshot,
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
    ] {
        is_refused(group(), message(kind, 1, 2));
        is_refused(group(), message(kind, 1, 0));
    }
}

#[test]
fn an_empty_proposal_and_a_read_without_context_are_refused_by_the_leader() {
    for kind in [MessageType::MsgPropose, MessageType::MsgReadIndex] {
        for term in [0, 2, 3] {
            let mut world = group();
            world.elect_by_transfer(2);
            is_refused(world, message(kind, 1, term));
        }
    }
}

#[test]
fn an_append_that_leaves_a_gap_is_refused() {
    is_refused(group(), append(4, 2, vec![entry(6, 2)]));
    is_refused(group(), append(4, 2, vec![entry(5, 2), entry(7, 2)]));
}

#[test]
fn an_append_whose_indexes_do_not_match_is_refused() {
    is_refused(group(), append(4, 2, vec![entry(2, 2)]));
    is_refused(group(), append(4, 2, vec![entry(0, 2)]));
}

#[test]
fn an_append_that_conflicts_below_the_commit_index_changes_nothing() {
    is_refused(group(), append(4, 2, vec![entry(3, 1), entry(4, 1)]));
    // Properly numbered it is answered with the commit index, and the entries are left alone.
    let mut world = group();
    let envelope = envelope(&world, append(2, 2, vec![entry(3, 2), entry(4, 2)]));
    world.step(2, Event::Message { peer: identity(1), envelope });
    assert_eq!(world.applied(2), ["one", "two"]);
    serves(world);
}

#[test]
fn an_append_with_impossible_terms_is_refused() {
    is_refused(group(), append(4, 2, vec![entry(5, 1)]));
    is_refused(group(), append(4, 2, vec![entry(5, 3)]));
    is_refused(group(), append(4, 3, vec![]));
    is_refused(group(), append(0, 0, vec![entry(1, 2)]));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let mut heartbeat = message(MessageType::MsgHeartbeat, 1, 2);
    heartbeat.commit = u64::MAX;
    is_refused(group(), heartbeat);
    is_refused(group(), message(MessageType::MsgRequestVote, 3, NUMBER_LIMIT));
    is_refused(group(), append(u64::MAX, 2, vec![]));
}

#[test]
fn entries_that_are_not_of_this_library_are_refused() {
    let with = |change: fn(&mut Entry)| {
        let mut entry = entry(5, 2);
        change(&mut entry);
        append(4, 2, vec![entry])
    };
    is_refused(group(), with(|entry| entry.data = vec![0, 0, 0].into()));
    is_refused(group(), with(|entry| entry.context = vec![1].into()));
    is_refused(group(), with(|entry| entry.set_entry_type(EntryType::EntryConfChange)));
    is_refused(group(), with(|entry| entry.set_entry_type(EntryType::EntryConfChangeV2)));
}

#[test]
fn an_acknowledgement_of_what_the_leader_does_not_have_is_refused() {
    let mut world = group();
    world.elect_by_transfer(2);
    let mut response = message(MessageType::MsgAppendResponse, 1, 3);
    response.index = 100;
    is_refused(world, response);
}

fn snapshot(world: &World, index: u64, term: u64, membership: Vec<u8>) -> Event<u64> {
    let snapshot =
        ReceivedSnapshot { snapshot: Uuid([9; 16]), index, term, membership: membership.into() };
    let term = world.status(2).term;
    Event::SnapshotReceived { from: 1, peer: identity(1), term, snapshot }
}

#[test]
fn a_snapshot_of_an_impossible_index_or_membership_is_refused() {
    let membership = |world: &World| world.node(2).durable.membership.1.to_vec();
    let overlapping = |world: &World| {
        // The same member twice: voter and learner.
        let bytes = membership(world);
        [&bytes[..], &bytes[..]].concat()
    };
    let world = group();
    let events = [
        snapshot(&world, u64::MAX, 2, membership(&world)),
        snapshot(&world, 0, 2, membership(&world)),
        snapshot(&world, 9, 3, membership(&world)),
        snapshot(&world, 9, 2, overlapping(&world)),
        snapshot(&world, 9, 2, vec![0xff, 1, 2]),
        snapshot(&world, 9, 2, vec![]),
    ];
    for event in events {
        let mut world = group();
        world.step(2, event);
        assert_eq!(world.status(2).last_index, 4);
        assert_eq!(world.node(2).replica.as_ref().unwrap().refused_messages, 1);
        serves(world);
    }
}

#[test]
fn a_message_for_another_life_group_formation_or_replica_is_refused() {
    type Change = fn(&mut Envelope);
    let changes: [Change; 5] = [
        |envelope| envelope.group_id = 8,
        |envelope| envelope.formation = Uuid([1; 16]),
        |envelope| envelope.to_incarnation = Uuid([1; 16]),
        |envelope| envelope.to = 3,
        |envelope| envelope.from = 3,
    ];
    for change in changes {
        let mut world = group();
        let mut envelope = envelope(&world, message(MessageType::MsgRequestVote, 1, 9));
        change(&mut envelope);
        world.step(2, Event::Message { peer: identity(1), envelope });
        assert_eq!(world.status(2).term, 2, "the term of a refused message is not taken over");
        serves(world);
    }
}

#[test]
fn a_member_cannot_speak_for_another() {
    let mut world = group();
    let envelope = envelope(&world, message(MessageType::MsgRequestVote, 1, 9));
    world.step(2, Event::Message { peer: identity(3), envelope });
    assert_eq!(world.status(2).term, 2);
    serves(world);
}

#[test]
fn a_panic_puts_one_replica_out_of_service_and_answers_its_calls() {
    let mut world = World::formed(3);
    let call = world.propose(2, "x");
    let replica = world.node_mut(2).replica.as_mut().unwrap();
    // What no message can do any more: an index that raft-rs never handed out.
    if let Some(raft) = replica.raft.as_mut() {
        raft.raft.raft_log.committed = 100;
    }
    world.tick(2);
    for _ in 0..40 {
        world.tick(2);
    }
    assert_eq!(world.status(2).role, Role::Stopped);
    assert_eq!(world.code(call), (crate::error::Code::Panicked, crate::error::Outcome::Unknown));
    let late = world.propose(2, "y");
    assert_eq!(world.code(late), (crate::error::Code::Panicked, crate::error::Outcome::Rejected));
    world.step(2, Event::Persisted { number: 99 });
    world.step(2, Event::Applied { results: vec![] });
}

#[test]
fn the_answer_to_a_read_of_an_earlier_boot_answers_none_of_this_one() {
    let mut world = World::formed(3);
    world.settle();
    world.read_index(2);
    let asked = world.network.pop_front().expect("the leader is asked");
    world.deliver(asked);
    world.crash(2);
    world.restart(2).unwrap();
    // The others go on without node 2, and the leader works its read index out.
    let newer = world.propose(1, "newer");
    let mut answer = None;
    for _ in 0..10 {
        [1, 3].into_iter().for_each(|node_id| {
            world.sync(node_id);
            world.work(node_id);
        });
        while let Some(packet) = world.network.pop_front() {
            match &packet.envelope.body {
                PeerMessage::ReadIndex { .. } => answer = Some(packet),
                _ if packet.to != 2 => world.deliver(packet),
                _ => {}
            }
        }
    }
    let newer = world.outcome(newer).as_ref().unwrap().index;
    world.tick(1);
    let heartbeat = world.network.iter().position(|packet| packet.to == 2).unwrap();
    let heartbeat = world.network.remove(heartbeat).unwrap();
    world.deliver(heartbeat);
    let read = world.read_index(2);
    world.deliver(answer.expect("the leader answered the earlier boot"));
    assert!(!world.is_done(read));
    for _ in 0..3 {
        world.settle();
    }
    assert!(world.outcome(read).as_ref().unwrap().index >= newer);
}
