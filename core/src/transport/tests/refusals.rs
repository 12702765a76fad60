//! Handshakes that end with a sentence.

use super::hostile::answer_to;
use super::*;

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
            && !nodes[0].transport.status().troubles.is_empty()
    });
    let troubles = one.transport.status().troubles;
    assert_eq!(troubles[0].0, expected.node_id);
    assert!(troubles[0].1.starts_with("it refuses: node "), "{troubles:?}");
    (one, two)
}

/// The sentence that node `two` gives to whoever dials it as `own`.
fn sentence(two: &mut Node, own: Introduction, expected_node_id: NodeId) -> String {
    let address = two.address();
    let asker = std::thread::spawn(move || {
        dial_blocking(&own, &address, Intent::Messages, expected_node_id, PATIENCE, |_| Ok(()))
            .unwrap_err()
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
fn a_second_node_with_the_id_of_a_connected_one_is_refused_and_told_why() {
    let (mut one, mut two) = two_connected();
    let mut own = one.transport.introduction();
    own.identity.incarnation = Uuid([77; 16]);
    let address = two.address();
    let copy = std::thread::spawn(move || {
        dial_blocking(&own, &address, Intent::Messages, 2, PATIENCE, |_| Ok(())).unwrap_err()
    });
    drive(&mut [&mut one, &mut two], "the sentence", |_| copy.is_finished());
    let why = copy.join().unwrap().message;
    assert!(why.contains("4d4d4d4d") && why.contains("add it again"), "{why}");
    assert!(one.transport.send(2, &small(1)), "the one that is known goes on");
    drive(&mut [&mut one, &mut two], "arrive", |nodes| !nodes[1].messages().is_empty());
}

#[test]
fn a_node_that_was_replaced_without_our_knowledge_can_talk_to_us_and_be_answered() {
    let (mut leader, mut lagging) = (Node::new(1), Node::new(2));
    let old = PeerIdentity { node_id: 1, incarnation: Uuid([99; 16]) };
    lagging.transport.set_peers(&[(old, "127.0.0.1:1".to_string())]);
    leader.knows(&[&lagging]);
    drive(&mut [&mut leader, &mut lagging], "connect both ways", |nodes| {
        nodes.iter().all(|node| node.connected_peers() == 1)
    });
    assert!(leader.transport.send(2, &small(1)) && lagging.transport.send(1, &small(2)));
    drive(&mut [&mut leader, &mut lagging], "exchange", |nodes| {
        nodes.iter_mut().all(|node| {
            node.inbound.iter().any(|inbound| matches!(inbound, Inbound::Message { .. }))
        })
    });
    let of_new = |inbound: &Inbound| match inbound {
        Inbound::Message { peer, .. } => *peer == identity(1),
        _ => false,
    };
    assert!(lagging.inbound.iter().any(of_new), "the replica sees who it really is");
    // Catching up, the lagging node learns of the replacement: nothing is interrupted.
    lagging.knows(&[&leader]);
    for _ in 0..20 {
        lagging.turn();
        leader.turn();
    }
    assert!(lagging.transport.send(1, &small(3)) && !lagging.disconnected(1));
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
        dial_blocking(&newer, &address, Intent::Identity, 2, PATIENCE, |_| Ok(()))
            .map(|(_, peer, ())| peer)
    });
    drive(&mut [&mut two], "the first dial", |_| first.is_finished());
    assert_eq!(first.join().unwrap().unwrap(), identity(2));
    own.boot_counter = 4;
    let why = sentence(&mut two, own, 2);
    assert!(why.contains("older copy"), "{why}");
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
