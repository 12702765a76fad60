//! Transports on loopback, each with a poll of its own, driven in turn by the test.

mod addresses;
mod hostile;
mod refusals;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Poll};
use raft::eraftpb::{Entry, Message, MessageType};

use super::*;
use crate::error::Code;
use crate::ids::Uuid;
use crate::replica::PeerMessage;
use crate::wire::frame::{self, FrameKind, HEADER_BYTES};
use crate::wire::{Hello, PROTOCOL_MAX};

/// Long enough for a busy machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    poll: Poll,
    events: Events,
    transport: Transport,
    inbound: Vec<Inbound>,
    started: Instant,
    /// How far the clock that the transport is told is ahead of the real one.
    ahead_ms: u64,
}

impl Node {
    fn new(node_id: NodeId) -> Node {
        Node::with(node_id, |_| {})
    }

    fn with(node_id: NodeId, change: impl FnOnce(&mut TransportOptions)) -> Node {
        let mut options = TransportOptions::new("orchard", identity(node_id));
        change(&mut options);
        let poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let transport = Transport::bind(registry, 10, options).unwrap();
        let (events, started) = (Events::with_capacity(64), Instant::now());
        Node { poll, events, transport, inbound: Vec::new(), started, ahead_ms: 0 }
    }

    fn address(&self) -> String {
        self.transport.local_address().to_string()
    }

    /// One turn of an event loop.
    fn turn(&mut self) {
        let now_ms = self.now_ms();
        let wait_ms = self.transport.next_deadline_ms().saturating_sub(now_ms).min(2);
        self.turn_after(wait_ms);
    }

    fn turn_after(&mut self, wait_ms: u64) {
        self.poll_and_handle(wait_ms);
        let now_ms = self.now_ms();
        self.transport.tick(now_ms, &mut self.inbound);
        self.transport.flush();
    }

    fn poll_and_handle(&mut self, wait_ms: u64) {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(wait_ms))).unwrap();
        for event in &self.events {
            self.transport.handle(event, &mut self.inbound);
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + self.ahead_ms
    }

    fn knows(&mut self, peers: &[&Node]) {
        let list: Vec<_> =
            peers.iter().map(|node| (node.transport.options.identity, node.address())).collect();
        self.transport.set_peers(&list);
    }

    fn messages(&mut self) -> Vec<Envelope> {
        let mut messages = Vec::new();
        self.inbound.retain_mut(|inbound| match inbound {
            Inbound::Message { envelope, .. } => {
                messages.push(envelope.clone());
                false
            }
            _ => true,
        });
        messages
    }

    fn disconnected(&self, node_id: NodeId) -> bool {
        let is = |i: &Inbound| matches!(i, Inbound::Disconnected { node_id: n } if *n == node_id);
        self.inbound.iter().any(is)
    }

    fn connected_peers(&self) -> u64 {
        self.transport.status().connected_peers
    }
}

fn identity(node_id: NodeId) -> PeerIdentity {
    PeerIdentity { node_id, incarnation: Uuid([node_id as u8; 16]) }
}

/// Drives the nodes until `done`; panics when it takes too long.
fn drive(nodes: &mut [&mut Node], what: &str, mut done: impl FnMut(&mut [&mut Node]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(nodes) {
        assert!(Instant::now() < deadline, "in vain: {what}");
        nodes.iter_mut().for_each(|node| node.turn());
    }
}

fn two_connected() -> (Node, Node) {
    let (mut one, mut two) = (Node::new(1), Node::new(2));
    one.knows(&[&two]);
    two.knows(&[&one]);
    drive(&mut [&mut one, &mut two], "connect both ways", |nodes| {
        nodes.iter().all(|node| node.connected_peers() == 1)
    });
    (one, two)
}

fn envelope(index: u64, data: &Bytes, entries: u64) -> Envelope {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    (message.from, message.to, message.term, message.index) = (1, 2, 3, index);
    let entries = (0..entries).map(|offset| Entry {
        term: 3,
        index: index + 1 + offset,
        data: data.clone(),
        ..Entry::default()
    });
    message.set_entries(entries.collect::<Vec<_>>().into());
    Envelope {
        group_id: 7,
        formation: Uuid::NIL,
        from: 1,
        to: 2,
        to_incarnation: Uuid::NIL,
        body: PeerMessage::Raft(message),
    }
}

fn small(index: u64) -> Envelope {
    envelope(index, &Bytes::from_static(b"sixteen bytes ..."), 1)
}

fn index_of(envelope: &Envelope) -> u64 {
    let PeerMessage::Raft(message) = &envelope.body else { panic!("not of Raft") };
    message.index
}

#[test]
fn two_nodes_connect_and_exchange_messages_in_order() {
    let (mut one, mut two) = two_connected();
    assert!(one
        .inbound
        .iter()
        .any(|inbound| matches!(inbound, Inbound::Connected { peer } if *peer == identity(2))));
    let mut sent = 0;
    let mut received = Vec::new();
    drive(&mut [&mut one, &mut two], "exchange", |nodes| {
        for _ in 0..100 {
            if sent < 5000 {
                assert!(nodes[0].transport.send(2, &small(sent)));
                assert!(nodes[1].transport.send(1, &small(sent)));
                sent += 1;
            }
        }
        received.extend(nodes[1].messages().iter().map(index_of));
        received.len() == 5000
    });
    assert!(received.iter().copied().eq(0..5000));
    let peer = |inbound: &Inbound| matches!(inbound, Inbound::Message { peer, .. } if *peer == identity(2));
    drive(&mut [&mut one, &mut two], "the other direction", |nodes| {
        nodes[0].inbound.iter().filter(|inbound| peer(inbound)).count() == 5000
    });
}

#[test]
fn large_messages_arrive_whole_and_more_than_a_round_does_not_stall() {
    let (mut one, mut two) = two_connected();
    let data: Bytes = (0..3 << 20).map(|i: u32| (i * 31) as u8).collect();
    for index in 0..8 {
        assert!(one.transport.send(2, &envelope(index, &data, 1)));
    }
    let mut received = 0;
    drive(&mut [&mut one, &mut two], "24 MiB", |nodes| {
        for envelope in nodes[1].messages() {
            let PeerMessage::Raft(message) = &envelope.body else { unreachable!() };
            assert!(message.entries[0].data == data);
            received += 1;
        }
        received == 8
    });
}

#[test]
fn three_nodes_form_a_full_mesh() {
    let (mut one, mut two, mut three) = (Node::new(1), Node::new(2), Node::new(3));
    one.knows(&[&two, &three]);
    two.knows(&[&one, &three]);
    three.knows(&[&one, &two]);
    drive(&mut [&mut one, &mut two, &mut three], "mesh", |nodes| {
        nodes.iter().all(|node| node.connected_peers() == 2)
    });
    assert!(one.transport.send(2, &small(12)) && one.transport.send(3, &small(13)));
    let mut arrived = [0, 0];
    drive(&mut [&mut one, &mut two, &mut three], "messages", |nodes| {
        arrived[0] += nodes[1].messages().iter().map(index_of).sum::<u64>();
        arrived[1] += nodes[2].messages().iter().map(index_of).sum::<u64>();
        arrived == [12, 13]
    });
}

#[test]
fn a_lost_connection_is_reported_and_made_again() {
    let (mut one, mut two) = two_connected();
    let address = two.address();
    drop(two);
    drive(&mut [&mut one], "notice", |nodes| nodes[0].disconnected(2));
    assert_eq!(one.connected_peers(), 0);
    assert!(!one.transport.send(2, &small(1)), "nobody is there");
    drive(&mut [&mut one], "say why", |nodes| {
        let troubles = nodes[0].transport.status().troubles;
        troubles.iter().any(|(id, why)| *id == 2 && why.contains("refused"))
    });
    two = Node::with(2, |options| options.listen_address = address);
    drive(&mut [&mut one, &mut two], "connect again", |nodes| nodes[0].connected_peers() == 1);
    assert!(one.transport.status().troubles.is_empty());
    assert!(one.transport.send(2, &small(2)));
    drive(&mut [&mut one, &mut two], "go on", |nodes| !nodes[1].messages().is_empty());
}

#[test]
fn a_changed_address_reconnects_there() {
    let (mut one, two) = two_connected();
    let mut moved = Node::new(2);
    one.knows(&[&moved]);
    let mut two = two;
    drive(&mut [&mut one, &mut two, &mut moved], "move", |nodes| {
        nodes[0].disconnected(2) && nodes[0].connected_peers() == 1
    });
    assert!(one.transport.send(2, &small(1)));
    drive(&mut [&mut one, &mut moved], "arrive", |nodes| !nodes[1].messages().is_empty());
}

#[test]
fn a_peer_that_is_no_longer_wanted_is_disconnected() {
    let mut one = Node::new(1);
    let mut two = Node::with(2, |options| options.advertised_address = "no address".to_string());
    one.knows(&[&two]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
    one.transport.set_peers(&[]);
    drive(&mut [&mut one, &mut two], "disconnect", |nodes| nodes[0].disconnected(2));
    assert!(!one.transport.send(2, &small(1)));
}

#[test]
fn a_node_that_nobody_told_us_of_can_be_answered_while_it_is_connected() {
    let (mut leader, mut joiner) = (Node::new(1), Node::new(2));
    leader.knows(&[&joiner]);
    drive(&mut [&mut leader, &mut joiner], "dial back", |nodes| {
        nodes.iter().all(|node| node.connected_peers() == 1)
    });
    assert!(joiner.transport.send(1, &small(5)));
    drive(&mut [&mut leader, &mut joiner], "answer", |nodes| !nodes[0].messages().is_empty());
    drop(leader);
    drive(&mut [&mut joiner], "forget the guest", |nodes| {
        nodes[0].transport.peers.is_empty() && nodes[0].connected_peers() == 0
    });
}

#[test]
fn a_peer_that_never_reads_is_bounded_and_the_others_go_on() {
    let (mut one, mut three) =
        (Node::with(1, |options| options.queue_bytes_max = 1 << 20), Node::new(3));
    // Node 2 makes the handshake and never reads again.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = deaf.accept().unwrap();
        let mut hello = [0; HEADER_BYTES];
        stream.read_exact(&mut hello).unwrap();
        let length = u32::from_le_bytes([hello[8], hello[9], hello[10], hello[11]]);
        stream.read_exact(&mut vec![0; length as usize]).unwrap();
        let introduction = Node::new(2).transport.introduction();
        stream.write_all(&crate::wire::Welcome { protocol: 1, introduction }.encode()).unwrap();
        stream
    });
    let peers = [(identity(2), address), (identity(3), three.address())];
    one.transport.set_peers(&peers);
    drive(&mut [&mut one, &mut three], "connect", |nodes| nodes[0].connected_peers() == 2);
    let stream = thread.join().unwrap();
    let data = Bytes::from(vec![0; 10_000]);
    let (mut index, mut refused, mut arrived) = (0, 0, 0);
    drive(&mut [&mut one, &mut three], "fill the queue", |nodes| {
        for _ in 0..20 {
            refused += u64::from(!nodes[0].transport.send(2, &envelope(index, &data, 1)));
            assert!(nodes[0].transport.send(3, &small(index)), "node 3 is not concerned");
            index += 1;
        }
        arrived += nodes[1].messages().len() as u64;
        refused > 1000
    });
    let slot = one.transport.peers[&2].connection.unwrap();
    let waiting = one.transport.slots[slot].as_ref().unwrap().outgoing.bytes;
    assert!(waiting > 900_000 && waiting <= 1 << 20, "{waiting}");
    assert_eq!(one.transport.status().dropped_messages, refused);
    drive(&mut [&mut one, &mut three], "all of node 3's", |nodes| {
        arrived += nodes[1].messages().len() as u64;
        arrived == index
    });
    drop(stream);
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_after_the_idle_timeout() {
    let mut one = Node::new(1);
    let (mut two, data) = (Node::new(2), Bytes::from(vec![0; 1 << 20]));
    one.knows(&[&two]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
    // Node 2 does not run from here on; its sockets fill up.
    let since = Instant::now();
    while one.transport.send(2, &envelope(0, &data, 1)) {
        one.turn();
    }
    // The clock runs fast, so that it is not the system's own timeout that is seen.
    drive(&mut [&mut one], "give up", |nodes| {
        nodes[0].ahead_ms += 500;
        nodes[0].disconnected(2)
    });
    assert!(since.elapsed() < Duration::from_secs(4), "the system was first");
}

#[test]
fn an_idle_connection_stays_up_and_a_silent_one_does_not() {
    let quick = |options: &mut TransportOptions| options.idle_timeout_ms = 300;
    let (mut one, mut two) = (Node::with(1, quick), Node::with(2, quick));
    one.knows(&[&two]);
    let silent = hostile::forger(&mut two);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
    let since = Instant::now();
    drive(&mut [&mut one, &mut two], "some idle timeouts", |nodes| {
        assert!(!nodes[0].disconnected(2), "pings keep it up");
        since.elapsed() > Duration::from_millis(1000)
    });
    assert!(one.transport.status().bytes_out > 5 * HEADER_BYTES as u64);
    assert!(!two.transport.receiving.contains_key(&9), "the silent one is gone");
    drop(silent);
}

#[test]
fn a_snapshot_connection_is_handed_over_blocking_after_its_handshake() {
    let mut two = Node::new(2);
    let (own, address) = (Node::new(1).transport.introduction(), two.address());
    let sender = std::thread::spawn(move || {
        let (mut stream, peer, ()) =
            dial_blocking(&own, &address, Intent::Bulk, 2, PATIENCE, |_| Ok(())).unwrap();
        assert_eq!(peer, identity(2));
        stream.write_all(b"a snapshot").unwrap();
    });
    let is_bulk = |inbound: &Inbound| matches!(inbound, Inbound::Bulk { .. });
    drive(&mut [&mut two], "hand over", |nodes| nodes[0].inbound.iter().any(is_bulk));
    let Some(Inbound::Bulk { peer, mut stream }) = two.inbound.pop() else { panic!() };
    assert_eq!(peer, identity(1));
    // Nobody drives the node: the stream is independent of it, and blocking.
    let mut content = Vec::new();
    let mut buffer = [0; 16];
    loop {
        match stream.read(&mut buffer, PATIENCE).unwrap() {
            0 => break,
            count => content.extend_from_slice(&buffer[..count]),
        }
    }
    assert_eq!(content, b"a snapshot");
    sender.join().unwrap();
    assert!(two.transport.slots.iter().flatten().next().is_none());
}

#[test]
fn a_node_may_be_known_with_two_incarnations_while_it_is_being_replaced() {
    let mut one = Node::new(1);
    // Node 2 cannot be dialed back to, so it stays as it is listed.
    let mut two = Node::with(2, |options| options.advertised_address = "nowhere".to_string());
    let old = PeerIdentity { node_id: 2, incarnation: Uuid([99; 16]) };
    one.transport.set_peers(&[(old, two.address()), (identity(2), two.address())]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
    // Once only the old one is left, the new one is disconnected: it has nothing to say to us
    // either.
    two.transport.options.advertised_address.clear();
    one.transport.set_peers(&[(old, two.address())]);
    drive(&mut [&mut one, &mut two], "disconnect", |nodes| nodes[0].disconnected(2));
}

#[test]
fn listing_the_same_peers_again_disturbs_nothing() {
    let (mut one, mut two) = two_connected();
    let mut three = Node::new(3);
    one.knows(&[&two, &three]);
    drive(&mut [&mut one, &mut two, &mut three], "connect", |nodes| {
        let connected = nodes[0].connected_peers() == 2;
        let peers: Vec<_> = [&nodes[1], &nodes[2]]
            .map(|node| (node.transport.options.identity, node.address()))
            .to_vec();
        nodes[0].transport.set_peers(&peers);
        connected
    });
    assert!(!one.disconnected(2) && !one.disconnected(3));
}

#[test]
fn a_listed_node_that_moved_is_found_at_the_address_it_tells() {
    let (mut one, mut two) = two_connected();
    drop(two);
    drive(&mut [&mut one], "notice", |nodes| nodes[0].disconnected(2));
    // It comes back on another port, and only it knows which.
    two = Node::new(2);
    two.knows(&[&one]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
}

#[test]
fn a_loop_with_idle_connections_sleeps_until_the_deadline_it_is_told() {
    let (mut one, mut two) = two_connected();
    let since = Instant::now();
    let mut turns = 0;
    while since.elapsed() < Duration::from_millis(600) {
        for node in [&mut one, &mut two] {
            let now_ms = node.now_ms();
            let wait_ms = node.transport.next_deadline_ms().saturating_sub(now_ms).min(100);
            node.turn_after(wait_ms);
            turns += 1;
        }
    }
    // Six waits of 100 ms, shared by two nodes; some more for what was still under way.
    assert!(turns < 30, "{turns} turns: the loop is busy");
}

#[test]
fn a_peer_that_sends_without_end_gets_a_bounded_share_of_each_turn_and_is_read_on() {
    let mut two = Node::new(2);
    let mut stream = hostile::forger(&mut two);
    stream.set_nonblocking(true).unwrap();
    let pings = frame::encode(FrameKind::Ping, b"").repeat(1 << 12);
    let (mut sent, mut cut_short) = (0, 0);
    let before = two.transport.status().bytes_in;
    let mut last = before;
    drive(&mut [&mut two], "32 MiB", |nodes| {
        let node = &mut nodes[0];
        // Whole frames or parts of them, as much as the sockets take.
        while sent < 32 << 20 {
            match Write::write(&mut stream, &pings[sent % pings.len()..]) {
                Ok(bytes) => sent += bytes,
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        node.poll_and_handle(0);
        if node.transport.slots.iter().flatten().any(|connection| connection.unread) {
            cut_short += 1;
            assert_eq!(node.transport.next_deadline_ms(), node.transport.now_ms, "at once");
        }
        let bytes_in = node.transport.status().bytes_in;
        // Here and in the turn before: one round for the event and one for the tick each, overrun
        // by one read at most.
        assert!(bytes_in - last <= (4 * (256 + 64)) << 10, "{} bytes at once", bytes_in - last);
        last = bytes_in;
        bytes_in - before == 32 << 20
    });
    assert!(cut_short > 0, "no round was ever cut short");
}
