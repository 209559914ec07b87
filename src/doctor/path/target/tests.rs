use super::*;

/// Two devices with peers: key, allowed IPs and endpoint.
fn devices() -> Vec<(InterfaceName, Device)> {
    let peer = |allowed: &[&str], endpoint: Option<&str>| Peer {
        allowed: allowed.iter().map(|net| net.parse().unwrap()).collect(),
        endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
        ..Peer::default()
    };
    let wg0 = [
        (
            1,
            peer(&["10.0.0.1/32", "192.168.7.0/24"], Some("192.0.2.1:51820")),
        ),
        (
            2,
            peer(&["10.0.0.2/32", "fd00::2/128"], Some("[2001:db8::2]:51820")),
        ),
        (3, peer(&["10.3.0.0/16"], Some("192.0.2.1:3"))),
        (4, peer(&["10.0.0.4/32"], None)),
    ];
    let wg1 = [(5, peer(&["0.0.0.0/0"], Some("192.0.2.5:51820")))];
    let device = |peers: &[(u8, Peer)], mark| Device {
        mark,
        peers: peers
            .iter()
            .map(|(key, peer)| (PublicKey::new([*key; 32]), peer.clone()))
            .collect(),
        ..Device::default()
    };
    let name = |name| InterfaceName::new(name).unwrap();
    vec![
        (name("wg0"), device(&wg0, 0)),
        (name("wg1"), device(&wg1, 0xca6c)),
    ]
}

/// Destination and device, or the error.
fn meant(asked: &str) -> String {
    let devices = devices();
    let devices: Vec<_> = devices
        .iter()
        .map(|(name, device)| (name, device))
        .collect();
    match target(asked, &devices, &[]) {
        Err(error) => error.to_string(),
        Ok(Target {
            destination,
            peer: None,
        }) => destination.to_string(),
        Ok(Target {
            destination,
            peer: Some(peer),
        }) => {
            format!(
                "{destination} by {} at {} mark {}",
                peer.device, peer.endpoint, peer.mark
            )
        }
    }
}

#[test]
fn what_a_text_means() {
    let key = |byte: u8| PublicKey::new([byte; 32]).base64();
    let first = "10.0.0.1 by wg0 at 192.0.2.1:51820 mark 0";
    let second = "10.0.0.2 by wg0 at [2001:db8::2]:51820 mark 0";
    for (asked, expected) in [
        ("10.0.0.1", first),
        ("10.0.0.1/32", first),
        (&key(1), first),
        (key(1).get(..4).unwrap(), first),
        ("192.0.2.1:51820", first),
        ("192.168.7.0/24", first),
        (
            "192.168.7.9",
            "192.168.7.9 by wg0 at 192.0.2.1:51820 mark 0",
        ),
        ("fd00::2", "fd00::2 by wg0 at [2001:db8::2]:51820 mark 0"),
        ("2001:db8::2", second),
        ("[2001:db8::2]:51820", second),
        ("10.3.9.9", "10.3.9.9 by wg0 at 192.0.2.1:3 mark 0"),
        // In the network of all addresses, and a mark on what carries it.
        (
            "198.51.100.1",
            "198.51.100.1 by wg1 at 192.0.2.5:51820 mark 51820",
        ),
        ("fd77::1", "fd77::1"),
    ] {
        assert_eq!(meant(asked), expected, "{asked}");
    }
}

#[test]
fn what_is_wrong_names_what_exists() {
    let key = |byte: u8| PublicKey::new([byte; 32]).base64();
    for (asked, parts) in [
        (
            "laptop",
            &[
                "\"laptop\" is no IP address",
                "names are not looked up",
                "AQEBAQEB of wg0 (10.0.0.1/32, 192.168.7.0/24)",
                "BQUFBQUF of wg1",
            ][..],
        ),
        ("", &["is no IP address"]),
        ("10.0.0.1:1", &["is no IP address"]),
        ("10.9.0.0/24", &["is no IP address"]),
        ("a\u{1b}[2J", &["\"a\\\\u{1b}[2J\" is no IP address"]),
        // Both have this endpoint's address.
        (
            "192.0.2.1",
            &[
                "fits several peers: AQEBAQEB of wg0",
                "AwMDAwMD of wg0",
                "give more of the public key",
            ],
        ),
        (
            "10.0.0.4",
            &["the peer BAQEBAQE of wg0 (10.0.0.4/32) has no endpoint"],
        ),
        (
            &key(3),
            &["none of the allowed IPs of the peer AwMDAwMD of wg0 (10.3.0.0/16)"],
        ),
        (
            "192.0.2.5",
            &["none of the allowed IPs of the peer BQUFBQUF of wg1"],
        ),
    ] {
        let said = meant(asked);
        for part in parts {
            assert!(said.contains(part), "{asked:?}: {part:?} in {said:?}");
        }
    }
    let none = existing(&[], &["wg0".into()]);
    assert_eq!(
        none,
        "no WireGuard peer was found, and could not be read on wg0; run it as root (sudo)"
    );
}

#[test]
fn many_peers_are_cut() {
    let peers = (0..20).map(|byte| (PublicKey::new([byte; 32]), Peer::default()));
    let device = Device {
        peers: peers.collect(),
        ..Device::default()
    };
    let text = existing(&[(&InterfaceName::new("wg0").unwrap(), &device)], &[]);
    assert!(text.ends_with(" and 12 more") && text.len() < 400, "{text}");
}
