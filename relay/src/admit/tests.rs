use std::net::SocketAddr;

use super::*;
use crate::socket::canonical;

#[test]
fn clients_are_admitted_by_their_address() {
    let own = [
        ([192, 168, 1, 9].into(), 24),
        ([10, 255, 255, 254].into(), 32),
        ([100, 64, 0, 1].into(), 10),
        ([172, 20, 16, 1].into(), 31),
        // No subnets: one of everyone, and what Windows gives where it knows none.
        ([198, 51, 100, 1].into(), 0),
        ([198, 51, 100, 2].into(), 255),
    ];
    let table = [
        // The address, whether it is of this machine, whether it is local.
        ([127, 0, 0, 1], true, true),
        ([127, 9, 8, 7], true, true),
        ([128, 0, 0, 1], false, false),
        ([192, 168, 1, 9], true, true),
        ([192, 168, 1, 1], false, true),
        ([192, 168, 1, 255], false, true),
        ([192, 168, 0, 255], false, false),
        ([192, 168, 2, 9], false, false),
        ([10, 255, 255, 254], true, true),
        ([10, 255, 255, 253], false, false),
        ([100, 127, 255, 255], false, true),
        ([100, 128, 0, 0], false, false),
        ([172, 20, 16, 0], false, true),
        ([172, 20, 16, 2], false, false),
        ([198, 51, 100, 1], true, true),
        ([198, 51, 100, 2], true, true),
        ([198, 51, 100, 3], false, false),
        ([0, 0, 0, 0], false, false),
        ([255, 255, 255, 255], false, false),
    ];
    for (from, is_host, is_local) in table {
        let takes = |admit: Admit, own: &[Interface]| admit.takes(from.into(), own);
        assert_eq!(takes(Admit::Host, &own), is_host, "{from:?}");
        assert_eq!(takes(Admit::Local, &own), is_local, "{from:?}");
        assert!(
            takes(Admit::Any, &own) && takes(Admit::Any, &[]),
            "{from:?}"
        );
        // A machine whose addresses are not known has loopback.
        let is_loopback = from[0] == 127;
        assert_eq!(takes(Admit::Host, &[]), is_loopback, "{from:?}");
        assert_eq!(takes(Admit::Local, &[]), is_loopback, "{from:?}");
        // The one in front, beside this machine.
        let front = [172, 20, 16, 2];
        let behind = takes(Admit::Behind(front.into()), &own);
        assert_eq!(behind, is_host || from == front, "{from:?}");
    }
}

#[test]
fn clients_by_ipv6_are_admitted_by_their_address() {
    let parse = |text: &str| -> IpAddr { text.parse().unwrap() };
    let own = [
        ("::1", 128),
        ("fe80::9", 64),
        ("2001:db8:1::9", 64),
        ("2001:db8:2::9", 128),
        ("fd00:1::9", 48),
        // No subnets: one of everyone, and what Windows gives where it knows none.
        ("2001:db8:3::9", 0),
        ("2001:db8:4::9", 255),
        ("192.0.2.9", 24),
    ]
    .map(|(address, prefix)| (parse(address), prefix));
    let table = [
        // The address, whether it is of this machine, whether it is local.
        ("::1", true, true),
        ("::2", false, false),
        ("2001:db8:1::9", true, true),
        ("2001:db8:1::1", false, true),
        ("2001:db8:1:0:ffff:ffff:ffff:ffff", false, true),
        ("2001:db8:1:1::1", false, false),
        ("2001:db8:2::9", true, true),
        ("2001:db8:2::8", false, false),
        ("2001:db8:3::8", false, false),
        ("2001:db8:4::8", false, false),
        // Unique local ones are near in their prefix alone: they are routed.
        ("fd00:1::9", true, true),
        ("fd00:1:0:ffff::1", false, true),
        ("fd00:2::1", false, false),
        // Link-local ones are not, whichever the link; the whole of fe80::/10.
        ("fe80::9", true, true),
        ("fe80::1", false, true),
        ("febf::1", false, true),
        ("fec0::1", false, false),
        ("::", false, false),
        ("ff02::1", false, false),
        // As a listener on `::` has clients of IPv4.
        ("::ffff:192.0.2.9", true, true),
        ("::ffff:192.0.2.1", false, true),
        ("::ffff:198.51.100.1", false, false),
        ("::ffff:127.0.0.1", true, true),
    ];
    for (from, is_host, is_local) in table {
        let client = canonical(SocketAddr::new(parse(from), 7)).ip();
        let takes = |admit: Admit| admit.takes(client, &own);
        assert_eq!(takes(Admit::Host), is_host, "{from}");
        assert_eq!(takes(Admit::Local), is_local, "{from}");
        assert!(takes(Admit::Any), "{from}");
        assert!(takes(Admit::Behind(client)), "{from}");
    }
    // With its interface, which is no part of the address.
    let client = canonical("[fe80::1%3]:7".parse().unwrap()).ip();
    assert!(Admit::Local.takes(client, &own) && !Admit::Host.takes(client, &own));
}

#[tokio::test(start_paused = true)]
async fn one_look_serves_a_flood() {
    let neighbourhood = Neighbourhood::default();
    let look = || neighbourhood.last_look.get();
    let stranger = [203, 0, 113, 1].into();
    assert!(neighbourhood.admits(Admit::Any, stranger));
    assert!(neighbourhood.admits(Admit::Host, [127, 0, 0, 1].into()));
    assert_eq!(look(), None, "these need none");
    assert!(!neighbourhood.admits(Admit::Host, stranger));
    let first = look();
    assert!(first.is_some());
    let own = neighbourhood.own.borrow().clone();
    assert!(
        own.iter().any(|(address, _)| address.is_loopback()),
        "{own:?}"
    );
    tokio::time::advance(MAX_AGE - Duration::from_millis(1)).await;
    assert!(!neighbourhood.admits(Admit::Local, stranger));
    assert_eq!(look(), first, "the list is fresh");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!neighbourhood.admits(Admit::Local, stranger));
    assert!(look() > first);
}
