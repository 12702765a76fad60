//! Transfers between two ends, over real sockets.

#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::disk::Disk;
use crate::machine::{MachineError, MachineResult, PreparedSnapshot};
use crate::snapshot::line::Line;
use crate::snapshot::{receive_snapshot, send_snapshot, Manifest, SnapshotStore, Source};

const CHUNK: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(20);

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// The two ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dialed = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (dialed, listener.accept().unwrap().0)
}

fn point() -> SnapshotPoint {
    SnapshotPoint {
        group_id: 3,
        snapshot: Uuid([5; 16]),
        index: 100,
        term: 4,
        membership: Bytes::from_static(b"members"),
    }
}

fn begin() -> Begin {
    Begin {
        formation: Uuid([8; 16]),
        from: 1,
        to: 2,
        leader_term: 6,
        point: point(),
        chunk_bytes: CHUNK,
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position / 7) as u8 ^ (position / 900) as u8).collect()
}

fn empty_store() -> (MemoryDisk, SnapshotStore) {
    let disk = MemoryDisk::new();
    let store = SnapshotStore::open(Arc::new(disk.clone()), &[], 0).unwrap();
    (disk, store)
}

/// A store that holds the snapshot with this content.
fn store_with(content: &[u8]) -> (MemoryDisk, SnapshotStore) {
    let (disk, store) = empty_store();
    let mut writer = store.begin(point()).unwrap().with_chunk_bytes(CHUNK);
    writer.write_all(content).unwrap();
    writer.finish().unwrap();
    (disk, store)
}

fn stored(store: &SnapshotStore) -> Source {
    Source::Stored(store.open_reader(3, point().snapshot).unwrap())
}

/// A machine that writes pieces of a stream, and then maybe fails.
struct Machine {
    content: Vec<u8>,
    fails: bool,
}

impl PreparedSnapshot for Machine {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        for piece in self.content.chunks(333) {
            // A careless machine goes on after an error.
            let _ = writer.write_all(piece);
        }
        if self.fails {
            return Err(MachineError::new("the backup is locked"));
        }
        Ok(())
    }
}

fn live(content: &[u8], fails: bool) -> Source {
    Source::Live(Box::new(Machine { content: content.to_vec(), fails }))
}

fn read(store: &SnapshotStore) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.open_reader(3, point().snapshot).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

type Received = Result<(Begin, Arc<Manifest>)>;

/// Receives on another thread while `act` has the other end.
fn against_receiver<T>(store: &SnapshotStore, act: impl FnOnce(TcpStream) -> T) -> (T, Received) {
    let (ours, theirs) = connection();
    let store = store.clone();
    let receiver = thread::spawn(move || {
        receive_snapshot(theirs, &store, |_| Ok(()), 1 << 30, deadline(), |_| {})
    });
    let result = act(ours);
    (result, receiver.join().unwrap())
}

fn transfer(store: &SnapshotStore, source: Source) -> (Result<()>, Received) {
    against_receiver(store, |stream| send_snapshot(stream, &begin(), source, deadline(), |_| {}))
}

#[test]
fn a_stored_snapshot_of_any_length_arrives_whole_and_durable() {
    for length in [0, 1, 999, 1000, 1001, 5000, 1_100_500] {
        let content = content(length);
        let (_, from) = store_with(&content);
        let (disk, to) = empty_store();
        let (sent, received) = transfer(&to, stored(&from));
        sent.unwrap();
        let (announced, manifest) = received.unwrap();
        assert_eq!(announced, begin());
        assert_eq!(Some(&manifest), from.list(3).first(), "{length} bytes");
        assert!(read(&to) == content, "{length} bytes");
        assert!(to.newest(3).unwrap().is_none(), "it counts only when it is installed");
        let reopened = SnapshotStore::open(Arc::new(disk.crash(1)), &[], 0).unwrap();
        assert!(read(&reopened) == content, "{length} bytes, after a power cut");
    }
}

#[test]
fn the_state_of_a_machine_is_streamed_without_a_copy_on_the_senders_disk() {
    for length in [0, 1, 999, 1000, 1001, 12_345] {
        let content = content(length);
        let (_, to) = empty_store();
        let (sent, received) = transfer(&to, live(&content, false));
        sent.unwrap();
        let (_, manifest) = received.unwrap();
        assert_eq!(manifest.total_bytes, length as u64);
        assert_eq!(manifest.point(), point());
        assert!(read(&to) == content, "{length} bytes");
    }
}

#[test]
fn both_ends_see_progress_up_to_the_whole() {
    let (_, from) = store_with(&content(3500));
    let (_, to) = empty_store();
    let (ours, theirs) = connection();
    let receiver = thread::spawn(move || {
        let mut seen = Vec::new();
        let progress = |bytes| seen.push(bytes);
        receive_snapshot(theirs, &to, |_| Ok(()), 1 << 20, deadline(), progress).unwrap();
        seen
    });
    let mut seen = Vec::new();
    send_snapshot(ours, &begin(), stored(&from), deadline(), |bytes| seen.push(bytes)).unwrap();
    assert_eq!(seen, [1000, 2000, 3000, 3500]);
    assert_eq!(receiver.join().unwrap(), seen);
}

#[test]
fn a_snapshot_that_is_here_already_is_not_sent_again() {
    let content = content(50_000);
    let (_, from) = store_with(&content);
    let (disk, to) = empty_store();
    transfer(&to, stored(&from)).1.unwrap();
    let operations = disk.operations();
    for source in [stored(&from), live(&content, false)] {
        let (sent, received) = transfer(&to, source);
        sent.unwrap();
        assert_eq!(received.unwrap().1.total_bytes, 50_000);
    }
    assert_eq!(disk.operations(), operations);
}

#[test]
fn a_receiver_that_does_not_accept_tells_the_sender_why() {
    let (_, from) = store_with(&content(50_000));
    let (disk, to) = empty_store();
    let (ours, theirs) = connection();
    let receiver = thread::spawn(move || {
        let refuse = |begin: &Begin| {
            let message = format!("replica {} is not here", begin.to);
            Err(Error::rejected(Code::GroupNotFound, message))
        };
        receive_snapshot(theirs, &to, refuse, 1 << 20, deadline(), |_| {})
    });
    let sent = send_snapshot(ours, &begin(), stored(&from), deadline(), |_| {}).unwrap_err();
    assert_eq!(sent.code, Code::GroupNotFound);
    assert!(sent.message.contains("replica 2 is not here"), "{sent}");
    assert_eq!(receiver.join().unwrap().unwrap_err().code, Code::GroupNotFound);
    assert_eq!(disk.operations(), 0, "nothing was written");
}

#[test]
fn a_full_disk_at_the_receiver_breaks_off_and_the_sender_stops_and_learns_why() {
    let (disk, to) = empty_store();
    disk.set_capacity(Some(100_000));
    let total = 20_000_000;
    let source = live(&vec![7; total], false);
    let (sent, received) = against_receiver(&to, |stream| {
        let mut moved = 0;
        let result = send_snapshot(stream, &begin(), source, deadline(), |bytes| moved = bytes);
        (result, moved)
    });
    assert_eq!(received.unwrap_err().code, Code::NoSpace);
    let (result, moved) = sent;
    let error = result.unwrap_err();
    assert_eq!(error.code, Code::NoSpace, "{error}");
    assert!(moved < total as u64, "everything was sent to a peer that had broken off");
    assert_eq!(disk.used_bytes(), 0, "what had arrived is given back");
}

#[test]
fn a_snapshot_beyond_the_limit_is_refused() {
    let (_, from) = store_with(&content(5000));
    let (_, to) = empty_store();
    let (ours, theirs) = connection();
    let receiver =
        thread::spawn(move || receive_snapshot(theirs, &to, |_| Ok(()), 4999, deadline(), |_| {}));
    let sent = send_snapshot(ours, &begin(), stored(&from), deadline(), |_| {});
    assert_eq!(sent.unwrap_err().code, Code::TooLarge);
    assert_eq!(receiver.join().unwrap().unwrap_err().code, Code::TooLarge);
}

#[test]
fn a_machine_that_fails_to_save_breaks_off_and_the_receiver_learns_why() {
    let (disk, to) = empty_store();
    let (sent, received) = transfer(&to, live(&content(5500), true));
    assert_eq!(sent.unwrap_err().code, Code::SaveFailed);
    let received = received.unwrap_err();
    assert_eq!(received.code, Code::SaveFailed);
    assert!(received.message.contains("the backup is locked"), "{received}");
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn a_stored_snapshot_that_is_damaged_is_not_sent_on() {
    let (disk, from) = store_with(&content(5500));
    let stream = Path::new("3").join(point().snapshot.to_string()).join("stream");
    disk.damage(&stream, 4321, 0).unwrap();
    let (_, to) = empty_store();
    let (sent, received) = transfer(&to, stored(&from));
    let sent = sent.unwrap_err();
    assert_eq!(sent.code, Code::Corrupted);
    assert!(sent.message.contains(&disk.display(&stream)), "{sent}");
    assert_eq!(received.unwrap_err().code, Code::Corrupted);
    assert!(to.list(3).is_empty());
}

#[test]
fn a_snapshot_without_a_state_is_not_sent() {
    let (_, from) = empty_store();
    from.put_metadata(point()).unwrap();
    let (ours, _theirs) = connection();
    let error = send_snapshot(ours, &begin(), stored(&from), deadline(), |_| {}).unwrap_err();
    assert_eq!(error.code, Code::Unsupported);
}

#[test]
fn a_connection_cut_anywhere_leaves_nothing_and_the_next_transfer_succeeds() {
    let content = content(4500);
    let (disk, to) = empty_store();
    // Record what a sender says, then say only the first part of it.
    let (ours, theirs) = connection();
    let recorder = thread::spawn(move || record_sender(theirs));
    let (_, from) = store_with(&content);
    send_snapshot(ours, &begin(), stored(&from), deadline(), |_| {}).unwrap();
    let said = recorder.join().unwrap();
    for length in (0..said.len()).step_by(97) {
        let (_, received) = against_receiver(&to, |mut stream| {
            stream.write_all(&said[..length]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(received.unwrap_err().code, Code::Unreachable, "cut after {length} bytes");
        assert_eq!(disk.used_bytes(), 0, "cut after {length} bytes");
        assert!(to.list(3).is_empty());
    }
    transfer(&to, stored(&from)).1.unwrap();
    assert!(read(&to) == content);
}

/// Answers as a receiver does; returns every byte that the sender said.
fn record_sender(stream: TcpStream) -> Vec<u8> {
    let mut answers = Line::new(stream.try_clone().unwrap(), deadline()).unwrap();
    let mut said = Vec::new();
    let mut input = stream;
    loop {
        let mut header = [0; 16];
        input.read_exact(&mut header).unwrap();
        let mut body = vec![0; u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize];
        input.read_exact(&mut body).unwrap();
        said.extend_from_slice(&header);
        said.extend_from_slice(&body);
        match Message::decode(&body).unwrap() {
            Message::Offer(_) => answers.send(&Message::Want(Want::All).encode(), &[]).unwrap(),
            Message::End { .. } => {
                answers.send(&Message::Done.encode(), &[]).unwrap();
                return said;
            }
            _ => {}
        }
    }
}

/// A message and, of Data, the chunk.
type Said<'a> = (Message<'a>, &'a [u8]);

/// Says the messages to a receiver, as they are; returns its reason to refuse.
fn refusal_of(messages: &[Said<'_>]) -> Error {
    let (disk, to) = empty_store();
    let (reason, received) = against_receiver(&to, |stream| {
        let mut line = Line::new(stream, deadline()).unwrap();
        for (message, payload) in messages {
            line.send(&message.encode(), payload).unwrap();
        }
        loop {
            match Message::decode(line.receive(CONTROL_BYTES_MAX).unwrap()).unwrap() {
                Message::Refused(reason) => return reason,
                Message::Want(_) => {}
                other => panic!("the receiver said {other:?}"),
            }
        }
    });
    let received = received.unwrap_err();
    assert_eq!(received.code, reason.code);
    assert_eq!(disk.used_bytes(), 0);
    received
}

fn offer(chunks: &[&[u8]]) -> Message<'static> {
    let name = |chunk: &&[u8]| ChunkName { length: chunk.len() as u32, hash: ChunkHash::of(chunk) };
    Message::Offer(chunks.iter().map(name).collect())
}

fn data(number: u64) -> Message<'static> {
    Message::Data { number, chunk: &[] }
}

#[test]
fn a_sender_that_does_not_keep_to_what_it_offered_is_refused() {
    let (full, short) = (content(1000), content(10));
    let mut other = full.clone();
    other[500] ^= 1;
    let start = || (Message::Begin(begin()), &[][..]);
    let offer = |chunks: &[&[u8]]| (offer(chunks), &[][..]);
    let end = || (Message::End { total_bytes: 1000, digest: [0; 32] }, &[][..]);

    let cases: &[(&str, &[Said<'_>])] = &[
        ("did not begin", &[offer(&[&full])]),
        ("which is not due", &[start(), (data(0), &full)]),
        ("which is not due", &[start(), offer(&[&full]), (data(1), &full)]),
        ("the hash offered", &[start(), offer(&[&full]), (data(0), &other)]),
        ("the length offered", &[start(), offer(&[&full]), (data(0), &short)]),
        ("a wrong length", &[start(), offer(&[&short, &full])]),
        ("a wrong length", &[start(), offer(&[&content(1001)])]),
        ("a wrong length", &[start(), offer(&[&[]])]),
        (
            "may be outstanding",
            &[start(), offer(&[full.as_slice(); 1000]), offer(&[full.as_slice(); 25])],
        ),
        ("before everything", &[start(), offer(&[&full]), end()]),
        ("before everything", &[start(), offer(&[&full]), (data(0), &full), end()]),
        ("only a receiver says", &[start(), (Message::Done, &[])]),
        ("only a receiver says", &[start(), start()]),
    ];
    for (reason, messages) in cases {
        let error = refusal_of(messages);
        assert!(error.message.contains(reason), "{error} instead of {reason}");
        assert_eq!(error.code, Code::Unreachable);
    }
}

#[test]
fn an_oversized_frame_is_refused_before_memory_is_taken_for_it() {
    let (ours, theirs) = connection();
    let mut line = Line::new(theirs, deadline()).unwrap();
    let mut out = Line::new(ours, deadline()).unwrap();
    out.send(&[1], &content(5000)).unwrap();
    let error = line.receive(5000).unwrap_err();
    assert!(error.message.contains("5001 bytes"), "{error}");
    assert_eq!(line.buffered_bytes(), 0);
}

#[test]
fn a_line_needs_the_memory_of_its_longest_frame_however_many_there_are() {
    let (ours, theirs) = connection();
    let sender = thread::spawn(move || {
        let mut line = Line::new(ours, deadline()).unwrap();
        (0..500).for_each(|number| line.send(&[], &content(number * 7 % 3001)).unwrap());
    });
    let mut line = Line::new(theirs, deadline()).unwrap();
    for number in 0..500 {
        assert!(line.receive(3000).unwrap() == content(number * 7 % 3001));
        assert!(line.buffered_bytes() <= 3000);
    }
    sender.join().unwrap();
}

#[test]
fn any_damaged_bit_of_a_frame_is_found() {
    let body = b"some content";
    let (ours, mut theirs) = connection();
    Line::new(ours, deadline()).unwrap().send(&[], body).unwrap();
    let mut frame = Vec::new();
    theirs.read_to_end(&mut frame).unwrap();
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (mut ours, theirs) = connection();
        ours.write_all(&damaged).unwrap();
        drop(ours);
        let mut line = Line::new(theirs, deadline()).unwrap();
        assert_eq!(line.receive(1 << 20).unwrap_err().code, Code::Unreachable, "bit {bit}");
    }
}

#[test]
fn messages_cut_or_made_of_noise_are_errors_and_nothing_worse() {
    let chunk = content(100);
    let messages = [
        Message::Begin(begin()),
        offer(&[&chunk, &chunk]),
        Message::Want(Want::All),
        Message::End { total_bytes: 7, digest: [1; 32] },
        Message::Done,
    ];
    for message in messages {
        let bytes = message.encode();
        Message::decode(&bytes).unwrap();
        // The membership, at the end of Begin, may have any length.
        let fixed =
            bytes.len() - if bytes[0] == BEGIN { begin().point.membership.len() } else { 0 };
        for length in 0..fixed {
            assert!(Message::decode(&bytes[..length]).is_err(), "{message:?} cut to {length}");
        }
    }
    // A splitmix generator: the same noise in every run.
    let mut state = 7u64;
    let mut random = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 31
    };
    for _ in 0..20_000 {
        let length = random() as usize % 150;
        let mut noise: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        if let Some(kind) = noise.first_mut() {
            *kind %= 9;
        }
        if let Ok(Message::Begin(begin)) = Message::decode(&noise) {
            begin.point.check().unwrap();
        }
    }
}

#[test]
fn a_transfer_ends_when_its_connection_is_shut_down() {
    /// Saves until it is told that nobody listens any more, as a machine of any size would.
    struct Endless(TcpStream);
    impl PreparedSnapshot for Endless {
        fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
            let mut written = 0u64;
            loop {
                writer.write_all(&[7; 500])?;
                written += 500;
                if written == 50_000 {
                    self.0.shutdown(Shutdown::Both)?;
                }
            }
        }
    }
    let (disk, to) = empty_store();
    let (sent, received) = against_receiver(&to, |stream| {
        let source = Source::Live(Box::new(Endless(stream.try_clone().unwrap())));
        send_snapshot(stream, &begin(), source, deadline(), |_| {})
    });
    assert_eq!(sent.unwrap_err().code, Code::Unreachable);
    assert_eq!(received.unwrap_err().code, Code::Unreachable);
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn a_peer_that_says_nothing_is_given_up_at_the_deadline() {
    let soon = || Instant::now() + Duration::from_millis(100);
    let (_, from) = store_with(&content(50_000));
    let (ours, theirs) = connection();
    let error = send_snapshot(ours, &begin(), stored(&from), soon(), |_| {}).unwrap_err();
    assert_eq!(error.code, Code::Timeout);
    drop(theirs);

    let (_, to) = empty_store();
    let (ours, theirs) = connection();
    let error = receive_snapshot(theirs, &to, |_| Ok(()), 1, soon(), |_| {}).unwrap_err();
    assert_eq!(error.code, Code::Timeout);
    drop(ours);
}

#[test]
fn a_peer_that_stops_reading_is_given_up_at_the_deadline() {
    let (ours, theirs) = connection();
    let reader = thread::spawn(move || {
        let mut line = Line::new(theirs, deadline()).unwrap();
        line.receive(CONTROL_BYTES_MAX).unwrap();
        line.receive(CONTROL_BYTES_MAX).unwrap();
        line.send(&Message::Want(Want::All).encode(), &[]).unwrap();
        line
    });
    let source = live(&vec![7; 50_000_000], false);
    let soon = Instant::now() + Duration::from_millis(300);
    let error = send_snapshot(ours, &begin(), source, soon, |_| {}).unwrap_err();
    assert_eq!(error.code, Code::Timeout);
    assert!(Instant::now() >= soon);
    drop(reader.join().unwrap());
}

#[test]
fn a_sender_leaves_out_the_chunks_that_a_receiver_does_not_want() {
    for live_source in [false, true] {
        let content = content(3500);
        let (_, from) = store_with(&content);
        let (ours, theirs) = connection();
        let receiver = thread::spawn(move || {
            let mut line = Line::new(theirs, deadline()).unwrap();
            let (mut offered, mut arrived) = (0, Vec::new());
            loop {
                match Message::decode(line.receive(1 << 20).unwrap()).unwrap() {
                    Message::Offer(names) => {
                        let odd = (0..names.len()).map(|position| (offered + position) % 2 == 1);
                        let bits = odd.enumerate().map(|(position, odd)| (odd as u8) << position);
                        let bits = bits.fold(0, |bits, bit| bits | bit);
                        offered += names.len();
                        line.send(&Message::Want(Want::Some(vec![bits])).encode(), &[]).unwrap();
                    }
                    Message::Data { number, chunk } => arrived.push((number, chunk.to_vec())),
                    Message::End { total_bytes, .. } => {
                        line.send(&Message::Done.encode(), &[]).unwrap();
                        return (total_bytes, arrived);
                    }
                    _ => {}
                }
            }
        });
        let source = if live_source { live(&content, false) } else { stored(&from) };
        send_snapshot(ours, &begin(), source, deadline(), |_| {}).unwrap();
        let (total_bytes, arrived) = receiver.join().unwrap();
        assert_eq!(total_bytes, 3500);
        let expected = [(1, content[1000..2000].to_vec()), (3, content[3000..].to_vec())];
        assert!(arrived == expected, "live: {live_source}");
    }
}
