//! WireGuard devices and their peers.

use crate::{
    config::Settings,
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, error, info, list, skipped, warning},
    },
    model::{
        Device, DeviceReading, HANDSHAKE_STALE, InterfaceName, LinkKind, Mode, Protocol, counted,
    },
    report::PeerEntry,
};

/// The first of Windows' dynamic ports.
const DYNAMIC: u16 = 49152;

/// All devices; skips the check where there is none, or none that this user can read.
fn readings(facts: &Facts) -> Result<Vec<(&InterfaceName, &DeviceReading)>, Verdict> {
    let (_, observation) = facts.observation()?;
    let all: Vec<_> = observation.wireguard.iter().collect();
    if all.is_empty() {
        return Err(skipped("no WireGuard device"));
    }
    if !facts.root && all.iter().all(|(_, reading)| reading.device().is_none()) {
        return Err(skipped("needs root: WireGuard devices"));
    }
    Ok(all)
}

/// The devices that could be read; skips the check where there is none.
fn devices(facts: &Facts) -> Result<Vec<(&InterfaceName, &Device)>, Verdict> {
    let readings = readings(facts)?.into_iter();
    let devices: Vec<_> = readings
        .filter_map(|(name, reading)| Some((name, reading.device()?)))
        .collect();
    if devices.is_empty() {
        return Err(skipped("no WireGuard device answers"));
    }
    Ok(devices)
}

pub(crate) fn answers(facts: &Facts) -> Judged {
    let readings = readings(facts)?;
    let found = readings.iter().filter_map(|(name, reading)| match reading {
        DeviceReading::Device(_) => None,
        DeviceReading::Busy(why) => Some(info(format!("{name}: {why}"))),
        DeviceReading::Unreadable(why) => Some(error(why)),
    });
    let names = readings.iter().map(|(name, _)| name);
    Ok(all(found, list(names)))
}

pub(crate) fn keepalive(facts: &Facts) -> Judged {
    let configured = facts.settings()?.keepalive;
    let found = devices(facts)?.into_iter().filter_map(|(name, device)| {
        let (without, all) = (device.without_keepalive().count(), device.peers.len());
        let detail = format!("{name}: {without} of {all} peers have no keepalive");
        (without > 0).then(|| match configured {
            Some(_) => warning(detail),
            None => info(format!("{detail}, because [wireguard] keepalive = 0")).fix(
                "Ignore this if the other end has one; else remove keepalive = 0 from [wireguard]",
            ),
        })
    });
    Ok(all(found, "every peer has one"))
}

pub(crate) fn handshakes(facts: &Facts) -> Judged {
    devices(facts)?;
    let (mut peers, mut found) = (0, Vec::new());
    for device in &facts.peers {
        for peer in device.peers.iter().filter(|peer| peer.keepalive > 0) {
            peers += 1;
            found.extend(handshake(facts.now_unix, &device.device, peer));
        }
    }
    let recent = match peers {
        0 => "no peer has a keepalive, so no handshake is due".to_owned(),
        peers => format!("{} with a recent handshake", counted(peers, "peer")),
    };
    Ok(all(found, recent))
}

/// What is wrong with a peer's latest handshake.
fn handshake(now: u64, device: &str, peer: &PeerEntry) -> Option<Verdict> {
    let key = peer.public_key.get(..8).unwrap_or_default();
    if let Some(at) = peer.latest_handshake_unix {
        // After the clock was set back this may be in the future.
        let age = now.saturating_sub(at);
        let detail = format!("{device}: the latest handshake of peer {key} was {age} s ago");
        return (age > HANDSHAKE_STALE).then(|| warning(detail));
    }
    Some(match peer.endpoint {
        None => info(format!(
            "{device}: peer {key} has no endpoint and has not connected yet"
        )),
        Some(_) => warning(format!("{device}: peer {key} never answered")),
    })
}

/// Whether a UDP forward leads to this port and satisfies the condition.
fn forwarded(settings: &Settings, port: u16, listens: impl Fn(u16) -> bool) -> bool {
    settings.forwards.iter().any(|forward| {
        forward.protocol == Protocol::Udp
            && forward.connect_port.get() == port
            && listens(forward.listen_port.get())
    })
}

pub(crate) fn port(facts: &Facts) -> Judged {
    let devices = devices(facts)?;
    let (settings, observation) = facts.observation()?;
    let in_kernel = |name: &InterfaceName| {
        let mut links = observation.links.iter();
        links.any(|link| link.name == *name && link.kind == LinkKind::WireGuard)
    };
    let range = facts.local()?.port_range.as_deref().and_then(two_ports);
    let judge = |(name, device): &(&InterfaceName, &Device)| {
        let port = device.listen_port?;
        let detail = format!("{name} listens on {port}");
        match facts.mode()? {
            Mode::Mirrored if in_kernel(name) => {
                let (first, last) = range.filter(|(first, last)| !(*first..=*last).contains(&port))?;
                Some(warning(format!(
                    "{detail}, outside of {first} to {last}, which Windows reserves for this machine"
                )))
            }
            // Windows reserves a range of ports in mirrored mode alone.
            Mode::Consomme if in_kernel(name) => Some(
                warning(format!("{detail} in the kernel, which Windows does not see"))
                    .fix("Use a userspace WireGuard (wireguard-go), whose bind Windows sees; or set networkingMode=nat in %UserProfile%\\.wslconfig and add a UDP forward (`sudo wslmesh forward add NAME --protocol udp --listen-port PORT`)"),
            ),
            Mode::Nat => forwarded(settings, port, |listens| listens >= DYNAMIC).then(|| {
                info(format!(
                    "{detail}; the listen-port of its forward is in the range that Windows assigns dynamically"
                ))
                .fix("Ignore this while it works; to be safe choose a listen-port below 49152")
            }),
            Mode::Mirrored | Mode::Consomme | Mode::Bridged | Mode::None | Mode::NotWsl => None,
        }
    };
    let ports = devices.iter();
    let ports = ports.filter_map(|(name, device)| Some(format!("{name} {}", device.listen_port?)));
    Ok(all(devices.iter().filter_map(judge), list(ports)))
}

/// Two numbers with a tab between, as the kernel prints a range.
fn two_ports(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

pub(crate) fn reachable(facts: &Facts) -> Judged {
    let devices = devices(facts)?;
    if facts.mode() != Some(Mode::Nat) {
        return Err(skipped("no forward is needed in this mode"));
    }
    let settings = facts.settings()?;
    let found = devices.into_iter().filter_map(|(name, device)| {
        let port = device.listen_port?;
        (!forwarded(settings, port, |_| true)).then(|| {
            info(format!("no forward leads from Windows to {name}'s port {port}"))
                .fix(format!("Ignore this while this node starts every session; else run `sudo wslmesh forward add {name} --protocol udp --listen-port {port}`"))
        })
    });
    Ok(all(found, "a forward leads to it"))
}

#[cfg(test)]
mod tests;
