//! Listening sockets, and whether one accepts what arrives at a port.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use super::{PortRange, Protocol};

/// A TCP socket that listens, or a UDP socket without a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address it is bound to; all where unspecified. One that IPv6 maps from
    /// IPv4 is IPv4's.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether it is bound to `::` and takes no IPv4 (IPV6_V6ONLY, ipv6(7)), as far
    /// as that is known.
    pub ipv6_only: bool,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = SocketAddr::new(self.address, self.port);
        write!(f, "{} {at}", self.protocol)
    }
}

/// Whether a socket listens on a port of an address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// One does.
    Yes,
    /// Only on another address.
    Elsewhere(SocketAddr),
    /// None does.
    No,
}

impl Listening {
    /// Looks for any of these ports among the sockets. A socket on `::` takes IPv4 too unless
    /// its program asked for IPv6 alone.
    #[must_use]
    pub fn at(sockets: &[Socket], address: Ipv4Addr, protocol: Protocol, ports: PortRange) -> Self {
        let is_one = |port| NonZeroU16::new(port).is_some_and(|port| ports.has(port));
        let mut bound = sockets
            .iter()
            .filter(|socket| socket.protocol == protocol && is_one(socket.port));
        let first = bound.clone().next();
        let elsewhere = first.map_or(Self::No, |socket| {
            Self::Elsewhere(SocketAddr::new(socket.address, socket.port))
        });
        let takes =
            |one: &Socket| one.address == address || one.address.is_unspecified() && !one.ipv6_only;
        if bound.any(takes) {
            Self::Yes
        } else {
            elsewhere
        }
    }
}

#[cfg(test)]
mod tests;
