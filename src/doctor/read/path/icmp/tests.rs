use super::*;

const TARGET: [u8; 4] = [192, 0, 2, 1];

/// An ICMPv4 message that quotes a packet of ours to the target.
fn message(kind: u8, code: u8, mtu: u16, protocol: u8, inner: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    let mut header = [0; 24];
    // With options: six words.
    (header[0], header[9]) = (0x46, protocol);
    header[16..20].copy_from_slice(&TARGET);
    message.extend(header);
    message.extend(inner);
    message
}

fn message6(kind: u8, code: u8, mtu: u32, next: u8, inner: &[u8], target: [u8; 16]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(mtu.to_be_bytes());
    let mut header = [0; 40];
    header[6] = next;
    header[24..40].copy_from_slice(&target);
    message.extend(header);
    message.extend(inner);
    message
}

#[test]
fn requests_have_their_size_and_checksum() {
    for (ipv6, size) in [(false, 20), (false, 100), (false, 1499), (true, 1280)] {
        let packet = request(ipv6, 0x1234, 0x5678, size);
        assert_eq!(packet.len(), (size - header(ipv6)).max(8));
        assert_eq!(packet[4..8], [0x12, 0x34, 0x56, 0x78]);
        // RFC 1071: of a whole packet with its checksum it is zero.
        assert_eq!(packet[0], if ipv6 { 128 } else { 8 });
        assert!(ipv6 || checksum(&packet) == 0, "{size}");
    }
}

#[test]
fn answers_are_read() {
    let (target, hop): (IpAddr, IpAddr) = (TARGET.into(), [10, 0, 0, 1].into());
    let echo = [8, 0, 0, 0, 0, 7, 0, 9];
    let udp = [0x12, 0x34, 0x82, 0x9a, 0, 0, 0, 0];
    let (of_echo, of_udp) = (About::Echo(7, 9), About::Datagram(0x1234, 0x829a));
    let reply = [0, 0, 0, 0, 0, 7, 0, 9];
    for (case, from, message, expected) in [
        (
            "a reply",
            target,
            reply.to_vec(),
            Some((of_echo, Answer::Target)),
        ),
        ("a reply of another", hop, reply.to_vec(), None),
        (
            "too big",
            hop,
            message(3, 4, 1400, 1, &echo),
            Some((of_echo, Answer::TooBig(hop, 1400))),
        ),
        (
            "expired",
            hop,
            message(11, 0, 0, 17, &udp),
            Some((of_udp, Answer::Expired(hop))),
        ),
        ("a fragment's end", hop, message(11, 1, 0, 17, &udp), None),
        (
            "refused",
            target,
            message(3, 3, 0, 17, &udp),
            Some((of_udp, Answer::Target)),
        ),
        (
            "refused by a router",
            hop,
            message(3, 13, 0, 17, &udp),
            None,
        ),
        ("another protocol", hop, message(11, 0, 0, 6, &udp), None),
        ("a request", target, echo.to_vec(), None),
        ("nothing", target, vec![], None),
    ] {
        assert_eq!(parse(&message, from, target), expected, "{case}");
        for length in 0..message.len() {
            parse(&message[..length], from, target);
        }
    }
    let mut other = message(11, 0, 0, 17, &udp);
    other[8 + 16] = 9;
    assert_eq!(
        parse(&other, hop, target),
        None,
        "a packet to another target"
    );
}

#[test]
fn answers_of_ipv6_are_read() {
    let to: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let hop: IpAddr = "fd00::1".parse().unwrap();
    let target: IpAddr = to.into();
    let echo = [128, 0, 0, 0, 0, 7, 0, 9];
    let udp = [0x12, 0x34, 0x82, 0x9a, 0, 0, 0, 0];
    let (of_echo, of_udp) = (About::Echo(7, 9), About::Datagram(0x1234, 0x829a));
    let quote = |kind, code, mtu, next, inner| message6(kind, code, mtu, next, inner, to.octets());
    for (case, from, message, expected) in [
        (
            "a reply",
            target,
            vec![129, 0, 0, 0, 0, 7, 0, 9],
            Some((of_echo, Answer::Target)),
        ),
        (
            "too big",
            hop,
            quote(2, 0, 0x1_0001, 58, &echo),
            Some((of_echo, Answer::TooBig(hop, 0x1_0001))),
        ),
        (
            "expired",
            hop,
            quote(3, 0, 0, 17, &udp),
            Some((of_udp, Answer::Expired(hop))),
        ),
        (
            "refused",
            target,
            quote(1, 4, 0, 17, &udp),
            Some((of_udp, Answer::Target)),
        ),
        ("no route", hop, quote(1, 0, 0, 17, &udp), None),
        ("a neighbour", hop, vec![136, 0, 0, 0, 0, 7, 0, 9], None),
    ] {
        assert_eq!(parse(&message, from, target), expected, "{case}");
        for length in 0..message.len() {
            parse(&message[..length], from, target);
        }
    }
}

proptest::proptest! {
    /// Whatever a stranger sends.
    #[test]
    fn parse_takes_anything(bytes in proptest::collection::vec(0u8..=255, 0..200)) {
        for target in [IpAddr::from(TARGET), IpAddr::from([0u8; 16])] {
            parse(&bytes, target, target);
            after_header(&bytes);
        }
    }
}
