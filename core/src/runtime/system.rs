//! What a node needs of the system around it, apart from its disks: time, threads, connections.
//!
//! Three small traits. The real ones are [`OperatingSystem`], [`super::sockets`] and mio's waker; a simulator has its own, and
//! so runs all of this folder in one thread, in a world made from a seed.

use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::thread;
use crate::error::Result;
use crate::ids::NodeId;
use crate::log::Lsn;
use crate::replica::{Envelope, PeerIdentity};
use crate::stream::Stream;
use crate::transport::{dial_blocking, Inbound, TransportStatus};
use crate::wire::{Intent, Introduction};

/// Time, threads, and connections that block.
pub trait System: Send + Sync {
    fn now(&self) -> Instant;

    /// Runs `body` on a thread of its own. **Errors**: `Io` if the system gives none.
    fn spawn(&self, name: &'static str, body: Box<dyn FnOnce() + Send>) -> Result<()>;

    /// Waits for something that another thread is about to do, without sleep. Returns whether it came.
    fn look_out(&self, most: Duration, came: &dyn Fn() -> bool) -> bool;

    /// Waits until the threads that were started have ended, all of whose bodies have returned or are about to.
    fn join(&self) {}

    /// Dials another node and makes the handshake. `connected` is called with the connection before that; its error ends
    /// the attempt. See [`dial_blocking`].
    fn dial(
        &self,
        own: &Introduction,
        dial: &Dial<'_>,
        connected: &mut dyn FnMut(&dyn Stream) -> Result<()>,
    ) -> Result<(Box<dyn Stream>, PeerIdentity)>;
}

/// Whom to dial, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Dial<'a> {
    pub address: &'a str,
    pub intent: Intent,
    pub node_id: NodeId,
    pub timeout: Duration,
}

/// The connections of an event loop. Nothing here blocks, but for `wait`.
pub trait Network: Send {
    /// Blocks until something arrives, somebody calls the [`Wake`] that belongs to it, or the time is over.
    fn wait(&mut self, timeout: Duration);
    /// Hands over what arrived. `now_ms` counts from when the loop began.
    fn receive(&mut self, now_ms: u64, inbound: &mut Vec<Inbound>);
    /// When `receive` wants to be called, whatever arrives.
    fn next_deadline_ms(&self) -> u64;
    /// Queues an envelope. `false` if it was dropped.
    fn send(&mut self, to: NodeId, envelope: &Envelope) -> bool;
    /// Sends what was queued.
    fn flush(&mut self);
    /// Whom to be connected to, and where they are.
    fn set_peers(&mut self, peers: &[(PeerIdentity, String)]);
    /// The address that a node which is connected to this one says it has.
    fn told_address(&self, peer: PeerIdentity) -> Option<&str>;
    /// The journal's position, which handshakes tell.
    fn set_position(&mut self, lsn: Lsn);
    fn status(&self) -> TransportStatus;
}

/// Ends the `wait` of an event loop, from any thread.
pub trait Wake: Send + Sync {
    fn wake(&self);
}

/// The system that the process runs on.
#[derive(Default)]
pub(super) struct OperatingSystem {
    /// Threads that nobody has joined yet.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl OperatingSystem {
    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::disallowed_methods)] // Here, and only here, the runtime looks at the clock.
impl System for OperatingSystem {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn spawn(&self, name: &'static str, body: Box<dyn FnOnce() + Send>) -> Result<()> {
        let thread = thread::spawn(name, body)?;
        let mut threads = self.threads();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    fn look_out(&self, most: Duration, came: &dyn Fn() -> bool) -> bool {
        let end = Instant::now() + most;
        while !came() {
            if Instant::now() >= end {
                return came();
            }
            // The other thread may be the next to run on this processor.
            std::thread::yield_now();
        }
        true
    }

    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            // What panics in a body is caught there.
            let _ = thread.join();
        }
    }

    fn dial(
        &self,
        own: &Introduction,
        dial: &Dial<'_>,
        connected: &mut dyn FnMut(&dyn Stream) -> Result<()>,
    ) -> Result<(Box<dyn Stream>, PeerIdentity)> {
        let connected = |stream: &TcpStream| connected(stream);
        let Dial { address, intent, node_id, timeout } = *dial;
        let (stream, peer, ()) = dial_blocking(own, address, intent, node_id, timeout, connected)?;
        Ok((stream.into(), peer))
    }
}
