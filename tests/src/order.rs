//! What the trace of a member says about order: when each entry became durable, and what was
//! acknowledged when.

use std::collections::{BTreeMap, HashMap};

use libraft::replica::{Envelope, PeerMessage};
use libraft::wire::{message, FrameKind, FrameReader};
use raft::eraftpb::MessageType;

use crate::trace::{Call, Moment};

/// The texts that `Cluster::put` proposes: so many digits, a dash, and the member's number.
const DIGITS: usize = 8;
const TEXT_BYTES: usize = DIGITS + 2;
const FRAME_BYTES_MAX: usize = 64 << 20;

/// An answer to the leader: "I have everything up to this index".
#[derive(Debug)]
pub struct AppendAcknowledgement {
    pub index: u64,
    pub began: Moment,
    /// What it acknowledges that no earlier one did: indexes and texts, from the appends received
    /// before.
    pub news: Vec<(u64, String)>,
}

/// An answer to the client: "this is done".
#[derive(Debug)]
pub struct ClientAcknowledgement {
    pub text: String,
    pub began: Moment,
}

/// When each text was in a journal file whose `fdatasync`, begun after the write, had returned.
pub fn durable(calls: &[Call]) -> HashMap<String, Moment> {
    let is_journal = |call: &&Call| call.target.contains("/log/journal/");
    let syncs: Vec<&Call> = calls
        .iter()
        .filter(is_journal)
        .filter(|call| call.name == "fdatasync" && call.returned == 0)
        .collect();
    let mut durable = HashMap::new();
    let is_write = |call: &&Call| call.name == "pwrite64" || call.name == "pwritev";
    for write in calls.iter().filter(is_journal).filter(is_write) {
        let covers =
            |sync: &&&Call| sync.target == write.target && sync.began.line > write.ended.line;
        // The calls are in the order of their ends: the first is the earliest.
        let Some(sync) = syncs.iter().find(covers) else { continue };
        for text in texts(&write.data) {
            durable.entry(text).or_insert(sync.ended);
        }
    }
    durable
}

/// The answers that a member sent to leaders, each with the entries that it is the first to
/// acknowledge.
pub fn append_acknowledgements(calls: &[Call]) -> Vec<AppendAcknowledgement> {
    let received = envelopes(calls, &["recvfrom"])
        .into_iter()
        .map(|(_, ended, envelope)| (ended, MessageType::MsgAppend, envelope));
    let sent = envelopes(calls, &["sendto", "sendmsg", "write", "writev"]);
    let sent = sent
        .into_iter()
        .map(|(began, _, envelope)| (began, MessageType::MsgAppendResponse, envelope));
    let mut events: Vec<_> = received.chain(sent).collect();
    events.sort_by_key(|(moment, ..)| moment.line);
    let mut unacknowledged: BTreeMap<u64, String> = BTreeMap::new();
    let mut term = 0;
    let mut acknowledgements = Vec::new();
    for (moment, wanted, envelope) in events {
        let PeerMessage::Raft(message) = envelope.body else { continue };
        if message.msg_type != wanted || message.term < term || message.reject {
            continue;
        }
        term = message.term;
        if wanted == MessageType::MsgAppend {
            for entry in message.entries.iter() {
                unacknowledged.extend(texts(&entry.data).pop().map(|text| (entry.index, text)));
            }
            continue;
        }
        let later = unacknowledged.split_off(&(message.index + 1));
        let news = std::mem::replace(&mut unacknowledged, later).into_iter().collect();
        let (index, began) = (message.index, moment);
        acknowledgements.push(AppendAcknowledgement { index, began, news });
    }
    acknowledgements
}

/// The `done` lines that a member printed.
pub fn client_acknowledgements(calls: &[Call]) -> Vec<ClientAcknowledgement> {
    let mut acknowledgements = Vec::new();
    let mut line = Vec::new();
    for call in calls.iter().filter(|call| call.name == "write" && call.descriptor == 1) {
        for byte in &call.data {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            let said = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            let Some(text) = said.strip_prefix("done ").and_then(|rest| rest.split(' ').next())
            else {
                continue;
            };
            acknowledgements
                .push(ClientAcknowledgement { text: text.to_string(), began: call.began });
        }
    }
    acknowledgements
}

/// The envelopes in what these calls moved over connections: with the beginning of the call that
/// moved the first byte of their frame, and the end of the one that moved its last.
fn envelopes(calls: &[Call], names: &[&str]) -> Vec<(Moment, Moment, Envelope)> {
    let mut streams: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in calls {
        if names.contains(&call.name.as_str()) && call.target.starts_with("TCP") {
            streams.entry(&call.target).or_default().push(call);
        }
    }
    let mut envelopes = Vec::new();
    for calls in streams.values() {
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        // When the first byte of a frame moved that is not complete yet.
        let mut partial = None;
        for call in calls {
            let mut began = partial.unwrap_or(call.began);
            let mut data = &call.data[..];
            while !data.is_empty() {
                let buffer = reader.buffer_with_room();
                let room = buffer.capacity() - buffer.len();
                let (now, later) = data.split_at(room.min(data.len()));
                buffer.extend_from_slice(now);
                data = later;
                while let Some(frame) = reader.next_frame().expect("members send whole frames") {
                    if frame.kind == FrameKind::Messages {
                        let visit = |envelope| envelopes.push((began, call.ended, envelope));
                        message::decode_frame(&frame, visit).expect("members send valid messages");
                    }
                    began = call.began;
                }
            }
            partial = (!reader.is_empty()).then_some(began);
        }
    }
    envelopes
}

/// Everything in `data` that looks like a text of `Cluster::put`.
fn texts(data: &[u8]) -> Vec<String> {
    let is_text = |window: &&[u8]| {
        let (digits, end) = window.split_at(DIGITS);
        digits.iter().all(u8::is_ascii_digit) && end[0] == b'-' && end[1].is_ascii_digit()
    };
    data.windows(TEXT_BYTES)
        .filter(is_text)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect()
}
