use super::*;
use crate::doctor::tests::{check, device, name, peer, table};

fn reading(facts: &mut Facts, reading: DeviceReading) {
    facts.change(|o| drop(o.wireguard.insert(name("wg0"), reading)));
}

fn none(facts: &mut Facts) {
    facts.change(|o| o.wireguard.clear());
    facts.peers.clear();
}

fn silent(facts: &mut Facts) {
    reading(facts, DeviceReading::Unreadable("wg0: EPERM".into()));
}

fn user(facts: &mut Facts) {
    silent(facts);
    facts.root = false;
}

fn mode(facts: &mut Facts, mode: Mode) {
    facts.change(|o| o.mode = crate::model::ModeState::Known(mode));
}

fn handshake(facts: &mut Facts, ago: Option<u64>, endpoint: bool, keepalive: u16) {
    let at = ago.map(|ago| facts.now_unix - ago);
    facts.peers[0].peers = vec![peer(at, endpoint, keepalive)];
}

fn userspace(facts: &mut Facts) {
    facts.change(|o| o.links[2].kind = LinkKind::WireGuardUserspace);
}

fn port_is(facts: &mut Facts, port: u16) {
    reading(facts, DeviceReading::Device(device(port, 25)));
}

#[test]
fn devices_and_keepalives() {
    table! { "wireguard-answers";
        "none": none => Skipped, "no WireGuard device";
        "an ordinary user": user => Skipped, "needs root";
        "silent": silent => Error, "EPERM";
        "busy": |f| reading(f, DeviceReading::Busy("wg-quick is activating".into())) => Info, "wg-quick";
    }
    table! { "wireguard-keepalive";
        "none": none => Skipped, "no WireGuard device";
        "an ordinary user": user => Skipped, "needs root";
        "silent": silent => Skipped, "answers";
        "off": |f| reading(f, DeviceReading::Device(device(41820, 0))) => Warning, "wg0: 1 of 1 peers";
        "off on purpose": |f| {
            reading(f, DeviceReading::Device(device(41820, 0)));
            f.settings.as_mut().unwrap().keepalive = None;
        } => Info, "because [wireguard] keepalive = 0";
    }
}

#[test]
fn peers() {
    table! { "wireguard-handshake";
        "none": none => Skipped, "no WireGuard device";
        "an ordinary user": user => Skipped, "needs root";
        "old": |f| handshake(f, Some(181), true, 25) => Warning, "wg0: the latest handshake of peer AQEBAQEB was 181 s ago";
        "just in time": |f| handshake(f, Some(180), true, 25) => Ok, "1 peer";
        "the future": |f| { handshake(f, Some(0), true, 25); f.now_unix -= 500 } => Ok, "1 peer";
        "never": |f| handshake(f, None, true, 25) => Warning, "never answered";
        "a roaming peer": |f| handshake(f, None, false, 25) => Info, "no endpoint";
        "without keepalive": |f| handshake(f, Some(9999), true, 0) => Ok, "no peer has a keepalive";
    }
}

#[test]
fn listen_ports() {
    table! { "wireguard-port";
        "none": none => Skipped, "no WireGuard device";
        "mirrored, outside": |f| { mode(f, Mode::Mirrored); port_is(f, 9) } => Warning, "outside of 32768 to 60999";
        "mirrored, inside": |f| mode(f, Mode::Mirrored) => Ok, "wg0 41820";
        "mirrored, userspace": |f| { mode(f, Mode::Mirrored); port_is(f, 9); userspace(f) } => Ok, "wg0 9";
        "mirrored, range unknown": |f| { mode(f, Mode::Mirrored); port_is(f, 9); f.local_mut().port_range = None } => Ok, "wg0 9";
        "consomme": |f| mode(f, Mode::Consomme) => Warning, "does not see";
        "consomme, userspace": |f| { mode(f, Mode::Consomme); userspace(f) } => Ok, "wg0 41820";
        "dynamic": |f| {
            port_is(f, 51820);
            let wg = &mut f.settings.as_mut().unwrap().forwards[1];
            (wg.listen_port, wg.connect_port) = (51820.try_into().unwrap(), 51820.try_into().unwrap());
        } => Info, "assigns dynamically";
    }
    table! { "wireguard-reachable";
        "none": none => Skipped, "no WireGuard device";
        "mirrored": |f| mode(f, Mode::Mirrored) => Skipped, "no forward is needed";
        "another port": |f| port_is(f, 9) => Info, "wg0's port 9";
    }
}

#[test]
fn the_fix_fits_the_mode() {
    for (mode, word) in [
        (Mode::Consomme, "wireguard-go"),
        (Mode::Mirrored, "ip_local_port_range"),
    ] {
        let mut facts = crate::doctor::tests::healthy();
        facts.change(|o| o.mode = crate::model::ModeState::Known(mode));
        facts.local_mut().port_range = Some("50000 54095".into());
        let verdict = port(&facts).unwrap();
        let remediation = verdict.remediation();
        let remediation = remediation.unwrap_or(check("wireguard-port").remediation);
        assert!(
            verdict.is_bad() && remediation.contains(word),
            "{mode}: {remediation}"
        );
        assert_eq!(
            remediation.contains("ip_local_port_range"),
            mode == Mode::Mirrored
        );
    }
}
