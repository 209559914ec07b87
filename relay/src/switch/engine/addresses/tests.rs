use super::*;
use crate::switch::engine::testing::{Driver, body};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn addresses_lead_somewhere() {
    for (address, expected) in [
        ("192.168.127.1", Destination::Gateway),
        ("fd77:736c:6d73::1", Destination::Gateway),
        ("192.168.127.254", Destination::Outside(ip("127.0.0.1"))),
        ("fd77:736c:6d73::fe", Destination::Outside(ip("::1"))),
        ("203.0.113.9", Destination::Outside(ip("203.0.113.9"))),
        ("2001:db8::9", Destination::Outside(ip("2001:db8::9"))),
        ("192.168.127.2", Destination::Unassigned),
        ("fd77:736c:6d73::7", Destination::Unassigned),
        ("fe80::1", Destination::Unassigned),
        ("224.0.0.251", Destination::Many),
        ("239.255.255.250", Destination::Many),
        ("255.255.255.255", Destination::Many),
        ("192.168.127.255", Destination::Many),
        ("ff02::2", Destination::Many),
        ("127.0.0.1", Destination::Invalid),
        ("0.0.0.0", Destination::Invalid),
        ("0.1.2.3", Destination::Invalid),
        ("240.0.0.1", Destination::Invalid),
        ("::", Destination::Invalid),
        ("::1", Destination::Invalid),
        ("::ffff:1.2.3.4", Destination::Invalid),
    ] {
        assert_eq!(destination(ip(address)), expected, "{address}");
    }
}

#[test]
fn guest_has_addresses_of_the_subnets() {
    for address in ["192.168.127.2", "192.168.127.9", "fd77:736c:6d73::2"] {
        assert!(is_guest(ip(address)), "{address}");
    }
    for address in [
        "192.168.127.0",
        "192.168.127.1",
        "192.168.127.254",
        "192.168.127.255",
        "192.168.128.2",
        "127.0.0.1",
        "fd77:736c:6d73::",
        "fd77:736c:6d73::1",
        "fd77:736c:6d73::fe",
        "fe80::2",
        "::1",
    ] {
        assert!(!is_guest(ip(address)), "{address}");
    }
}

#[test]
fn packets_for_many_are_dropped_and_not_invalid() {
    let mut driver = Driver::new();
    for (from, to) in [
        ("192.168.127.2", "224.0.0.251"),
        ("192.168.127.2", "192.168.127.255"),
        ("0.0.0.0", "255.255.255.255"),
        ("fe80::2", "ff02::2"),
        ("::", "ff02::16"),
    ] {
        driver.feed(&[body(ip(from), ip(to), 17, &[0, 68, 0, 67, 0, 8, 0, 0])]);
    }
    let counters = driver.counters();
    assert_eq!((counters.dropped, counters.invalid), (5, 0));
    assert!(driver.take().is_empty());
    driver.feed(&[
        body(
            ip("192.168.127.1"),
            ip("203.0.113.9"),
            17,
            &[0, 68, 0, 67, 0, 8, 0, 0],
        ),
        body(
            ip("192.168.127.2"),
            ip("127.0.0.1"),
            17,
            &[0, 68, 0, 67, 0, 8, 0, 0],
        ),
    ]);
    assert_eq!(driver.counters().invalid, 2);
    assert!(driver.take().is_empty());
}
