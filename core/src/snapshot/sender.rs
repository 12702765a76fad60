//! Sends a snapshot to a peer, on a thread of its own.

use std::io::{self, Write};
use std::time::Instant;

use super::exchange::{
    Begin, ChunkName, ChunksDigest, Message, Want, CONTROL_BYTES_MAX, OFFER_CHUNKS_MAX,
};
use super::io_error;
use super::line::{broken, Line};
use super::manifest::{ChunkHash, SnapshotKind, CHUNKS_MAX};
use super::reader::SnapshotReader;
use crate::error::{Code, Error, Result};
use crate::machine::PreparedSnapshot;
use crate::stream::Stream;

/// Where a snapshot that is sent comes from.
pub enum Source {
    /// The store. The reader pins it until the transfer ends.
    Stored(SnapshotReader),
    /// The state machine itself, without a copy on this node's disk.
    Live(Box<dyn PreparedSnapshot>),
}

/// Sends a snapshot over a connection whose handshake is done. When this returns without an error,
/// the peer has the whole snapshot, verified and durable.
///
/// `progress` is told how many bytes of the stream were sent so far, after each chunk. To break a
/// transfer off, shut the connection down.
///
/// **Threads**: blocks, until `deadline` at the longest, except that a live source is asked to end
/// and not forced to. **Memory**: two chunks. **Errors**: `Timeout`; `Unreachable`; the peer's
/// reason if it refused; `Corrupted` or `Io` if the stored snapshot cannot be read; `SaveFailed` if
/// the machine failed; `Unsupported` for a snapshot without a state.
pub fn send_snapshot(
    stream: impl Into<Box<dyn Stream>>,
    begin: &Begin,
    source: Source,
    deadline: Instant,
    progress: impl FnMut(u64) + Send,
) -> Result<()> {
    if let Source::Stored(reader) = &source {
        check_stored(begin, reader)?;
    }
    let mut sender = Sender {
        line: Line::new(stream, deadline)?,
        progress,
        wants_all: false,
        done: false,
        chunks: 0,
        total_bytes: 0,
        digest: ChunksDigest::default(),
    };
    sender.tell(&Message::Begin(begin.clone()))?;
    let sent = match source {
        Source::Stored(reader) => sender.send_stored(reader),
        Source::Live(prepared) => sender.send_live(prepared, begin.chunk_bytes as usize),
    };
    if let Err(error) = sent {
        // The peer learns the reason, if it still listens, instead of waiting for the rest.
        let _ = sender.line.send(&Message::Refused(error.clone()).encode(), &[]);
        return Err(error);
    }
    sender.end()
}

fn check_stored(begin: &Begin, reader: &SnapshotReader) -> Result<()> {
    let manifest = reader.manifest();
    if manifest.kind == SnapshotKind::MetadataOnly {
        let message = format!(
            "snapshot {} holds no state that could be sent: its machine has to be streamed",
            manifest.snapshot
        );
        return Err(Error::rejected(Code::Unsupported, message));
    }
    if manifest.point() != begin.point || manifest.chunk_bytes != begin.chunk_bytes {
        let message = format!("snapshot {} is announced as another one", manifest.snapshot);
        return Err(Error::rejected(Code::InvalidArgument, message));
    }
    Ok(())
}

struct Sender<P> {
    line: Line,
    progress: P,
    /// The peer does not want to be asked any more.
    wants_all: bool,
    /// The peer has the snapshot from an earlier transfer.
    done: bool,
    chunks: usize,
    total_bytes: u64,
    digest: ChunksDigest,
}

impl<P: FnMut(u64) + Send> Sender<P> {
    fn send_stored(&mut self, mut reader: SnapshotReader) -> Result<()> {
        let manifest = reader.manifest().clone();
        let mut next = 0;
        while next < manifest.chunks.len() && !self.done {
            let end = manifest.chunks.len().min(next + OFFER_CHUNKS_MAX);
            let name = |number: usize| ChunkName {
                length: manifest.chunk_range(number).1 as u32,
                hash: manifest.chunks[number],
            };
            let offer = (next..end).map(name).collect();
            let want = self.offer(offer)?;
            for position in 0..end - next {
                if want.includes(position) {
                    let chunk = reader.next_chunk()?.unwrap_or_default();
                    self.data((next + position) as u64, chunk)?;
                } else {
                    reader.skip_chunk();
                }
                self.moved(manifest.chunk_range(next + position).1);
            }
            next = end;
        }
        Ok(())
    }

    fn send_live(&mut self, prepared: Box<dyn PreparedSnapshot>, chunk_bytes: usize) -> Result<()> {
        let mut writer = LiveWriter { sender: self, chunk: Vec::new(), chunk_bytes, failure: None };
        let saved = prepared.save(&mut writer);
        if let Some(failure) = writer.failure.take() {
            return Err(failure);
        }
        saved.map_err(|error| {
            Error::rejected(Code::SaveFailed, format!("save_snapshot failed: {error}"))
        })?;
        writer.send_chunk()
    }

    /// Names chunks to the peer; returns which of them it wants.
    fn offer(&mut self, names: Vec<ChunkName>) -> Result<Want> {
        if self.chunks + names.len() > CHUNKS_MAX {
            let message = format!("a snapshot has at most {CHUNKS_MAX} chunks, and this one more");
            return Err(Error::rejected(Code::TooLarge, message));
        }
        self.chunks += names.len();
        names.iter().for_each(|name| self.digest.add(&name.hash));
        self.tell(&Message::Offer(names))?;
        if self.wants_all {
            return Ok(Want::All);
        }
        match self.answer()? {
            Message::Want(want) => {
                self.wants_all = want == Want::All;
                Ok(want)
            }
            Message::Done => {
                self.done = true;
                Ok(Want::Some(Vec::new()))
            }
            _ => Err(broken("the peer did not say which chunks it wants")),
        }
    }

    fn data(&mut self, number: u64, chunk: &[u8]) -> Result<()> {
        // A peer that cannot go on says so at once, and need not be sent the rest.
        if self.line.has_input() {
            self.answer()?;
            return Err(broken("the peer spoke while chunks were sent to it"));
        }
        let head = Message::Data { number, chunk }.encode();
        let sent = self.line.send(&head, chunk);
        sent.map_err(|error| self.refusal_behind(error))
    }

    /// A chunk is sent, or not needed.
    fn moved(&mut self, bytes: usize) {
        self.total_bytes += bytes as u64;
        (self.progress)(self.total_bytes);
    }

    fn end(&mut self) -> Result<()> {
        if self.done {
            return Ok(());
        }
        let digest = std::mem::take(&mut self.digest).finish();
        self.tell(&Message::End { total_bytes: self.total_bytes, digest })?;
        match self.answer()? {
            Message::Done => Ok(()),
            _ => Err(broken("the peer did not say that it has the snapshot")),
        }
    }

    fn tell(&mut self, message: &Message<'_>) -> Result<()> {
        let sent = self.line.send(&message.encode(), &[]);
        sent.map_err(|error| self.refusal_behind(error))
    }

    fn answer(&mut self) -> Result<Message<'_>> {
        match Message::decode(self.line.receive(CONTROL_BYTES_MAX)?)? {
            Message::Refused(reason) => Err(reason),
            message => Ok(message),
        }
    }

    /// A peer that refuses says why before it closes the connection, so the reason may lie behind a
    /// failed write.
    fn refusal_behind(&mut self, error: Error) -> Error {
        if error.code != Code::Unreachable {
            return error;
        }
        match self.answer() {
            Err(reason) if reason.code != Code::Timeout => reason,
            _ => error,
        }
    }
}

/// What a state machine writes its state to: each full chunk goes to the peer.
struct LiveWriter<'a, P> {
    sender: &'a mut Sender<P>,
    chunk: Vec<u8>,
    chunk_bytes: usize,
    /// The first error, which counts whatever the machine makes of it.
    failure: Option<Error>,
}

impl<P: FnMut(u64) + Send> LiveWriter<'_, P> {
    fn send_chunk(&mut self) -> Result<()> {
        // A peer that has everything gets no more; the machine is left to write to nowhere.
        if !self.chunk.is_empty() && !self.sender.done {
            let name =
                ChunkName { length: self.chunk.len() as u32, hash: ChunkHash::of(&self.chunk) };
            let number = self.sender.chunks as u64;
            if self.sender.offer(vec![name])?.includes(0) {
                self.sender.data(number, &self.chunk)?;
            }
            self.sender.moved(self.chunk.len());
        }
        self.chunk.clear();
        Ok(())
    }
}

impl<P: FnMut(u64) + Send> Write for LiveWriter<'_, P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(io_error(failure));
        }
        if self.chunk.capacity() == 0 {
            self.chunk.reserve_exact(self.chunk_bytes);
        }
        let taken = bytes.len().min(self.chunk_bytes - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == self.chunk_bytes {
            if let Err(error) = self.send_chunk() {
                let reported = io_error(&error);
                self.failure = Some(error);
                return Err(reported);
            }
        }
        Ok(taken)
    }

    /// Does nothing: chunks are sent when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
