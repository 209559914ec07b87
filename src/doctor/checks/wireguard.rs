//! WireGuard devices and their peers.

use super::super::{
    facts::{Facts, some},
    verdict::{Judged, Skip, Verdict},
};
use crate::{
    model::{Device, DeviceReading, HANDSHAKE_STALE, InterfaceName, LinkKind, Mode, Protocol},
    report::PeerEntry,
};

/// Where Windows' own dynamic ports begin.
const DYNAMIC: u16 = 49152;

const NONE: &str = "there is no WireGuard device";

/// The devices that could be read, or the end of a check that is about them.
fn devices(facts: &Facts) -> Result<Vec<(&InterfaceName, &Device)>, Skip> {
    let (_, seen) = facts.seen()?;
    if seen.wireguard.is_empty() {
        return Err(Skip::Nothing(NONE.to_owned()));
    }
    let readable = seen.wireguard.iter();
    let readable: Vec<_> = readable
        .filter_map(|(name, reading)| Some((name, reading.device()?)))
        .collect();
    match (readable.is_empty(), facts.root) {
        (false, _) => Ok(readable),
        (true, true) => Err(Skip::Unknown("no WireGuard device answers".to_owned())),
        (true, false) => Err(Skip::NeedsRoot("WireGuard devices".to_owned())),
    }
}

pub(in crate::doctor) fn answers(facts: &Facts) -> Judged {
    let (_, seen) = facts.seen()?;
    if seen.wireguard.is_empty() {
        return Err(Skip::Nothing(NONE.to_owned()));
    }
    if !facts.root && devices(facts).is_err() {
        return Err(Skip::NeedsRoot("WireGuard devices".to_owned()));
    }
    let part = |(name, reading): (&InterfaceName, &DeviceReading)| match reading {
        DeviceReading::Device(_) => Verdict::ok(""),
        DeviceReading::Busy(who) => Verdict::note(format!("{name}: {who}")),
        DeviceReading::Unreadable(why) => Verdict::failed(why.as_str()),
    };
    let parts = seen.wireguard.iter().map(part).collect();
    let names = || {
        let names = seen.wireguard.keys().map(ToString::to_string);
        some(&names.collect::<Vec<_>>())
    };
    Ok(Verdict::worst(parts, names))
}

pub(in crate::doctor) fn keepalive(facts: &Facts) -> Judged {
    let configured = facts.settings()?.keepalive;
    let parts = devices(facts)?.into_iter().filter_map(|(name, device)| {
        let without = device.peers.values().filter(|seconds| **seconds == 0);
        let (without, all) = (without.count(), device.peers.len());
        let detail = format!("{name}: {without} of {all} peers have none");
        (without > 0).then(|| match configured {
            Some(_) => Verdict::warning(detail),
            None => Verdict::note(format!("{detail}, as [wireguard] keepalive = 0 asks for"))
                .remediation("Nothing to do where the other end has one; else remove keepalive = 0 from [wireguard]"),
        })
    });
    Ok(Verdict::worst(parts.collect(), || {
        "every peer has one".to_owned()
    }))
}

pub(in crate::doctor) fn handshakes(facts: &Facts) -> Judged {
    devices(facts)?;
    let mut parts = Vec::new();
    let mut looked_at = 0_usize;
    for device in &facts.peers {
        for peer in device.peers.iter().filter(|peer| peer.keepalive > 0) {
            looked_at += 1;
            parts.extend(stale(facts.now_unix, &device.device, peer));
        }
    }
    Ok(Verdict::worst(parts, || match looked_at {
        0 => "no peer has a keepalive, so none has to be in touch".to_owned(),
        1 => "1 peer is in touch".to_owned(),
        count => format!("{count} peers are in touch"),
    }))
}

fn stale(now: u64, device: &str, peer: &PeerEntry) -> Option<Verdict> {
    let key = peer.public_key.get(..8).unwrap_or_default();
    let age = match peer.latest_handshake_unix {
        // A clock that was set back makes the future of it.
        Some(at) => now.saturating_sub(at),
        None if peer.endpoint.is_none() => {
            return Some(Verdict::note(format!(
                "{device}: {key} has no endpoint and was not heard yet"
            )));
        }
        None => return Some(Verdict::warning(format!("{device}: {key} never answered"))),
    };
    (age > HANDSHAKE_STALE)
        .then(|| Verdict::warning(format!("{device}: {key} was heard {age} s ago")))
}

pub(in crate::doctor) fn port(facts: &Facts) -> Judged {
    let devices = devices(facts)?;
    let (settings, seen) = facts.seen()?;
    let in_kernel = |name: &InterfaceName| {
        let mut links = seen.links.iter().filter(|link| link.name == *name);
        links.any(|link| link.kind == LinkKind::WireGuard)
    };
    let range = facts.sysctls.get("net.ipv4.ip_local_port_range");
    let range = range.and_then(|text| two_ports(text));
    let judge = |(name, device): (&InterfaceName, &Device)| {
        let port = device.listen_port?;
        let detail = format!("{name} listens on {port}");
        match facts.mode()? {
            Mode::Mirrored if !in_kernel(name) => None,
            Mode::Mirrored => match range {
                Some((first, last)) if (first..=last).contains(&port) => None,
                Some((first, last)) => Some(Verdict::warning(format!(
                    "{detail}, outside of {first} to {last}, which Windows keeps for this machine"
                ))),
                None => None,
            },
            Mode::Consomme if in_kernel(name) => Some(Verdict::warning(format!(
                "{detail} in the kernel, which Windows does not see"
            ))
            // Windows reserves a range of ports in mirrored mode alone.
            .remediation("Use a userspace WireGuard (wireguard-go), whose bind Windows sees; or set networkingMode=nat in %UserProfile%\\.wslconfig and add a UDP forward (`sudo wslmesh forward add NAME --protocol udp --listen-port PORT`)")),
            Mode::Nat => settings
                .forwards
                .iter()
                .any(|forward| {
                    forward.protocol == Protocol::Udp
                        && forward.connect_port.get() == port
                        && forward.listen_port.get() >= DYNAMIC
                })
                .then(|| {
                    Verdict::note(format!(
                        "{detail}; on Windows its forward has a port from the range that Windows hands out"
                    ))
                    .remediation("Nothing to do while it works; to be safe choose a listen-port below 49152")
                }),
            Mode::Consomme | Mode::Bridged | Mode::None | Mode::NotWsl => None,
        }
    };
    let parts = devices.iter().copied().filter_map(judge).collect();
    Ok(Verdict::worst(parts, || {
        let ports = devices
            .iter()
            .filter_map(|(name, device)| Some(format!("{name} {}", device.listen_port?)));
        some(&ports.collect::<Vec<_>>())
    }))
}

/// Two numbers with a tab between, as the kernel prints a range.
fn two_ports(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

pub(in crate::doctor) fn reachable(facts: &Facts) -> Judged {
    let devices = devices(facts)?;
    if facts.mode() != Some(Mode::Nat) {
        return Err(Skip::Nothing(
            "Windows has nothing to forward in this mode".to_owned(),
        ));
    }
    let settings = facts.settings()?;
    let forwarded = |port: u16| {
        settings
            .forwards
            .iter()
            .any(|forward| forward.protocol == Protocol::Udp && forward.connect_port.get() == port)
    };
    let part = |(name, device): (&InterfaceName, &Device)| {
        let port = device.listen_port?;
        (!forwarded(port)).then(|| {
            Verdict::note(format!("nothing leads from Windows to {name}'s port {port}"))
                .remediation(format!("Nothing to do while this end begins every session; else `sudo wslmesh forward add {name} --protocol udp --listen-port {port}`"))
        })
    };
    let parts = devices.into_iter().filter_map(part).collect();
    Ok(Verdict::worst(parts, || "a forward leads to it".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        Check,
        testing::{device, name, peer, table},
    };

    fn reading(facts: &mut Facts, reading: DeviceReading) {
        facts.change(|seen| drop(seen.wireguard.insert(name("wg0"), reading)));
    }

    fn none(facts: &mut Facts) {
        facts.change(|seen| seen.wireguard.clear());
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
        facts.change(|seen| seen.mode = crate::model::ModeState::Known(mode));
    }

    fn heard(facts: &mut Facts, ago: Option<u64>, endpoint: bool, keepalive: u16) {
        let at = ago.map(|ago| facts.now_unix - ago);
        facts.peers[0].peers = vec![peer(at, endpoint, keepalive)];
    }

    fn userspace(facts: &mut Facts) {
        facts.change(|seen| seen.links[2].kind = LinkKind::WireGuardUserspace);
    }

    fn port_is(facts: &mut Facts, port: u16) {
        reading(facts, DeviceReading::Device(device(port, 25)));
    }

    #[test]
    fn devices_and_keepalives() {
        table! { Check::WireguardAnswers;
            "none": none => Skipped, "no WireGuard device";
            "an ordinary user": user => Skipped, "needs root";
            "silent": silent => Failed, "EPERM";
            "busy": |f| reading(f, DeviceReading::Busy("wg-quick is activating".into())) => Note, "wg-quick";
        }
        table! { Check::WireguardKeepalive;
            "none": none => Skipped, "no WireGuard device";
            "an ordinary user": user => Skipped, "needs root";
            "silent": silent => Skipped, "answers";
            "off": |f| reading(f, DeviceReading::Device(device(41820, 0))) => Warning, "wg0: 1 of 1 peers";
            "off on purpose": |f| {
                reading(f, DeviceReading::Device(device(41820, 0)));
                f.settings.as_mut().unwrap().keepalive = None;
            } => Note, "as [wireguard] keepalive = 0 asks";
        }
    }

    #[test]
    fn peers() {
        table! { Check::WireguardHandshake;
            "none": none => Skipped, "no WireGuard device";
            "an ordinary user": user => Skipped, "needs root";
            "old": |f| heard(f, Some(181), true, 25) => Warning, "wg0: AQEBAQEB was heard 181 s ago";
            "just in time": |f| heard(f, Some(180), true, 25) => Ok, "1 peer";
            "the future": |f| { heard(f, Some(0), true, 25); f.now_unix -= 500 } => Ok, "1 peer";
            "never": |f| heard(f, None, true, 25) => Warning, "never answered";
            "a roaming peer": |f| heard(f, None, false, 25) => Note, "no endpoint";
            "without keepalive": |f| heard(f, Some(9999), true, 0) => Ok, "no peer has a keepalive";
        }
    }

    #[test]
    fn listen_ports() {
        table! { Check::WireguardPort;
            "none": none => Skipped, "no WireGuard device";
            "mirrored, outside": |f| { mode(f, Mode::Mirrored); port_is(f, 9) } => Warning, "outside of 32768 to 60999";
            "mirrored, inside": |f| mode(f, Mode::Mirrored) => Ok, "wg0 41820";
            "mirrored, userspace": |f| { mode(f, Mode::Mirrored); port_is(f, 9); userspace(f) } => Ok, "wg0 9";
            "mirrored, range unknown": |f| { mode(f, Mode::Mirrored); port_is(f, 9); f.sysctls.clear() } => Ok, "wg0 9";
            "consomme": |f| mode(f, Mode::Consomme) => Warning, "does not see";
            "consomme, userspace": |f| { mode(f, Mode::Consomme); userspace(f) } => Ok, "wg0 41820";
            "dynamic": |f| {
                port_is(f, 51820);
                let wg = &mut f.settings.as_mut().unwrap().forwards[1];
                (wg.listen_port, wg.connect_port) = (51820.try_into().unwrap(), 51820.try_into().unwrap());
            } => Note, "hands out";
        }
        table! { Check::WireguardReachable;
            "none": none => Skipped, "no WireGuard device";
            "mirrored": |f| mode(f, Mode::Mirrored) => Skipped, "nothing to forward";
            "another port": |f| port_is(f, 9) => Note, "wg0's port 9";
        }
    }

    #[test]
    fn the_fix_is_the_modes() {
        for (mode, word) in [
            (Mode::Consomme, "wireguard-go"),
            (Mode::Mirrored, "ip_local_port_range"),
        ] {
            let mut facts = crate::doctor::testing::healthy();
            facts.change(|seen| seen.mode = crate::model::ModeState::Known(mode));
            facts
                .sysctls
                .insert("net.ipv4.ip_local_port_range", "50000 54095".into());
            let verdict = port(&facts).unwrap();
            let remediation = verdict.remediation.as_deref();
            let remediation = remediation.unwrap_or_else(|| Check::WireguardPort.remediation());
            assert!(
                verdict.grade.is_trouble() && remediation.contains(word),
                "{mode}: {remediation}"
            );
            assert_eq!(
                remediation.contains("ip_local_port_range"),
                mode == Mode::Mirrored
            );
        }
    }
}
