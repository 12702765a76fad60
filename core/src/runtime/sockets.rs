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
/// After so much work at a time the sleep is a small part of it, and the more that gathers meanwhile goes in one message.
const BUSY: Duration = Duration::from_millis(1);
/// Whoever gave way for so long shares the processor with others who have work to do, and does not look out.
const CROWDED: Duration = Duration::from_micros(20);

pub(super) struct Sockets {
    poll: mio::Poll,
    events: mio::Events,
    transport: Transport,
    expectation: Expectation,
    /// When the last wait ended.
    awake_since: Instant,
}

impl Sockets {
    /// What to sleep in, and what ends the sleep.
    pub(super) fn poll() -> Result<(mio::Poll, mio::Waker)> {
        let poll = mio::Poll::new().map_err(|error| no_poll(&error))?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(|error| no_poll(&error))?;
        Ok((poll, waker))
    }

    /// `transport` is registered with `poll`.
    #[allow(clippy::disallowed_methods)] // As the operating system's, whose part this is.
    pub(super) fn new(poll: mio::Poll, transport: Transport) -> Sockets {
        let events = mio::Events::with_capacity(EVENTS_PER_POLL);
        let expectation = Expectation::new(MOST, STREAK);
        Sockets { poll, events, transport, expectation, awake_since: Instant::now() }
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

    /// Looks until something has arrived, without sleep; but no longer than `most`, nor if others want the processor.
    #[allow(clippy::disallowed_methods)]
    fn look_out(&mut self, most: Duration) -> bool {
        let begun = Instant::now();
        let mut looked = begun;
        while !self.look(Duration::ZERO) {
            if looked - begun >= most {
                return false;
            }
            std::thread::yield_now();
            let now = Instant::now();
            if now - looked >= CROWDED {
                return self.look(Duration::ZERO);
            }
            looked = now;
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
        let begun = Instant::now();
        if begun - self.awake_since >= BUSY {
            self.expectation.lower();
        }
        let looks_out = self.expectation.is_high();
        let came = looks_out && self.look_out(MOST.min(timeout)) || self.look(timeout);
        self.awake_since = Instant::now();
        match came {
            true => self.expectation.came_after(self.awake_since - begun),
            false => self.expectation.lower(),
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

    fn sockets() -> (Sockets, mio::Waker) {
        let (poll, waker) = Sockets::poll().unwrap();
        let identity = PeerIdentity { node_id: 1, incarnation: Uuid([1; 16]) };
        let registry = poll.registry().try_clone().unwrap();
        let options = TransportOptions::new("sockets", identity);
        let transport = Transport::bind(registry, FIRST_TRANSPORT_TOKEN, options).unwrap();
        (Sockets::new(poll, transport), waker)
    }

    /// As after some waits that ended at once.
    fn expecting() -> (Sockets, mio::Waker) {
        let (mut sockets, waker) = sockets();
        (0..STREAK).for_each(|_| sockets.expectation.came_after(Duration::ZERO));
        (sockets, waker)
    }

    #[test]
    fn who_worked_for_long_sleeps() {
        let (mut sockets, waker) = expecting();
        sockets.awake_since -= BUSY;
        waker.wake().unwrap();
        sockets.wait(Duration::from_secs(60));
        assert!(!sockets.expectation.is_high());
    }

    #[test]
    fn what_is_there_ends_a_wait_whether_it_looks_out_or_sleeps() {
        for (mut sockets, waker) in [sockets(), expecting()] {
            waker.wake().unwrap();
            sockets.wait(Duration::from_secs(60));
            assert!(!sockets.events.is_empty());
        }
    }

    #[test]
    fn what_comes_after_the_look_out_ends_the_sleep() {
        let (mut sockets, waker) = expecting();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(MOST * 50);
                waker.wake().unwrap();
            });
            sockets.wait(Duration::from_secs(60));
        });
        assert!(!sockets.events.is_empty());
    }

    #[test]
    fn a_wait_without_events_ends_with_its_time_and_lowers_the_expectation() {
        let (mut sockets, _waker) = expecting();
        let timeout = MOST * 2;
        let begun = Instant::now();
        sockets.wait(timeout);
        assert!(begun.elapsed() >= timeout);
        assert!(sockets.events.is_empty());
        assert!(!sockets.expectation.is_high());
    }
}
