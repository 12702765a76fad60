//! Listening and accepting.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};

use super::connection::{Connection, Phase};
use super::{address, Transport, TransportOptions};
use crate::error::{Code, Error, Result};
use crate::wire::handshake::HANDSHAKE_BYTES_MAX;

/// Connections accepted that have not introduced themselves. One more drops the oldest: an honest
/// one is through in milliseconds, so the oldest is most likely part of a flood.
pub const HANDSHAKES_MAX: usize = 64;
/// All connections accepted.
pub const ACCEPTED_MAX: usize = 1024;
/// Connections accepted in one round.
const ACCEPT_ROUND: usize = 32;
/// The wait after `accept` failed for want of descriptors or memory.
const ACCEPT_AGAIN_MS: u64 = 100;

/// Listens on the first address that the name stands for and that works.
pub fn listen(options: &TransportOptions) -> Result<(TcpListener, SocketAddr)> {
    let given = &options.listen_address;
    let mut failure = None;
    for candidate in address::resolve(given)? {
        if !candidate.ip().is_loopback() && !options.insecure_transport {
            let message = format!(
                "listening on {given} lets everybody who reaches it read and change the data, as \
                 connections are not protected yet: listen on 127.0.0.1 or [::1], or set \
                 insecure_transport if the network is trusted"
            );
            return Err(Error::rejected(Code::InsecureAddress, message));
        }
        let bound = TcpListener::bind(candidate)
            .and_then(|listener| listener.local_addr().map(|local| (listener, local)));
        match bound {
            Ok(bound) => return Ok(bound),
            Err(error) => failure = Some(listen_error(given, &error)),
        }
    }
    Err(failure.unwrap_or_else(|| listen_error(given, &io::ErrorKind::NotFound.into())))
}

pub fn listen_error(given: &str, error: &io::Error) -> Error {
    let (code, advice) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            (Code::AddressInUse, "another process listens there; stop it, or use port 0")
        }
        io::ErrorKind::PermissionDenied => {
            (Code::AddressInvalid, "ports below 1024 need privileges; use a higher one")
        }
        _ => (Code::AddressInvalid, "is this an address of this machine?"),
    };
    Error::rejected(code, format!("cannot listen on {given}: {error}; {advice}"))
}

/// What to tell peers when nothing else was said.
pub fn advertise(local: SocketAddr) -> Result<String> {
    if local.ip().is_unspecified() {
        let message = format!(
            "listening on {local}, all addresses of this machine: say with advertised_address \
             which of them peers can reach"
        );
        return Err(Error::rejected(Code::AddressInvalid, message));
    }
    Ok(local.to_string())
}

impl Transport {
    /// Accepts what waits, up to a round's worth.
    pub(super) fn accept_some(&mut self) {
        self.accept_more = false;
        for _ in 0..ACCEPT_ROUND {
            match self.listener.accept() {
                Ok((stream, remote)) => self.accepted(stream, remote),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        if self.log_limit.allows(self.now_ms) {
                            tracing::warn!(%error, "cannot accept connections for now");
                        }
                        self.accept_again_ms = Some(self.now_ms + ACCEPT_AGAIN_MS);
                        return;
                    }
                },
            }
        }
        self.accept_more = true;
    }

    fn accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        let mut handshakes = 0;
        let mut accepted = 0;
        let mut oldest = None;
        for (slot, connection) in self.slots.iter().enumerate() {
            let Some(connection) = connection else { continue };
            accepted += usize::from(connection.phase.dialed().is_none());
            if connection.phase == Phase::AwaitingHello {
                handshakes += 1;
                let age = (connection.serial, slot);
                oldest = Some(oldest.map_or(age, |oldest: (u64, usize)| oldest.min(age)));
            }
        }
        if handshakes >= HANDSHAKES_MAX {
            if let Some((_, slot)) = oldest {
                self.refused(remote, "too many connections that do not introduce themselves");
                self.remove(slot);
            }
        } else if accepted >= ACCEPTED_MAX {
            self.refused(remote, "too many connections");
            return;
        }
        let connection = Connection::new(stream, remote, Phase::AwaitingHello, HANDSHAKE_BYTES_MAX);
        let inserted =
            connection.configure(self.dead_after()).and_then(|()| self.insert(connection));
        if let Err(error) = inserted {
            self.refused(remote, &error.to_string());
        }
    }

    /// Counts a connection that was not wanted, and says so in the log.
    pub(super) fn refused(&mut self, remote: SocketAddr, why: &str) {
        self.status.refused_connections += 1;
        if self.log_limit.allows(self.now_ms) {
            tracing::warn!(%remote, why, "refused a connection");
        }
    }
}
