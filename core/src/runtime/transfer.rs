//! Snapshots between nodes: each on a connection and a thread of its own.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use super::errands::guarded;
use super::event_loop::EventLoop;
use super::group_handle::GroupHandle;
use super::inbox::{Command, GroupKey, MachineAnswer};
use super::lines::Line;
use super::node_handle::NodeHandle;
use super::system::Dial;
use crate::error::{Code, Error, Result};
use crate::ids::{GroupId, Uuid};
use crate::replica::{Event, Notice, PeerIdentity, ReceivedSnapshot, SendSnapshot};
use crate::snapshot::manifest::CHUNK_BYTES;
use crate::snapshot::{receive_snapshot, send_snapshot, Begin, Manifest, SnapshotPoint, Source};
use crate::stream::Stream;
use crate::wire::Intent;

/// The largest snapshot that is taken from a peer in bytes; the disk sets the limit in practice.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 50;
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const PROGRESS_BYTES: u64 = 16 << 20;

/// An order to send a snapshot, with all that the event loop knows about it.
pub(crate) struct Shipment {
    node: Arc<NodeHandle>,
    key: GroupKey,
    group_id: GroupId,
    formation: Uuid,
    from: u64,
    timeout: Duration,
    /// Where the peer may be found, best first.
    addresses: Vec<String>,
    pub(super) order: SendSnapshot,
}

impl EventLoop {
    /// Sends a stored snapshot.
    pub(super) fn send_snapshot(&mut self, key: GroupKey, order: SendSnapshot) {
        let Some(shipment) = self.shipment(key, order) else { return };
        self.node.couriers.run(move || shipment.send_stored());
    }

    pub(super) fn shipment(&self, key: GroupKey, order: SendSnapshot) -> Option<Shipment> {
        let hosted = self.groups.get(&key)?;
        let listed = hosted.peers.iter().filter(|(peer, _)| *peer == order.peer);
        // What it said itself is newer than what the membership says, if it moved.
        let told = self.network.told_address(order.peer);
        let mut addresses: Vec<String> = told.map(str::to_string).into_iter().collect();
        addresses.extend(listed.map(|(_, address)| address.clone()));
        addresses.dedup();
        let status = hosted.group.status();
        Some(Shipment {
            node: self.node.clone(),
            key,
            group_id: status.group_id,
            formation: status.formation,
            from: status.raft_id,
            timeout: Duration::from_millis(hosted.group.options.snapshot_transfer_timeout_ms),
            addresses,
            order,
        })
    }

    /// Receives a snapshot over a connection that a peer opened for it.
    pub(super) fn receive_snapshot(&mut self, peer: PeerIdentity, stream: Box<dyn Stream>) {
        let timeout_ms =
            |hosted: &super::hosted::Hosted| hosted.group.options.snapshot_transfer_timeout_ms;
        let timeout_ms = self.groups.values().map(timeout_ms).max().unwrap_or(0);
        let node = self.node.clone();
        let offered = self.node.receivers.offer(move || {
            if let Err(error) = receive(&node, peer, stream, Duration::from_millis(timeout_ms)) {
                tracing::warn!(peer = peer.node_id, %error, "a snapshot was not received");
            }
        });
        if !offered {
            tracing::warn!(peer = peer.node_id, "a snapshot was refused: too many wait already");
        }
    }

    /// Deletes a received snapshot that its replica had no use for. One that was sent twice may be of use all the same.
    pub(super) fn drop_unused_snapshot(&mut self, key: GroupKey) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let Some(snapshot) = hosted.offered.take() else { return };
        let installing = hosted.held.as_ref().and_then(|held| held.unrestored);
        if installing.is_some_and(|(installing, _)| installing == snapshot) {
            return;
        }
        let node = self.node.clone();
        // At once: nobody may offer it again while it is being deleted.
        node.snapshots.forget(hosted.seat.group_id, snapshot);
        self.node.couriers.run(move || {
            if let Err(error) = node.snapshots.collect() {
                tracing::warn!(%error, "a snapshot that is of no use was not deleted");
            }
        });
    }
}

impl Shipment {
    /// On a courier thread: sends the snapshot of the store that the replica named.
    fn send_stored(self) {
        let reader = self.node.snapshots.open_reader(self.group_id, self.order.snapshot);
        let result = reader.and_then(|reader| {
            let manifest = reader.manifest().clone();
            self.send(&self.begin(manifest.point(), manifest.chunk_bytes), Source::Stored(reader))
        });
        self.report(result);
    }

    /// On a courier thread: sends what an on-disk machine prepared, straight from the callback.
    pub(super) fn send_live(self, point: SnapshotPoint, source: Result<Source>) {
        let begin = self.begin(point, CHUNK_BYTES);
        let result = source.and_then(|source| self.send(&begin, source));
        self.report(result);
    }

    fn begin(&self, point: SnapshotPoint, chunk_bytes: u32) -> Begin {
        Begin {
            formation: self.formation,
            from: self.from,
            to: self.order.to,
            leader_term: self.order.term,
            point,
            chunk_bytes,
        }
    }

    fn send(&self, begin: &Begin, source: Source) -> Result<()> {
        let deadline = self.node.system.now() + self.timeout;
        let (stream, _line) = self.dial()?;
        let (to, index) = (self.order.peer.node_id, begin.point.index);
        let group = self.node.group(self.group_id);
        let progress = told_now_and_then(|bytes| {
            if let Some(group) = &group {
                self.node.tell(group, Notice::SnapshotSending { to, index, bytes });
            }
        });
        // What is sent may come straight from the program.
        guarded("sending a snapshot", || send_snapshot(stream, begin, source, deadline, progress))
    }

    fn dial(&self) -> Result<(Box<dyn Stream>, Line<'_>)> {
        let peer = self.order.peer;
        let mut failure = Error::rejected(Code::Unreachable, "the peer's address is not known");
        for address in &self.addresses {
            let (intent, node_id, timeout) = (Intent::Bulk, peer.node_id, DIAL_TIMEOUT);
            match self.node.dial(&Dial { address, intent, node_id, timeout }) {
                Ok((stream, found, line)) if found == peer => return Ok((stream, line)),
                Ok(_) => {
                    let message =
                        format!("node {} at {address} is not the member it was", peer.node_id);
                    failure = Error::rejected(Code::HandshakeRefused, message);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn report(self, result: Result<()>) {
        let (to, group) = (self.order.to, self.group_id);
        match &result {
            Ok(()) => tracing::info!(group, to, "a snapshot was sent"),
            Err(error) => tracing::warn!(group, to, %error, "a snapshot was not sent"),
        }
        let answer = MachineAnswer::SnapshotSent { to, succeeded: result.is_ok() };
        // After the close nobody listens.
        let _ = self.node.command(Command::Machine { key: self.key, answer });
    }
}

fn receive(
    node: &NodeHandle,
    peer: PeerIdentity,
    stream: Box<dyn Stream>,
    timeout: Duration,
) -> Result<()> {
    let _line = node.lines.hold(&*stream)?;
    let announced = OnceCell::new();
    let accept = |begin: &Begin| {
        let group = accept(node, begin)?;
        let _ = announced.set((group, begin.point.index));
        Ok(())
    };
    let deadline = node.system.now() + timeout;
    let progress = told_now_and_then(|bytes| {
        if let Some((group, index)) = announced.get() {
            let (from, index) = (peer.node_id, *index);
            node.tell(group, Notice::SnapshotReceiving { from, index, bytes });
        }
    });
    let store = &node.snapshots;
    let (begin, manifest) =
        receive_snapshot(stream, store, accept, SNAPSHOT_BYTES_MAX, deadline, progress)?;
    let Some(group) = node.group(begin.point.group_id) else {
        return node.snapshots.remove(begin.point.group_id, manifest.snapshot);
    };
    let event = received(peer, &begin, &manifest);
    node.command(Command::Event { key: group.key, event })
}

/// Whether a snapshot that is announced can be of use here; its error is told to the sender.
fn accept(node: &NodeHandle, begin: &Begin) -> Result<Arc<GroupHandle>> {
    let group_id = begin.point.group_id;
    let Some(group) = node.group(group_id) else {
        return Err(Error::rejected(
            Code::GroupNotFound,
            format!("group {group_id} does not run on node {}", node.identity.node_id),
        ));
    };
    group.check_in_service()?;
    let status = group.status();
    if !status.formation.is_nil() && status.formation != begin.formation {
        return Err(Error::rejected(
            Code::WrongIdentity,
            format!("group {group_id} was formed another time on node {}", node.identity.node_id),
        ));
    }
    Ok(group)
}

/// Passes on how many bytes went over so far: at the beginning, then every 16 MiB.
fn told_now_and_then(mut tell: impl FnMut(u64)) -> impl FnMut(u64) {
    let mut next = 0;
    move |bytes| {
        if bytes >= next {
            next = bytes + PROGRESS_BYTES;
            tell(bytes);
        }
    }
}

fn received<C>(peer: PeerIdentity, begin: &Begin, manifest: &Manifest) -> Event<C> {
    Event::SnapshotReceived {
        from: begin.from,
        peer,
        term: begin.leader_term,
        snapshot: ReceivedSnapshot {
            snapshot: manifest.snapshot,
            index: manifest.index,
            term: manifest.term,
            membership: manifest.membership.clone(),
        },
    }
}
