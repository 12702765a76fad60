//! The sockets of an event loop, and what it sleeps in.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::expectation::Expectation;
use super::system::{Network, Wake};
use crate::error::{Code, Error, Result};
use crate::ids::NodeId;
use crate::log::Lsn;
use crate::replica::{Envelope, PeerIdentity};
use crate::transport::{Inbound, Transport, TransportStatus};

/// The token of the waker; the transport's begin behind it.
const WAKER: mio::Token = mio::Token(0);
pub(super) const FIRST_TRANSPORT_TOKEN: usize = 1;
const EVENTS_PER_POLL: usize = 256;

/// For how long to look out for events: the answer of a peer whose disk syncs as quickly as our own is there by then.
const MOST: Duration = Duration::from_micros(200);
const STREAK: u32 = 4;

pub(super) struct Sockets {
    poll: mio::Poll,
    events: mio::Events,
    transport: Transport,
    expectation: Expectation,
}

impl Sockets {
    /// What to sleep in, and what ends the sleep.
    pub(super) fn poll() -> Result<(mio::Poll, mio::Waker)> {
        let poll = mio::Poll::new().map_err(|error| no_poll(&error))?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(|error| no_poll(&error))?;
        Ok((poll, waker))
    }

    /// `transport` is registered with `poll`.
    pub(super) fn new(poll: mio::Poll, transport: Transport) -> Sockets {
        let events = mio::Events::with_capacity(EVENTS_PER_POLL);
        Sockets { poll, events, transport, expectation: Expectation::new(MOST, STREAK) }
    }

    /// Takes what has arrived, if need be after a sleep. Returns whether there is anything.
    fn look(&mut self, timeout: Duration) -> bool {
        if let Err(error) = self.poll.poll(&mut self.events, Some(timeout)) {
            if error.kind() != ErrorKind::Interrupted {
                tracing::error!(%error, "polling the sockets failed");
            }
        }
        !self.events.is_empty()
    }

    /// Looks until something has arrived or `most` is over, without sleep.
    #[allow(clippy::disallowed_methods)] // As the operating system's, whose part this is.
    fn look_out(&mut self, most: Duration) -> bool {
        let begun = Instant::now();
        while !self.look(Duration::ZERO) {
            if begun.elapsed() >= most {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }
}

pub(super) fn no_poll(error: &std::io::Error) -> Error {
    Error::rejected(Code::Io, format!("the system has no event queue for sockets: {error}"))
}

impl Network for Sockets {
    #[allow(clippy::disallowed_methods)]
    fn wait(&mut self, timeout: Duration) {
        if timeout.is_zero() {
            self.look(timeout);
            return;
        }
        if self.expectation.is_high() {
            if self.look_out(MOST.min(timeout)) {
                return;
            }
            self.expectation.in_vain();
        }
        let begun = Instant::now();
        if self.look(timeout) {
            self.expectation.came_after(begun.elapsed());
        }
    }

    fn receive(&mut self, now_ms: u64, inbound: &mut Vec<Inbound>) {
        for event in self.events.iter().filter(|event| event.token() != WAKER) {
            self.transport.handle(event, inbound);
        }
        self.transport.tick(now_ms, inbound);
    }

    fn next_deadline_ms(&self) -> u64 {
        self.transport.next_deadline_ms()
    }

    fn send(&mut self, to: NodeId, envelope: &Envelope) -> bool {
        self.transport.send(to, envelope)
    }

    fn flush(&mut self) {
        self.transport.flush();
    }

    fn set_peers(&mut self, peers: &[(PeerIdentity, String)]) {
        self.transport.set_peers(peers);
    }

    fn told_address(&self, peer: PeerIdentity) -> Option<&str> {
        self.transport.told_address(peer)
    }

    fn set_position(&mut self, lsn: Lsn) {
        self.transport.set_position(lsn);
    }

    fn status(&self) -> TransportStatus {
        self.transport.status()
    }
}

impl Wake for mio::Waker {
    fn wake(&self) {
        if let Err(error) = mio::Waker::wake(self) {
            tracing::error!(%error, "the event loop could not be woken; it will notice at its next tick");
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::ids::Uuid;
    use crate::transport::TransportOptions;

    /// Sockets, and what wakes them.
    fn sockets() -> (Sockets, mio::Waker) {
        let (poll, waker) = Sockets::poll().unwrap();
        let identity = PeerIdentity { node_id: 1, incarnation: Uuid([1; 16]) };
        let registry = poll.registry().try_clone().unwrap();
        let options = TransportOptions::new("sockets", identity);
        let transport = Transport::bind(registry, FIRST_TRANSPORT_TOKEN, options).unwrap();
        (Sockets::new(poll, transport), waker)
    }

    /// Has it seen that many waits which ended at once.
    fn spoil(sockets: &mut Sockets, waker: &mio::Waker) {
        for _ in 0..STREAK {
            waker.wake().unwrap();
            sockets.wait(Duration::from_secs(60));
        }
        assert!(sockets.expectation.is_high());
    }

    #[test]
    fn what_came_soon_some_times_is_looked_out_for() {
        let (mut sockets, waker) = sockets();
        spoil(&mut sockets, &waker);
        waker.wake().unwrap();
        sockets.wait(Duration::from_secs(60));
        assert!(!sockets.events.is_empty());
        assert!(sockets.expectation.is_high());
    }

    #[test]
    fn what_comes_after_the_look_out_ends_the_sleep() {
        let (mut sockets, waker) = sockets();
        spoil(&mut sockets, &waker);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(MOST * 50);
                waker.wake().unwrap();
            });
            sockets.wait(Duration::from_secs(60));
        });
        assert!(!sockets.events.is_empty());
        assert!(!sockets.expectation.is_high(), "it looked out in vain");
    }

    #[test]
    fn a_wait_without_events_ends_with_its_time() {
        let (mut sockets, waker) = sockets();
        spoil(&mut sockets, &waker);
        let timeout = MOST * 2;
        let begun = Instant::now();
        sockets.wait(timeout);
        assert!(begun.elapsed() >= timeout);
        assert!(sockets.events.is_empty());
    }
}
