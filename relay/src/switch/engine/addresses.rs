//! Which addresses the guest may use, and where they lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::link;

/// Where a packet of the guest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// The switch itself.
    Gateway,
    /// The address that the switch's machine knows it by.
    Outside(IpAddr),
    /// There is no such machine: another address of the tunnel's subnets.
    Unassigned,
    /// Many machines, of which the tunnel has none: multicast, broadcast. Kernels and
    /// programs send that unasked.
    Many,
    /// Nothing is sent there: loopback, unspecified.
    Invalid,
}

/// Whether the guest may send from this address: one of the tunnel's subnets that is neither
/// the gateway's nor the machine's. More than one, so that the guest may have machines
/// behind it.
pub(super) fn is_guest(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let last = address.octets().map(u32::from).into_iter().last();
            in_subnet_v4(address)
                && ![link::GATEWAY_V4, link::HOST_V4].contains(&address)
                && !matches!(last, Some(0 | 255))
        }
        IpAddr::V6(address) => {
            in_subnet_v6(address)
                && ![link::GATEWAY_V6, link::HOST_V6].contains(&address)
                && address.segments().last() != Some(&0)
        }
    }
}

fn in_subnet_v4(address: Ipv4Addr) -> bool {
    let shift = 32 - u32::from(link::PREFIX_V4);
    address.to_bits() >> shift == link::GUEST_V4.to_bits() >> shift
}

/// Whether it is the broadcast address of the tunnel's subnet, if it is in there.
fn is_last(address: Ipv4Addr) -> bool {
    let host = u32::MAX >> u32::from(link::PREFIX_V4);
    address.to_bits() & host == host
}

fn in_subnet_v6(address: Ipv6Addr) -> bool {
    let shift = 128 - u32::from(link::PREFIX_V6);
    address.to_bits() >> shift == link::GUEST_V6.to_bits() >> shift
}

/// Where an address leads.
pub(super) fn destination(address: IpAddr) -> Destination {
    match address {
        IpAddr::V4(link::GATEWAY_V4) | IpAddr::V6(link::GATEWAY_V6) => Destination::Gateway,
        IpAddr::V4(link::HOST_V4) => Destination::Outside(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(link::HOST_V6) => Destination::Outside(Ipv6Addr::LOCALHOST.into()),
        _ if address.is_multicast() => Destination::Many,
        IpAddr::V4(v4) if v4.is_broadcast() || in_subnet_v4(v4) && is_last(v4) => Destination::Many,
        IpAddr::V4(v4) if v4.octets().first() == Some(&0) || v4.octets().first() >= Some(&240) => {
            Destination::Invalid
        }
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Destination::Invalid,
        _ if address.is_loopback() || address.is_unspecified() => Destination::Invalid,
        // Link-local addresses need an interface, which the guest cannot name.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Destination::Unassigned,
        IpAddr::V4(v4) if in_subnet_v4(v4) => Destination::Unassigned,
        IpAddr::V6(v6) if in_subnet_v6(v6) => Destination::Unassigned,
        _ => Destination::Outside(address),
    }
}

/// The address that the guest knows another one of the switch's machine by.
pub(super) fn seen_by_guest(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => link::HOST_V4.into(),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => link::HOST_V6.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests;
