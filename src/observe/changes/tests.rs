use super::*;

const FOUR: &str = "sockets: used 9\nTCP: inuse 5 orphan 1 tw 2 alloc 7 mem 1\nUDP: inuse 2 mem 4\nUDPLITE: inuse 0\n";
const SIX: &str = "TCP6: inuse 3\nUDP6: inuse 1\nUDPLITE6: inuse 0\n";
const SNMP: &str = "Ip: Forwarding ReasmOKs\nIp: 2 4\nTcp: MaxConn CurrEstab InSegs\nTcp: -1 4 99\nUdp: NoPorts\nUdp: 0\n";

#[test]
fn counts_of_a_protocol_without_its_connections() {
    let all = [FOUR, SIX, SNMP].concat();
    let table = [
        (all.as_str(), Protocol::Tcp, Some(vec![4, 3])),
        (&all, Protocol::Udp, Some(vec![3])),
        // A kernel without IPv6, and one that does not say how many connections there are.
        (&[FOUR, SNMP].concat(), Protocol::Tcp, Some(vec![1, 3])),
        (&[FOUR, SIX].concat(), Protocol::Tcp, Some(vec![8, 7])),
        (SIX, Protocol::Tcp, None),
        (SNMP, Protocol::Udp, None),
        ("TCP: inuse x alloc 1", Protocol::Tcp, None),
        ("", Protocol::Tcp, None),
    ];
    for (text, protocol, expected) in table {
        assert_eq!(counts(text, protocol), expected, "{text}");
    }
}

/// An announcement as the kernel makes it, up to the protocol.
fn announcement(peer: u16, protocol: u8) -> Vec<u8> {
    let mut message = vec![0; 16 + 72];
    message[16] = 2;
    message[20..22].copy_from_slice(&8080_u16.to_be_bytes());
    message[22..24].copy_from_slice(&peer.to_be_bytes());
    message.extend([5, 0, 10, 0, protocol, 0, 0, 0]);
    message
}

#[test]
fn the_end_of_a_connection_is_none_of_a_listener() {
    assert!(was_connection(&announcement(40_000, 6)));
    assert!(!was_connection(&announcement(0, 6)), "it listened");
    assert!(!was_connection(&announcement(40_000, 17)), "of UDP");
    let whole = announcement(40_000, 6);
    for length in 0..whole.len() - 3 {
        assert!(!was_connection(&whole[..length]), "{length} bytes");
    }
}

#[test]
fn what_makes_a_list_necessary() {
    let start = Instant::now();
    // How many sockets have ended, the counts, milliseconds, the answer.
    let mut watch = SocketWatch {
        // So that sockets that end cause a list every 2 s.
        took: Duration::from_millis(1),
        ..SocketWatch::default()
    };
    let both = |first, second| vec![first, second];
    let steps = [
        ("the first look", Some(0), both(4, 6), 0, true),
        ("nothing", Some(0), both(4, 6), 800, false),
        ("one came", Some(0), both(5, 7), 1_600, true),
        ("nothing again", Some(0), both(5, 7), 2_400, false),
        ("one ended, another came", Some(1), both(5, 7), 3_600, true),
        ("and again", Some(1), both(5, 7), 4_400, false),
        ("which is owed", Some(0), both(5, 7), 5_200, false),
        ("and paid", Some(0), both(5, 7), 5_600, true),
        ("no more", Some(0), both(5, 7), 8_000, false),
        (
            "one shut down, another came",
            Some(0),
            both(5, 8),
            8_800,
            true,
        ),
        ("that one was closed", Some(1), both(5, 7), 9_600, true),
        ("a while after", Some(0), both(5, 7), 14_500, false),
        ("due in any case", Some(0), both(5, 7), 14_600, true),
        ("not again", Some(0), both(5, 7), 15_400, false),
        (
            "too many ended, or not known",
            None,
            both(5, 7),
            16_600,
            true,
        ),
        ("still so", None, both(5, 7), 17_400, false),
        ("one came too", None, both(6, 8), 18_200, true),
        ("after a while", None, both(6, 8), 20_200, true),
        ("no counts", Some(0), vec![], 21_000, true),
        ("still none", Some(0), vec![], 21_800, true),
        ("counts again", Some(0), both(5, 7), 22_600, true),
        ("the same", Some(0), both(5, 7), 23_400, false),
    ];
    for (case, ended, counts, ms, expected) in steps {
        let at = start + Duration::from_millis(ms);
        assert_eq!(watch.decide(ended, counts, at), expected, "{case}");
    }
    // Few sockets: a list at each look.
    watch.took = Duration::from_micros(200);
    for ms in [24_200, 25_000] {
        let at = start + Duration::from_millis(ms);
        assert!(watch.decide(None, both(5, 7), at));
    }
    assert!(SocketWatch::default().may_have_changed(start));
}

proptest::proptest! {
    #[test]
    fn never_panics(text in ".{0,200}", bytes in proptest::collection::vec(0..=255_u8, 0..140)) {
        counts(&text, Protocol::Tcp);
        counts(&format!("{FOUR}{text}"), Protocol::Tcp);
        was_connection(&bytes);
    }
}
