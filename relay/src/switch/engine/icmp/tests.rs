use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::testing::{GUEST, GUEST_V6, bodies, body, udp};
use super::*;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 443);
const SERVER_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)),
    443,
);
const PORT: u16 = 40_000;

/// The only packet that was put.
fn only(out: &mut Output) -> Vec<u8> {
    let mut bodies = bodies(out);
    assert_eq!(bodies.len(), 1);
    let body = bodies.remove(0);
    assert!(Packet::parse(&body).unwrap().is_intact());
    body
}

#[test]
fn gateway_and_machine_answer_pings() {
    let (gateway, host) = (IpAddr::V4(link::GATEWAY_V4), IpAddr::V4(link::HOST_V4));
    let (gateway_v6, host_v6) = (IpAddr::V6(link::GATEWAY_V6), IpAddr::V6(link::HOST_V6));
    let mut out = Output::default();
    for (from, to, protocol, ask, answer) in [
        (GUEST, gateway, ICMP, 8, 0),
        (GUEST, host, ICMP, 8, 0),
        (GUEST_V6, gateway_v6, ICMPV6, 128, 129),
        (GUEST_V6, host_v6, ICMPV6, 128, 129),
    ] {
        let body = body(from, to, protocol, &[ask, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
        let event = receive(&mut out, &Packet::parse(&body).unwrap());
        assert_eq!(event, Event::Answered);
        let echo = only(&mut out);
        let echo = Packet::parse(&echo).unwrap();
        assert_eq!((echo.from, echo.to), (to, from));
        assert_eq!(echo.payload[0], answer);
        assert_eq!(echo.payload[4..], [1, 2, 3, 4, 5, 6, 7]);
    }
    for to in [SERVER.ip(), Ipv4Addr::new(192, 168, 127, 77).into()] {
        let body = body(GUEST, to, ICMP, &[8, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(
            receive(&mut out, &Packet::parse(&body).unwrap()),
            Event::Ignored
        );
    }
    assert_eq!(bodies(&mut out).len(), 0);
}

#[test]
fn what_is_not_delivered_is_quoted() {
    let mut out = Output::default();
    for (guest, server, reason, codes, from) in [
        (GUEST, SERVER, Reason::Port, [3, 3], SERVER.ip()),
        (GUEST, SERVER, Reason::Host, [3, 1], link::GATEWAY_V4.into()),
        (GUEST_V6, SERVER_V6, Reason::Port, [1, 4], SERVER_V6.ip()),
        (
            GUEST_V6,
            SERVER_V6,
            Reason::Network,
            [1, 0],
            link::GATEWAY_V6.into(),
        ),
    ] {
        let guest = SocketAddr::new(guest, PORT);
        let sent = udp(guest, server, &[1; 2000]);
        refuse(&mut out, &Packet::parse(&sent).unwrap(), reason);
        let error = only(&mut out);
        let error = Packet::parse(&error).unwrap();
        assert_eq!((error.from, error.to), (from, guest.ip()));
        assert_eq!(error.payload[..2], codes);
        assert!(sent[link::HEADER..].starts_with(&error.payload[HEADER..]));
        assert!(error.bytes.len() <= if guest.is_ipv4() { 576 } else { 1280 });

        unreachable(&mut out, (guest, server), TCP, [1, 2, 3, 4], reason);
        let error = only(&mut out);
        let error = Packet::parse(&error).unwrap();
        let quoted = Packet {
            to: server.ip(),
            from: guest.ip(),
            ..error
        };
        assert_eq!(error.payload[..2], codes);
        // Of a packet from the guest, which is none of ours.
        assert!(about(&quoted, &error.payload[HEADER..]).is_none());
        assert!(error.payload.ends_with(&[1, 2, 3, 4]));
    }
}

#[test]
fn errors_about_errors_are_not_sent() {
    let mut out = Output::default();
    for (from, to, protocol, kind, answered) in [
        (GUEST, SERVER.ip(), ICMP, 8, true),
        (GUEST, SERVER.ip(), ICMP, 3, false),
        (GUEST, SERVER.ip(), ICMP, 11, false),
        (GUEST_V6, SERVER_V6.ip(), ICMPV6, 1, false),
        (GUEST_V6, SERVER_V6.ip(), ICMPV6, 128, true),
        (GUEST, SERVER.ip(), 99, 3, true),
    ] {
        let body = body(from, to, protocol, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        let packet = Packet::parse(&body).unwrap();
        refuse(&mut out, &packet, Reason::Protocol);
        assert_eq!(bodies(&mut out).len(), usize::from(answered));
        let piece = Some(super::super::ip::Piece {
            id: 0,
            offset: 8,
            more: true,
        });
        refuse(&mut out, &Packet { piece, ..packet }, Reason::Protocol);
        assert_eq!(bodies(&mut out).len(), 0);
    }
}

/// What an error of the guest means that quotes our packet.
fn event(kind: u8, code: u8, mtu: u32, protocol: u8, v6: bool) -> Event {
    let (guest, server) = if v6 {
        (GUEST_V6, SERVER_V6)
    } else {
        (GUEST, SERVER)
    };
    let mut ours = server.port().to_be_bytes().to_vec();
    ours.extend(PORT.to_be_bytes());
    ours.extend([9, 8, 7, 6]);
    ours.resize(30, 0);
    let ours = body(server.ip(), guest, protocol, &ours);
    let mut message = vec![kind, code, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(&ours[link::HEADER..]);
    let body = body(guest, server.ip(), if v6 { ICMPV6 } else { ICMP }, &message);
    let mut out = Output::default();
    receive(&mut out, &Packet::parse(&body).unwrap())
}

#[test]
fn errors_of_the_guest_are_understood() {
    let guest = SocketAddr::new(GUEST, PORT);
    assert_eq!(event(3, 3, 0, UDP, false), Event::PortClosed { guest });
    let refused = Event::Refused {
        guest,
        server: SERVER,
        sequence: 0x0908_0706,
    };
    for (kind, code, v6) in [(3, 3, false), (3, 10, false), (1, 4, true), (1, 1, true)] {
        let event = event(kind, code, 0, TCP, v6);
        assert_eq!(event == refused, !v6, "{event:?}");
        assert!(matches!(
            event,
            Event::Refused {
                sequence: 0x0908_0706,
                ..
            }
        ));
    }
    assert_eq!(event(3, 10, 0, UDP, false), Event::Ignored);
    assert_eq!(event(3, 1, 0, UDP, false), Event::Ignored);
    let too_big = Event::TooBig {
        guest,
        server: SERVER,
        sequence: 0x0908_0706,
        mtu: 1300,
    };
    assert_eq!(event(3, 4, 1300, TCP, false), too_big);
    assert_eq!(event(3, 4, 1300, UDP, false), Event::Ignored);
    assert_eq!(event(3, 4, 67, TCP, false), Event::Ignored);
    let guest = SocketAddr::new(GUEST_V6, PORT);
    assert_eq!(event(1, 4, 0, UDP, true), Event::PortClosed { guest });
    let too_big = Event::TooBig {
        guest,
        server: SERVER_V6,
        sequence: 0x0908_0706,
        mtu: 1400,
    };
    assert_eq!(event(2, 0, 1400, TCP, true), too_big);
    assert_eq!(event(2, 0, 1279, TCP, true), Event::Ignored);
    assert_eq!(event(2, 0, 70_000, TCP, true), Event::Ignored);
}

#[test]
fn forged_quotes_are_ignored() {
    let mut out = Output::default();
    // We sent nothing from there, or nothing to there.
    let elsewhere = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    for (from, to) in [(elsewhere, GUEST), (SERVER.ip(), elsewhere)] {
        let ours = body(from, to, UDP, &[0; 8]);
        let message = [&[3, 3, 0, 0, 0, 0, 0, 0], &ours[link::HEADER..]].concat();
        for length in 0..=message.len() {
            let body = body(GUEST, SERVER.ip(), ICMP, &message[..length.max(4)]);
            let event = receive(&mut out, &Packet::parse(&body).unwrap());
            assert_eq!(event, Event::Ignored);
        }
    }
}
