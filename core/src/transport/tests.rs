//! Transports on loopback, each with a poll of its own, driven in turn by the test.

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
        Node { poll, events, transport, inbound: Vec::new(), started }
    }

    fn address(&self) -> String {
        self.transport.local_address().to_string()
    }

    /// One turn of an event loop.
    fn turn(&mut self) {
        let now_ms = self.now_ms();
        let wait_ms = self.transport.next_deadline_ms().saturating_sub(now_ms).min(2);
        self.poll.poll(&mut self.events, Some(Duration::from_millis(wait_ms))).unwrap();
        for event in &self.events {
            self.transport.handle(event, &mut self.inbound);
        }
        let now_ms = self.now_ms();
        self.transport.tick(now_ms, &mut self.inbound);
        self.transport.flush();
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
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

/// Node 1 dials node 2, one of which was changed, until it is refused at one end.
fn refused_dial(
    change_one: impl FnOnce(&mut TransportOptions),
    change_two: impl FnOnce(&mut TransportOptions),
    expected: PeerIdentity,
) -> (Node, Node) {
    let (mut one, mut two) = (Node::with(1, change_one), Node::with(2, change_two));
    one.transport.set_peers(&[(expected, two.address())]);
    drive(&mut [&mut one, &mut two], "a refusal", |nodes| {
        assert_eq!(nodes[0].connected_peers(), 0, "must not connect");
        nodes[1].transport.status().refused_connections > 0
    });
    (one, two)
}

/// The sentence that node `two` gives to whoever dials it as `own`.
fn sentence(two: &mut Node, own: Introduction, expected_node_id: NodeId) -> String {
    let address = two.address();
    let asker = std::thread::spawn(move || {
        dial_blocking(&own, &address, Intent::Messages, expected_node_id, PATIENCE).unwrap_err()
    });
    drive(&mut [two], "the sentence", |_| asker.is_finished());
    let error = asker.join().unwrap();
    assert_eq!(error.code, Code::HandshakeRefused);
    error.message
}

#[test]
fn a_node_of_another_cluster_is_refused_and_told_why() {
    let (one, mut two) = refused_dial(|o| o.cluster = "other".into(), |_| {}, identity(2));
    let why = sentence(&mut two, one.transport.introduction(), 2);
    assert!(why.contains("\"other\"") && why.contains("\"orchard\""), "{why}");
}

#[test]
fn a_dial_meant_for_another_node_is_refused_and_told_why() {
    let (one, mut two) = refused_dial(|_| {}, |_| {}, identity(3));
    let why = sentence(&mut two, one.transport.introduction(), 3);
    assert!(why.contains("looks for node 3"), "{why}");
}

#[test]
fn a_dial_meant_for_another_incarnation_is_refused() {
    let other = PeerIdentity { node_id: 2, incarnation: Uuid([99; 16]) };
    refused_dial(|_| {}, |_| {}, other);
}

#[test]
fn a_known_node_with_another_incarnation_is_refused_and_told_why() {
    let mut two = Node::new(2);
    two.transport.set_peers(&[(identity(1), "127.0.0.1:1".to_string())]);
    let mut own = Node::new(1).transport.introduction();
    own.identity.incarnation = Uuid([77; 16]);
    let why = sentence(&mut two, own, 2);
    assert!(why.contains("4d4d4d4d") && why.contains("add it again"), "{why}");
}

#[test]
fn a_known_node_of_any_incarnation_is_accepted_when_the_incarnation_is_not_known() {
    let (mut one, mut two) = (Node::new(1), Node::new(2));
    one.transport
        .set_peers(&[(PeerIdentity { incarnation: Uuid::NIL, ..identity(2) }, two.address())]);
    two.transport
        .set_peers(&[(PeerIdentity { incarnation: Uuid::NIL, ..identity(1) }, one.address())]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| {
        nodes.iter().all(|node| node.connected_peers() == 1)
    });
}

#[test]
fn a_node_whose_data_directory_was_set_back_is_refused() {
    let (one, mut two) = (Node::new(1), Node::new(2));
    let mut own = one.transport.introduction();
    let address = two.address();
    own.boot_counter = 5;
    let newer = own.clone();
    let first = std::thread::spawn(move || {
        dial_blocking(&newer, &address, Intent::Identity, 2, PATIENCE).map(|(_, peer)| peer)
    });
    drive(&mut [&mut two], "the first dial", |_| first.is_finished());
    assert_eq!(first.join().unwrap().unwrap(), identity(2));
    own.boot_counter = 4;
    let why = sentence(&mut two, own, 2);
    assert!(why.contains("older copy"), "{why}");
}

/// Speaks to a node as a raw socket: what it answers until it closes.
fn answer_to(node: &mut Node, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(node.transport.local_address()).unwrap();
    stream.write_all(bytes).unwrap();
    read_to_end(node, stream)
}

fn read_to_end(node: &mut Node, mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    drive(&mut [node], "the end of the connection", |_| reader.is_finished());
    reader.join().unwrap()
}

#[test]
fn a_protocol_version_that_is_not_spoken_is_refused_with_a_sentence() {
    let mut two = Node::new(2);
    let mut hello =
        Hello::new(Node::new(1).transport.introduction(), Intent::Messages, identity(2));
    hello.protocol_min = PROTOCOL_MAX + 1;
    hello.protocol_max = PROTOCOL_MAX + 7;
    let answer = answer_to(&mut two, &hello.encode());
    assert_eq!(answer[3], FrameKind::Refuse as u8);
    assert!(String::from_utf8_lossy(&answer).contains("upgrade the older one"));
    assert_eq!(two.transport.status().refused_connections, 1);
}

#[test]
fn garbage_on_the_port_costs_its_connection_only() {
    let (mut one, mut two) = two_connected();
    let mut damaged =
        Hello::new(one.transport.introduction(), Intent::Messages, identity(2)).encode();
    damaged[40] ^= 1;
    let mut oversized = frame::encode(FrameKind::Hello, b"");
    oversized[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let garbage: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        &[0; 100],
        &damaged,
        &oversized,
        &frame::encode(FrameKind::Messages, b"not introduced"),
        &frame::encode(FrameKind::Hello, b"not a hello"),
    ];
    for (count, bytes) in garbage.iter().enumerate() {
        assert!(answer_to(&mut two, bytes).is_empty(), "garbage is not answered");
        assert_eq!(two.transport.status().refused_frames, count as u64 + 1);
    }
    assert!(one.transport.send(2, &small(4)));
    drive(&mut [&mut one, &mut two], "others go on", |nodes| !nodes[1].messages().is_empty());
}

/// A raw socket that has introduced itself to `node` as node 9.
fn forger(node: &mut Node) -> TcpStream {
    let mut own = Node::new(9).transport.introduction();
    own.advertised_address = String::new();
    let address = node.address();
    let dial =
        std::thread::spawn(move || dial_blocking(&own, &address, Intent::Messages, 0, PATIENCE));
    drive(&mut [node], "the forger's handshake", |_| dial.is_finished());
    dial.join().unwrap().unwrap().0
}

#[test]
fn bad_frames_after_the_handshake_cost_the_connection_and_are_counted() {
    let mut two = Node::new(2);
    let mut oversized = frame::encode(FrameKind::Messages, b"");
    oversized[8..12].copy_from_slice(&(17u32 << 20).to_le_bytes());
    let mut damaged = frame::encode(FrameKind::Ping, b"");
    damaged[13] ^= 1;
    let bad = [
        frame::encode(FrameKind::Messages, &[9; 100]),
        frame::encode(FrameKind::Welcome, b""),
        frame::encode(FrameKind::Ping, b"with a body"),
        oversized,
        damaged,
    ];
    for (count, bytes) in bad.iter().enumerate() {
        let mut stream = forger(&mut two);
        stream.write_all(bytes).unwrap();
        assert!(read_to_end(&mut two, stream).is_empty());
        assert_eq!(two.transport.status().refused_frames, count as u64 + 1);
    }
    assert!(two.messages().is_empty());
}

#[test]
fn a_truncated_frame_is_not_delivered() {
    let mut two = Node::new(2);
    let mut stream = forger(&mut two);
    let mut bytes = Vec::new();
    frame::begin(&mut bytes);
    let envelope = small(1);
    let piece = crate::wire::message::next_piece(&envelope, 0, 1 << 20).unwrap();
    crate::wire::message::encode(&envelope, piece, &mut bytes).unwrap();
    frame::seal(&mut bytes, FrameKind::Messages);
    stream.write_all(&bytes).unwrap();
    stream.write_all(&bytes[..bytes.len() - 1]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    read_to_end(&mut two, stream);
    assert_eq!(two.messages().len(), 1, "the whole one only");
}

#[test]
fn a_lost_connection_is_reported_and_made_again() {
    let (mut one, mut two) = two_connected();
    let address = two.address();
    drop(two);
    drive(&mut [&mut one], "notice", |nodes| nodes[0].disconnected(2));
    assert_eq!(one.connected_peers(), 0);
    assert!(!one.transport.send(2, &small(1)), "nobody is there");
    two = Node::with(2, |options| options.listen_address = address);
    drive(&mut [&mut one, &mut two], "connect again", |nodes| nodes[0].connected_peers() == 1);
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
    let waiting = one.transport.slots[slot].as_ref().unwrap().outgoing.bytes();
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
    let mut one = Node::with(1, |options| options.idle_timeout_ms = 200);
    let (mut two, data) = (Node::new(2), Bytes::from(vec![0; 1 << 20]));
    one.knows(&[&two]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
    // Node 2 does not run from here on; its sockets fill up.
    drive(&mut [&mut one], "give up", |nodes| {
        nodes[0].transport.send(2, &envelope(0, &data, 1));
        nodes[0].disconnected(2)
    });
}

#[test]
fn an_idle_connection_stays_up_and_a_silent_one_does_not() {
    let quick = |options: &mut TransportOptions| options.idle_timeout_ms = 300;
    let (mut one, mut two) = (Node::with(1, quick), Node::with(2, quick));
    one.knows(&[&two]);
    let silent = forger(&mut two);
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
fn a_flood_of_half_open_connections_does_not_keep_a_peer_out() {
    let mut two = Node::new(2);
    let mut flood = Vec::new();
    for _ in 0..accept::HANDSHAKES_MAX * 3 {
        flood.push(TcpStream::connect(two.transport.local_address()).unwrap());
        two.turn();
    }
    drive(&mut [&mut two], "the flood is accepted", |nodes| {
        nodes[0].transport.status().refused_connections >= 2 * accept::HANDSHAKES_MAX as u64
    });
    let open = two.transport.slots.iter().flatten().count();
    assert!(open <= accept::HANDSHAKES_MAX, "{open} connections are held");
    let mut one = Node::new(1);
    one.knows(&[&two]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
}

#[test]
fn a_connection_that_does_not_introduce_itself_is_closed_after_the_handshake_timeout() {
    let mut two = Node::with(2, |options| options.handshake_timeout_ms = 100);
    let stream = TcpStream::connect(two.transport.local_address()).unwrap();
    assert!(read_to_end(&mut two, stream).is_empty());
    assert_eq!(two.transport.status().refused_connections, 1);
}

#[test]
fn a_snapshot_connection_is_handed_over_blocking_after_its_handshake() {
    let mut two = Node::new(2);
    let (own, address) = (Node::new(1).transport.introduction(), two.address());
    let sender = std::thread::spawn(move || {
        let (mut stream, peer) = dial_blocking(&own, &address, Intent::Bulk, 2, PATIENCE).unwrap();
        assert_eq!(peer, identity(2));
        stream.write_all(b"a snapshot").unwrap();
    });
    let is_bulk = |inbound: &Inbound| matches!(inbound, Inbound::Bulk { .. });
    drive(&mut [&mut two], "hand over", |nodes| nodes[0].inbound.iter().any(is_bulk));
    let Some(Inbound::Bulk { peer, mut stream }) = two.inbound.pop() else { panic!() };
    assert_eq!(peer, identity(1));
    // Nobody drives the node: the stream is independent of it, and blocking.
    let mut content = Vec::new();
    stream.read_to_end(&mut content).unwrap();
    assert_eq!(content, b"a snapshot");
    sender.join().unwrap();
    assert!(two.transport.slots.iter().flatten().next().is_none());
}

#[test]
fn a_node_that_nobody_answers_for_is_unreachable() {
    let own = Node::new(1).transport.introduction();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let dial = |address: &str, timeout| {
        dial_blocking(&own, address, Intent::Identity, 0, timeout).unwrap_err()
    };
    assert_eq!(dial(&free, PATIENCE).code, Code::Unreachable);
    assert_eq!(dial("nonsense", PATIENCE).code, Code::AddressInvalid);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    assert_eq!(dial(&address, Duration::from_millis(50)).code, Code::Unreachable);
}

fn bind_error(change: impl FnOnce(&mut TransportOptions)) -> crate::error::Error {
    let mut options = TransportOptions::new("orchard", identity(1));
    change(&mut options);
    let poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    match Transport::bind(registry, 0, options) {
        Ok(transport) => panic!("it listens on {}", transport.local_address()),
        Err(error) => error,
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_an_error_that_helps() {
    let taken = Node::new(1);
    let error = bind_error(|options| options.listen_address = taken.address());
    assert_eq!(error.code, Code::AddressInUse);
    assert!(error.message.contains(&taken.address()) && error.message.contains("port 0"));
    for bad in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "no.such.host.invalid:1"] {
        let error = bind_error(|options| options.listen_address = bad.to_string());
        assert_eq!(error.code, Code::AddressInvalid, "{error}");
    }
    let error = bind_error(|options| {
        options.listen_address = "192.0.2.1:0".to_string();
        options.insecure_transport = true;
    });
    assert_eq!(error.code, Code::AddressInvalid, "{error}");
}

#[test]
fn listening_beyond_loopback_must_be_asked_for() {
    for beyond in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = bind_error(|options| options.listen_address = beyond.to_string());
        assert_eq!(error.code, Code::InsecureAddress);
        assert!(error.message.contains("insecure_transport"));
    }
    let error = bind_error(|options| {
        options.listen_address = "0.0.0.0:0".to_string();
        options.insecure_transport = true;
    });
    assert!(error.message.contains("advertised_address"), "{error}");
    let node = Node::with(1, |options| {
        options.listen_address = "0.0.0.0:0".to_string();
        options.advertised_address = "127.0.0.1:7".to_string();
        options.insecure_transport = true;
    });
    assert_ne!(node.transport.local_address().port(), 0, "port 0 takes a free one");
}

#[test]
fn names_and_ipv6_work_where_numbers_do() {
    let mut one = Node::with(1, |options| options.listen_address = "localhost:0".to_string());
    let mut two = Node::new(2);
    let by_name = format!("localhost:{}", one.transport.local_address().port());
    two.transport.set_peers(&[(identity(1), by_name)]);
    drive(&mut [&mut one, &mut two], "connect by name", |nodes| nodes[1].connected_peers() == 1);
    if TcpListener::bind("[::1]:0").is_err() {
        println!("there is no IPv6 on this machine");
        return;
    }
    let mut three = Node::with(3, |options| options.listen_address = "[::1]:0".to_string());
    let mut four = Node::with(4, |options| options.listen_address = "[::1]:0".to_string());
    three.knows(&[&four]);
    drive(&mut [&mut three, &mut four], "connect by IPv6", |nodes| {
        nodes.iter().all(|node| node.connected_peers() == 1)
    });
}
