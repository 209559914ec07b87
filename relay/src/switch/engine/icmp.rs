//! ICMP: echo for the gateway and the machine, and errors in both directions. RFC 792,
//! RFC 4443.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use super::addresses::{self, Destination};
use super::ip::{ICMP, ICMPV6, IpHeader, Output, Packet, TCP, UDP};
use crate::link;

/// A header: type, code, checksum, and what depends on the type.
const HEADER: usize = 8;
/// Most bytes of an error, RFC 1812, section 4.3.2.3, and RFC 4443, section 2.4.
const LARGEST_V4: usize = 576;
const LARGEST_V6: usize = 1280;
/// Smallest MTU of a path, RFC 791 and RFC 8200.
const SMALLEST_MTU_V4: u32 = 68;
const SMALLEST_MTU_V6: u32 = 1280;

/// Why something is not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Network,
    Host,
    Port,
    Prohibited,
    Protocol,
}

impl Reason {
    /// What an error of a socket means; nothing if no error for the guest says that.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            // Windows' word for an ICMP error that a UDP port got.
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Some(Self::Port),
            ErrorKind::HostUnreachable => Some(Self::Host),
            ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => Some(Self::Network),
            ErrorKind::PermissionDenied => Some(Self::Prohibited),
            _ => None,
        }
    }

    /// Type and code.
    fn codes(self, is_ipv4: bool) -> [u8; 2] {
        match (self, is_ipv4) {
            (Self::Network, true) => [3, 0],
            (Self::Host, true) => [3, 1],
            (Self::Protocol, true) => [3, 2],
            (Self::Port, true) => [3, 3],
            (Self::Prohibited, true) => [3, 13],
            (Self::Network, false) => [1, 0],
            (Self::Prohibited, false) => [1, 1],
            (Self::Host, false) => [1, 3],
            (Self::Port, false) => [1, 4],
            (Self::Protocol, false) => [4, 1],
        }
    }
}

/// Tells the guest why its packet is not delivered, unless that is nothing to tell about.
pub(super) fn refuse(out: &mut Output, packet: &Packet<'_>, reason: Reason) {
    let first = packet.piece.is_none_or(|piece| piece.offset == 0);
    let is_error = match (packet.protocol, packet.payload.first()) {
        (ICMP, Some(kind)) => ![8, 13].contains(kind),
        (ICMPV6, Some(kind)) => *kind < 128,
        _ => false,
    };
    if first && !is_error {
        put_error(out, (packet.from, packet.to), reason, &[packet.bytes]);
    }
}

/// Tells the guest why nothing reaches the server. `start` has the first bytes of what the
/// guest sent there after the ports: TCP's sequence number, or UDP's length and checksum.
pub(super) fn unreachable(
    out: &mut Output,
    (guest, server): (SocketAddr, SocketAddr),
    protocol: u8,
    start: [u8; 4],
    reason: Reason,
) {
    let addresses = (guest.ip(), server.ip());
    let Some(ip) = IpHeader::new(addresses, protocol, HEADER, (0, 0)) else {
        return;
    };
    let ports = [guest.port().to_be_bytes(), server.port().to_be_bytes()].concat();
    put_error(out, addresses, reason, &[ip.bytes(), &ports, &start]);
}

/// Appends an error about a packet with these addresses and bytes.
fn put_error(
    out: &mut Output,
    (guest, server): (IpAddr, IpAddr),
    reason: Reason,
    quoted: &[&[u8]],
) {
    let (protocol, gateway, largest): (_, IpAddr, _) = if guest.is_ipv4() {
        (ICMP, link::GATEWAY_V4.into(), LARGEST_V4 - 20)
    } else {
        (ICMPV6, link::GATEWAY_V6.into(), LARGEST_V6 - 40)
    };
    let from = match reason {
        Reason::Port | Reason::Protocol => server,
        _ => gateway,
    };
    let [kind, code] = reason.codes(guest.is_ipv4());
    // Which byte of the quoted packet: the protocol of a header of IPv6.
    let pointer = if kind == 4 { 6 } else { 0 };
    let header = [kind, code, 0, 0, 0, 0, 0, pointer];
    let mut quoted = quoted.concat();
    quoted.truncate(largest - HEADER);
    out.put(
        (from, guest),
        protocol,
        &[&header, &quoted],
        u16::MAX,
        HEADER,
    );
}

/// What a message of the guest means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// An answer was sent.
    Answered,
    /// No program has that port of UDP in the guest.
    PortClosed { guest: SocketAddr },
    /// The guest takes no connection there: its answer to a SYN with that sequence number.
    Refused {
        guest: SocketAddr,
        server: SocketAddr,
        sequence: u32,
    },
    /// A segment of TCP with that sequence number was too large.
    TooBig {
        guest: SocketAddr,
        server: SocketAddr,
        sequence: u32,
        /// Of the path, in bytes.
        mtu: u16,
    },
    /// Nothing.
    Ignored,
}

/// Takes a message of ICMP.
pub(super) fn receive(out: &mut Output, packet: &Packet<'_>) -> Event {
    let Some((header, rest)) = packet.payload.split_first_chunk::<HEADER>() else {
        return Event::Ignored;
    };
    let [kind, code, _, _, m0, m1, m2, m3] = *header;
    let mtu = u32::from_be_bytes([m0, m1, m2, m3]);
    match (packet.protocol, kind, code) {
        (ICMP, 8, 0) | (ICMPV6, 128, 0) => echo(out, packet, header, rest),
        (ICMP, 3, 3) | (ICMPV6, 1, 4) => about(packet, rest).map_or(Event::Ignored, Quoted::closed),
        // Of a firewall.
        (ICMP, 3, 9 | 10 | 13) | (ICMPV6, 1, 1) => {
            about(packet, rest).map_or(Event::Ignored, Quoted::prohibited)
        }
        // The upper half is unused, RFC 1191.
        (ICMP, 3, 4) => about(packet, rest).map_or(Event::Ignored, |quoted| {
            quoted.too_big(mtu & 0xffff, SMALLEST_MTU_V4)
        }),
        (ICMPV6, 2, 0) => about(packet, rest).map_or(Event::Ignored, |quoted| {
            quoted.too_big(mtu, SMALLEST_MTU_V6)
        }),
        _ => Event::Ignored,
    }
}

/// Answers for the gateway, and for the machine that this runs on.
fn echo(out: &mut Output, packet: &Packet<'_>, header: &[u8; HEADER], rest: &[u8]) -> Event {
    let ours = match addresses::destination(packet.to) {
        Destination::Gateway => true,
        Destination::Outside(address) => address.is_loopback(),
        _ => false,
    };
    if !ours {
        return Event::Ignored;
    }
    let [.., a, b, c, d] = *header;
    let kind = if packet.protocol == ICMP { 0 } else { 129 };
    let header = [kind, 0, 0, 0, a, b, c, d];
    let addresses = (packet.to, packet.from);
    out.put(
        addresses,
        packet.protocol,
        &[&header, rest],
        u16::MAX,
        HEADER,
    );
    Event::Answered
}

/// A packet of ours that the guest quotes.
struct Quoted {
    protocol: u8,
    guest: SocketAddr,
    server: SocketAddr,
    start: [u8; 4],
}

impl Quoted {
    fn closed(self) -> Event {
        match self.protocol {
            UDP => Event::PortClosed { guest: self.guest },
            _ => self.prohibited(),
        }
    }

    fn prohibited(self) -> Event {
        match self.protocol {
            TCP => Event::Refused {
                guest: self.guest,
                server: self.server,
                sequence: u32::from_be_bytes(self.start),
            },
            _ => Event::Ignored,
        }
    }

    fn too_big(self, mtu: u32, smallest: u32) -> Event {
        match u16::try_from(mtu) {
            Ok(mtu) if self.protocol == TCP && u32::from(mtu) >= smallest => Event::TooBig {
                guest: self.guest,
                server: self.server,
                sequence: u32::from_be_bytes(self.start),
                mtu,
            },
            _ => Event::Ignored,
        }
    }
}

/// Reads what a message quotes: the beginning of a packet that we sent from where the
/// message is sent to.
fn about(packet: &Packet<'_>, quoted: &[u8]) -> Option<Quoted> {
    let (protocol, from, to, rest): (u8, IpAddr, IpAddr, &[u8]) = match quoted.first()? >> 4 {
        4 => {
            let fixed: &[u8; 20] = quoted.first_chunk()?;
            let [version, _, _, _, _, _, f0, f1, _, protocol, ..] = *fixed;
            let [.., a0, a1, a2, a3, b0, b1, b2, b3] = *fixed;
            if u16::from_be_bytes([f0, f1]) & 0x1fff != 0 {
                return None;
            }
            let rest = quoted.get(usize::from(version & 15).max(5) * 4..)?;
            let addresses = ([a0, a1, a2, a3].into(), [b0, b1, b2, b3].into());
            (protocol, addresses.0, addresses.1, rest)
        }
        6 => {
            let (fixed, rest) = quoted.split_first_chunk::<40>()?;
            let (before, addresses) = fixed.split_first_chunk::<8>()?;
            let (from, to) = addresses.split_first_chunk::<16>()?;
            let to: &[u8; 16] = to.first_chunk()?;
            let [.., protocol, _] = *before;
            (protocol, (*from).into(), (*to).into(), rest)
        }
        _ => return None,
    };
    if from != packet.to || !addresses::is_guest(to) {
        return None;
    }
    let [s0, s1, d0, d1, start @ ..] = *rest.first_chunk::<8>()?;
    Some(Quoted {
        protocol,
        guest: SocketAddr::new(to, u16::from_be_bytes([d0, d1])),
        server: SocketAddr::new(from, u16::from_be_bytes([s0, s1])),
        start,
    })
}

#[cfg(test)]
mod tests;
