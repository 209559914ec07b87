use proptest::prelude::*;

use super::super::ip::{Output, UDP};
use super::super::testing::{GUEST, GUEST_V6, bodies};
use super::*;
use crate::link;

const GATEWAY: IpAddr = IpAddr::V4(link::GATEWAY_V4);
const GATEWAY_V6: IpAddr = IpAddr::V6(link::GATEWAY_V6);

/// The fragments of a datagram whose data has that length.
fn fragments(addresses: (IpAddr, IpAddr), length: u8, mtu: u16) -> Vec<Vec<u8>> {
    let data: Vec<u8> = (0..length)
        .cycle()
        .take(usize::from(length) * 100)
        .collect();
    let mut out = Output::default();
    let size = u16::try_from(data.len() + 8).unwrap().to_be_bytes();
    let header = [1, 2, 0, 53, size[0], size[1], 0, 0];
    assert!(out.put_fragments(addresses, header, &data, mtu));
    let bodies = bodies(&mut out);
    for body in &bodies {
        assert!(body.len() <= usize::from(mtu) + HEADER);
    }
    bodies
}

/// Whether these pieces make a packet of UDP whose checksum is right.
fn insert(all: &mut Fragments, body: &[u8], now: Instant) -> bool {
    let packet = Packet::parse(body).unwrap();
    let whole = all.insert(&packet, now);
    whole.is_some_and(|whole| {
        let whole = Packet::parse(&whole).unwrap();
        assert_eq!((whole.from, whole.to), (packet.from, packet.to));
        whole.protocol == UDP && whole.is_intact()
    })
}

proptest! {
    #[test]
    fn pieces_come_in_any_order(
        length in 20..250_u8,
        mtu in 300..1600_u16,
        v6: bool,
        order in any::<u64>(),
        twice in any::<u8>(),
    ) {
        let addresses = if v6 { (GUEST_V6, GATEWAY_V6) } else { (GUEST, GATEWAY) };
        let mut pieces = fragments(addresses, length, mtu);
        prop_assume!(pieces.len() > 1);
        let mut order = order;
        pieces.sort_by_cached_key(|_| {
            order = order.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            order >> 20
        });
        let (now, mut all) = (Instant::now(), Fragments::default());
        let last = pieces.pop().unwrap();
        for (number, piece) in pieces.iter().enumerate() {
            prop_assert!(!insert(&mut all, piece, now));
            if number == usize::from(twice) {
                prop_assert!(!insert(&mut all, piece, now));
            }
        }
        prop_assert!(insert(&mut all, &last, now));
        prop_assert_eq!((all.bytes(), all.deadline()), (0, None));
    }
}

#[test]
fn overlap_spoils_the_packet() {
    let now = Instant::now();
    let fine = fragments((GUEST, GATEWAY), 40, 1500);
    let coarse = fragments((GUEST, GATEWAY), 40, 900);
    let mut all = Fragments::default();
    assert!(!insert(&mut all, &fine[0], now));
    // Of the same id, with the middle of the first.
    assert!(!insert(&mut all, &coarse[1], now));
    assert_eq!(all.bytes(), 0);
    for piece in fine.iter().chain(&coarse) {
        assert!(!insert(&mut all, piece, now), "it is refused as a whole");
    }
    all.expire(now + TIMEOUT);
    assert_eq!(all.deadline(), None);
    assert!(!insert(&mut all, &fine[0], now));
    assert!(!insert(&mut all, &fine[1], now));
    assert!(insert(&mut all, &fine[2], now));
}

#[test]
fn pieces_that_lie_are_refused() {
    let now = Instant::now();
    let pieces = fragments((GUEST, GATEWAY), 40, 1500);
    let packet = Packet::parse(&pieces[0]).unwrap();
    let last = Packet::parse(&pieces[2]).unwrap();
    let place = |offset| {
        packet
            .piece
            .map(|piece| super::super::ip::Piece { offset, ..piece })
    };
    let mut all = Fragments::default();
    for (piece, payload) in [
        (packet.piece, &packet.payload[..7]),
        (packet.piece, &[][..]),
        (place(65_528), packet.payload),
    ] {
        let one = Packet {
            piece,
            payload,
            ..packet
        };
        assert_eq!(all.insert(&one, now), None);
        assert_eq!(all.bytes(), 0);
    }
    // One beyond the last.
    assert_eq!(all.insert(&last, now), None);
    let beyond = Packet {
        piece: place(8000),
        ..packet
    };
    assert_eq!(all.insert(&beyond, now), None);
    assert_eq!(all.bytes(), 0);
}

#[test]
fn there_are_limits() {
    let now = Instant::now();
    let pieces = fragments((GUEST, GATEWAY), 200, 1500);
    let packet = Packet::parse(&pieces[0]).unwrap();
    let mut all = Fragments::default();
    for id in 0..10_000_u32 {
        let piece = packet
            .piece
            .map(|piece| super::super::ip::Piece { id, ..piece });
        let later = now + Duration::from_millis(id.into());
        assert_eq!(all.insert(&Packet { piece, ..packet }, later), None);
        assert!(all.packets.len() <= PACKETS && all.bytes() <= BYTES);
    }
    // The newest are kept.
    assert_eq!(
        all.deadline(),
        Some(now + TIMEOUT + Duration::from_millis(10_000 - 64))
    );
    all.expire(now + TIMEOUT + Duration::from_secs(9) + Duration::from_millis(999));
    assert_eq!((all.bytes(), all.deadline()), (0, None));
    // Many pieces of eight bytes, each apart.
    for number in 0..2000 {
        let piece = packet.piece.map(|piece| super::super::ip::Piece {
            offset: number * 16,
            ..piece
        });
        let one = Packet {
            piece,
            payload: &packet.payload[..8],
            ..packet
        };
        assert_eq!(all.insert(&one, now), None);
        assert!(all.bytes() <= PIECES * 8);
    }
}
