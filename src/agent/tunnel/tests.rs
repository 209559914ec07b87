use std::net::IpAddr;

use super::*;
use crate::model::{GatewayAnswer, InterfaceName};

const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 28, 16, 1));

fn underlay(index: u32) -> Underlay {
    Underlay {
        index,
        link: InterfaceName::new("eth0").unwrap(),
        gateway: GATEWAY,
    }
}

fn scene(when: TunnelWhen) -> Scene {
    Scene {
        when,
        mode: Some(Mode::Nat),
        underlay: Some(underlay(2)),
        link: None,
        forwards: Vec::new(),
    }
}

fn tunnel() -> (Tunnel, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Tunnel::new(folder.path(), true), folder)
}

fn look(gateway: GatewayAnswer, index: u32) -> NatLook {
    NatLook {
        underlay: underlay(index),
        gateway,
        servers: vec![(GATEWAY, false)],
    }
}

#[tokio::test]
async fn looks_only_where_that_decides() {
    for (when, mode, looks) in [
        (TunnelWhen::Never, Some(Mode::Nat), false),
        (TunnelWhen::Always, Some(Mode::Nat), false),
        (TunnelWhen::NatBroken, Some(Mode::Mirrored), false),
        (TunnelWhen::NatBroken, None, false),
        (TunnelWhen::NatBroken, Some(Mode::Nat), true),
    ] {
        let (mut tunnel, _folder) = tunnel();
        tunnel.follow(Scene {
            mode,
            ..scene(when)
        });
        assert_eq!(tunnel.due.is_some(), looks, "{when:?} {mode:?}");
        tunnel.look_again();
        tunnel.on_tick();
        assert_eq!(tunnel.due.is_some(), looks, "{when:?} {mode:?}");
    }
}

#[tokio::test]
async fn events_cause_looks_with_pauses() {
    let (mut tunnel, _folder) = tunnel();
    tunnel.follow(scene(TunnelWhen::NatBroken));
    let begun = Instant::now();
    tunnel.looked = Some(begun);
    tunnel.take(look(GatewayAnswer::Answers, 2));
    assert_eq!(
        (tunnel.due, tunnel.due_at_tick),
        (None, None),
        "all is well"
    );
    tunnel.follow(scene(TunnelWhen::NatBroken));
    assert_eq!(tunnel.due, None, "nothing changed");
    let moved = Scene {
        underlay: Some(underlay(3)),
        ..scene(TunnelWhen::NatBroken)
    };
    tunnel.follow(moved);
    assert_eq!(tunnel.due, Some(begun + SPACING));
    tunnel.look_again();
    assert_eq!(tunnel.due, Some(begun + SPACING));
    // The answer to a look of before the change says nothing.
    tunnel.take(look(GatewayAnswer::Silent, 2));
    assert!(!tunnel.history.is_suspect());
}

#[tokio::test]
async fn broken_nat_is_said_and_waited_for_on_the_watchdog() {
    let (mut tunnel, _folder) = tunnel();
    tunnel.follow(scene(TunnelWhen::NatBroken));
    for _ in 0..2 {
        tunnel.take(look(GatewayAnswer::Silent, 2));
        assert!(tunnel.due.is_some() && tunnel.wanted().is_none());
        assert_eq!(tunnel.said().1, []);
    }
    tunnel.take(look(GatewayAnswer::Silent, 2));
    assert!(tunnel.due.is_none() && tunnel.due_at_tick.is_some());
    let (reason, why) = tunnel.wanted().unwrap();
    assert_eq!(reason, TunnelReason::NatBroken);
    assert!(why.contains("172.28.16.1 does not answer on eth0"), "{why}");
    let (entry, findings, _) = tunnel.publish();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, Code::NatBroken);
    assert_eq!(entry.unwrap().nat.as_deref(), Some("broken"));
    tunnel.take(look(GatewayAnswer::Answers, 2));
    assert_ne!(
        tunnel.taken,
        tunnel.said(),
        "and that it seems to work again"
    );
}

#[tokio::test]
async fn change_of_the_link_is_news() {
    let (mut tunnel, _folder) = tunnel();
    assert!(!tunnel.follow(scene(TunnelWhen::Never)));
    assert_eq!(tunnel.publish(), (None, Vec::new(), None));
    let up = Scene {
        link: Some(7),
        ..scene(TunnelWhen::Never)
    };
    assert!(tunnel.follow(up.clone()));
    assert!(!tunnel.follow(up));
    tunnel.changed().await;
    let (entry, findings, _) = tunnel.publish();
    assert_eq!(findings[0].code, Code::TunnelUp);
    let entry = entry.unwrap();
    assert_eq!(
        (entry.state.as_str(), entry.reason.as_deref()),
        ("up", Some("by-hand"))
    );
    assert!(entry.since_unix.is_some());
}
