//! Receives a snapshot from a peer, on a thread of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::exchange::{
    receiver_bytes_max, Begin, ChunkName, ChunksDigest, Message, Want, CONTROL_BYTES_MAX,
    OFFER_CHUNKS_MAX,
};
use super::line::{broken, Line};
use super::manifest::Manifest;
use super::store::SnapshotStore;
use super::writer::SnapshotWriter;
use crate::error::{Code, Error, Result};
use crate::stream::Stream;

/// Receives a snapshot over a connection whose handshake is done, into `store`. When this returns
/// without an error, the snapshot is whole, verified and durable. It counts once
/// [`SnapshotStore::installed`] is called; if the replica does not take it, call
/// [`SnapshotStore::remove`].
///
/// `accept` looks at what is announced; its error is told to the peer. Streams of more than
/// `bytes_max` bytes are refused. `progress` is told how many bytes of the stream arrived so far,
/// after each chunk. To break a transfer off, shut the connection down.
///
/// **Threads**: blocks, until `deadline` (and what the disk takes, and two seconds for the last
/// word) at the longest. **Memory**: one chunk, and 36 bytes for each chunk that is announced.
/// **Errors**: `Timeout`; `Unreachable`; that of `accept`; the peer's reason if it broke off;
/// `TooLarge`; `NoSpace`, `Io` and the like of the store. Nothing stays in the store after an
/// error.
pub fn receive_snapshot(
    stream: impl Into<Box<dyn Stream>>,
    store: &SnapshotStore,
    accept: impl FnOnce(&Begin) -> Result<()>,
    bytes_max: u64,
    deadline: Instant,
    progress: impl FnMut(u64),
) -> Result<(Begin, Arc<Manifest>)> {
    let mut line = Line::new(stream, deadline)?;
    let received = receive(&mut line, store, accept, bytes_max, progress);
    let last_word = match &received {
        Ok(_) => Message::Done,
        Err(error) => Message::Refused(error.clone()),
    };
    // The snapshot is here, or not, whether or not the peer hears of it.
    if line.send(&last_word.encode(), &[]).is_ok() {
        line.linger();
    }
    received
}

fn receive(
    line: &mut Line,
    store: &SnapshotStore,
    accept: impl FnOnce(&Begin) -> Result<()>,
    bytes_max: u64,
    progress: impl FnMut(u64),
) -> Result<(Begin, Arc<Manifest>)> {
    let begin = match Message::decode(line.receive(CONTROL_BYTES_MAX)?)? {
        Message::Begin(begin) => begin,
        _ => return Err(broken("the peer did not begin")),
    };
    accept(&begin)?;
    if let Some(manifest) = store.complete(&begin.point) {
        return Ok((begin, manifest));
    }
    let writer = store.begin(begin.point.clone())?.with_chunk_bytes(begin.chunk_bytes);
    let receiver = Receiver {
        writer,
        bytes_max,
        progress,
        offered: VecDeque::new(),
        offered_bytes: 0,
        offers_end: false,
        asked: false,
        chunks: 0,
        digest: ChunksDigest::default(),
    };
    let manifest = receiver.run(line, receiver_bytes_max(begin.chunk_bytes))?;
    Ok((begin, manifest))
}

struct Receiver<P> {
    writer: SnapshotWriter,
    bytes_max: u64,
    progress: P,
    /// Chunks that were offered and have not arrived.
    offered: VecDeque<ChunkName>,
    offered_bytes: u64,
    /// The last chunk offered was a short one: none can follow.
    offers_end: bool,
    /// The peer was told that every chunk is wanted.
    asked: bool,
    chunks: u64,
    digest: ChunksDigest,
}

impl<P: FnMut(u64)> Receiver<P> {
    fn run(mut self, line: &mut Line, frame_bytes_max: usize) -> Result<Arc<Manifest>> {
        loop {
            match Message::decode(line.receive(frame_bytes_max)?)? {
                Message::Offer(names) => {
                    self.take_offer(names)?;
                    if !self.asked {
                        self.asked = true;
                        line.send(&Message::Want(Want::All).encode(), &[])?;
                    }
                }
                Message::Data { number, chunk } => self.take_chunk(number, chunk)?,
                Message::End { total_bytes, digest } => return self.end(total_bytes, digest),
                Message::Refused(reason) => return Err(reason),
                _ => return Err(broken("the peer sent what only a receiver says")),
            }
        }
    }

    fn take_offer(&mut self, names: Vec<ChunkName>) -> Result<()> {
        if self.offered.len() + names.len() > OFFER_CHUNKS_MAX {
            return Err(broken("more chunks were offered than may be outstanding"));
        }
        for name in names {
            let full = self.writer.chunk_bytes();
            if self.offers_end || name.length == 0 || name.length > full {
                return Err(broken("a chunk of a wrong length was offered"));
            }
            self.offers_end = name.length < full;
            self.offered_bytes += name.length as u64;
            if self.offered_bytes > self.bytes_max {
                return Err(Error::rejected(
                    Code::TooLarge,
                    format!("the snapshot has more than the {} bytes allowed", self.bytes_max),
                ));
            }
            self.digest.add(&name.hash);
            self.offered.push_back(name);
        }
        Ok(())
    }

    fn take_chunk(&mut self, number: u64, chunk: &[u8]) -> Result<()> {
        let due = if number == self.chunks { self.offered.pop_front() } else { None };
        let Some(name) = due else {
            return Err(broken(&format!("chunk {number} arrived, which is not due")));
        };
        if chunk.len() != name.length as usize {
            return Err(broken(&format!("chunk {number} does not have the length offered")));
        }
        if !self.writer.push_chunk(chunk, &name.hash)? {
            return Err(broken(&format!("chunk {number} does not have the hash offered")));
        }
        self.chunks += 1;
        (self.progress)(self.writer.bytes());
        Ok(())
    }

    fn end(self, total_bytes: u64, digest: [u8; 32]) -> Result<Arc<Manifest>> {
        let complete = self.offered.is_empty()
            && total_bytes == self.writer.bytes()
            && digest == self.digest.finish();
        if !complete {
            return Err(broken("the peer ended before everything had arrived"));
        }
        self.writer.finish_received()
    }
}
