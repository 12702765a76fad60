//! A peer that sends snapshots, from a store in memory.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libraft::disk::MemoryDisk;
use libraft::ids::Uuid;
use libraft::snapshot::manifest::CHUNK_BYTES;
use libraft::snapshot::{
    receive_snapshot, send_snapshot, Begin, SnapshotPoint, SnapshotStore, Source,
};

use crate::load::Result;

const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a snapshot to `store`, which receives it as a replica does.
pub fn send(store: &SnapshotStore, point: SnapshotPoint, stream: &[u8]) -> Result<()> {
    let peer = SnapshotStore::open(Arc::new(MemoryDisk::new()), &[], 0)?;
    let mut writer = peer.begin(point.clone())?;
    writer.write_all(stream)?;
    writer.finish()?;
    let reader = peer.open_reader(point.group_id, point.snapshot)?;
    let (formation, leader_term) = (Uuid([1; 16]), point.term);
    let begin = Begin { formation, from: 1, to: 2, leader_term, point, chunk_bytes: CHUNK_BYTES };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let theirs = listener.accept()?.0;
    let deadline = Instant::now() + TRANSFER_TIMEOUT;
    let sender = std::thread::spawn(move || {
        send_snapshot(theirs, &begin, Source::Stored(reader), deadline, |_| {})
    });
    receive_snapshot(ours, store, |_| Ok(()), 1 << 30, deadline, |_| {})?;
    sender.join().map_err(|_| "the sender panicked")??;
    Ok(())
}
