//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo requests, and what answers say.

use std::net::{IpAddr, Ipv4Addr};

use crate::doctor::path::Answer;

/// Bytes of the IP header without options.
pub(super) fn header(ipv6: bool) -> usize {
    if ipv6 { 40 } else { 20 }
}

/// An echo request that makes a packet of so many bytes with the IP header.
pub(super) fn request(ipv6: bool, id: u16, number: u16, size: usize) -> Vec<u8> {
    let mut packet = vec![if ipv6 { 128 } else { 8 }, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet.resize(size.saturating_sub(header(ipv6)).max(8), 0x77);
    // The kernel makes that of ICMPv6, which is about the addresses, too.
    if !ipv6 && let Some(sum) = packet.get_mut(2..4) {
        sum.fill(0);
        let sum = checksum(&packet).to_be_bytes();
        packet.splice(2..4, sum);
    }
    packet
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Which of the packets an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// An echo request's identifier and number.
    Echo(u16, u16),
    /// A datagram's source and destination port.
    Datagram(u16, u16),
}

/// What a message says, without an IP header before it; `None` for every other message.
/// `from` sent it, and `target` is where the probes go.
pub(super) fn parse(message: &[u8], from: IpAddr, target: IpAddr) -> Option<(About, Answer)> {
    let ipv6 = target.is_ipv6();
    let (kind, code) = (*message.first()?, *message.get(1)?);
    let reply = if ipv6 { 129 } else { 0 };
    if kind == reply {
        let about = About::Echo(word(message, 4)?, word(message, 6)?);
        return (from == target).then_some((about, Answer::Target));
    }
    let at_target = from == target;
    let answer = match (ipv6, kind, code) {
        (false, 3, 4) => Answer::TooBig(from, word(message, 6)?.into()),
        (true, 2, _) => {
            let (high, low) = (word(message, 4)?, word(message, 6)?);
            Answer::TooBig(from, u32::from(high) << 16 | u32::from(low))
        }
        (false, 11, 0) | (true, 3, 0) => Answer::Expired(from),
        // Whatever it says, the probe was there.
        (false, 3, _) | (true, 1, _) if at_target => Answer::Target,
        _ => return None,
    };
    Some((about(message.get(8..)?, ipv6, target)?, answer))
}

/// Reads the beginning of a packet of ours that a message quotes.
fn about(packet: &[u8], ipv6: bool, target: IpAddr) -> Option<About> {
    let (protocol, to, rest): (u8, IpAddr, _) = if ipv6 {
        let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
        (*packet.get(6)?, to.into(), packet.get(40..)?)
    } else {
        let [a, b, c, d] = packet.get(16..20)? else {
            return None;
        };
        let to = Ipv4Addr::new(*a, *b, *c, *d);
        (*packet.get(9)?, to.into(), after_header(packet)?)
    };
    if to != target {
        return None;
    }
    match protocol {
        1 | 58 => Some(About::Echo(word(rest, 4)?, word(rest, 6)?)),
        17 => Some(About::Datagram(word(rest, 0)?, word(rest, 2)?)),
        _ => None,
    }
}

/// What follows an IPv4 header with its options.
pub(super) fn after_header(packet: &[u8]) -> Option<&[u8]> {
    let length = usize::from(packet.first()? & 0x0f) * 4;
    packet.get(length..)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

#[cfg(test)]
mod tests;
