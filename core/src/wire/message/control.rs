//! The small messages: everything but entries and proposals, in prost's encoding.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::{in_range, Piece, ITEMS_PER_FRAME_MAX};
use crate::error::Code;
use crate::ids::Uuid;
use crate::replica::PeerMessage;
use crate::wire::{sentence, WireError};

/// The largest encoding of a small message, lists of sequences apart.
pub const CONTROL_BYTES_MAX: usize = 48 << 10;
/// The longest message of a refusal.
const REFUSED_BYTES_MAX: usize = 512;
/// Members that a formation message may list.
const MEMBERS_MAX: usize = 512;

const BODY_RAFT: u8 = 3;
const BODY_PROPOSE_REFUSED: u8 = 4;
const BODY_READ: u8 = 5;
const BODY_READ_INDEX: u8 = 6;
const BODY_READ_REFUSED: u8 = 7;
const BODY_FORMATION: u8 = 8;
const BODY_REFUSED: u8 = 9;

#[derive(Clone, PartialEq, prost::Message)]
struct WireRaft {
    #[prost(uint32, tag = "1")]
    message_type: u32,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    log_term: u64,
    #[prost(uint64, tag = "4")]
    index: u64,
    #[prost(uint64, tag = "5")]
    commit: u64,
    #[prost(uint64, tag = "6")]
    commit_term: u64,
    #[prost(bool, tag = "7")]
    reject: bool,
    #[prost(uint64, tag = "8")]
    reject_hint: u64,
    #[prost(uint64, tag = "9")]
    request_snapshot: u64,
    #[prost(bytes = "bytes", tag = "10")]
    context: Bytes,
    #[prost(sint64, tag = "11")]
    priority: i64,
}

/// The answers to proposals and reads, and a read: what is not used is 0.
#[derive(Clone, PartialEq, prost::Message)]
struct WireCall {
    #[prost(uint64, tag = "1")]
    boot: u64,
    #[prost(uint64, repeated, tag = "2")]
    sequences: Vec<u64>,
    #[prost(uint64, tag = "3")]
    index: u64,
    #[prost(int32, tag = "4")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireFormation {
    #[prost(bytes = "bytes", tag = "1")]
    members: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    incarnation: Bytes,
    #[prost(message, repeated, tag = "3")]
    stored: Vec<WireStored>,
    #[prost(bool, tag = "4")]
    answer_wanted: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireStored {
    #[prost(uint64, tag = "1")]
    raft_id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    incarnation: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRefused {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The byte that says which of the messages below follows.
pub fn kind(body: &PeerMessage) -> u8 {
    match body {
        PeerMessage::Raft(_) => BODY_RAFT,
        PeerMessage::ProposeRefused { .. } => BODY_PROPOSE_REFUSED,
        PeerMessage::Read { .. } => BODY_READ,
        PeerMessage::ReadIndex { .. } => BODY_READ_INDEX,
        PeerMessage::ReadRefused { .. } => BODY_READ_REFUSED,
        PeerMessage::Formation { .. } => BODY_FORMATION,
        PeerMessage::Refused { .. } => BODY_REFUSED,
        // Not a small message; `message.rs` has taken it.
        PeerMessage::Propose { .. } => 0,
    }
}

/// An upper bound of the encoded size, sequences apart.
pub fn bytes_max(body: &PeerMessage) -> usize {
    const FIELD: usize = 12;
    match body {
        PeerMessage::Raft(message) => 12 * FIELD + message.context.len(),
        PeerMessage::Formation { stored, .. } => 5 * FIELD + 32 + stored.len() * (3 * FIELD + 16),
        PeerMessage::Refused { .. } => 2 * FIELD + REFUSED_BYTES_MAX,
        _ => 5 * FIELD,
    }
}

pub fn encode(body: &PeerMessage, piece: Piece, out: &mut Vec<u8>) -> Result<(), WireError> {
    match body {
        PeerMessage::Raft(message) => return encode_raft(message, out),
        PeerMessage::ProposeRefused { boot, sequences, code } => {
            let sequences = sequences[piece.start..piece.end].to_vec();
            put(&WireCall { boot: *boot, sequences, index: 0, code: code.number() }, out);
        }
        PeerMessage::Read { boot, sequence } => put(&call(*boot, *sequence), out),
        PeerMessage::ReadIndex { boot, sequence, index } => {
            put(&WireCall { index: *index, ..call(*boot, *sequence) }, out);
        }
        PeerMessage::ReadRefused { boot, sequence, code } => {
            put(&WireCall { code: code.number(), ..call(*boot, *sequence) }, out);
        }
        PeerMessage::Formation { members, incarnation, stored, answer_wanted } => {
            if stored.len() > MEMBERS_MAX {
                return Err(WireError::new("a formation with too many members"));
            }
            let uuid = |uuid: &Uuid| Bytes::copy_from_slice(&uuid.0);
            let stored = stored.iter().map(|(raft_id, incarnation)| WireStored {
                raft_id: *raft_id,
                incarnation: uuid(incarnation),
            });
            let message = WireFormation {
                members: uuid(members),
                incarnation: uuid(incarnation),
                stored: stored.collect(),
                answer_wanted: *answer_wanted,
            };
            put(&message, out);
        }
        PeerMessage::Refused { code, message } => {
            let message = sentence(message, REFUSED_BYTES_MAX);
            put(&WireRefused { code: code.number(), message }, out);
        }
        PeerMessage::Propose { .. } => {
            return Err(WireError::new("proposals are not a small message"));
        }
    }
    Ok(())
}

fn call(boot: u64, sequence: u64) -> WireCall {
    WireCall { boot, sequences: vec![sequence], index: 0, code: 0 }
}

fn put(message: &impl prost::Message, out: &mut Vec<u8>) {
    message.encode_raw(out);
}

pub fn decode(kind: u8, bytes: Bytes, items_left: &mut usize) -> Result<PeerMessage, WireError> {
    let long = kind == BODY_PROPOSE_REFUSED;
    if bytes.len() > CONTROL_BYTES_MAX + usize::from(long) * 10 * ITEMS_PER_FRAME_MAX {
        return Err(WireError::new("a message is too long for its type"));
    }
    match kind {
        BODY_RAFT => decode_raft(parse(bytes)?).map(PeerMessage::Raft),
        BODY_PROPOSE_REFUSED => {
            let call: WireCall = parse(bytes)?;
            *items_left = items_left
                .checked_sub(call.sequences.len())
                .ok_or(WireError::new("a frame with too many sequences"))?;
            let (boot, code) = (call.boot, code(call.code)?);
            Ok(PeerMessage::ProposeRefused { boot, sequences: call.sequences, code })
        }
        BODY_READ => {
            let call: WireCall = parse(bytes)?;
            Ok(PeerMessage::Read { boot: call.boot, sequence: only(&call)? })
        }
        BODY_READ_INDEX => {
            let call: WireCall = parse(bytes)?;
            let (sequence, index) = (only(&call)?, in_range(call.index)?);
            Ok(PeerMessage::ReadIndex { boot: call.boot, sequence, index })
        }
        BODY_READ_REFUSED => {
            let call: WireCall = parse(bytes)?;
            let (sequence, code) = (only(&call)?, code(call.code)?);
            Ok(PeerMessage::ReadRefused { boot: call.boot, sequence, code })
        }
        BODY_FORMATION => decode_formation(parse(bytes)?),
        BODY_REFUSED => {
            let refused: WireRefused = parse(bytes)?;
            let message = sentence(&refused.message, REFUSED_BYTES_MAX);
            Ok(PeerMessage::Refused { code: code(refused.code)?, message })
        }
        other => Err(format!("a message of unknown type {other}").into()),
    }
}

fn parse<M: prost::Message + Default>(bytes: Bytes) -> Result<M, WireError> {
    M::decode(bytes).map_err(|error| format!("a malformed message: {error}").into())
}

fn code(number: i32) -> Result<Code, WireError> {
    Code::from_number(number).ok_or_else(|| format!("an unknown error code {number}").into())
}

fn only(call: &WireCall) -> Result<u64, WireError> {
    match call.sequences[..] {
        [sequence] => Ok(sequence),
        _ => Err(WireError::new("a read with other than one sequence")),
    }
}

fn uuid(bytes: &[u8]) -> Result<Uuid, WireError> {
    Uuid::from_slice(bytes).ok_or(WireError::new("a UUID that is not 16 bytes long"))
}

fn decode_formation(wire: WireFormation) -> Result<PeerMessage, WireError> {
    if wire.stored.len() > MEMBERS_MAX {
        return Err(WireError::new("a formation with too many members"));
    }
    let mut stored = Vec::with_capacity(wire.stored.len());
    for member in &wire.stored {
        stored.push((member.raft_id, uuid(&member.incarnation)?));
    }
    Ok(PeerMessage::Formation {
        members: uuid(&wire.members)?,
        incarnation: uuid(&wire.incarnation)?,
        stored,
        answer_wanted: wire.answer_wanted,
    })
}

/// The types that travel as small messages. What a replica says to itself, proposals, reads and
/// snapshots have no number here, so they can be neither sent nor forged.
const RAFT_TYPES: &[(u32, MessageType)] = &[
    (4, MessageType::MsgAppendResponse),
    (5, MessageType::MsgRequestVote),
    (6, MessageType::MsgRequestVoteResponse),
    (8, MessageType::MsgHeartbeat),
    (9, MessageType::MsgHeartbeatResponse),
    (13, MessageType::MsgTransferLeader),
    (14, MessageType::MsgTimeoutNow),
    (17, MessageType::MsgRequestPreVote),
    (18, MessageType::MsgRequestPreVoteResponse),
];

fn encode_raft(message: &Message, out: &mut Vec<u8>) -> Result<(), WireError> {
    let known = RAFT_TYPES.iter().find(|(_, known)| *known == message.msg_type);
    let Some((message_type, _)) = known else {
        return Err(format!("a {:?} does not travel between nodes", message.msg_type).into());
    };
    if message.has_snapshot() || !message.entries.is_empty() {
        return Err(WireError::new("entries or a snapshot in a message that has none"));
    }
    let wire = WireRaft {
        message_type: *message_type,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        context: message.context.clone(),
        priority: message.priority,
    };
    if wire.encoded_len() > CONTROL_BYTES_MAX {
        return Err(WireError::new("a message with too long a context"));
    }
    put(&wire, out);
    Ok(())
}

fn decode_raft(wire: WireRaft) -> Result<Message, WireError> {
    let known = RAFT_TYPES.iter().find(|(number, _)| *number == wire.message_type);
    let Some((_, message_type)) = known else {
        return Err(format!("a Raft message of unknown type {}", wire.message_type).into());
    };
    let mut message = Message::default();
    message.set_msg_type(*message_type);
    message.term = in_range(wire.term)?;
    message.log_term = in_range(wire.log_term)?;
    message.index = in_range(wire.index)?;
    message.commit = in_range(wire.commit)?;
    message.commit_term = in_range(wire.commit_term)?;
    message.reject = wire.reject;
    message.reject_hint = in_range(wire.reject_hint)?;
    message.request_snapshot = in_range(wire.request_snapshot)?;
    message.context = wire.context;
    message.priority = wire.priority;
    Ok(message)
}
