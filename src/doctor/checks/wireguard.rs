//! WireGuard devices and their peers.

use crate::{
    config::{Firewall, Forward, Settings},
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, error, info, list, skipped, warning},
    },
    model::{Code, Device, DeviceReading, HANDSHAKE_STALE, InterfaceName, Mode, Protocol, counted},
    plan::{PortWay, port_way},
    report::PeerEntry,
};

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
        // Whether it has peers whose handshake is due is not known then.
        found.extend(device.error.as_ref().map(info));
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
fn forwarded(settings: &Settings, port: u16, suits: impl Fn(&Forward) -> bool) -> bool {
    let udp = settings.forwards.iter();
    let udp = udp.filter(|forward| forward.protocol == Protocol::Udp);
    udp.flat_map(Forward::singles)
        .any(|forward| forward.connect_port.first().get() == port && suits(&forward))
}

pub(crate) fn port(facts: &Facts) -> Judged {
    let devices = devices(facts)?;
    let (settings, observation) = facts.observation()?;
    let (mut found, mut well) = (Vec::new(), Vec::new());
    for (name, device) in devices {
        let Some(port) = device.listen_port else {
            continue;
        };
        let way = port_way(settings, observation, name, device);
        // The agent has asked Windows for the range.
        let dynamic = |forward: &Forward| {
            let mut health = facts.agent.iter().flat_map(|document| &document.health);
            health.any(|entry| {
                entry.code == Code::ForwardDynamicRange.as_str()
                    && entry.subject.as_str() == forward.name
            })
        };
        let how = match way {
            None if facts.mode() == Some(Mode::Nat) && forwarded(settings, port, dynamic) => {
                found.push(info(format!(
                    "{name} listens on {port}; the listen-port of its forward is in the range that Windows assigns dynamically"
                ))
                .fix("Ignore this while it works; to be safe choose a listen-port outside of that range"));
                continue;
            }
            None => String::new(),
            Some(
                way @ (PortWay::Userspace
                | PortWay::Reserved(..)
                | PortWay::Claimed
                | PortWay::Closed),
            ) => format!(" ({way})"),
            Some(PortWay::Due(_)) => {
                found.push(unknown(
                    facts,
                    name,
                    port,
                    "and the agent has not asked for it, or Windows refused",
                ));
                continue;
            }
            Some(PortWay::Off(why)) => {
                found.push(unknown(facts, name, port, why));
                continue;
            }
            Some(PortWay::Unreadable(why)) => {
                let why = format!("and the kernel's sockets cannot be read: {why}");
                found.push(unknown(facts, name, port, &why));
                continue;
            }
        };
        well.push(format!("{name} {port}{how}"));
    }
    Ok(all(found, list(well)))
}

/// Windows does not know a port of WireGuard in the kernel.
fn unknown(facts: &Facts, name: &InterfaceName, port: u16, why: &str) -> Verdict {
    let reserved = || {
        facts
            .observation
            .as_ref()
            .ok()?
            .kernel_ports
            .reserved(facts.mode()?)
    };
    let better = match reserved() {
        Some((first, last)) => format!(
            "Set ListenPort in /etc/wireguard/{name}.conf to a port within net.ipv4.ip_local_port_range ({first} to {last}), which mirrored mode reserves for this machine, and run `sudo systemctl restart wg-quick@{name}`; or use"
        ),
        None => "Use".to_owned(),
    };
    warning(format!(
        "{name} listens on {port} in the kernel, which Windows does not see: {why}"
    ))
    .fix(format!(
        "{better} a userspace WireGuard (wireguard-go), whose port Windows sees; or have the agent claim the port: start it (`sudo systemctl enable --now wslmesh`), with claim-port = true and {name} in interfaces of [wireguard]"
    ))
}

pub(crate) fn reachable(facts: &Facts) -> Judged {
    let devices = devices(facts)?;
    let settings = facts.settings()?;
    let opens = |forward: &Forward| forward.firewall != Firewall::None;
    let mirrored = match facts.mode() {
        Some(Mode::Nat) => false,
        // It needs no forward there, and the rule that one brings.
        Some(Mode::Mirrored) => true,
        _ => return Err(skipped("no forward is needed in this mode")),
    };
    let found = devices.into_iter().filter_map(|(name, device)| {
        let port = device.listen_port?;
        let (covered, detail) = match mirrored {
            false => (
                forwarded(settings, port, |_| true),
                format!("no forward leads from Windows to {name}'s port {port}"),
            ),
            true => (
                forwarded(settings, port, opens),
                format!("no UDP forward has Windows' firewall let peers in to {name}'s port {port}"),
            ),
        };
        let fix = format!("Ignore this while this node starts every session; else run `sudo wslmesh forward add {name} --protocol udp --listen-port {port}`");
        (!covered).then(|| info(detail).fix(fix))
    });
    Ok(all(found, "a forward leads to it"))
}

#[cfg(test)]
mod tests;
