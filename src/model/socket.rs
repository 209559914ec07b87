//! Listening sockets, and whether one accepts what arrives at a port.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
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

impl Socket {
    /// Whether it takes what comes to this address.
    #[must_use]
    pub fn takes(&self, to: IpAddr) -> bool {
        self.address == to || takes_all(self.address, self.ipv6_only, to)
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = SocketAddr::new(self.address, self.port);
        write!(f, "{} {at}", self.protocol)
    }
}

/// Whether a socket that is bound to `bound` takes what comes to each address of this one's
/// family: `::` has IPv4 too unless its program asked for IPv6 alone.
pub(super) fn takes_all(bound: IpAddr, ipv6_only: bool, to: IpAddr) -> bool {
    let family = bound.is_ipv6() && !ipv6_only || bound.is_ipv6() == to.is_ipv6();
    bound.is_unspecified() && family
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
    pub fn at(sockets: &[Socket], address: IpAddr, protocol: Protocol, ports: PortRange) -> Self {
        let is_one = |port| NonZeroU16::new(port).is_some_and(|port| ports.has(port));
        let mut bound = sockets
            .iter()
            .filter(|socket| socket.protocol == protocol && is_one(socket.port));
        let first = bound.clone().next();
        let elsewhere = first.map_or(Self::No, |socket| {
            Self::Elsewhere(SocketAddr::new(socket.address, socket.port))
        });
        if bound.any(|one| one.takes(address)) {
            Self::Yes
        } else {
            elsewhere
        }
    }
}

#[cfg(test)]
mod tests;
