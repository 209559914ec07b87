//! Sockets of both families: how they are bound, and how addresses go in and out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Socket, Type};

use crate::os;
use crate::protocol::Protocol;

/// A socket that is bound there and does not block. One on `::` takes IPv4 too, and IPv4
/// alone on a machine whose system has no IPv6 (`ipv6.disable=1`), as it does by itself where
/// the interfaces have none (`disable_ipv6`). Other addresses of IPv6 take IPv6 alone, so
/// whether there is IPv6 decides nothing about other forwards.
///
/// # Errors
///
/// The system refuses the address or the port.
pub(crate) fn bind(at: SocketAddr, protocol: Protocol) -> io::Result<Socket> {
    let (socket, at) = prepare(at, protocol, open)?;
    os::configure(&socket, protocol)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

/// A socket for this address, or for the one that it returns instead.
fn prepare(
    at: SocketAddr,
    protocol: Protocol,
    open: impl Fn(SocketAddr, Protocol) -> io::Result<Socket>,
) -> io::Result<(Socket, SocketAddr)> {
    let is_wildcard = at.ip().is_unspecified();
    let (socket, at) = match open(at, protocol) {
        Err(error) if at.is_ipv6() && is_wildcard && has_no_family(&error) => {
            let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()));
            (open(at, protocol)?, at)
        }
        opened => (opened?, at),
    };
    if at.is_ipv6() {
        // Both systems have a default, and not the same one.
        socket.set_only_v6(!is_wildcard)?;
    }
    Ok((socket, at))
}

/// Whether a socket was refused for lack of IPv6 in this system.
pub(crate) fn has_no_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(os::NO_FAMILY)
}

fn open(at: SocketAddr, protocol: Protocol) -> io::Result<Socket> {
    let of = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    Socket::new(Domain::for_address(at), of, None)
}

/// The same peer, one of IPv4 as IPv4: a socket on `::` has it as `::ffff:a.b.c.d`.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => SocketAddr::from((address, peer.port())),
        // With its scope.
        IpAddr::V6(_) => peer,
    }
}

/// A peer as a socket that is bound to this address sends to it.
pub(crate) fn as_sent_from(local: SocketAddr, peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(to) if local.is_ipv6() => {
            SocketAddrV6::new(to.ip().to_ipv6_mapped(), to.port(), 0, 0).into()
        }
        _ => peer,
    }
}

#[cfg(test)]
mod tests;
