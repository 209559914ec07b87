use proptest::prelude::*;

use super::super::testing::{GUEST, GUEST_V6, bodies, body};
use super::*;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));

/// The simplest sum there is.
fn reference(bytes: &[u8]) -> u16 {
    let mut total = 0_u32;
    for pair in bytes.chunks(2) {
        let [high, low] = [pair.first(), pair.get(1)].map(|byte| *byte.unwrap_or(&0));
        total += u32::from(u16::from_be_bytes([high, low]));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(0)
}

/// A payload with zeros where ICMP has its checksum.
fn checked(length: usize) -> Vec<u8> {
    let mut payload = vec![3; length];
    payload[2..4].fill(0);
    payload
}

/// A body without a checksum that is left to the receiver.
fn untrusted(bytes: &[u8]) -> Vec<u8> {
    [&[0; HEADER], bytes].concat()
}

proptest! {
    #[test]
    fn checksum_is_that_of_rfc_1071(parts in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..70), 0..6)) {
        let sum = parts.iter().fold(Sum::default(), |sum, part| sum.add(part));
        prop_assert_eq!(u16::from_be(sum.fold()), reference(&parts.concat()));
    }

    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200), four: bool) {
        let mut bytes = bytes;
        if let Some(first) = bytes.get_mut(HEADER) {
            *first = if four { 0x45 } else { 0x60 };
        }
        if let Some(packet) = Packet::parse(&bytes) {
            packet.is_intact();
            prop_assert_eq!(bytes.get(packet.offset..packet.offset + packet.payload.len()),
                Some(packet.payload));
        }
    }
}

#[test]
fn what_is_put_is_parsed() {
    for (from, to) in [(GUEST, SERVER), (GUEST_V6, SERVER_V6)] {
        for protocol in [ICMP, TCP, UDP, ICMPV6] {
            let payload = checked(33);
            let body = body(from, to, protocol, &payload);
            let packet = Packet::parse(&body).unwrap();
            assert_eq!((packet.from, packet.to), (from, to));
            assert_eq!(packet.protocol, protocol);
            assert_eq!(packet.payload.len(), 33);
            assert_eq!(packet.bytes, body.get(HEADER..).unwrap());
            assert_eq!((packet.piece, packet.segment), (None, None));
            assert!(packet.is_intact());
        }
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let valid = body(GUEST, SERVER, ICMP, &[8, 0, 0, 0, 1, 2, 3, 4]);
    assert!(Packet::parse(&valid).is_some());
    for length in 0..valid.len() {
        assert!(Packet::parse(&valid[..length]).is_none(), "{length} bytes");
    }
    for bit in HEADER * 8..(HEADER + 20) * 8 {
        let mut flipped = valid.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Packet::parse(&flipped).is_none(), "bit {bit}");
    }
    let valid = body(GUEST_V6, SERVER_V6, UDP, &[0; 8]);
    for length in 0..valid.len() {
        assert!(Packet::parse(&valid[..length]).is_none(), "{length} bytes");
    }
    // What follows the packet is not of it.
    let padded = [valid.clone(), vec![1; 5]].concat();
    assert_eq!(Packet::parse(&padded).unwrap().payload.len(), 8);
}

#[test]
fn options_of_ipv4_are_skipped() {
    let mut bytes = body(GUEST, SERVER, 99, &[1, 2, 3]).split_off(HEADER);
    bytes.splice(20..20, [1, 1, 1, 0]);
    bytes[0] = 0x46;
    bytes[3] += 4;
    bytes[10..12].fill(0);
    let checksum = !Sum::default().add(&bytes[..24]).fold();
    bytes[10..12].copy_from_slice(&checksum.to_ne_bytes());
    let body = untrusted(&bytes);
    let packet = Packet::parse(&body).unwrap();
    assert_eq!(packet.payload, [1, 2, 3]);
    assert_eq!(packet.offset, HEADER + 24);
}

#[test]
fn extensions_of_ipv6_are_skipped() {
    let extension = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let route = |left: u8| [UDP, 0, 0, left, 0, 0, 0, 0];
    let payload = |left| {
        [
            &extension(DESTINATION)[..],
            &extension(ROUTING),
            &route(left),
            &[9; 8],
        ]
        .concat()
    };
    let good = untrusted(&body(GUEST_V6, SERVER_V6, HOP_BY_HOP, &payload(0))[HEADER..]);
    let packet = Packet::parse(&good).unwrap();
    assert_eq!((packet.protocol, packet.payload), (UDP, &[9; 8][..]));
    assert_eq!(packet.offset, HEADER + 40 + 24);
    // A route over further nodes.
    assert!(Packet::parse(&body(GUEST_V6, SERVER_V6, HOP_BY_HOP, &payload(1))).is_none());
    // An extension beyond the end, and headers without end.
    assert!(Packet::parse(&body(GUEST_V6, SERVER_V6, HOP_BY_HOP, &[UDP, 1, 0, 0])).is_none());
    let many = body(
        GUEST_V6,
        SERVER_V6,
        HOP_BY_HOP,
        &extension(HOP_BY_HOP).repeat(20),
    );
    assert_eq!(Packet::parse(&many).unwrap().protocol, HOP_BY_HOP);
    // A fragment that is all.
    let atomic = body(
        GUEST_V6,
        SERVER_V6,
        FRAGMENT,
        &[UDP, 0, 0, 0, 0, 0, 0, 1, 5],
    );
    let packet = Packet::parse(&atomic).unwrap();
    assert_eq!(
        (packet.protocol, packet.payload, packet.piece),
        (UDP, &[5][..], None)
    );
    let first = body(
        GUEST_V6,
        SERVER_V6,
        FRAGMENT,
        &[UDP, 0, 0, 9, 0, 0, 0, 1, 5],
    );
    let piece = Packet::parse(&first).unwrap().piece.unwrap();
    assert_eq!(
        piece,
        Piece {
            id: 1,
            offset: 8,
            more: true
        }
    );
}

#[test]
fn wrong_checksums_are_found() {
    for (from, to, protocol) in [
        (GUEST, SERVER, ICMP),
        (GUEST_V6, SERVER_V6, ICMPV6),
        (GUEST, SERVER, TCP),
        (GUEST_V6, SERVER_V6, UDP),
    ] {
        let mut bytes = body(from, to, protocol, &checked(41)).split_off(HEADER);
        let offset = bytes.len() - 41;
        if let Some(place) = checksum_place(protocol).filter(|place| *place != 2) {
            let place = usize::from(place) + offset;
            bytes[place..place + 2].fill(0);
            let sum = pseudo_header(from, to, protocol, 41);
            let checksum = !sum.add(&bytes[offset..]).fold();
            bytes[place..place + 2].copy_from_slice(&checksum.to_ne_bytes());
        }
        let mut body = untrusted(&bytes);
        assert!(Packet::parse(&body).unwrap().is_intact(), "{protocol}");
        *body.last_mut().unwrap() ^= 0x10;
        assert!(!Packet::parse(&body).unwrap().is_intact(), "{protocol}");
        body[0] = NEEDS_CHECKSUM;
        assert!(Packet::parse(&body).unwrap().is_intact(), "{protocol}");
    }
    // UDP without a checksum.
    for (from, to, good) in [(GUEST, SERVER, true), (GUEST_V6, SERVER_V6, false)] {
        let mut bytes = body(from, to, UDP, &[3; 9]).split_off(HEADER);
        let place = bytes.len() - 3;
        bytes[place..place + 2].fill(0);
        assert_eq!(Packet::parse(&untrusted(&bytes)).unwrap().is_intact(), good);
    }
}

#[test]
fn much_data_is_in_segments() {
    let mut out = Output::default();
    let header = [0; 20];
    assert!(out.put((SERVER, GUEST), TCP, &[&header, &[1; 1460]], 1460, 20));
    assert!(out.put(
        (SERVER, GUEST),
        TCP,
        &[&header, &[1; 1000], &[1; 2000]],
        1460,
        20
    ));
    assert!(out.put((SERVER_V6, GUEST_V6), TCP, &[&header, &[1; 1441]], 1440, 20));
    let virtio = bodies(&mut out)
        .into_iter()
        .map(|body| body[..HEADER].to_vec());
    let expected = [
        [1, 0, 0, 0, 0, 0, 20, 0, 16, 0],
        [1, 1, 40, 0, 0xb4, 5, 20, 0, 16, 0],
        [1, 4, 60, 0, 0xa0, 5, 40, 0, 16, 0],
    ];
    assert_eq!(virtio.collect::<Vec<_>>(), expected);
    assert_eq!((out.packets(), out.bytes()), (3, 1500 + 3040 + 1501));
}

#[test]
fn output_has_a_limit() {
    let mut out = Output::default();
    let put = |out: &mut Output| out.put((SERVER, GUEST), UDP, &[&[0; 60_000]], u16::MAX, 8);
    while !out.is_full() {
        assert!(put(&mut out));
    }
    while put(&mut out) {}
    assert!(out.frames().len() < LIMIT + 65_536);
    assert!(!out.put_fragments((SERVER, GUEST), [0; 8], &[0; 3000], 1500));
    out.frames().clear();
    assert!(put(&mut out));
    // Too long, or of two families.
    assert!(!out.put((SERVER, GUEST), UDP, &[&[0; 65_516]], u16::MAX, 8));
    assert!(!out.put((SERVER_V6, GUEST), UDP, &[&[0; 8]], u16::MAX, 8));
    assert!(!out.put((SERVER_V6, GUEST_V6), UDP, &[&[0; 65_500]], u16::MAX, 8));
    assert!(!out.put_fragments((SERVER, GUEST), [0; 8], &[0; 3000], 20));
}
