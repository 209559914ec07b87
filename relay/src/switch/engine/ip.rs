//! IP packets: what the guest sent, and what it gets. RFC 791, RFC 8200; the virtio-net
//! header before them says which checksums and segments are left to the receiver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::link::{self, HEADER, MAX_PACKET};

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// Headers between that of IPv6 and the payload, RFC 8200, section 4.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Most of them in a packet.
const EXTENSIONS: usize = 8;

/// Flags of a virtio-net header: the checksum is to be computed, or was found to be right.
const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
/// Its kinds of segments, as Linux' `uapi/linux/virtio_net.h` has them. The bit beside them
/// is ECN's.
const SEGMENTS_TCP4: u8 = 1;
const SEGMENTS_TCP6: u8 = 4;
const SEGMENTS_UDP: u8 = 5;

/// Output beyond which sockets are not read, in bytes.
pub(super) const FULL: usize = 512 * 1024;
/// Output beyond which everything is dropped: answers to the guest's own packets, which
/// are taken even if the guest reads nothing.
const LIMIT: usize = 2 * FULL;

/// A packet of the guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    /// Of the payload; of a fragment, that of the whole one.
    pub(super) protocol: u8,
    /// What follows the headers of IP.
    pub(super) payload: &'a [u8],
    /// Where the payload begins in the frame's body.
    pub(super) offset: usize,
    /// All of it, with the headers of IP, without the virtio-net header.
    pub(super) bytes: &'a [u8],
    /// The payload is a piece of a larger one.
    pub(super) piece: Option<Piece>,
    /// Bytes of data in each of the datagrams that this is; nothing if it is one.
    pub(super) segment: Option<u16>,
    /// The checksum needs no verification.
    pub(super) trusted: bool,
}

/// Which piece of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Piece {
    pub(super) id: u32,
    /// In bytes, a multiple of 8 below 65,536.
    pub(super) offset: usize,
    /// It is not the last one.
    pub(super) more: bool,
}

impl<'a> Packet<'a> {
    /// Reads the body of a frame. `None`: malformed, or the header's checksum is wrong.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (virtio, bytes) = body.split_first_chunk::<HEADER>()?;
        let [flags, kind, _, _, s0, s1, ..] = *virtio;
        let size = u16::from_le_bytes([s0, s1]);
        let mut packet = match bytes.first()? >> 4 {
            4 => Self::parse_v4(bytes),
            6 => Self::parse_v6(bytes),
            _ => None,
        }?;
        packet.trusted = flags & (NEEDS_CHECKSUM | DATA_VALID) != 0;
        packet.segment = (kind == SEGMENTS_UDP && size > 0).then_some(size);
        packet.offset += HEADER;
        Some(packet)
    }

    fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; 20] = bytes.first_chunk()?;
        let [version, _, l0, l1, i0, i1, f0, f1, _, protocol, ..] = *fixed;
        let [.., a0, a1, a2, a3, b0, b1, b2, b3] = *fixed;
        let offset = usize::from(version & 15) * 4;
        let bytes = bytes.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        let header = bytes.get(..offset).filter(|header| header.len() >= 20)?;
        if Sum::default().add(header).fold() != 0xffff {
            return None;
        }
        let fragment = u16::from_be_bytes([f0, f1]);
        let piece = Piece {
            id: u16::from_be_bytes([i0, i1]).into(),
            offset: usize::from(fragment & 0x1fff) * 8,
            more: fragment & 0x2000 != 0,
        };
        Some(Self {
            from: Ipv4Addr::new(a0, a1, a2, a3).into(),
            to: Ipv4Addr::new(b0, b1, b2, b3).into(),
            protocol,
            payload: bytes.get(offset..)?,
            offset,
            bytes,
            piece: (piece.more || piece.offset > 0).then_some(piece),
            segment: None,
            trusted: false,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<40>()?;
        let [_, _, _, _, l0, l1, next, ..] = *fixed;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let bytes = bytes.get(..40 + length)?;
        let (_, addresses) = fixed.split_first_chunk::<8>()?;
        let (from, to) = addresses.split_first_chunk::<16>()?;
        let payload = rest.get(..length)?;
        let mut packet = Self {
            from: Ipv6Addr::from(*from).into(),
            to: Ipv6Addr::from(*to.first_chunk::<16>()?).into(),
            protocol: next,
            payload,
            offset: 40,
            bytes,
            piece: None,
            segment: None,
            trusted: false,
        };
        for _ in 0..EXTENSIONS {
            let [next, length, b2, b3, rest @ ..] = packet.payload else {
                break;
            };
            let size = match packet.protocol {
                // Routes over further nodes are for none that we know.
                ROUTING if *b3 != 0 => return None,
                HOP_BY_HOP | ROUTING | DESTINATION => usize::from(*length) * 8 + 8,
                FRAGMENT => 8,
                _ => break,
            };
            if packet.protocol == FRAGMENT {
                let place = u16::from_be_bytes([*b2, *b3]);
                let piece = Piece {
                    id: u32::from_be_bytes(*rest.first_chunk()?),
                    offset: usize::from(place & !7),
                    more: place & 1 != 0,
                };
                // The only piece is a packet as others, RFC 6946.
                packet.piece = (piece.more || piece.offset > 0).then_some(piece);
            }
            packet.protocol = *next;
            packet.payload = packet.payload.get(size..)?;
            packet.offset += size;
            // What follows may be the middle of something.
            if packet.piece.is_some() {
                break;
            }
        }
        Some(packet)
    }

    /// Whether the checksum of TCP, UDP or ICMP is right, or the packet says that it needs
    /// no verification. Of a whole packet.
    pub(super) fn is_intact(&self) -> bool {
        let sum = match self.protocol {
            _ if self.trusted => return true,
            ICMP => Sum::default(),
            UDP if matches!(self.payload, [_, _, _, _, _, _, 0, 0, ..]) => {
                // None was computed, which IPv6 does not allow.
                return self.from.is_ipv4();
            }
            TCP | UDP | ICMPV6 => {
                pseudo_header(self.from, self.to, self.protocol, self.payload.len())
            }
            _ => return true,
        };
        sum.add(self.payload).fold() == 0xffff
    }
}

/// The sum of 16-bit words that is the Internet's checksum, in the machine's own byte order:
/// RFC 1071.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    total: u64,
    odd: bool,
}

impl Sum {
    /// Appends bytes, any number of them.
    fn add(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        let halves = |word: &[u8; 8]| {
            let word = u64::from_ne_bytes(*word);
            (word & 0xffff_ffff) + (word >> 32)
        };
        let total = words.iter().map(halves).sum::<u64>() + halves(&last);
        let folded = fold(total);
        let folded = if self.odd {
            folded.swap_bytes()
        } else {
            folded
        };
        self.total += u64::from(folded);
        self.odd ^= bytes.len() % 2 == 1;
        self
    }

    fn fold(self) -> u16 {
        fold(self.total)
    }
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let [a, b, ..] = total.to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Sum {
    let address = |sum: Sum, address| match address {
        IpAddr::V4(address) => sum.add(&address.octets()),
        IpAddr::V6(address) => sum.add(&address.octets()),
    };
    let length = u32::try_from(length).unwrap_or(0);
    let sum = address(address(Sum::default(), from), to);
    sum.add(&length.to_be_bytes()).add(&[0, protocol])
}

/// Where the checksum is in the header of a protocol that has one.
fn checksum_place(protocol: u8) -> Option<u16> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    }
}

/// Packets to the guest, as frames of the link.
#[derive(Debug, Default)]
pub(super) struct Output {
    frames: Vec<u8>,
    /// Of IPv4 packets.
    id: u16,
    /// Of fragments of IPv6.
    fragment_id: u32,
    packets: u64,
    bytes: u64,
}

impl Output {
    /// Whole frames, in the order of sending. The caller removes what it has written; only
    /// whole frames may be appended.
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.frames
    }

    /// Whether sockets should wait.
    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= FULL
    }

    /// Packets since the start.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Their bytes, without the virtio-net headers.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Completes the packet that was begun there.
    fn end(&mut self, at: usize) {
        let length = self.frames.len().saturating_sub(at + link::PREFIX + HEADER);
        link::end_packet(&mut self.frames, at);
        self.packets += 1;
        self.bytes += u64::try_from(length).unwrap_or(0);
    }

    /// Appends a packet with these parts as payload, `header` bytes of which are of the
    /// protocol, in the first part, with a checksum of zero. TCP's and UDP's is left to the
    /// guest. Data of more than `segment` bytes is cut by the guest's kernel into segments of
    /// that size.
    /// Whether there was room, and the packet is not too long.
    pub(super) fn put(
        &mut self,
        (from, to): (IpAddr, IpAddr),
        protocol: u8,
        parts: &[&[u8]],
        segment: u16,
        header: usize,
    ) -> bool {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let data = length.saturating_sub(header);
        let segments = data.div_ceil(usize::from(segment.max(1)));
        let kind = match protocol {
            TCP | UDP if segments < 2 => 0,
            TCP if from.is_ipv4() => SEGMENTS_TCP4,
            TCP => SEGMENTS_TCP6,
            UDP => SEGMENTS_UDP,
            _ => 0,
        };
        // The path's MTU is the link's.
        let fragment = if protocol == TCP { 0x4000 } else { 0 };
        self.id = self
            .id
            .wrapping_add(u16::try_from(segments.max(1)).unwrap_or(1));
        let ip = IpHeader::new((from, to), protocol, length, (self.id, fragment));
        let Some(ip) = ip.filter(|_| self.frames.len() < LIMIT) else {
            return false;
        };
        let ip = ip.bytes();
        let mut virtio = [0; HEADER];
        let sum = match protocol {
            ICMP => Sum::default(),
            _ => pseudo_header(from, to, protocol, length),
        };
        let mut checksum = sum.fold();
        if matches!(protocol, TCP | UDP) {
            let start = u16::try_from(ip.len()).unwrap_or(0);
            let [h0, h1] = u16::try_from(ip.len() + header).unwrap_or(0).to_le_bytes();
            let [s0, s1] = segment.to_le_bytes();
            let [c0, c1] = start.to_le_bytes();
            let [p0, p1] = checksum_place(protocol).unwrap_or(0).to_le_bytes();
            virtio = [NEEDS_CHECKSUM, kind, h0, h1, s0, s1, c0, c1, p0, p1];
            if kind == 0 {
                virtio = [NEEDS_CHECKSUM, 0, 0, 0, 0, 0, c0, c1, p0, p1];
            }
        } else {
            checksum = !parts.iter().fold(sum, |sum, part| sum.add(part)).fold();
        }
        let at = link::begin_packet(&mut self.frames);
        self.frames.extend_from_slice(&virtio);
        self.frames.extend_from_slice(ip);
        let start = self.frames.len();
        for part in parts {
            self.frames.extend_from_slice(part);
        }
        self.put_checksum(start, protocol, checksum);
        self.end(at);
        true
    }

    fn put_checksum(&mut self, start: usize, protocol: u8, checksum: u16) {
        let place = checksum_place(protocol).map(usize::from);
        let place = place.and_then(|place| self.frames.get_mut(start + place..start + place + 2));
        if let Some(place) = place {
            place.copy_from_slice(&checksum.to_ne_bytes());
        }
    }

    /// Appends a datagram of UDP in fragments that fit into the MTU, with a checksum of zero
    /// in the header, which is the first part. Whether there was room for all.
    pub(super) fn put_fragments(
        &mut self,
        (from, to): (IpAddr, IpAddr),
        header: [u8; 8],
        data: &[u8],
        mtu: u16,
    ) -> bool {
        let length = header.len() + data.len();
        let overhead = if from.is_ipv4() { 20 } else { 48 };
        // A multiple of 8, RFC 791, section 3.2.
        let step = usize::from(mtu.saturating_sub(overhead) & !7);
        if step == 0 || length > MAX_PACKET - usize::from(overhead) || self.frames.len() >= LIMIT {
            return false;
        }
        let sum = pseudo_header(from, to, UDP, length);
        let checksum = !sum.add(&header).add(data).fold();
        // Zero means none, RFC 768.
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        let [c0, c1] = checksum.to_ne_bytes();
        let [s0, s1, d0, d1, l0, l1, ..] = header;
        let whole = [&[s0, s1, d0, d1, l0, l1, c0, c1], data].concat();
        self.id = self.id.wrapping_add(1);
        self.fragment_id = self.fragment_id.wrapping_add(1);
        let mut offset = 0_u16;
        let mut pieces = whole.chunks(step).peekable();
        while let Some(piece) = pieces.next() {
            let more = pieces.peek().is_some();
            let mut extension = Vec::new();
            let ip = if from.is_ipv4() {
                let fragment = (offset / 8) | if more { 0x2000 } else { 0 };
                IpHeader::new((from, to), UDP, piece.len(), (self.id, fragment))
            } else {
                extension.extend([UDP, 0]);
                extension.extend((offset | u16::from(more)).to_be_bytes());
                extension.extend(self.fragment_id.to_be_bytes());
                IpHeader::new((from, to), FRAGMENT, piece.len() + 8, (0, 0))
            };
            let Some(ip) = ip else {
                return false;
            };
            let at = link::begin_packet(&mut self.frames);
            self.frames.extend_from_slice(&[0; HEADER]);
            for part in [ip.bytes(), &extension, piece] {
                self.frames.extend_from_slice(part);
            }
            self.end(at);
            offset = offset.wrapping_add(u16::try_from(step).unwrap_or(0));
        }
        true
    }
}

/// A header of IP.
#[derive(Debug)]
pub(super) enum IpHeader {
    V4([u8; 20]),
    V6([u8; 40]),
}

impl IpHeader {
    /// For a payload of that length; the id and the fragment's flags and place are of IPv4.
    /// `None`: addresses of two families, or too long.
    pub(super) fn new(
        addresses: (IpAddr, IpAddr),
        protocol: u8,
        length: usize,
        (id, fragment): (u16, u16),
    ) -> Option<Self> {
        match addresses {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let [l0, l1] = u16::try_from(length + 20).ok()?.to_be_bytes();
                let ([i0, i1], [f0, f1]) = (id.to_be_bytes(), fragment.to_be_bytes());
                let ([a, b, c, d], [e, f, g, h]) = (from.octets(), to.octets());
                let mut header = [
                    0x45, 0, l0, l1, i0, i1, f0, f1, 64, protocol, 0, 0, a, b, c, d, e, f, g, h,
                ];
                let checksum = !Sum::default().add(&header).fold();
                let [c0, c1] = checksum.to_ne_bytes();
                header[10] = c0;
                header[11] = c1;
                Some(Self::V4(header))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                // All of the packet must fit into a frame.
                u16::try_from(length + 40).ok()?;
                let [l0, l1] = u16::try_from(length).ok()?.to_be_bytes();
                let fixed = [0x60, 0, 0, 0, l0, l1, protocol, 64];
                let mut header = [0; 40];
                let bytes = fixed.into_iter().chain(from.octets()).chain(to.octets());
                for (place, byte) in header.iter_mut().zip(bytes) {
                    *place = byte;
                }
                Some(Self::V6(header))
            }
            _ => None,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::V4(header) => header,
            Self::V6(header) => header,
        }
    }
}

#[cfg(test)]
mod tests;
