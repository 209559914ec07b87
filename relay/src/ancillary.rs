//! What goes with a datagram beside its data: which address of this machine it came to, and
//! from which one an answer goes.
//!
//! A socket on all addresses sends from the one that the system chooses for the receiver. By
//! IPv6 a machine has several, and a client takes answers from the one that it asked.

use std::iter::from_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::os::{IPV4_BEFORE, IPV4_INFO, IPV6_INFO};

/// Room for what is received (on Windows a message of each family) and for what is sent (the
/// length of segments, and the address), in bytes.
pub(crate) const ROOM: usize = 64;

/// A message begins with its length, level and type; data and the next message are aligned as
/// a length is. That is so in both systems: cmsg(3),
/// <https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-cmsghdr>.
const ALIGN: usize = size_of::<usize>();
const HEADER: usize = ALIGN + 2 * size_of::<i32>();

/// An address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnAddress {
    address: IpAddr,
    /// The interface's number where the address is link-local, for then it says nothing
    /// alone; else 0, for the way to the client may be by another one.
    interface: u32,
}

/// Messages, one after another.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Ancillary {
    bytes: [u8; ROOM],
    length: usize,
}

impl Ancillary {
    /// No message.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; ROOM],
            length: 0,
        }
    }

    /// Lets a datagram go from that address.
    pub(crate) fn send_from(&mut self, own: OwnAddress) {
        let interface = own.interface.to_ne_bytes();
        match own.address {
            IpAddr::V4(address) => {
                self.push(IPV4_INFO, &[&IPV4_BEFORE, &address.octets(), &interface]);
            }
            IpAddr::V6(address) => self.push(IPV6_INFO, &[&address.octets(), &interface]),
        }
    }

    /// The address that a datagram came to; one of IPv4 as IPv4.
    pub(crate) fn came_to(&self) -> Option<OwnAddress> {
        self.messages().find_map(|(of, data)| {
            let (address, interface) = if of == IPV6_INFO {
                let (address, rest) = data.split_first_chunk::<16>()?;
                let interface = u32::from_ne_bytes(*rest.first_chunk()?);
                (Ipv6Addr::from(*address), interface)
            } else if of == IPV4_INFO {
                let address = data.get(IPV4_BEFORE.len()..)?.first_chunk::<4>()?;
                (Ipv4Addr::from(*address).to_ipv6_mapped(), 0)
            } else {
                return None;
            };
            let is_link_local = address.is_unicast_link_local();
            Some(OwnAddress {
                address: address.to_canonical(),
                interface: if is_link_local { interface } else { 0 },
            })
        })
    }

    /// Adds a message of that level and type.
    pub(crate) fn push(&mut self, (level, kind): (i32, i32), data: &[&[u8]]) {
        let length = HEADER + data.iter().map(|part| part.len()).sum::<usize>();
        let Some(room) = self.bytes.get_mut(self.length..) else {
            return;
        };
        let (length_bytes, level, kind) = (
            length.to_ne_bytes(),
            level.to_ne_bytes(),
            kind.to_ne_bytes(),
        );
        let header = [length_bytes.as_slice(), &level, &kind];
        let bytes = header.iter().chain(data).copied().flatten();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.length += length.next_multiple_of(ALIGN);
    }

    fn messages(&self) -> impl Iterator<Item = ((i32, i32), &[u8])> {
        let mut rest = self.bytes();
        from_fn(move || {
            let (length, after) = rest.split_first_chunk::<ALIGN>()?;
            let (level, after) = after.split_first_chunk::<4>()?;
            let kind = after.first_chunk::<4>()?;
            let length = usize::from_ne_bytes(*length);
            let data = rest.get(HEADER..length)?;
            let next = length.checked_next_multiple_of(ALIGN)?;
            rest = rest.get(next..).unwrap_or_default();
            Some((
                (i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind)),
                data,
            ))
        })
    }

    /// The messages, to be sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Where the system writes, and how much of it then are messages.
    pub(crate) fn received(&mut self) -> (&mut [u8; ROOM], &mut usize) {
        (&mut self.bytes, &mut self.length)
    }
}

#[cfg(test)]
mod tests;
