use super::*;
use crate::error::Code;
use crate::wire::frame::{self, FrameKind, FrameReader};

/// A small generator, so that a failing case is one number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Small numbers and large ones alike.
    fn number(&mut self) -> u64 {
        let shift = 2 + self.below(62);
        self.next() >> shift
    }

    fn bytes(&mut self, limit: u64) -> Bytes {
        let length = self.below(limit);
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn uuid(&mut self) -> Uuid {
        Uuid(std::array::from_fn(|_| self.next() as u8))
    }
}

fn random_append(random: &mut Random) -> Message {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    message.index = random.number() / 2;
    message.log_term = random.number() / 4;
    message.commit = random.number();
    let (mut term, mut index) = (message.log_term, message.index);
    let mut entries = Vec::new();
    for _ in 0..random.below(20) {
        index += 1;
        if random.below(5) == 0 {
            term += random.below(1000);
        }
        let entry_type = entry_type(random.below(3)).unwrap();
        // Some so long that they are not copied.
        let limit = if random.below(8) == 0 { 10_000 } else { 300 };
        let data = random.bytes(limit);
        entries.push(Entry { entry_type, term, index, data, ..Entry::default() });
    }
    message.term = term + random.below(3);
    message.set_entries(entries.into());
    message
}

fn random_control(random: &mut Random) -> Message {
    use MessageType::*;
    let types = [
        MsgAppendResponse,
        MsgRequestVote,
        MsgRequestVoteResponse,
        MsgHeartbeat,
        MsgHeartbeatResponse,
        MsgTransferLeader,
        MsgTimeoutNow,
        MsgRequestPreVote,
        MsgRequestPreVoteResponse,
    ];
    let mut message = Message::default();
    message.set_msg_type(types[random.below(9) as usize]);
    message.term = random.number();
    message.log_term = random.number();
    message.index = random.number();
    message.commit = random.number();
    message.commit_term = random.number();
    message.reject = random.below(2) == 0;
    message.reject_hint = random.number();
    message.request_snapshot = random.number();
    message.context = random.bytes(30);
    message.priority = random.next() as i64;
    message
}

fn random_envelope(random: &mut Random) -> Envelope {
    let (boot, sequence) = (random.next(), random.next());
    let code = Code::ALL[random.below(Code::ALL.len() as u64) as usize];
    let mut body = match random.below(10) {
        0 | 1 => PeerMessage::Raft(random_append(random)),
        2 => PeerMessage::Raft(random_control(random)),
        3 => PeerMessage::Propose {
            term: random.number(),
            proposals: (0..random.below(9)).map(|_| random.bytes(99)).collect(),
        },
        4 => {
            let sequences = (0..random.below(9)).map(|_| random.number()).collect();
            PeerMessage::ProposeRefused { boot, sequences, code }
        }
        5 => PeerMessage::Read { boot, sequence },
        6 => PeerMessage::ReadIndex { boot, sequence, index: random.number() },
        7 => PeerMessage::ReadRefused { boot, sequence, code },
        8 => PeerMessage::Refused { code, message: "it was removed \u{2026}".to_string() },
        _ => PeerMessage::Formation {
            members: random.uuid(),
            incarnation: random.uuid(),
            stored: (0..random.below(6)).map(|_| (random.next(), random.uuid())).collect(),
            answer_wanted: random.below(2) == 0,
        },
    };
    let (from, to) = (random.next(), random.next());
    if let PeerMessage::Raft(message) = &mut body {
        (message.from, message.to) = (from, to);
    }
    let (formation, to_incarnation) = (random.uuid(), random.uuid());
    Envelope { group_id: random.next(), formation, from, to, to_incarnation, body }
}

fn encoded(envelopes: &[Envelope]) -> Vec<u8> {
    let mut out = Chain::default();
    frame::begin(&mut out);
    for envelope in envelopes {
        let piece = next_piece(envelope, 0, 16 << 20).unwrap();
        assert_eq!(piece.end, item_count(&envelope.body), "one piece is enough");
        let before = out.len();
        encode(envelope, piece, &mut out).unwrap();
        assert!(out.len() - before <= piece.bytes, "the bound holds");
    }
    frame::seal(&mut out, FrameKind::Messages);
    out.flat().into_owned()
}

fn arrived(bytes: &[u8]) -> Frame {
    let mut reader = FrameReader::new(16 << 20);
    let mut rest = bytes;
    loop {
        if let Some(frame) = reader.next_frame().unwrap() {
            return frame;
        }
        let buffer = reader.buffer_with_room();
        let room = (buffer.capacity() - buffer.len()).min(rest.len());
        assert!(room > 0, "the frame is not complete");
        buffer.extend_from_slice(&rest[..room]);
        rest = &rest[room..];
    }
}

fn decoded(body: Bytes) -> Result<Vec<Envelope>, WireError> {
    let mut envelopes = Vec::new();
    let held_bytes = body.len();
    let frame = Frame { kind: FrameKind::Messages, body, held_bytes };
    decode_frame(&frame, |envelope| envelopes.push(envelope))?;
    Ok(envelopes)
}

#[test]
fn random_envelopes_survive_the_round_trip() {
    for seed in 0..3000 {
        let mut random = Random(seed);
        let count = 1 + random.below(8);
        let envelopes: Vec<Envelope> = (0..count).map(|_| random_envelope(&mut random)).collect();
        let frame = arrived(&encoded(&envelopes));
        let mut decoded = Vec::new();
        decode_frame(&frame, |envelope| decoded.push(envelope)).unwrap();
        assert_eq!(format!("{envelopes:?}"), format!("{decoded:?}"), "seed {seed}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_an_error_and_never_a_panic() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let envelope = random_envelope(&mut random);
        let bytes = encoded(std::slice::from_ref(&envelope));
        let body = Bytes::from(bytes).slice(frame::HEADER_BYTES..);
        for end in 1..body.len() {
            assert!(decoded(body.slice(..end)).is_err(), "seed {seed}, cut at {end}");
        }
    }
}

#[test]
fn damaged_bodies_never_panic_and_decode_to_numbers_in_range_only() {
    let mut survived = 0;
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let envelope = random_envelope(&mut random);
        let mut body = encoded(std::slice::from_ref(&envelope)).split_off(frame::HEADER_BYTES);
        for _ in 0..1 + random.below(4) {
            let at = random.below(body.len() as u64) as usize;
            body[at] = random.next() as u8;
        }
        for envelope in decoded(Bytes::from(body)).into_iter().flatten() {
            survived += 1;
            let PeerMessage::Raft(message) = envelope.body else { continue };
            for number in [message.term, message.index, message.log_term, message.commit] {
                assert!(number < NUMBER_LIMIT, "seed {seed}");
            }
            for (offset, entry) in message.entries.iter().enumerate() {
                assert_eq!(entry.index, message.index + 1 + offset as u64, "seed {seed}");
                assert!(entry.term <= message.term && entry.index < NUMBER_LIMIT, "seed {seed}");
            }
        }
    }
    assert!(survived > 1000, "the damage was too thorough to test anything: {survived}");
}

#[test]
fn random_garbage_never_panics() {
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let mut garbage = random.bytes(200).to_vec();
        // Half of it gets past the length of the first envelope.
        if seed % 2 == 0 && garbage.len() > 4 {
            let length = garbage.len() as u32 - 4;
            garbage[..4].copy_from_slice(&length.to_le_bytes());
            garbage[4] = (seed % 10) as u8;
        }
        let _ = decoded(Bytes::from(garbage));
    }
}

fn append(entries: usize, data: &Bytes) -> Envelope {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    (message.from, message.to, message.term, message.log_term, message.index) = (1, 2, 5, 4, 100);
    let entries = (0..entries as u64).map(|offset| Entry {
        term: 4 + (offset > 3) as u64,
        index: 101 + offset,
        data: data.clone(),
        ..Entry::default()
    });
    message.set_entries(entries.collect::<Vec<_>>().into());
    let body = PeerMessage::Raft(message);
    let (formation, to_incarnation) = (Uuid([1; 16]), Uuid([2; 16]));
    Envelope { group_id: 9, formation, from: 1, to: 2, to_incarnation, body }
}

/// The envelope's content behind its length, up to the count of entries, which is what follows.
fn forged_append(term: u64, index: u64, log_term: u64, commit: u64, rest: &[u8]) -> Bytes {
    let mut content = vec![BODY_APPEND, 9];
    content.extend_from_slice(&[1; 16]);
    content.extend_from_slice(&[1, 2]);
    content.extend_from_slice(&[2; 16]);
    for number in [term, index, log_term, commit] {
        put_varint(&mut content, number);
    }
    content.extend_from_slice(rest);
    let mut body = (content.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(&content);
    Bytes::from(body)
}

fn refusal(body: Bytes) -> String {
    decoded(body).unwrap_err().to_string()
}

#[test]
fn terms_and_indexes_out_of_range_are_refused() {
    let limit = NUMBER_LIMIT;
    assert!(decoded(forged_append(limit - 1, limit - 1, limit - 1, limit - 1, &[0])).is_ok());
    for numbers in
        [[limit, 1, 1, 1], [5, limit, 1, 1], [5, 1, limit, 1], [5, 1, 1, limit], [u64::MAX; 4]]
    {
        let [term, index, log_term, commit] = numbers;
        assert!(refusal(forged_append(term, index, log_term, commit, &[0])).contains("range"));
    }
    assert!(refusal(forged_append(5, limit - 1, 1, 1, &[1, 0])).contains("range"));
}

#[test]
fn an_entry_of_unknown_type_or_beyond_the_leaders_term_is_refused() {
    assert!(decoded(forged_append(5, 1, 5, 1, &[1, 0])).is_ok());
    assert!(refusal(forged_append(5, 1, 5, 1, &[1, 3 << 1])).contains("unknown type"));
    assert!(refusal(forged_append(5, 1, 5, 1, &[1, 1, 1])).contains("beyond that of its leader"));
    assert!(refusal(forged_append(5, 1, 6, 1, &[1, 0])).contains("beyond that of its leader"));
}

#[test]
fn more_entries_than_bytes_or_than_the_cap_are_refused_before_they_are_allocated() {
    assert!(refusal(forged_append(5, 1, 5, 1, &[200, 1, 0, 0])).contains("than there are bytes"));
    let mut many = Vec::new();
    put_varint(&mut many, ITEMS_PER_FRAME_MAX as u64 + 1);
    many.resize(ITEMS_PER_FRAME_MAX + 100, 0);
    assert!(refusal(forged_append(5, 1, 5, 1, &many)).contains("too many entries"));
}

#[test]
fn the_cap_on_entries_counts_all_envelopes_of_a_frame() {
    let half = ITEMS_PER_FRAME_MAX / 2;
    let bytes = encoded(&[append(half, &Bytes::new()), append(half, &Bytes::new())]);
    let mut body = bytes[frame::HEADER_BYTES..].to_vec();
    assert_eq!(decoded(Bytes::from(body.clone())).unwrap().len(), 2);
    body.extend_from_slice(&forged_append(5, 1, 5, 1, &[1, 0]));
    assert!(refusal(Bytes::from(body)).contains("too many entries"));
}

#[test]
fn too_many_envelopes_in_a_frame_are_refused() {
    let one = forged_append(5, 1, 5, 1, &[0]);
    let body = one.repeat(ENVELOPES_PER_FRAME_MAX);
    assert_eq!(decoded(Bytes::from(body)).unwrap().len(), ENVELOPES_PER_FRAME_MAX);
    let body = one.repeat(ENVELOPES_PER_FRAME_MAX + 1);
    assert!(refusal(Bytes::from(body)).contains("too many envelopes"));
}

#[test]
fn a_message_of_unknown_or_local_type_is_refused() {
    let mut body = forged_append(5, 1, 5, 1, &[0]).to_vec();
    body[4] = 99;
    assert!(refusal(Bytes::from(body)).contains("unknown type 99"));
    let mut envelope = append(0, &Bytes::new());
    let PeerMessage::Raft(message) = &mut envelope.body else { unreachable!() };
    message.set_msg_type(MessageType::MsgHeartbeat);
    let good = encoded(std::slice::from_ref(&envelope)).split_off(frame::HEADER_BYTES);
    let at = good.iter().rposition(|byte| *byte == 8).unwrap();
    for local in [0u8, 1, 2, 7, 10, 11, 12, 15, 16, 19] {
        let mut bad = good.clone();
        // The message type is the only field with the value 8 (a heartbeat).
        bad[at] = local;
        assert!(refusal(Bytes::from(bad)).contains("unknown type"), "type {local}");
    }
}

#[test]
fn bytes_behind_the_last_entry_are_refused() {
    assert!(refusal(forged_append(5, 1, 5, 1, &[0, 0])).contains("left over"));
}

#[test]
fn what_a_replica_must_not_send_is_not_encoded() {
    let spoil = |change: fn(&mut Message)| {
        let mut envelope = append(3, &Bytes::from_static(b"x"));
        let PeerMessage::Raft(message) = &mut envelope.body else { unreachable!() };
        change(message);
        let piece = next_piece(&envelope, 0, 1 << 20).unwrap();
        let mut out = Chain::from(vec![1, 2, 3]);
        let refused = encode(&envelope, piece, &mut out).unwrap_err();
        assert_eq!(out.flat(), [1, 2, 3].as_slice(), "nothing half-written is left");
        refused.to_string()
    };
    assert!(spoil(|m| m.entries[1].index = 7).contains("follow each other"));
    assert!(spoil(|m| m.entries[1].term = 3).contains("follow each other"));
    assert!(spoil(|m| m.term = 3).contains("follow each other"));
    assert!(spoil(|m| m.entries[1].context = Bytes::from_static(b"c")).contains("context"));
    assert!(spoil(|m| m.from = 77).contains("different replicas"));
    assert!(spoil(|m| m.set_msg_type(MessageType::MsgSnapshot)).contains("does not travel"));
}

#[test]
fn an_append_too_large_for_a_frame_becomes_several_valid_ones() {
    let data = Bytes::from(vec![7; 1000]);
    let envelope = append(100, &data);
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < 100 {
        let piece = next_piece(&envelope, start, 40_000).unwrap();
        let mut out = Chain::default();
        frame::begin(&mut out);
        encode(&envelope, piece, &mut out).unwrap();
        assert!(out.len() - frame::HEADER_BYTES <= 40_000);
        frame::seal(&mut out, FrameKind::Messages);
        decode_frame(&arrived(&out.flat()), |envelope| pieces.push(envelope)).unwrap();
        start = piece.end;
    }
    assert!(pieces.len() > 2);
    let (mut index, mut term) = (100, 4);
    for piece in &pieces {
        let PeerMessage::Raft(message) = &piece.body else { unreachable!() };
        assert_eq!((message.index, message.log_term), (index, term), "each follows the last");
        for entry in message.entries.iter() {
            assert_eq!(entry.index, index + 1);
            (index, term) = (entry.index, entry.term);
        }
    }
    assert_eq!(index, 200);
    assert!(next_piece(&append(1, &Bytes::from(vec![0; 40_000])), 0, 40_000).is_err());
}

#[test]
fn entries_of_a_small_envelope_do_not_keep_a_large_buffer_alive() {
    let small = append(10, &Bytes::from(vec![1; 40]));
    let large = append(100, &Bytes::from(vec![2; 400]));
    let bytes = encoded(&[small, large]);
    let frame = arrived(&bytes);
    let (low, high) =
        (frame.body.as_ptr() as usize, frame.body.as_ptr() as usize + frame.body.len());
    let mut inside = Vec::new();
    decode_frame(&frame, |envelope| {
        let PeerMessage::Raft(message) = envelope.body else { unreachable!() };
        let addresses = message.entries.iter().map(|entry| entry.data.as_ptr() as usize);
        inside.push(addresses.filter(|address| (low..high).contains(address)).count());
    })
    .unwrap();
    assert_eq!(inside, [0, 100], "the small ones are copied, the large ones slice the buffer");
}

/// A frame body with one envelope of a small message, whose content is given.
fn forged_control(kind: u8, content: &[u8]) -> Bytes {
    let mut envelope = vec![kind, 9];
    envelope.extend_from_slice(&[1; 16]);
    envelope.extend_from_slice(&[1, 2]);
    envelope.extend_from_slice(&[2; 16]);
    envelope.extend_from_slice(content);
    let mut body = (envelope.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(&envelope);
    Bytes::from(body)
}

#[test]
fn small_messages_beyond_their_caps_are_refused() {
    // Field 10 of a Raft message, its context, beyond what a small message may have.
    let mut context = vec![8, 8, 10 << 3 | 2];
    put_varint(&mut context, 100_000);
    context.resize(context.len() + 100_000, 0);
    assert!(refusal(forged_control(3, &context)).contains("too long"));
    // Field 3 of a formation message: empty members, 513 of them.
    assert!(refusal(forged_control(8, &[3 << 3 | 2, 0].repeat(513))).contains("too many members"));
    // Field 2 of a refusal of proposals: packed sequences.
    let mut sequences = vec![2 << 3 | 2];
    put_varint(&mut sequences, ITEMS_PER_FRAME_MAX as u64 + 1);
    sequences.resize(sequences.len() + ITEMS_PER_FRAME_MAX + 1, 1);
    assert!(refusal(forged_control(4, &sequences)).contains("too many sequences"));
}

#[test]
fn small_messages_that_make_no_sense_are_refused() {
    let sequence = [2 << 3, 5];
    assert!(decoded(forged_control(5, &sequence)).is_ok());
    assert!(refusal(forged_control(5, &[])).contains("other than one sequence"));
    assert!(refusal(forged_control(5, &sequence.repeat(2))).contains("other than one sequence"));
    let unknown_code = [&sequence[..], &[4 << 3, 1]].concat();
    assert!(refusal(forged_control(7, &unknown_code)).contains("unknown error code 1"));
    assert!(refusal(forged_control(8, &[1 << 3 | 2, 1, 0])).contains("16 bytes"));
    assert!(refusal(forged_control(9, &[2 << 3 | 2, 1, 0xff])).contains("malformed"));
    let huge = [&[2 << 3, 5, 3 << 3][..], &[0xff; 9], &[1]].concat();
    assert!(refusal(forged_control(6, &huge)).contains("out of range"));
}

#[test]
fn a_sentence_is_cut_and_cleaned_before_it_is_shown() {
    let mut envelope = append(0, &Bytes::new());
    let message = "\u{e4}\n".repeat(1000);
    envelope.body = PeerMessage::Refused { code: Code::Removed, message };
    let bytes = encoded(std::slice::from_ref(&envelope));
    let told = decoded(Bytes::from(bytes).slice(frame::HEADER_BYTES..)).unwrap();
    let PeerMessage::Refused { code, message } = &told[0].body else { unreachable!() };
    assert_eq!(*code, Code::Removed);
    assert!(message.starts_with("\u{e4} \u{e4} ") && message.len() <= 512, "{}", message.len());
}
