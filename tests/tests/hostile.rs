//! Hostile connections to the members' ports, while load goes on: each is dropped and counted, the
//! cluster goes on, and memory stays bounded.

use libraft::chain::Chain;
use libraft::ids::Uuid;
use libraft::replica::{Envelope, PeerMessage};
use libraft::wire::frame::{self, FrameKind, HEADER_BYTES};
use libraft::wire::{message, Hello, Intent, Introduction};
use libraft_tests::attacker::{stranger, Attacker};
use libraft_tests::cluster::{Cluster, Settings};
use libraft_tests::random::Random;
use libraft_tests::{fresh_directory, process_status};
use raft::eraftpb::{Message, MessageType};

const CLUSTER: &str = "tests";
const GROUP: u64 = 7;
const ROUNDS: u64 = 10;
/// Connections that say nothing, at each member: more than it keeps.
const SILENT: usize = 200;
/// What a member may grow by, in all: the load itself is small.
const GROWTH_KIB_MAX: u64 = 32 << 10;

#[test]
fn hostile_connections_are_dropped_and_counted_while_the_cluster_goes_on() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "hostile");
    let settings = Settings { tick_ms: 100, ..Settings::default() };
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_list_member"), &directory, settings);
    let (leader, term) = cluster.leader();
    load(&mut cluster);
    cluster.settle();
    let before: Vec<u64> = (0..3).map(|member| peak_kib(&cluster, member)).collect();

    let mut random = Random::new(3);
    let mut silent = Vec::new();
    for round in 0..ROUNDS {
        for member in 0..3 {
            let address = cluster.addresses()[member].clone();
            if round == 0 {
                silent.extend((0..SILENT).map(|_| Attacker::connect(&address)));
                silent.extend(half_frames(&address));
            }
            load(&mut cluster);
            count_bad_frames(&mut cluster, member, &mut random);
            count_refusals(&mut cluster, member);
            lie(&cluster, member, term, Uuid([1; 16]), 9);
        }
        cluster.settle();
    }

    for (member, before) in before.into_iter().enumerate() {
        let node = cluster.node_status(member);
        assert_eq!(node.failure, "-", "member {} is out of service", member + 1);
        let grown = peak_kib(&cluster, member) - before;
        println!("member {}: {node:?}, grown by {grown} KiB", member + 1);
        assert!(grown <= GROWTH_KIB_MAX, "member {} grew by {grown} KiB", member + 1);
    }
    assert_eq!(cluster.leader(), (leader, term), "the attack led to an election");
    let proposals = (ROUNDS as usize * 3 + 1) * 15;
    assert_eq!(cluster.history.done(), proposals, "the attack cost proposals");
    assert_eq!(cluster.check(), proposals);
    drop((silent, cluster));
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn lies_under_the_name_of_a_member_break_no_replica() {
    let directory = fresh_directory(env!("CARGO_TARGET_TMPDIR"), "lies");
    let settings = Settings { tick_ms: 100, ..Settings::default() };
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_list_member"), &directory, settings);
    let (leader, term) = cluster.leader();
    for member in 0..3 {
        // To a follower as its leader, to the leader as a follower.
        let claimed = if member == leader { (leader + 1) % 3 } else { leader };
        let formation = formation(&mut cluster, member);
        cluster.put(leader, 5);
        lie(&cluster, member, term, formation, claimed as u64 + 1);
        // As one whom the member might not have heard of yet.
        lie(&cluster, member, term, formation, 9);
    }
    cluster.settle();
    assert_eq!(cluster.leader(), (leader, term), "lies led to an election");
    for member in 0..3 {
        // Proposals may be lost with a connection that somebody else took over, but not for long.
        cluster.until("a member's proposals are done again", |cluster| {
            let done = cluster.history.done();
            cluster.put(member, 1);
            cluster.settle();
            cluster.history.done() > done
        });
    }
    cluster.check();
    drop(cluster);
    let _ = std::fs::remove_dir_all(&directory);
}

/// Fifteen proposals.
fn load(cluster: &mut Cluster) {
    (0..3).for_each(|member| cluster.put(member, 5));
}

fn peak_kib(cluster: &Cluster, member: usize) -> u64 {
    process_status(cluster.process_id(member), "VmHWM")
}

/// Connections that announce large frames and never send them.
fn half_frames(address: &str) -> Vec<Attacker> {
    let announce = |node_id: u64| {
        let mut attacker = Attacker::introduced(address, &stranger(CLUSTER, node_id));
        let mut header = frame::header(FrameKind::Messages, std::iter::empty());
        header[8..12].copy_from_slice(&(30u32 << 20).to_le_bytes());
        attacker.send(&header);
        attacker.send(&[0; 1000]);
        attacker
    };
    (100..150).map(announce).collect()
}

/// Sends frames that no member would send. Each costs its connection, and is counted.
fn count_bad_frames(cluster: &mut Cluster, member: usize, random: &mut Random) {
    let address = cluster.addresses()[member].clone();
    let hello = Hello::new(stranger(CLUSTER, 9), Intent::Messages, nobody()).encode();
    let garbage: Vec<u8> = (0..4096).map(|_| random.draw() as u8).collect();
    let mut damaged = hello.clone();
    damaged[HEADER_BYTES + 3] ^= 1;
    let mut oversized = frame::encode(FrameKind::Hello, &[]);
    oversized[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let before_hello = [
        ("garbage", garbage.clone()),
        ("a damaged hello", damaged),
        ("an oversized hello", oversized),
        ("messages without a hello", frame::encode(FrameKind::Messages, &[1; 100])),
        ("a frame of an unknown type", {
            let mut frame = hello.clone();
            frame[3] = 77;
            frame
        }),
        ("a newer frame version", {
            let mut frame = hello.clone();
            frame[2] = 2;
            frame
        }),
        ("a hello that is no Protobuf", frame::encode(FrameKind::Hello, &garbage[..500])),
    ];
    let mut large = frame::encode(FrameKind::Messages, &[]);
    large[8..12].copy_from_slice(&(1u32 << 30).to_le_bytes());
    let mut cut = addressed(&stranger(CLUSTER, 2), Uuid::NIL, 1, 2, heartbeat(1));
    cut.truncate(cut.len() - 5);
    let cut = frame::encode(FrameKind::Messages, &cut);
    let after_hello = [
        ("a frame beyond the cap", large),
        ("an envelope that is cut", cut),
        ("messages that are garbage", frame::encode(FrameKind::Messages, &garbage)),
        ("a second hello", hello),
        ("a snapshot frame", frame::encode(FrameKind::Snapshot, &garbage)),
    ];
    let counted = cluster.node_status(member).refused_frames;
    let sent = (before_hello.len() + after_hello.len()) as u64;
    for (what, bytes) in before_hello {
        let mut attacker = Attacker::connect(&address);
        attacker.send(&bytes);
        attacker.is_dropped(what);
    }
    for (what, bytes) in after_hello {
        let mut attacker = Attacker::introduced(&address, &stranger(CLUSTER, 9));
        attacker.send(&bytes);
        attacker.is_dropped(what);
    }
    cluster.until("every bad frame is counted", |cluster| {
        cluster.node_status(member).refused_frames >= counted + sent
    });
}

/// Introduces itself as somebody with whom the members have nothing to do. The answer says why not.
fn count_refusals(cluster: &mut Cluster, member: usize) {
    let address = cluster.addresses()[member].clone();
    let other_cluster = Hello::new(stranger("others", 9), Intent::Messages, nobody());
    let mut other_node = Hello::new(stranger(CLUSTER, 9), Intent::Messages, nobody());
    other_node.expected_node_id = 4711;
    let mut newer = Hello::new(stranger(CLUSTER, 9), Intent::Messages, nobody());
    (newer.protocol_min, newer.protocol_max) = (1000, 1001);
    let itself = Hello::new(stranger(CLUSTER, member as u64 + 1), Intent::Messages, nobody());
    let counted = cluster.node_status(member).refused_connections;
    let refused = [
        (other_cluster, "different clusters"),
        (other_node, "looks for node 4711"),
        (newer, "protocol"),
        (itself, "node"),
    ];
    let count = refused.len() as u64;
    for (hello, reason) in refused {
        let mut attacker = Attacker::connect(&address);
        let answer = attacker.introduce(&hello);
        let sentence = answer.expect_err("somebody who does not belong here was welcome").sentence;
        assert!(sentence.contains(reason), "'{sentence}' does not say '{reason}'");
        attacker.is_dropped(reason);
    }
    cluster.until("every refused handshake is counted", |cluster| {
        cluster.node_status(member).refused_connections >= counted + count
    });
}

/// What names the group's beginning: somebody who does not know it is not even listened to.
fn formation(cluster: &mut Cluster, member: usize) -> Uuid {
    let formation = cluster.status(member).formation.replace('-', "");
    let byte = |at: usize| u8::from_str_radix(&formation[2 * at..2 * at + 2], 16);
    Uuid(std::array::from_fn(|at| byte(at).expect("a formation is hexadecimal")))
}

/// Valid frames with messages that would break a replica, under the name of a member, or as the
/// stranger 9.
fn lie(cluster: &Cluster, member: usize, term: u64, formation: Uuid, from: u64) {
    let address = cluster.addresses()[member].clone();
    let stranger = stranger(CLUSTER, 9);
    let target = Attacker::ask(&address, &stranger);
    let claimed = match cluster.addresses().get(from as usize - 1) {
        Some(address) => Attacker::ask(address, &stranger),
        None => stranger,
    };
    let mut attacker = Attacker::introduced(&address, &claimed);
    // All at once: the one whose name it is comes back soon.
    let lies = impossible(term).into_iter();
    let lies = lies.map(|lie| addressed(&target, formation, from, member as u64 + 1, lie));
    let mut bytes = frame::encode(FrameKind::Messages, &lies.collect::<Vec<_>>().concat());
    // When this has cost the connection, the lies were read.
    bytes.extend_from_slice(&[0; HEADER_BYTES]);
    attacker.send(&bytes);
    attacker.is_dropped("lies");
}

/// What raft-rs would panic at, or campaign for.
fn impossible(term: u64) -> Vec<Message> {
    const FAR: u64 = 1 << 40;
    let message = |kind: MessageType, term: u64, index: u64, commit: u64| {
        let mut message = Message { term, index, commit, log_term: term, ..Message::default() };
        message.set_msg_type(kind);
        message
    };
    vec![
        message(MessageType::MsgHeartbeat, term, 0, FAR),
        message(MessageType::MsgAppendResponse, term, FAR, FAR),
        message(MessageType::MsgAppend, term, FAR, FAR),
        message(MessageType::MsgRequestVote, 0, FAR, 0),
        message(MessageType::MsgRequestPreVote, 0, FAR, 0),
        message(MessageType::MsgTimeoutNow, 0, 0, 0),
    ]
}

fn heartbeat(term: u64) -> Message {
    let mut message = Message { term, ..Message::default() };
    message.set_msg_type(MessageType::MsgHeartbeat);
    message
}

/// A message to a replica in its envelope.
fn addressed(
    target: &Introduction,
    formation: Uuid,
    from: u64,
    to: u64,
    mut message: Message,
) -> Vec<u8> {
    (message.from, message.to) = (from, to);
    let to_incarnation = target.identity.incarnation;
    let body = PeerMessage::Raft(message);
    let envelope = Envelope { group_id: GROUP, formation, from, to, to_incarnation, body };
    let piece = message::next_piece(&envelope, 0, 1 << 20).expect("it fits into a frame");
    let mut bytes = Chain::default();
    message::encode(&envelope, piece, &mut bytes).expect("it can be encoded");
    bytes.flat().into_owned()
}

fn nobody() -> libraft::replica::PeerIdentity {
    libraft::replica::PeerIdentity { node_id: 0, incarnation: Uuid::NIL }
}
