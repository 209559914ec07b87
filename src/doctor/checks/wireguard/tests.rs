use super::*;
use crate::{
    doctor::tests::{check, device, document, name, peer, table},
    model::LinkKind,
};

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

fn late(facts: &mut Facts) {
    facts.peers[0].peers.clear();
    facts.peers[0].error = Some("wg0 did not answer within 700 ms".to_owned());
}

fn userspace(facts: &mut Facts) {
    facts.change(|o| o.links[2].kind = LinkKind::WireGuardUserspace);
}

fn port_is(facts: &mut Facts, port: u16) {
    reading(facts, DeviceReading::Device(device(port, 25)));
}

/// The device's socket is open.
fn open(facts: &mut Facts, port: u16) {
    port_is(facts, port);
    facts.change(|o| {
        o.kernel_ports.range = Some((50000, 54095));
        o.kernel_ports.sockets = [(port, 7)].into();
    });
}

fn claimed(facts: &mut Facts) {
    facts.change(|o| o.kernel_ports.claimed = [7].into());
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
        "a device that is late": late => Info, "wg0 did not answer within 700 ms";
    }
}

#[test]
fn listen_ports() {
    table! { "wireguard-port";
        "none": none => Skipped, "no WireGuard device";
        "mirrored": |f| { mode(f, Mode::Mirrored); open(f, 9) } => Warning, "wg0 listens on 9 in the kernel";
        "mirrored, claimed": |f| { mode(f, Mode::Mirrored); open(f, 9); claimed(f) } => Ok, "wg0 9 (claimed";
        "mirrored, reserved": |f| { mode(f, Mode::Mirrored); open(f, 50000) } => Ok, "50000 to 54095";
        "mirrored, userspace": |f| { mode(f, Mode::Mirrored); open(f, 9); userspace(f) } => Ok, "its program binds it";
        "mirrored, down": |f| { mode(f, Mode::Mirrored); port_is(f, 9) } => Ok, "the device is down";
        "mirrored, off": |f| {
            mode(f, Mode::Mirrored);
            open(f, 9);
            f.settings.as_mut().unwrap().claim_port = false;
        } => Warning, "claim-port = false";
        "mirrored, unreadable": |f| {
            mode(f, Mode::Mirrored);
            f.change(|o| o.kernel_ports.unreadable = Some("EBUSY".into()));
        } => Warning, "EBUSY";
        "consomme": |f| { mode(f, Mode::Consomme); open(f, 50000) } => Warning, "does not see";
        "consomme, claimed": |f| { mode(f, Mode::Consomme); open(f, 9); claimed(f) } => Ok, "untested";
        "consomme, userspace": |f| { mode(f, Mode::Consomme); userspace(f) } => Ok, "wg0 41820";
        "dynamic": |f| {
            port_is(f, 51820);
            let wg = &mut f.settings.as_mut().unwrap().forwards[1];
            wg.connect_port = "51820".parse().unwrap();
            let mut agent = document(&[("forward-dynamic-range", "info")]);
            agent.health[0].subject = wg.name.as_str().into();
            f.agent = Some(agent);
        } => Info, "assigns dynamically";
        "Windows hands out other ports": |f| {
            port_is(f, 51820);
            let wg = &mut f.settings.as_mut().unwrap().forwards[1];
            (wg.listen_port, wg.connect_port) = ("51820".parse().unwrap(), "51820".parse().unwrap());
            f.agent = Some(document(&[("forward-dynamic-range", "info")]));
        } => Ok, "wg0 51820";
    }
    table! { "wireguard-reachable";
        "none": none => Skipped, "no WireGuard device";
        "consomme": |f| mode(f, Mode::Consomme) => Skipped, "no forward is needed";
        "mirrored": |f| mode(f, Mode::Mirrored) => Ok, "a forward leads to it";
        "mirrored, another port": |f| { mode(f, Mode::Mirrored); port_is(f, 9) } => Info, "let peers in to wg0's port 9";
        "mirrored, no rule": |f| {
            mode(f, Mode::Mirrored);
            f.settings.as_mut().unwrap().forwards[1].firewall = crate::config::Firewall::None;
        } => Info, "no UDP forward has Windows' firewall let peers in to wg0's port 41820";
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
        open(&mut facts, 9);
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
