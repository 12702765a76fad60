//! Whoever speaks to the port without meaning well.

use super::*;
use crate::chain::Chain;

/// Speaks to a node as a raw socket: what it answers until it closes.
pub fn answer_to(node: &mut Node, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(node.transport.local_address()).unwrap();
    stream.write_all(bytes).unwrap();
    read_to_end(node, stream)
}

pub fn read_to_end(node: &mut Node, mut stream: TcpStream) -> Vec<u8> {
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
pub fn forger(node: &mut Node) -> TcpStream {
    forger_as(node, 9)
}

fn forger_as(node: &mut Node, node_id: NodeId) -> TcpStream {
    let mut own = Node::new(node_id).transport.introduction();
    own.advertised_address = String::new();
    let address = node.address();
    let dial = std::thread::spawn(move || {
        dial_blocking(&own, &address, Intent::Messages, 0, PATIENCE, |_| Ok(()))
    });
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
fn large_frames_of_many_nodes_that_nobody_listed_take_a_bounded_amount_of_memory() {
    let frame_bytes = 4 << 20;
    let limit = |options: &mut TransportOptions| options.frame_bytes_max = frame_bytes;
    let mut two = Node::with(2, limit);
    // All but the end of the largest frame that is allowed.
    let mut most = frame::encode(FrameKind::Messages, &vec![0; frame_bytes]);
    most.truncate(frame_bytes - 1);
    let mut threads = Vec::new();
    for node_id in 10..20 {
        let mut stream = forger_as(&mut two, node_id);
        let most = most.clone();
        threads.push(std::thread::spawn(move || {
            // It fails for those that are refused; the others keep their connection open.
            let _ = stream.write_all(&most);
            stream
        }));
    }
    drive(&mut [&mut two], "refuse some", |nodes| {
        let held = nodes[0].transport.slots.iter().flatten();
        let held: usize = held.map(|connection| connection.reader.large_bytes()).sum();
        assert!(held <= 3 * frame_bytes, "{held} bytes are held");
        threads.iter().all(|thread| thread.is_finished())
    });
    assert!(two.transport.status().refused_connections >= 5);
    // A node that is listed is not among them.
    let mut one = Node::with(1, limit);
    one.knows(&[&two]);
    two.knows(&[&one]);
    drive(&mut [&mut one, &mut two], "connect", |nodes| nodes[0].connected_peers() == 1);
    assert!(one.transport.send(2, &envelope(0, &Bytes::from(vec![1; 2 << 20]), 1)));
    drive(&mut [&mut one, &mut two], "a large message", |nodes| !nodes[1].messages().is_empty());
}

#[test]
fn a_truncated_frame_is_not_delivered() {
    let mut two = Node::new(2);
    let mut stream = forger(&mut two);
    let mut bytes = Chain::default();
    frame::begin(&mut bytes);
    let envelope = small(1);
    let piece = crate::wire::message::next_piece(&envelope, 0, 1 << 20).unwrap();
    crate::wire::message::encode(&envelope, piece, &mut bytes).unwrap();
    frame::seal(&mut bytes, FrameKind::Messages);
    let bytes = bytes.flat();
    stream.write_all(&bytes).unwrap();
    stream.write_all(&bytes[..bytes.len() - 1]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    read_to_end(&mut two, stream);
    assert_eq!(two.messages().len(), 1, "the whole one only");
}

#[test]
fn a_flood_of_half_open_connections_does_not_keep_a_peer_out() {
    // Not the timeout is to end the flood.
    let mut two = Node::with(2, |options| options.handshake_timeout_ms = 600_000);
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
