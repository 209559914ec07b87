use super::*;
use crate::model::PublicKey;

const NOW: u64 = 1_790_000_000;

fn peer(endpoint: Option<&str>, ago: Option<u64>) -> Peer {
    Peer {
        endpoint: endpoint.map(|at| at.parse().unwrap()),
        handshake: ago.map(|ago| NOW - ago),
        ..Peer::default()
    }
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|at| at.parse().unwrap()).collect()
}

#[test]
fn only_a_silent_peer_that_is_not_there_moves() {
    let (old, new) = ("192.0.2.1:51820", "192.0.2.9:51820");
    for (what, endpoint, ago, found, expected) in [
        ("moved", Some(old), Some(180), vec![new], Some(new)),
        ("it answers", Some(old), Some(179), vec![new], None),
        ("never answered", Some(old), None, vec![new], Some(new)),
        ("no endpoint", None, Some(900), vec![new], Some(new)),
        ("still there", Some(old), Some(900), vec![old], None),
        ("one of several", Some(old), Some(900), vec![new, old], None),
        (
            "another port",
            Some("192.0.2.1:7"),
            Some(900),
            vec![old],
            None,
        ),
        ("no address", Some(old), Some(900), vec![], None),
        (
            "another family",
            Some("[2001:db8::1]:51820"),
            Some(900),
            vec![new],
            Some(new),
        ),
    ] {
        let found = moved_to(&peer(endpoint, ago), &addresses(&found), false, NOW);
        assert_eq!(found, expected.map(|at| at.parse().unwrap()), "{what}");
    }
}

#[test]
fn each_address_of_a_name_has_its_turn() {
    let (a, b, c) = ("192.0.2.1:7", "192.0.2.9:7", "[2001:db8::1]:7");
    for (what, at, found, expected) in [
        ("the other one", a, vec![a, b], Some(b)),
        ("and back", b, vec![b, a], Some(a)),
        ("whatever their order", a, vec![c, b, a], Some(b)),
        ("the third", b, vec![c, b, a], Some(c)),
        ("the first again", c, vec![c, b, a], Some(a)),
        ("there is one", a, vec![a], None),
        ("the name's port", "192.0.2.1:50000", vec![a], Some(a)),
        ("elsewhere: the best", "192.0.2.77:7", vec![b, a], Some(b)),
    ] {
        let silent = peer(Some(at), Some(900));
        let found = moved_to(&silent, &addresses(&found), true, NOW);
        assert_eq!(found, expected.map(|at| at.parse().unwrap()), "{what}");
    }
    let answers = peer(Some(a), Some(10));
    assert_eq!(moved_to(&answers, &addresses(&[b]), true, NOW), None);
}

/// From any address all of them are tried, in as many turns as there are.
#[test]
fn no_address_is_left_out() {
    let mut found: Vec<SocketAddr> = (0..16_u8)
        .map(|n| SocketAddr::from(([192, 0, 2, n * 7 % 16], 51_820)))
        .collect();
    let mut silent = peer(Some("192.0.2.3:51820"), None);
    let mut tried = std::collections::BTreeSet::new();
    for _ in 0..found.len() {
        found.rotate_left(5);
        silent.endpoint = moved_to(&silent, &found, true, NOW);
        tried.insert(silent.endpoint.unwrap());
    }
    assert_eq!(tried.len(), 16);
}

#[test]
fn peers_that_share_a_name_are_looked_up_once() {
    let wg0 = InterfaceName::new("wg0").unwrap();
    let name = |host: &str| EndpointName {
        host: host.to_owned(),
        port: 51_820,
    };
    let id = |key: u8| (wg0.clone(), PublicKey::new([key; 32]));
    let ages = [Some(10), Some(100), Some(180), None];
    let peers = (1..).zip(ages);
    let peers = peers.map(|(key, ago)| (PublicKey::new([key; 32]), peer(None, ago)));
    let device = Device {
        peers: peers.collect(),
        ..Device::default()
    };
    let devices = BTreeMap::from([(wg0.clone(), device)]);
    let (hub, other) = (name("hub"), name("other"));
    let names = EndpointNames::from([
        (id(1), hub.clone()),
        (id(2), other.clone()),
        (id(3), hub.clone()),
        (id(4), hub.clone()),
        // A peer of the configuration alone.
        (id(9), name("gone")),
    ]);
    let silent = silent_names(&names, &devices, NOW);
    assert_eq!(silent, BTreeMap::from([(&hub, vec![&id(3), &id(4)])]));
    assert_eq!(next_stale(&names, &devices, NOW), Some(80));
    assert_eq!(next_stale(&names, &BTreeMap::new(), NOW), None);
    assert_eq!(next_stale(&EndpointNames::new(), &devices, NOW), None);
}
