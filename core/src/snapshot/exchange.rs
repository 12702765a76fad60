//! What the two ends of a snapshot transfer say to each other. See `docs/format.md`.
//!
//! ```text
//! sender                              receiver
//! Begin  (which snapshot)         ->
//! Offer  (hashes of chunks)       ->
//!                                 <-  Want (which of them; or all, now and later)
//! Data   (a chunk)  ...           ->
//! Offer, Data  ...                ->
//! End    (digest of all hashes)   ->
//!                                 <-  Done (it is verified and durable)
//! ```
//!
//! Either end may say Refused, with the reason, instead of its next message. A receiver that has
//! the snapshot already says Done at once.
//!
//! What comes later has its place: a receiver that keeps chunks from before asks for the others
//! (resuming, incremental snapshots), for senders honour any Want already; throttling is a wait
//! before Data.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::line::broken;
use super::manifest::{ChunkHash, SnapshotPoint, CHUNK_BYTES_MAX, MEMBERSHIP_BYTES_MAX};
use crate::error::{Code, Error, Result};
use crate::ids::{RaftId, Term, Uuid, NUMBER_LIMIT};

/// The longest Begin, Want or Refused.
pub(super) const CONTROL_BYTES_MAX: usize = MEMBERSHIP_BYTES_MAX + 128;
/// The chunks of one Offer.
pub(super) const OFFER_CHUNKS_MAX: usize = 1024;
const REASON_BYTES_MAX: usize = 1024;

/// Which snapshot is sent, by whom, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    pub formation: Uuid,
    pub from: RaftId,
    pub to: RaftId,
    /// The term in which the sender is the leader.
    pub leader_term: Term,
    pub point: SnapshotPoint,
    /// The length of every chunk but the last.
    pub chunk_bytes: u32,
}

/// A chunk by its length and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkName {
    pub(super) length: u32,
    pub(super) hash: ChunkHash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// All chunks of this offer and of every later one: they are not asked for again.
    All,
    /// One bit for each chunk of this offer, lowest first.
    Some(Vec<u8>),
}

impl Want {
    pub(super) fn includes(&self, position: usize) -> bool {
        match self {
            Want::All => true,
            Want::Some(bits) => {
                bits.get(position / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
            }
        }
    }
}

/// What follows Begin, apart from the content of chunks, which is not copied.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Begin(Begin),
    Offer(Vec<ChunkName>),
    Want(Want),
    Data { number: u64, chunk: &'a [u8] },
    End { total_bytes: u64, digest: [u8; 32] },
    Done,
    Refused(Error),
}

const BEGIN: u8 = 1;
const OFFER: u8 = 2;
const WANT: u8 = 3;
const DATA: u8 = 4;
const END: u8 = 5;
const DONE: u8 = 6;
const REFUSED: u8 = 7;

/// The bytes of a Data frame before the chunk.
pub(super) const DATA_HEAD_BYTES: usize = 9;
/// The bytes of an Offer before the chunks' names, and of each.
const OFFER_HEAD_BYTES: usize = 5;
const CHUNK_NAME_BYTES: usize = 36;

/// The longest frame that a receiver accepts after Begin.
pub(super) fn receiver_bytes_max(chunk_bytes: u32) -> usize {
    let offer = OFFER_HEAD_BYTES + OFFER_CHUNKS_MAX * CHUNK_NAME_BYTES;
    offer.max(DATA_HEAD_BYTES + chunk_bytes as usize)
}

impl Message<'_> {
    /// The message as bytes; of Data what stands before the chunk.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Message::Begin(begin) => encode_begin(begin),
            Message::Offer(names) => {
                let mut bytes = vec![OFFER];
                bytes.extend_from_slice(&(names.len() as u32).to_le_bytes());
                for name in names {
                    bytes.extend_from_slice(&name.length.to_le_bytes());
                    bytes.extend_from_slice(&name.hash.0);
                }
                bytes
            }
            Message::Want(Want::All) => vec![WANT, 0],
            Message::Want(Want::Some(bits)) => [&[WANT, 1], bits.as_slice()].concat(),
            Message::Data { number, .. } => [&[DATA], number.to_le_bytes().as_slice()].concat(),
            Message::End { total_bytes, digest } => {
                [&[END], total_bytes.to_le_bytes().as_slice(), digest].concat()
            }
            Message::Done => vec![DONE],
            Message::Refused(error) => {
                let mut length = error.message.len().min(REASON_BYTES_MAX);
                while !error.message.is_char_boundary(length) {
                    length -= 1;
                }
                let reason = &error.message.as_bytes()[..length];
                [&[REFUSED], error.code.number().to_le_bytes().as_slice(), reason].concat()
            }
        }
    }

    pub(super) fn decode(body: &[u8]) -> Result<Message<'_>> {
        decode(body).ok_or_else(|| broken("a message that cannot be read arrived"))
    }
}

fn encode_begin(begin: &Begin) -> Vec<u8> {
    let point = &begin.point;
    let mut bytes = vec![BEGIN];
    bytes.extend_from_slice(&begin.formation.0);
    for number in [begin.from, begin.to, begin.leader_term, point.group_id] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&point.snapshot.0);
    bytes.extend_from_slice(&point.index.to_le_bytes());
    bytes.extend_from_slice(&point.term.to_le_bytes());
    bytes.extend_from_slice(&begin.chunk_bytes.to_le_bytes());
    bytes.extend_from_slice(&point.membership);
    bytes
}

fn decode(body: &[u8]) -> Option<Message<'_>> {
    let (kind, rest) = body.split_first()?;
    Some(match *kind {
        BEGIN => Message::Begin(decode_begin(rest)?),
        OFFER => {
            let (count, names) = rest.split_first_chunk::<4>()?;
            let count = u32::from_le_bytes(*count) as usize;
            if count > OFFER_CHUNKS_MAX || names.len() != count * CHUNK_NAME_BYTES {
                return None;
            }
            Message::Offer(names.chunks_exact(CHUNK_NAME_BYTES).filter_map(chunk_name).collect())
        }
        WANT => match rest.split_first()? {
            (0, []) => Message::Want(Want::All),
            (1, bits) => Message::Want(Want::Some(bits.to_vec())),
            _ => return None,
        },
        DATA => {
            let (number, chunk) = rest.split_first_chunk()?;
            Message::Data { number: u64::from_le_bytes(*number), chunk }
        }
        END => {
            let (total_bytes, digest) = rest.split_first_chunk()?;
            let total_bytes = u64::from_le_bytes(*total_bytes);
            Message::End { total_bytes, digest: digest.try_into().ok()? }
        }
        DONE if rest.is_empty() => Message::Done,
        REFUSED => {
            let (code, reason) = rest.split_first_chunk()?;
            let code = Code::from_number(i32::from_le_bytes(*code)).unwrap_or(Code::Internal);
            let reason = &reason[..reason.len().min(REASON_BYTES_MAX)];
            Message::Refused(Error::rejected(
                code,
                format!("the peer broke the snapshot off: {}", String::from_utf8_lossy(reason)),
            ))
        }
        _ => return None,
    })
}

fn decode_begin(mut rest: &[u8]) -> Option<Begin> {
    fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
        let (taken, later) = rest.split_first_chunk::<N>()?;
        *rest = later;
        Some(taken)
    }
    let formation = Uuid(*take(&mut rest)?);
    let mut number = || Some(u64::from_le_bytes(*take(&mut rest)?));
    let (from, to, leader_term, group_id) = (number()?, number()?, number()?, number()?);
    let snapshot = Uuid(*take(&mut rest)?);
    let mut number = || Some(u64::from_le_bytes(*take(&mut rest)?));
    let (index, term) = (number()?, number()?);
    let chunk_bytes = u32::from_le_bytes(*take(&mut rest)?);
    let membership = Bytes::copy_from_slice(rest);
    let point = SnapshotPoint { group_id, snapshot, index, term, membership };
    let begin = Begin { formation, from, to, leader_term, point, chunk_bytes };
    let sound = begin.point.check().is_ok()
        && from != 0
        && to != 0
        && leader_term < NUMBER_LIMIT
        && (1..=CHUNK_BYTES_MAX).contains(&chunk_bytes);
    sound.then_some(begin)
}

fn chunk_name(bytes: &[u8]) -> Option<ChunkName> {
    let (length, hash) = bytes.split_first_chunk()?;
    Some(ChunkName { length: u32::from_le_bytes(*length), hash: ChunkHash(hash.try_into().ok()?) })
}

/// What End says of the chunks: the SHA-256 of their hashes, one after the other.
#[derive(Clone, Default)]
pub(super) struct ChunksDigest(Sha256);

impl ChunksDigest {
    pub(super) fn add(&mut self, hash: &ChunkHash) {
        self.0.update(hash.0);
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests;
