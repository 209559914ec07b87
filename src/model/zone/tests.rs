use super::*;

#[test]
fn domains() {
    for (text, expected) in [
        ("mesh.internal", "mesh.internal"),
        ("Mesh.Internal.", "mesh.internal"),
        ("_tcp.a-1.example.com", "_tcp.a-1.example.com"),
        ("10.10.in-addr.arpa", "10.10.in-addr.arpa"),
        ("internal", "internal"),
        ("lan", "lan"),
    ] {
        assert_eq!(
            Zone::parse(text).map(|zone| zone.0),
            Ok(expected.into()),
            "{text}"
        );
    }
    let long = "a.".repeat(128);
    let label = format!("{}.internal", "a".repeat(64));
    for (text, part) in [
        ("", "the root"),
        (".", "the root"),
        ("com", "top-level"),
        ("de.", "top-level"),
        ("local", "RFC 6762"),
        ("localhost", "RFC 6762"),
        ("~mesh.internal", "leave the ~ out"),
        ("b\u{fc}ro.internal", "xn--"),
        ("mesh..internal", "no domain"),
        (".mesh.internal", "no domain"),
        ("-a.internal", "no domain"),
        ("a-.internal", "no domain"),
        ("a b.internal", "no domain"),
        ("mesh.internal\n", "no domain"),
        ("10.10.0.1", "no domain"),
        ("*.internal", "no domain"),
        (&long, "no domain"),
        (&label, "no domain"),
    ] {
        let why = Zone::parse(text).unwrap_err();
        assert!(why.contains(part), "{text:?}: {why}");
    }
}

#[test]
fn servers() {
    for (text, is_server) in [
        ("10.10.0.1", true),
        ("fd00::53", true),
        ("8.8.8.8", true),
        ("0.0.0.0", false),
        ("::", false),
        ("255.255.255.255", false),
        ("224.0.0.251", false),
        ("ff02::fb", false),
        ("127.0.0.1", false),
        ("::1", false),
        ("169.254.1.1", false),
        ("fe80::1", false),
        ("::ffff:10.10.0.1", false),
    ] {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(no_zone_server(address).is_none(), is_server, "{text}");
        let (family, bytes) = address_bytes(address);
        assert_eq!(address_of(family, &bytes), Some(address));
        assert_eq!(address_of(family + 1, &bytes), None);
        assert_eq!(address_of(family, &bytes[1..]), None);
    }
}

#[test]
fn parts_and_words() {
    let link = LinkZones {
        name: InterfaceName::new("wg0").unwrap(),
        servers: vec![[10, 10, 0, 1].into()],
        zones: vec![Zone::parse("mesh.internal").unwrap()],
    };
    let wanted = link.wanted();
    assert_eq!(wanted.to_string(), "10.10.0.1 ~mesh.internal");
    let servers_alone = LinkDns {
        domains: Vec::new(),
        ..wanted.clone()
    };
    let mut other = wanted.clone();
    other.domains[0].1 = false;
    for (part, expected) in [
        (LinkDns::default(), true),
        (servers_alone, true),
        (wanted.clone(), true),
        (other, false),
    ] {
        assert_eq!(part.is_part_of(&wanted), expected, "{part}");
    }
    assert!(LinkDns::default().is_empty() && !wanted.is_empty());
}
