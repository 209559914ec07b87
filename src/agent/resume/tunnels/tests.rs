use super::*;
use crate::model::{Device, EndpointName, PublicKey};

/// `wg0` with these peers: seconds since the handshake and bytes received.
fn devices(peers: &[(Option<u64>, u64)]) -> Reading {
    let now = observe::now_unix();
    let peers = (1..).zip(peers).map(|(index, (ago, received))| {
        let peer = Peer {
            endpoint: format!("192.0.2.{index}:51820").parse().ok(),
            handshake: ago.map(|ago| now - ago),
            received: *received,
            ..Peer::default()
        };
        (PublicKey::new([index; 32]), peer)
    });
    let device = Device {
        mark: 7,
        peers: peers.collect(),
        ..Device::default()
    };
    BTreeMap::from([(InterfaceName::new("wg-absent").unwrap(), device)])
}

const NIGHT: u64 = 8 * 3_600;

/// Peers that answered before a night's sleep.
fn tunnels(before: &Reading) -> Tunnels {
    let mut tunnels = Tunnels::default();
    tunnels.expect_peers(before, observe::now_unix() - NIGHT);
    tunnels
}

fn note(check: Check) -> String {
    match check {
        Check::Well { note, .. } => note,
        Check::Broken(why) => why,
        Check::Skip => "skip".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn peers_answer_by_a_handshake_or_by_a_packet() {
    let old = Some(NIGHT + 10);
    for (what, after, expected) in [
        (
            "nothing came",
            vec![(old, 5), (old, 5)],
            "no answer from the peer AQEBAQEB of wg-absent, AgICAgIC of wg-absent",
        ),
        (
            "handshakes",
            vec![(Some(0), 5), (Some(1), 5)],
            "2 of 2 peers have new handshakes",
        ),
        ("packets", vec![(old, 6), (old, 7)], "2 of 2 peers answer"),
        (
            "one of each",
            vec![(Some(1), 6), (old, 7)],
            "2 of 2 peers answer",
        ),
        (
            "one alone",
            vec![(Some(0), 5), (old, 5)],
            "no answer from the peer AgICAgIC of wg-absent",
        ),
        (
            "one was removed",
            vec![(Some(0), 5)],
            "1 of 1 peer has a new handshake",
        ),
        ("all were", vec![], "skip"),
    ] {
        let before = devices(&[(old, 5), (old, 5)]);
        let mut tunnels = tunnels(&before);
        assert!(matches!(tunnels.check(&before), Check::Broken(_)), "{what}");
        tunnels.provoke(&before);
        assert_eq!(note(tunnels.check(&devices(&after))), expected, "{what}");
    }
}

/// One may be switched off: the others prove that the tunnel works.
#[tokio::test(start_paused = true)]
async fn one_that_answers_is_enough_after_a_while() {
    let old = Some(NIGHT + 10);
    let before = devices(&[(old, 5), (old, 5)]);
    let mut tunnels = tunnels(&before);
    tunnels.provoke(&before);
    tokio::time::advance(ENOUGH + Duration::from_secs(1)).await;
    assert!(
        matches!(tunnels.check(&before), Check::Broken(_)),
        "none is not"
    );
    let after = devices(&[(Some(0), 5), (old, 5)]);
    assert_eq!(
        note(tunnels.check(&after)),
        "1 of 2 peers has a new handshake"
    );
}

#[tokio::test(start_paused = true)]
async fn who_was_silent_before_is_not_expected() {
    let before = devices(&[(Some(NIGHT + 200), 5), (None, 0)]);
    assert_eq!(note(tunnels(&before).check(&before)), "skip");
    let fresh = devices(&[(Some(NIGHT + 10), 5)]);
    let tunnels = tunnels(&fresh);
    let endpoints = tunnels.endpoints(&fresh, &EndpointNames::new());
    assert_eq!(
        endpoints,
        [(
            [192, 0, 2, 1].into(),
            7,
            "192.0.2.1:51820, the endpoint of the peer AQEBAQEB of wg-absent".to_owned()
        )]
    );
    // A peer with a name may be elsewhere by now, where the kernel has another route.
    let id = fresh.iter().flat_map(|(name, device)| {
        let keys = device.peers.keys();
        keys.map(move |key| (name.clone(), *key))
    });
    let name = EndpointName::parse("hub.example.org:51820").unwrap();
    let names: EndpointNames = id.map(|id| (id, name.clone())).collect();
    assert_eq!(tunnels.endpoints(&fresh, &names), []);
}

/// A daemon may need a moment after a sleep.
#[tokio::test(start_paused = true)]
async fn a_device_that_is_read_late_is_expected_too() {
    let before = devices(&[(Some(NIGHT + 10), 5)]);
    let mut tunnels = tunnels(&Reading::new());
    assert_eq!(note(tunnels.check(&before)), "skip");
    tunnels.expect_peers(&before, observe::now_unix() - NIGHT);
    assert!(matches!(tunnels.check(&before), Check::Broken(_)));
}

fn hub() -> EndpointName {
    EndpointName::parse("hub.example.org:51820").unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_came_of_names_is_said() {
    let before = devices(&[(Some(NIGHT + 10), 5)]);
    let mut tunnels = tunnels(&before);
    tunnels.note(LookedUp {
        failed: BTreeMap::from([(hub(), "no answer".to_owned())]),
        ..LookedUp::default()
    });
    let silent = "no answer from the peer AQEBAQEB of wg-absent; hub.example.org: no answer";
    assert_eq!(note(tunnels.check(&before)), silent);
    for _ in 0..2 {
        tunnels.note(LookedUp {
            moved: BTreeMap::from([(hub(), [192, 0, 2, 9].into())]),
            ..LookedUp::default()
        });
    }
    let answers = "1 of 1 peer has a new handshake (hub.example.org is 192.0.2.9 now)";
    assert_eq!(note(tunnels.check(&devices(&[(Some(0), 5)]))), answers);
}

/// What is not read is not known to have no peers.
#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_read_is_not_left_out() {
    let name = InterfaceName::new("wg-absent").unwrap();
    let before = devices(&[(Some(NIGHT + 10), 5)]);
    let nothing = Reading::new();
    let mut tunnels = Tunnels::default();
    let awake = observe::now_unix() - NIGHT;
    tunnels.expect_peers(&nothing, awake);
    assert_eq!(
        tunnels.unread(&nothing, [&name]),
        None,
        "nothing is known of it"
    );
    tunnels.expect_peers(&before, awake);
    assert_eq!(
        note(tunnels.check(&before)),
        "no answer from the peer AQEBAQEB of wg-absent"
    );
    assert_eq!(tunnels.unread(&before, [&name]), None);
    assert_eq!(tunnels.unread(&nothing, [&name]), Some(&name));
    // One that was removed has none.
    assert_eq!(tunnels.unread(&nothing, []), None);
    assert_eq!(tunnels.check(&nothing), Check::Skip);
    // As it was read first: it had none then.
    let mut tunnels = Tunnels::default();
    tunnels.expect_peers(&devices(&[(None, 0)]), awake);
    tunnels.expect_peers(&before, awake);
    assert_eq!(tunnels.check(&before), Check::Skip);
}
