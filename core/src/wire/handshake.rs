//! The handshake: who is there, and whether the two ends belong together.
//!
//! The dialing end says [`Hello`]; the other one answers [`Welcome`], or [`Refuse`] with a sentence
//! that says why, which both sides log. Nothing else may be sent before the answer. This is also
//! where the two ends of a TLS connection will compare the names in their certificates with the
//! node ids told here.

use bytes::Bytes;
use prost::Message as _;

use super::frame::{self, Frame, FrameKind};
use super::{sentence, WireError, PROTOCOL_MAX, PROTOCOL_MIN};
use crate::error::{Code, Error};
use crate::ids::{NodeId, Uuid, ADDRESS_BYTES_MAX};
use crate::log::Lsn;
use crate::replica::PeerIdentity;

/// The largest body of a handshake frame in bytes.
pub const HANDSHAKE_BYTES_MAX: usize = 2048;
/// The longest cluster name in bytes.
pub const CLUSTER_BYTES_MAX: usize = 128;
/// The longest sentence of a refusal in bytes.
const SENTENCE_BYTES_MAX: usize = 1000;

/// What the dialing end wants the connection for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Intent {
    /// Envelopes, from the dialing end to the other.
    Messages = 1,
    /// A snapshot; what follows the handshake is not this module's business.
    Bulk = 2,
    /// Only the answer: who the other end is. Then the connection ends.
    Identity = 3,
}

/// What a node says of itself in every handshake.
#[derive(Clone, Debug)]
pub struct Introduction {
    pub cluster: String,
    pub identity: PeerIdentity,
    /// How often the data directory was opened.
    pub boot_counter: u64,
    /// The journal's position.
    pub position: Lsn,
    /// The address on which others reach this node: a node that does not know it yet answers there.
    pub advertised_address: String,
    /// The longest frame body in bytes that this node reads.
    pub frame_bytes_max: usize,
}

/// The first frame of a connection.
#[derive(Clone, Debug)]
pub struct Hello {
    pub protocol_min: u32,
    pub protocol_max: u32,
    pub introduction: Introduction,
    pub intent: Intent,
    /// Who should be at the other end; 0 if that is what the dialing end wants to know.
    pub expected_node_id: NodeId,
    /// The incarnation that should be at the other end; nil if any will do.
    pub expected_incarnation: Uuid,
}

/// The answer of one who belongs together with the dialing end.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// The protocol version that both use from here on.
    pub protocol: u32,
    pub introduction: Introduction,
}

/// The answer of one who does not want the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    pub code: Code,
    /// Says why, for people. From the network: printable, and of limited length.
    pub sentence: String,
}

impl Hello {
    pub fn new(introduction: Introduction, intent: Intent, expected: PeerIdentity) -> Hello {
        Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            introduction,
            intent,
            expected_node_id: expected.node_id,
            expected_incarnation: expected.incarnation,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let body = WireHello {
            protocol_min: self.protocol_min,
            protocol_max: self.protocol_max,
            introduction: Some(WireIntroduction::from(&self.introduction)),
            intent: self.intent as u32,
            expected_node_id: self.expected_node_id,
            expected_incarnation: uuid_bytes(self.expected_incarnation),
        };
        frame::encode(FrameKind::Hello, &body.encode_to_vec())
    }

    pub fn decode(frame: &Frame) -> Result<Hello, WireError> {
        let hello: WireHello = decode_body(frame, FrameKind::Hello)?;
        let intent = match hello.intent {
            1 => Intent::Messages,
            2 => Intent::Bulk,
            3 => Intent::Identity,
            other => return Err(format!("a handshake of unknown intent {other}").into()),
        };
        Ok(Hello {
            protocol_min: hello.protocol_min,
            protocol_max: hello.protocol_max,
            introduction: introduction(hello.introduction)?,
            intent,
            expected_node_id: hello.expected_node_id,
            expected_incarnation: optional_uuid(&hello.expected_incarnation)?,
        })
    }

    /// The answer of node `own` to this: what both must agree on before either looks further.
    pub fn answer(&self, own: &Introduction) -> Result<Welcome, Refuse> {
        let peer = &self.introduction;
        let refuse = |sentence: String| Err(Refuse { code: Code::HandshakeRefused, sentence });
        if self.protocol_min > PROTOCOL_MAX || self.protocol_max < PROTOCOL_MIN {
            return refuse(format!(
                "node {} speaks the protocol versions {} to {}, node {} speaks {PROTOCOL_MIN} to \
                 {PROTOCOL_MAX}: upgrade the older one",
                peer.identity.node_id, self.protocol_min, self.protocol_max, own.identity.node_id,
            ));
        }
        check_cluster(peer, own)?;
        if self.expected_node_id != 0 && self.expected_node_id != own.identity.node_id {
            return refuse(format!(
                "node {} looks for node {} at this address, but this is node {}: correct the \
                 address of one of them",
                peer.identity.node_id, self.expected_node_id, own.identity.node_id,
            ));
        }
        if !self.expected_incarnation.is_nil()
            && self.expected_incarnation != own.identity.incarnation
        {
            return refuse(wrong_incarnation(own.identity, self.expected_incarnation));
        }
        if peer.identity.node_id == own.identity.node_id && self.intent != Intent::Identity {
            return refuse(format!(
                "two nodes have the id {}, or the node was given its own address as a peer's: \
                 every node needs an id of its own",
                own.identity.node_id,
            ));
        }
        let protocol = self.protocol_max.min(PROTOCOL_MAX);
        Ok(Welcome { protocol, introduction: own.clone() })
    }
}

impl Welcome {
    pub fn encode(&self) -> Vec<u8> {
        let body = WireWelcome {
            protocol: self.protocol,
            introduction: Some(WireIntroduction::from(&self.introduction)),
        };
        frame::encode(FrameKind::Welcome, &body.encode_to_vec())
    }

    fn decode(frame: &Frame) -> Result<Welcome, WireError> {
        let welcome: WireWelcome = decode_body(frame, FrameKind::Welcome)?;
        Ok(Welcome {
            protocol: welcome.protocol,
            introduction: introduction(welcome.introduction)?,
        })
    }

    /// What the dialing end thinks of the answer: the other end must be who was expected.
    pub fn check(&self, own: &Introduction, expected: PeerIdentity) -> Result<(), Refuse> {
        let peer = &self.introduction;
        let refuse = |sentence: String| Err(Refuse { code: Code::HandshakeRefused, sentence });
        if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&self.protocol) {
            return refuse(format!(
                "node {} chose protocol version {}, which this build does not speak",
                peer.identity.node_id, self.protocol
            ));
        }
        check_cluster(peer, own)?;
        if expected.node_id != 0 && expected.node_id != peer.identity.node_id {
            return refuse(format!(
                "node {} answers at the address of node {}: correct the address of one of them",
                peer.identity.node_id, expected.node_id,
            ));
        }
        if !expected.incarnation.is_nil() && expected.incarnation != peer.identity.incarnation {
            return refuse(wrong_incarnation(peer.identity, expected.incarnation));
        }
        Ok(())
    }
}

impl Refuse {
    pub fn encode(&self) -> Vec<u8> {
        let sentence = sentence(&self.sentence, SENTENCE_BYTES_MAX);
        let body = WireRefuse { code: self.code.number(), sentence };
        frame::encode(FrameKind::Refuse, &body.encode_to_vec())
    }

    fn decode(frame: &Frame) -> Result<Refuse, WireError> {
        let refuse: WireRefuse = decode_body(frame, FrameKind::Refuse)?;
        Ok(Refuse {
            code: Code::from_number(refuse.code).unwrap_or(Code::HandshakeRefused),
            sentence: sentence(&refuse.sentence, SENTENCE_BYTES_MAX),
        })
    }
}

impl From<Refuse> for Error {
    fn from(refuse: Refuse) -> Error {
        Error::rejected(refuse.code, refuse.sentence)
    }
}

/// The answer to a hello, whichever it is.
pub fn decode_answer(frame: &Frame) -> Result<Result<Welcome, Refuse>, WireError> {
    match frame.kind {
        FrameKind::Refuse => Refuse::decode(frame).map(Err),
        _ => Welcome::decode(frame).map(Ok),
    }
}

fn check_cluster(peer: &Introduction, own: &Introduction) -> Result<(), Refuse> {
    if peer.cluster == own.cluster {
        return Ok(());
    }
    let sentence = format!(
        "node {} belongs to the cluster {:?}, node {} to {:?}: nodes of different clusters do not \
         talk to each other",
        peer.identity.node_id, peer.cluster, own.identity.node_id, own.cluster,
    );
    Err(Refuse { code: Code::HandshakeRefused, sentence })
}

/// The sentence about a node whose data directory is not the one that is known.
pub fn wrong_incarnation(actual: PeerIdentity, known: Uuid) -> String {
    format!(
        "node {} has incarnation {}, but it is known with incarnation {known}: its data directory \
         was lost or replaced; remove it from its groups and add it again",
        actual.node_id, actual.incarnation,
    )
}

fn decode_body<M: prost::Message + Default>(
    frame: &Frame,
    kind: FrameKind,
) -> Result<M, WireError> {
    if frame.kind != kind {
        return Err(format!("a {:?} frame where {kind:?} was due", frame.kind).into());
    }
    if frame.body.len() > HANDSHAKE_BYTES_MAX {
        return Err(WireError::new("a handshake frame is too long"));
    }
    M::decode(&frame.body[..]).map_err(|error| format!("a malformed {kind:?}: {error}").into())
}

fn introduction(wire: Option<WireIntroduction>) -> Result<Introduction, WireError> {
    let wire = wire.ok_or(WireError::new("a handshake without an introduction"))?;
    let incarnation = optional_uuid(&wire.incarnation)?;
    if wire.node_id == 0 || incarnation.is_nil() {
        return Err(WireError::new("a handshake without a node id or an incarnation"));
    }
    if wire.cluster.is_empty() || wire.cluster.len() > CLUSTER_BYTES_MAX {
        return Err(WireError::new("a handshake with a cluster name that is empty or too long"));
    }
    if wire.advertised_address.len() > ADDRESS_BYTES_MAX {
        return Err(WireError::new("a handshake with an address that is too long"));
    }
    Ok(Introduction {
        cluster: wire.cluster,
        identity: PeerIdentity { node_id: wire.node_id, incarnation },
        boot_counter: wire.boot_counter,
        position: wire.position,
        advertised_address: wire.advertised_address,
        frame_bytes_max: wire.frame_bytes_max as usize,
    })
}

fn optional_uuid(bytes: &[u8]) -> Result<Uuid, WireError> {
    if bytes.is_empty() {
        return Ok(Uuid::NIL);
    }
    Uuid::from_slice(bytes).ok_or(WireError::new("an incarnation that is not 16 bytes long"))
}

fn uuid_bytes(uuid: Uuid) -> Bytes {
    if uuid.is_nil() {
        return Bytes::new();
    }
    Bytes::copy_from_slice(&uuid.0)
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireIntroduction {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(uint64, tag = "2")]
    node_id: u64,
    #[prost(bytes = "bytes", tag = "3")]
    incarnation: Bytes,
    #[prost(uint64, tag = "4")]
    boot_counter: u64,
    #[prost(uint64, tag = "5")]
    position: u64,
    #[prost(string, tag = "6")]
    advertised_address: String,
    #[prost(uint32, tag = "7")]
    frame_bytes_max: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireHello {
    #[prost(uint32, tag = "1")]
    protocol_min: u32,
    #[prost(uint32, tag = "2")]
    protocol_max: u32,
    #[prost(message, optional, tag = "3")]
    introduction: Option<WireIntroduction>,
    #[prost(uint32, tag = "4")]
    intent: u32,
    #[prost(uint64, tag = "5")]
    expected_node_id: u64,
    #[prost(bytes = "bytes", tag = "6")]
    expected_incarnation: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireWelcome {
    #[prost(uint32, tag = "1")]
    protocol: u32,
    #[prost(message, optional, tag = "2")]
    introduction: Option<WireIntroduction>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRefuse {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    sentence: String,
}

impl From<&Introduction> for WireIntroduction {
    fn from(introduction: &Introduction) -> WireIntroduction {
        WireIntroduction {
            cluster: introduction.cluster.clone(),
            node_id: introduction.identity.node_id,
            incarnation: uuid_bytes(introduction.identity.incarnation),
            boot_counter: introduction.boot_counter,
            position: introduction.position,
            advertised_address: introduction.advertised_address.clone(),
            frame_bytes_max: introduction.frame_bytes_max.min(u32::MAX as usize) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameReader;

    pub fn somebody(node_id: NodeId) -> Introduction {
        Introduction {
            cluster: "orchard".to_string(),
            identity: PeerIdentity { node_id, incarnation: Uuid([node_id as u8; 16]) },
            boot_counter: 7,
            position: 1000,
            advertised_address: "127.0.0.1:7001".to_string(),
            frame_bytes_max: 1 << 20,
        }
    }

    fn arrived(bytes: &[u8]) -> Frame {
        let mut reader = FrameReader::new(HANDSHAKE_BYTES_MAX);
        reader.buffer_with_room().extend_from_slice(bytes);
        reader.next_frame().unwrap().unwrap()
    }

    fn any(node_id: NodeId) -> PeerIdentity {
        PeerIdentity { node_id, incarnation: Uuid::NIL }
    }

    #[test]
    fn two_nodes_of_a_cluster_get_to_know_each_other() {
        let hello = Hello::new(somebody(1), Intent::Messages, somebody(2).identity);
        let hello = Hello::decode(&arrived(&hello.encode())).unwrap();
        assert_eq!(hello.introduction.identity, somebody(1).identity);
        assert_eq!(hello.introduction.boot_counter, 7);
        assert_eq!(hello.introduction.position, 1000);
        assert_eq!(hello.introduction.advertised_address, "127.0.0.1:7001");
        let welcome = hello.answer(&somebody(2)).unwrap();
        let welcome = decode_answer(&arrived(&welcome.encode())).unwrap().unwrap();
        assert_eq!(welcome.protocol, PROTOCOL_MAX);
        assert_eq!(welcome.introduction.identity, somebody(2).identity);
        welcome.check(&somebody(1), somebody(2).identity).unwrap();
    }

    #[test]
    fn the_acceptor_says_why_it_refuses() {
        let refusal = |change: fn(&mut Hello)| {
            let mut hello = Hello::new(somebody(1), Intent::Messages, somebody(2).identity);
            change(&mut hello);
            let hello = Hello::decode(&arrived(&hello.encode())).unwrap();
            let refuse = hello.answer(&somebody(2)).unwrap_err();
            let told = decode_answer(&arrived(&refuse.encode())).unwrap().unwrap_err();
            assert_eq!(told, refuse);
            told.sentence
        };
        assert!(refusal(|h| h.protocol_min = 99).contains("versions 99"));
        assert!(refusal(|h| h.protocol_max = 0).contains("upgrade"));
        assert!(refusal(|h| h.introduction.cluster = "other".into()).contains("\"other\""));
        assert!(refusal(|h| h.expected_node_id = 3).contains("looks for node 3"));
        assert!(refusal(|h| h.expected_incarnation = Uuid([9; 16])).contains("09090909"));
        assert!(refusal(|h| h.introduction.identity.node_id = 2).contains("two nodes"));
    }

    #[test]
    fn the_dialing_end_checks_who_answers() {
        let mut welcome = Welcome { protocol: 1, introduction: somebody(2) };
        assert!(welcome.check(&somebody(1), any(0)).is_ok());
        assert!(welcome.check(&somebody(1), any(2)).is_ok());
        assert!(welcome.check(&somebody(1), any(3)).is_err());
        let other = PeerIdentity { node_id: 2, incarnation: Uuid([5; 16]) };
        assert!(welcome.check(&somebody(1), other).unwrap_err().sentence.contains("0505"));
        welcome.protocol = 2;
        assert!(welcome.check(&somebody(1), any(2)).is_err());
        welcome.protocol = 1;
        welcome.introduction.cluster = "other".to_string();
        assert!(welcome.check(&somebody(1), any(2)).is_err());
    }

    #[test]
    fn a_handshake_cut_anywhere_or_without_an_identity_is_an_error() {
        let hello = Hello::new(somebody(1), Intent::Bulk, any(2)).encode();
        let body = Bytes::copy_from_slice(&hello[frame::HEADER_BYTES..]);
        let decode =
            |body: Bytes| Hello::decode(&Frame { kind: FrameKind::Hello, body, held_bytes: 0 });
        assert!(decode(body.clone()).is_ok());
        let mut accepted = 0;
        for end in 0..body.len() {
            // A cut between two fields leaves a valid message with defaults: only the optional last
            // one may be missing.
            accepted += usize::from(decode(body.slice(..end)).is_ok());
        }
        assert!(accepted <= 1, "{accepted} cuts were accepted");
        for change in [
            (|i| i.identity.node_id = 0) as fn(&mut Introduction),
            |i| i.identity.incarnation = Uuid::NIL,
            |i| i.cluster = String::new(),
            |i| i.cluster = "x".repeat(129),
            |i| i.advertised_address = "x".repeat(ADDRESS_BYTES_MAX + 1),
        ] {
            let mut bad = somebody(1);
            change(&mut bad);
            let bytes = Hello::new(bad, Intent::Messages, any(2)).encode();
            assert!(Hello::decode(&arrived(&bytes)).is_err());
        }
    }

    #[test]
    fn a_long_or_unprintable_sentence_is_cut_and_cleaned() {
        let long = Refuse { code: Code::HandshakeRefused, sentence: "\u{e4}\n".repeat(2000) };
        let told = decode_answer(&arrived(&long.encode())).unwrap().unwrap_err();
        assert!(told.sentence.len() <= SENTENCE_BYTES_MAX);
        assert!(told.sentence.starts_with("\u{e4} \u{e4} "));
    }
}
