//! Ports of the loopback address that stay the same while a node is closed and opened again.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A free port, kept: a socket that is bound, with SO_REUSEADDR, but does not listen keeps the
/// kernel from giving the port away, and lets a listener that asks for it by number have it.
pub struct Port {
    pub address: SocketAddr,
    _socket: OwnedFd,
}

impl Port {
    pub fn reserve() -> io::Result<Port> {
        // SAFETY: system calls on a descriptor owned here and structs that live during the calls;
        // an all-zero `sockaddr_in` is valid.
        unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let socket = OwnedFd::from_raw_fd(fd);
            let fd = socket.as_raw_fd();
            let yes: libc::c_int = 1;
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            let value = (&raw const yes).cast();
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
            let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            if libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, value, size) != 0
                || libc::bind(fd, (&raw const address).cast(), length) != 0
                || libc::getsockname(fd, (&raw mut address).cast(), &mut length) != 0
            {
                return Err(io::Error::last_os_error());
            }
            let address = SocketAddr::from(([127, 0, 0, 1], u16::from_be(address.sin_port)));
            Ok(Port { address, _socket: socket })
        }
    }
}
