use super::*;

#[test]
fn a_client_of_ipv4_is_one_whichever_listener_it_came_to() {
    let table = [
        // As the socket has the peer, as the relay does, as a socket on `::` sends to it.
        ("192.0.2.1:7", "192.0.2.1:7", "[::ffff:192.0.2.1]:7"),
        (
            "[::ffff:192.0.2.1]:7",
            "192.0.2.1:7",
            "[::ffff:192.0.2.1]:7",
        ),
        ("[2001:db8::1]:7", "[2001:db8::1]:7", "[2001:db8::1]:7"),
        ("[fe80::1%3]:7", "[fe80::1%3]:7", "[fe80::1%3]:7"),
        ("[::1]:7", "[::1]:7", "[::1]:7"),
    ];
    for (peer, expected, sent) in table {
        let found = canonical(peer.parse().unwrap());
        assert_eq!(found.to_string(), expected, "{peer}");
        let from = |local: &str| as_sent_from(local.parse().unwrap(), found).to_string();
        assert_eq!(from("[::]:9"), sent, "{peer}");
        if found.is_ipv4() {
            assert_eq!(from("0.0.0.0:9"), expected, "{peer}");
        }
    }
}

#[test]
fn only_the_wildcard_takes_both_families() {
    if open("[::]:0".parse().unwrap(), Protocol::Tcp).is_err_and(|error| has_no_family(&error)) {
        // A machine without IPv6: the next test is what there is to see.
        return;
    }
    for (at, both) in [
        ("[::]:0", true),
        ("[::1]:0", false),
        ("[2001:db8::1]:0", false),
    ] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let (socket, _) = prepare(at.parse().unwrap(), protocol, open).unwrap();
            assert_eq!(socket.only_v6().unwrap(), !both, "{protocol} {at}");
        }
    }
}

#[test]
fn a_system_without_ipv6_serves_ipv4_at_the_wildcard_alone() {
    let without = |at: SocketAddr, protocol| match at {
        SocketAddr::V4(_) => open(at, protocol),
        SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(os::NO_FAMILY)),
    };
    let full = |_: SocketAddr, _| Err(io::Error::from(io::ErrorKind::OutOfMemory));
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let prepare = |at: &str| prepare(at.parse().unwrap(), protocol, without);
        let (socket, at) = prepare("[::]:7").unwrap();
        assert_eq!(at.to_string(), "0.0.0.0:7");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        for at in ["[::1]:7", "[2001:db8::1]:7"] {
            assert!(
                prepare(at).is_err_and(|error| has_no_family(&error)),
                "{at}"
            );
        }
        // Another failure is one of IPv6, too.
        let failed = super::prepare("[::]:7".parse().unwrap(), protocol, full);
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}
