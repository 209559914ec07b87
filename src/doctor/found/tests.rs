use super::*;
use crate::{
    doctor::{
        facts::{Guarded, Secrecy},
        tests::{address, healthy, link, socket, unit},
    },
    model::{IdleTimeouts, LinkKind},
};

fn found(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = healthy();
    change(&mut facts);
    let line = |one: Tunnel| {
        let port = one.port.unwrap_or_default();
        let fix = one.fix.unwrap_or_default();
        format!("{} {} {port} {fix}", one.kind, one.name)
    };
    tunnels(&facts).unwrap().into_iter().map(line).collect()
}

fn no_link(facts: &mut Facts, name: &str) {
    facts.change(|seen| seen.links.retain(|link| link.name.as_str() != name));
}

fn has_unit(facts: &mut Facts, name: &str) {
    let units = facts.units.as_mut().unwrap();
    units.states.insert(name.into(), unit("active", "enabled"));
}

#[test]
fn tunnels_that_are_there() {
    let both = ["WireGuard wg0 41820 ", "Tailscale tailscale0 0 "];
    assert_eq!(found(|_| {}), both);
    let listens = |facts: &mut Facts| {
        let sockets = facts.local_mut().sockets.as_mut().unwrap();
        sockets.push(socket(Protocol::Udp, "0.0.0.0", TAILSCALE_PORT));
    };
    assert_eq!(found(listens)[1], "Tailscale tailscale0 41641 ");
    let netbird = |facts: &mut Facts| {
        facts.change(|seen| {
            seen.links.push(link(9, "wt0", LinkKind::WireGuard, 1280));
            seen.addresses.push(address(9, "100.64.0.1/16"));
        });
        has_unit(facts, "netbird.service");
    };
    assert_eq!(found(netbird)[2..], ["NetBird wt0 0 "]);
    let other = |facts: &mut Facts| {
        facts.change(|seen| seen.links.push(link(9, "wtf", LinkKind::Other, 1500)));
    };
    assert_eq!(found(other), both);
}

#[test]
fn tunnels_that_are_not_up() {
    let configured = |facts: &mut Facts| {
        no_link(facts, "wg0");
        no_link(facts, "tailscale0");
        has_unit(facts, "netbird.service");
        facts.local_mut().guarded.push(Guarded {
            path: "/etc/wireguard/wg0.conf".into(),
            real: "/etc/wireguard/wg0.conf".into(),
            secrecy: Secrecy::Secret,
            state: Some((0, 0o600)),
        });
    };
    assert_eq!(
        found(configured),
        [
            "WireGuard wg0 0 sudo systemctl enable --now wg-quick@wg0",
            "Tailscale tailscale0 0 sudo tailscale up",
            "NetBird wt0 0 sudo netbird up",
        ]
    );
    let down = |facts: &mut Facts| {
        facts.change(|seen| {
            for link in &mut seen.links {
                link.up = link.name.as_str() != "wg0";
            }
            seen.addresses.retain(|has| has.link != 4);
        });
    };
    assert_eq!(
        found(down),
        [
            "WireGuard wg0 41820 sudo wg-quick up wg0",
            "Tailscale tailscale0 0 sudo tailscale up",
        ]
    );
}

#[test]
fn services_that_others_reach() {
    let mut facts = healthy();
    let sockets = facts.local_mut().sockets.as_mut().unwrap();
    sockets.push(socket(Protocol::Tcp, "127.0.0.1", 5432));
    sockets.push(socket(Protocol::Tcp, "::", 8080));
    assert_eq!(Vec::from_iter(services(&facts)), [22, 8080]);
}

#[test]
fn what_wsl_files_lack() {
    let changed = |change: fn(&mut Facts)| {
        let mut facts = healthy();
        change(&mut facts);
        (stops_when_idle(&facts).is_some(), lacks_systemd(&facts))
    };
    let conf = |facts: &mut Facts, text: &str| {
        let local = facts.local_mut();
        (local.systemd, local.wsl_conf) = (false, Ok(Some(Ini::wsl_conf(text.as_bytes()))));
    };
    assert_eq!(changed(|_| {}), (false, false));
    let unset = |facts: &mut Facts| facts.idle = Ok(IdleTimeouts::default());
    assert_eq!(changed(unset), (true, false));
    let old = |facts: &mut Facts| {
        (facts.idle, facts.wsl_version) = (Ok(IdleTimeouts::default()), Some("2.5.7.0".into()));
    };
    assert_eq!(changed(old), (false, false), "it knows no such key");
    let mut facts = healthy();
    conf(&mut facts, "[boot]\ncommand=x\n");
    assert!(lacks_systemd(&facts));
    conf(&mut facts, "[boot]\nsystemd=true\n");
    assert!(!lacks_systemd(&facts), "after the next start");
}
