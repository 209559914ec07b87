//! TCP segments: what the guest sends, and what it gets. RFC 9293, RFC 7323 (window scale),
//! RFC 2018 (SACK).

use std::net::{IpAddr, SocketAddr};

use super::sequence::Span;
use crate::switch::engine::ip::{Output, Packet, TCP};

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// A header without options.
const HEADER: usize = 20;
/// The MSS of those who name none, RFC 9293, section 3.7.1. Also the smallest that is used.
const SMALLEST_MSS: u16 = 536;
/// Most bytes of data in a packet: all of them, less headers of IPv6 and TCP.
const LARGEST_DATA: usize = 65_535 - 60;
/// The largest window scale, RFC 7323, section 2.3.
const LARGEST_SCALE: u8 = 14;

/// A connection, as the guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) guest: SocketAddr,
    pub(super) server: SocketAddr,
}

/// A segment of the guest.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) key: Key,
    pub(super) sequence: u32,
    pub(super) ack: Option<u32>,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) data: &'a [u8],
    /// Where the data begins in the packet's payload.
    pub(super) offset: usize,
    options: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads one. `None`: malformed.
    pub(super) fn parse(packet: &Packet<'a>) -> Option<Self> {
        let payload = packet.payload;
        let header: &[u8; HEADER] = payload.first_chunk()?;
        let [
            s0,
            s1,
            d0,
            d1,
            q0,
            q1,
            q2,
            q3,
            a0,
            a1,
            a2,
            a3,
            size,
            flags,
            w0,
            w1,
            ..,
        ] = *header;
        let offset = usize::from(size >> 4) * 4;
        let source = u16::from_be_bytes([s0, s1]);
        let destination = u16::from_be_bytes([d0, d1]);
        Some(Self {
            key: Key {
                guest: SocketAddr::new(packet.from, source),
                server: SocketAddr::new(packet.to, destination),
            },
            sequence: u32::from_be_bytes([q0, q1, q2, q3]),
            ack: (flags & ACK != 0).then(|| u32::from_be_bytes([a0, a1, a2, a3])),
            flags,
            window: u16::from_be_bytes([w0, w1]),
            options: payload.get(HEADER..offset)?,
            data: payload.get(offset..)?,
            offset,
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence numbers that it takes.
    pub(super) fn span(&self) -> Span {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        let length = u32::try_from(self.data.len()).unwrap_or(0) + flags;
        Span {
            start: self.sequence,
            end: self.sequence.wrapping_add(length),
        }
    }

    /// Its options: kinds and values, up to the first malformed one.
    fn options(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            loop {
                match rest {
                    [1, more @ ..] => rest = more,
                    [0, ..] | [] | [_] => return None,
                    [kind, length, ..] => {
                        let (option, more) = rest.split_at_checked(usize::from(*length))?;
                        rest = more;
                        return Some((*kind, option.get(2..)?));
                    }
                }
            }
        })
    }

    /// The blocks that the guest has beyond a gap.
    pub(super) fn sacked(&self) -> ([Span; 4], usize) {
        let (mut blocks, mut count) = ([Span { start: 0, end: 0 }; 4], 0);
        let block = |bytes: &[u8]| {
            let [start, end] = [bytes.first_chunk()?, bytes.last_chunk()?];
            let [start, end] = [start, end].map(|bytes: &[u8; 4]| u32::from_be_bytes(*bytes));
            Some(Span { start, end })
        };
        let all = self.options().filter(|(kind, _)| *kind == 5);
        let all = all.flat_map(|(_, value)| value.chunks_exact(8).filter_map(block));
        for (place, block) in blocks.iter_mut().zip(all) {
            *place = block;
            count += 1;
        }
        (blocks, count)
    }

    pub(super) fn has_options(&self) -> bool {
        !self.options.is_empty()
    }
}

/// What the SYN of the guest agrees on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// Most bytes of data in a segment to the guest.
    pub(super) mss: u16,
    /// The guest's window scale; none: neither side scales.
    pub(super) scale: Option<u8>,
    pub(super) sack: bool,
}

impl Offer {
    pub(super) fn of(segment: &Segment<'_>, mtu: u16) -> Self {
        let (mut mss, mut scale, mut sack) = (SMALLEST_MSS, None, false);
        for (kind, value) in segment.options() {
            match (kind, value) {
                (2, [a, b]) => mss = u16::from_be_bytes([*a, *b]),
                (3, [shift]) => scale = Some((*shift).min(LARGEST_SCALE)),
                (4, []) => sack = true,
                _ => {}
            }
        }
        let largest = our_mss(segment.key.guest.ip(), mtu);
        Self {
            mss: mss.clamp(SMALLEST_MSS.min(largest), largest),
            scale,
            sack,
        }
    }

    /// Ours, where the guest's is not known yet.
    pub(super) fn ours(guest: IpAddr, mtu: u16) -> Self {
        Self {
            mss: our_mss(guest, mtu),
            scale: Some(0),
            sack: true,
        }
    }

    /// Most bytes of data in a packet: as many segments as fit.
    pub(super) fn largest(&self) -> usize {
        let mss = usize::from(self.mss.max(1));
        LARGEST_DATA / mss * mss
    }
}

/// The MSS that fits into the MTU.
fn our_mss(family_of: IpAddr, mtu: u16) -> u16 {
    let headers = if family_of.is_ipv4() { 40 } else { 60 };
    mtu.saturating_sub(headers).max(1)
}

/// A segment to the guest without its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) sequence: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
}

/// The options of a SYN that agrees to the offer.
pub(super) fn syn_options(key: &Key, offer: Offer, scale: u8, mtu: u16) -> Vec<u8> {
    let [high, low] = our_mss(key.guest.ip(), mtu).to_be_bytes();
    let mut options = vec![2, 4, high, low];
    if offer.sack {
        options.extend([1, 1, 4, 2]);
    }
    if offer.scale.is_some() {
        options.extend([1, 3, 3, scale]);
    }
    options
}

/// Appends the option that names these blocks.
pub(super) fn sack_option(blocks: &[Span], options: &mut Vec<u8>) {
    if blocks.is_empty() {
        return;
    }
    let length = u8::try_from(2 + 8 * blocks.len()).unwrap_or(2);
    options.extend([1, 1, 5, length]);
    for block in blocks {
        options.extend(block.start.to_be_bytes());
        options.extend(block.end.to_be_bytes());
    }
}

/// Puts a segment into the output. Data of more than `mss` bytes is cut by the guest's
/// kernel. Whether there was room.
pub(super) fn put(
    out: &mut Output,
    key: &Key,
    header: Header,
    options: &[u8],
    data: (&[u8], &[u8]),
    mss: u16,
) -> bool {
    let size = HEADER + options.len();
    let mut bytes = [0; HEADER];
    let words = u8::try_from(size / 4).unwrap_or(5);
    let fields: [&[u8]; 6] = [
        &key.server.port().to_be_bytes(),
        &key.guest.port().to_be_bytes(),
        &header.sequence.to_be_bytes(),
        &header.ack.to_be_bytes(),
        &[words << 4, header.flags],
        &header.window.to_be_bytes(),
    ];
    for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    out.put(
        (key.server.ip(), key.guest.ip()),
        TCP,
        &[&bytes, options, data.0, data.1],
        mss,
        size,
    )
}
