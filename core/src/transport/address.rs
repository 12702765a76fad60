//! Addresses: `host:port` and `[ipv6]:port`, and how names become numbers without blocking the
//! event loop.
//!
//! The system's resolver blocks, for seconds if a name server is silent. So numbers are parsed at
//! once, and a name is resolved on a thread of its own, of which there are at most
//! [`RESOLVERS_MAX`] at a time. Such a thread cannot be stopped: when the transport is dropped it
//! ends by itself once the resolver returns, and its result goes nowhere.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::ids::ADDRESS_BYTES_MAX;

/// Names resolved at the same time; further ones wait for their turn.
pub const RESOLVERS_MAX: usize = 4;

/// What a resolver thread found: the address as it was given, and what it stands for.
pub type Resolved = (String, Result<Vec<SocketAddr>>);

/// Parses an address that is a number, or says that it is a name (`None`).
///
/// **Errors**: `AddressInvalid` if it can be neither.
pub fn parse(address: &str) -> Result<Option<SocketAddr>> {
    if let Ok(number) = address.parse() {
        return Ok(Some(number));
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(invalid(address, "it has no port"));
    };
    if port.parse::<u16>().is_err() {
        return Err(invalid(address, "its port is not a number from 0 to 65535"));
    }
    if host.is_empty() {
        return Err(invalid(address, "it has no host"));
    }
    if host.contains(':') || host.starts_with('[') {
        return Err(invalid(address, "an IPv6 address is written [address]:port"));
    }
    Ok(None)
}

/// Checks an address that peers are to dial; a name is not resolved.
///
/// **Errors**: `AddressInvalid`.
pub fn check_dialable(address: &str) -> Result<()> {
    check(address)?;
    match address.rsplit_once(':') {
        Some((_, port)) if port.parse() == Ok(0u16) => {
            Err(invalid(address, "nobody can be reached at port 0"))
        }
        _ => Ok(()),
    }
}

/// The same for an address that only its own node may ever need, and with a port to be chosen.
pub fn check(address: &str) -> Result<()> {
    if address.len() > ADDRESS_BYTES_MAX {
        let message = format!(
            "an address of {} bytes is too long: at most {ADDRESS_BYTES_MAX} are allowed",
            address.len()
        );
        return Err(Error::rejected(Code::AddressInvalid, message));
    }
    parse(address).map(drop)
}

/// Resolves an address, blocking. The result is not empty.
///
/// **Errors**: `AddressInvalid`.
pub fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    if let Some(number) = parse(address)? {
        return Ok(vec![number]);
    }
    match address.to_socket_addrs() {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(invalid(address, "its name stands for no address"));
            }
            Ok(found)
        }
        Err(error) => Err(invalid(address, &error.to_string())),
    }
}

/// The same, but not for longer than `timeout`: the system's resolver cannot be broken off, and is
/// left to end by itself.
///
/// **Errors**: `AddressInvalid`; `Unreachable` when the time is over.
pub fn resolve_within(address: &str, timeout: Duration) -> Result<Vec<SocketAddr>> {
    if let Some(number) = parse(address)? {
        return Ok(vec![number]);
    }
    let name = address.to_string();
    let resolved = on_a_thread(timeout, move || resolve(&name));
    resolved.unwrap_or_else(|| {
        let message = format!("the name in {address} was not resolved within {timeout:?}");
        Err(Error::rejected(Code::Unreachable, message))
    })
}

/// What `work` returns, if it does so in time.
fn on_a_thread<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = channel();
    let spawned = spawn_resolver(move || {
        // Nobody may wait any more.
        let _ = sender.send(work());
    });
    spawned.then(|| receiver.recv_timeout(timeout).ok())?
}

fn spawn_resolver(work: impl FnOnce() + Send + 'static) -> bool {
    let builder = thread::Builder::new().name("libraft-resolve".to_string());
    let spawned = builder.spawn(move || {
        block_signals();
        work();
    });
    spawned.is_ok()
}

fn invalid(address: &str, why: &str) -> Error {
    let message =
        format!("the address {address:?} cannot be used: {why}; expected host:port or [ipv6]:port");
    Error::rejected(Code::AddressInvalid, message)
}

/// Resolves names on short-lived threads.
pub struct Resolver {
    sender: Sender<Resolved>,
    receiver: Receiver<Resolved>,
    running: usize,
}

impl Resolver {
    pub fn new() -> Resolver {
        let (sender, receiver) = channel();
        Resolver { sender, receiver, running: 0 }
    }

    /// Whether results are to be expected from [`Resolver::next`].
    pub fn is_busy(&self) -> bool {
        self.running > 0
    }

    /// Begins to resolve a name; `false` if too many are under way.
    pub fn start(&mut self, address: &str) -> bool {
        if self.running >= RESOLVERS_MAX {
            return false;
        }
        let sender = self.sender.clone();
        let address = address.to_string();
        let spawned = spawn_resolver(move || {
            let result = resolve(&address);
            // Nobody may be there any more to hear it.
            let _ = sender.send((address, result));
        });
        self.running += usize::from(spawned);
        spawned
    }

    /// A result that is there, without waiting.
    pub fn next(&mut self) -> Option<Resolved> {
        let resolved = self.receiver.try_recv().ok()?;
        self.running -= 1;
        Some(resolved)
    }
}

/// The host's signals are delivered to the host's threads.
fn block_signals() {
    // SAFETY: `set` is filled by sigfillset before it is read, and both calls touch nothing but it
    // and this thread's mask.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_and_names_are_told_apart() {
        assert_eq!(parse("127.0.0.1:80").unwrap(), Some("127.0.0.1:80".parse().unwrap()));
        assert_eq!(parse("[::1]:80").unwrap(), Some("[::1]:80".parse().unwrap()));
        assert_eq!(parse("localhost:80").unwrap(), None);
    }

    #[test]
    fn an_address_that_cannot_be_one_is_refused_with_the_reason() {
        for (bad, reason) in [
            ("localhost", "no port"),
            ("localhost:", "port is not a number"),
            ("localhost:65536", "port is not a number"),
            (":80", "no host"),
            ("::1:80x", "port is not a number"),
            ("::1", "[address]:port"),
            ("[::1:80", "[address]:port"),
            ("", "no port"),
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.code, Code::AddressInvalid);
            assert!(error.message.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn an_address_to_be_dialed_has_a_port_and_a_length_that_can_be() {
        for good in ["localhost:80", "10.0.0.1:1", "[::1]:65535"] {
            check_dialable(good).unwrap();
        }
        let long = format!("{}:1", "x".repeat(ADDRESS_BYTES_MAX - 1));
        for (bad, reason) in [("localhost:0", "port 0"), ("x", "no port"), (&*long, "too long")] {
            let error = check_dialable(bad).unwrap_err();
            assert_eq!(error.code, Code::AddressInvalid);
            assert!(error.message.contains(reason), "{bad}: {error}");
        }
        check("127.0.0.1:0").unwrap();
    }

    #[test]
    fn a_name_is_resolved_on_a_thread() {
        let mut resolver = Resolver::new();
        assert!(resolver.start("localhost:4242"));
        assert!(resolver.is_busy());
        let (address, result) = resolver.receiver.recv().unwrap();
        assert_eq!(address, "localhost:4242");
        assert!(result.unwrap().iter().all(|a| a.ip().is_loopback() && a.port() == 4242));
    }

    #[test]
    fn nobody_waits_longer_for_a_name_than_he_said() {
        let (release, released) = channel::<()>();
        let silent = on_a_thread(Duration::from_millis(20), move || released.recv().is_ok());
        assert_eq!(silent, None);
        drop(release);
        assert_eq!(on_a_thread(Duration::from_secs(60), || 7), Some(7));
        let found = resolve_within("localhost:4242", Duration::from_secs(60)).unwrap();
        assert!(found.iter().all(|a| a.ip().is_loopback() && a.port() == 4242));
    }

    #[test]
    fn only_so_many_names_are_resolved_at_a_time() {
        let mut resolver = Resolver::new();
        for _ in 0..RESOLVERS_MAX {
            assert!(resolver.start("localhost:1"));
        }
        assert!(!resolver.start("localhost:1"), "one too many");
        let first = resolver.receiver.recv().unwrap();
        resolver.sender.send(first).unwrap();
        assert!(resolver.next().is_some());
        assert!(resolver.start("localhost:1"), "one has finished");
    }
}
