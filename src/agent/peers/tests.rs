use super::*;
use crate::model::{Code, Device, InterfaceName, LinkKind, Peer, PublicKey};

fn wg0() -> InterfaceName {
    InterfaceName::new("wg-absent").unwrap()
}

/// One peer with this handshake, in seconds ago.
fn reading(ago: Option<u64>) -> Reading {
    let peer = Peer {
        endpoint: Some("192.0.2.1:51820".parse().unwrap()),
        handshake: ago.map(|ago| observe::now_unix() - ago),
        ..Peer::default()
    };
    let device = Device {
        peers: [(PublicKey::new([1; 32]), peer)].into(),
        ..Device::default()
    };
    Reading::from([(wg0(), device)])
}

fn view(address: [u8; 4], connected: bool) -> View {
    let mut view = View::default();
    view.scene.place = Some(Place {
        interface: InterfaceName::new("eth0").unwrap(),
        address: address.into(),
        gateway: None,
        connected,
    });
    view.scene.devices = vec![WireguardLink {
        index: 9,
        name: wg0(),
        kind: LinkKind::WireGuardUserspace,
    }];
    view.scene.peers = 1;
    view
}

const HOME: [u8; 4] = [172, 28, 16, 5];

/// Peers whose names were read. No resolver is asked for such a label.
fn peers(has_ticks: bool) -> Peers {
    let mut peers = Peers::new(Endpoints::default(), has_ticks);
    assert!(!peers.see(&view(HOME, true)), "where it starts is no news");
    assert!(peers.due.is_some(), "names are read");
    let name = EndpointName {
        host: "a".repeat(64),
        port: 51_820,
    };
    peers.names = Some([((wg0(), PublicKey::new([1; 32])), name)].into());
    peers
}

fn seconds(due: Option<Instant>) -> u128 {
    let due = due.unwrap().duration_since(Instant::now());
    due.as_millis().div_ceil(1000)
}

#[tokio::test]
async fn while_peers_answer_the_watchdog_is_the_only_timer() {
    let mut peers = peers(true);
    assert_eq!(peers.take(reading(Some(100)), false), Need::Nothing);
    assert_eq!(peers.due, None);
    assert!((78..=80).contains(&seconds(peers.due_at_tick)));
    assert!(!peers.is_due() && peers.run.is_empty());
    // Not in each tick, whatever their handshakes are.
    peers.take(reading(Some(179)), false);
    assert_eq!((peers.due, seconds(peers.due_at_tick)), (None, 10));
    let mut peers = self::peers(false);
    peers.take(reading(Some(100)), false);
    assert_eq!(peers.due_at_tick, None);
    assert!((78..=80).contains(&seconds(peers.due)));
    peers.names = Some(EndpointNames::new());
    peers.take(reading(Some(900)), false);
    assert_eq!((peers.due, peers.due_at_tick), (None, None), "no names");
}

#[tokio::test]
async fn a_silent_peer_is_looked_for_but_in_a_recovery() {
    let mut peers = peers(true);
    peers.take(reading(Some(180)), true);
    assert!(peers.run.is_empty() && peers.due.is_none());
    peers.see(&view(HOME, false));
    peers.take(reading(Some(180)), false);
    assert!(peers.run.is_empty() && peers.due.is_none(), "no network");
    peers.see(&view(HOME, true));
    assert_eq!(peers.changed(false).await, Need::Reading, "it is back");
    peers.take(reading(None), false);
    let looks = |peers: &Peers| peers.is_looking && peers.due.is_none();
    assert!(looks(&peers));
    // Another pass in between begins no second look-up.
    peers.take(reading(None), false);
    assert!(looks(&peers));
}

#[tokio::test]
async fn peers_learn_where_the_node_is() {
    let mut peers = peers(true);
    peers.due = None;
    assert!(!peers.see(&view(HOME, true)));
    assert_eq!((peers.due, peers.nudges), (None, false));
    for (address, connected, moved) in [
        ([172, 28, 16, 6], true, true),
        ([172, 28, 16, 6], true, false),
        ([172, 28, 16, 6], false, false),
        ([172, 28, 16, 6], true, true),
        (HOME, true, true),
    ] {
        assert_eq!(peers.see(&view(address, connected)), moved);
        assert_eq!(peers.nudges, moved);
        if moved {
            assert_eq!(peers.changed(false).await, Need::Reading);
            peers.take(reading(Some(10)), false);
            assert_eq!(peers.run.len(), 1, "a packet is sent");
            assert_eq!(peers.changed(false).await, Need::Nothing);
            assert!(!peers.nudges);
        }
    }
}

#[tokio::test]
async fn a_finding_clears_when_the_peer_answers_or_has_gone() {
    for has_gone in [false, true] {
        let mut peers = peers(true);
        peers.take(reading(None), true);
        let name = "a".repeat(64);
        let names: BTreeSet<_> = peers.names.iter().flat_map(|all| all.values()).collect();
        let asked: BTreeSet<EndpointName> = names.into_iter().cloned().collect();
        for _ in 0..2 {
            let found = LookedUp {
                failed: asked
                    .iter()
                    .map(|name| (name.clone(), "no".to_owned()))
                    .collect(),
                ..LookedUp::default()
            };
            peers.attempts.record(&asked, found, Instant::now());
        }
        assert_eq!(peers.need(), Need::Pass);
        let found = &peers.findings[0];
        assert_eq!(found.code, Code::EndpointUnresolved);
        assert!(found.subject == name.as_str());
        assert_eq!(peers.need(), Need::Nothing);
        if has_gone {
            let mut without = view(HOME, true);
            without.scene.devices.clear();
            peers.see(&without);
            assert_eq!(peers.changed(false).await, Need::Pass);
        } else {
            assert_eq!(peers.take(reading(Some(1)), false), Need::Pass);
        }
        assert_eq!(peers.findings, []);
    }
}

/// Names that could not be looked up where it was may resolve where it is now.
#[tokio::test]
async fn a_node_that_moved_looks_names_up_at_once() {
    let mut peers = peers(true);
    let names = peers.names.clone().unwrap();
    let names = names.values().collect();
    peers.attempts.update(&names, Instant::now());
    let look_up = |peers: &mut Peers| {
        let due = peers.attempts.due().unwrap();
        let (asked, turns) = peers.attempts.begin(due);
        peers.attempts.record(&asked, LookedUp::default(), due);
        let again = peers.attempts.due().unwrap();
        (turns.len(), again.duration_since(due).as_secs())
    };
    while look_up(&mut peers).1 < 80 {}
    peers.see(&view(HOME, true));
    assert!(look_up(&mut peers).1 >= 160, "it is where it was");
    peers.see(&view([172, 28, 16, 9], true));
    let (turns, again) = look_up(&mut peers);
    assert_eq!(turns, 0);
    assert!((5..=6).contains(&again), "again after {again} s");
}

#[tokio::test]
async fn peers_learn_another_way_out() {
    let mut peers = peers(true);
    let by = |tunnel| {
        let mut view = view(HOME, true);
        view.scene.tunnel = tunnel;
        view
    };
    for (tunnel, moved) in [
        (Some(7), true),
        (Some(7), false),
        (None, true),
        (None, false),
    ] {
        peers.nudges = false;
        assert_eq!(peers.see(&by(tunnel)), moved, "{tunnel:?}");
        assert_eq!(peers.nudges, moved, "{tunnel:?}");
    }
}
