use super::*;

#[test]
fn own_address_any_address_and_other_addresses() {
    let own: IpAddr = "172.28.16.5".parse().unwrap();
    let elsewhere = |text: &str| Listening::Elsewhere(text.parse().unwrap());
    let table: [(&[&str], Listening); 11] = [
        (&[], Listening::No),
        (&["0.0.0.0:23"], Listening::No),
        (&["0.0.0.0:22"], Listening::Yes),
        (&["172.28.16.5:22"], Listening::Yes),
        (&["[::]:22"], Listening::Yes),
        (&["127.0.0.1:22", "[::1]:22"], elsewhere("127.0.0.1:22")),
        (&["[::1]:22", "0.0.0.0:22"], Listening::Yes),
        (&["10.0.0.1:22", "[::]:22"], Listening::Yes),
        // With ! for IPv6 alone.
        (&["[::]:22!"], elsewhere("[::]:22")),
        (&["[::]:22!", "127.0.0.1:22"], elsewhere("[::]:22")),
        (&["[::]:22!", "0.0.0.0:22"], Listening::Yes),
    ];
    for (bound, expected) in table {
        let sockets: Vec<Socket> = bound
            .iter()
            .map(|text| {
                let at: SocketAddr = text.trim_end_matches('!').parse().unwrap();
                Socket {
                    protocol: Protocol::Tcp,
                    address: at.ip(),
                    port: at.port(),
                    ipv6_only: text.ends_with('!'),
                }
            })
            .collect();
        let ssh = "22".parse().unwrap();
        let at = |protocol| Listening::at(&sockets, own, protocol, ssh);
        assert_eq!(at(Protocol::Tcp), expected, "{bound:?}");
        assert_eq!(at(Protocol::Udp), Listening::No, "{bound:?}");
    }
}

#[test]
fn packets_to_an_ipv6_address() {
    let own: IpAddr = "2001:db8::5".parse().unwrap();
    for (bound, only, expected) in [
        ("[::]:22", false, true),
        ("[::]:22", true, true),
        ("[2001:db8::5]:22", false, true),
        ("[2001:db8::6]:22", false, false),
        ("0.0.0.0:22", false, false),
    ] {
        let at: SocketAddr = bound.parse().unwrap();
        let socket = Socket {
            protocol: Protocol::Tcp,
            address: at.ip(),
            port: at.port(),
            ipv6_only: only,
        };
        let found = Listening::at(&[socket], own, Protocol::Tcp, "22".parse().unwrap());
        assert_eq!(found == Listening::Yes, expected, "{bound} {only}");
    }
}

#[test]
fn a_range_answers_where_one_of_its_ports_does() {
    let own: IpAddr = "172.28.16.5".parse().unwrap();
    let socket = |text: &str| {
        let at: SocketAddr = text.parse().unwrap();
        Socket {
            protocol: Protocol::Tcp,
            address: at.ip(),
            port: at.port(),
            ipv6_only: false,
        }
    };
    let sockets = [
        socket("0.0.0.0:7999"),
        socket("127.0.0.1:8003"),
        socket("0.0.0.0:8010"),
    ];
    let at = |ports: &str| Listening::at(&sockets, own, Protocol::Tcp, ports.parse().unwrap());
    assert_eq!(at("8000-8010"), Listening::Yes);
    let loopback = "127.0.0.1:8003".parse().unwrap();
    assert_eq!(at("8000-8009"), Listening::Elsewhere(loopback));
    assert_eq!(at("8004-8009"), Listening::No);
}
