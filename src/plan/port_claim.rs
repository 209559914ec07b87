//! The UDP ports of WireGuard in the kernel where Windows shares its ports with this
//! machine (mirrored and consomme mode). Windows passes a port on once a program binds
//! it: WSL holds each bind() until Windows has agreed (microsoft/WSL:
//! src/linux/init/GnsPortTracker.cpp). WireGuard in the kernel never calls bind(), so the
//! agent claims its port, once for each socket: WSL keeps a claim while the kernel shows a
//! socket at the port. Untested on Windows.

use std::fmt;

use crate::{
    config::Settings,
    model::{
        Action, Code, Device, DeviceReading, InterfaceName, LinkKind, Observation, Plan, PortClaim,
    },
};

/// How the port of a WireGuard device comes to be known to Windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortWay {
    /// Its program binds it.
    Userspace,
    /// It is in the range, from first to last, that Windows reserves for this machine.
    Reserved(u16, u16),
    /// Windows has agreed to the claim.
    Claimed,
    /// It is to be claimed.
    Due(PortClaim),
    /// No socket is open: the device is down.
    Closed,
    /// It is not claimed, for this reason.
    Off(&'static str),
    /// The kernel's sockets cannot be read.
    Unreadable(String),
}

impl PortWay {
    /// In one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Userspace => "userspace",
            Self::Reserved(..) => "reserved",
            Self::Claimed => "claimed",
            Self::Due(_) => "due",
            Self::Closed => "closed",
            Self::Off(_) => "off",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl fmt::Display for PortWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Userspace => f.write_str("its program binds it, which Windows sees"),
            Self::Reserved(first, last) => {
                write!(f, "Windows reserves {first} to {last} for this machine")
            }
            Self::Claimed => f.write_str("claimed from Windows, which is untested on Windows"),
            Self::Due(_) => f.write_str("not claimed yet"),
            Self::Closed => f.write_str("the device is down"),
            Self::Off(why) => write!(f, "not claimed: {why}"),
            Self::Unreadable(why) => write!(f, "the kernel's sockets cannot be read: {why}"),
        }
    }
}

/// The ports of all devices that have to be known to Windows, and how they come to be.
#[must_use]
pub fn port_ways(settings: &Settings, seen: &Observation) -> Vec<(InterfaceName, u16, PortWay)> {
    let devices = seen.wireguard.iter();
    let way = |(name, reading): (&InterfaceName, &DeviceReading)| {
        let device = reading.device()?;
        let way = port_way(settings, seen, name, device)?;
        Some((name.clone(), device.listen_port?, way))
    };
    devices.filter_map(way).collect()
}

/// How a device's port comes to be known to Windows; `None` where it need not be, or where
/// the device has no port.
#[must_use]
pub fn port_way(
    settings: &Settings,
    seen: &Observation,
    name: &InterfaceName,
    device: &Device,
) -> Option<PortWay> {
    let mode = seen.mode.known()?;
    if !mode.shares_ports() {
        return None;
    }
    let (port, ports) = (device.listen_port?, &seen.kernel_ports);
    let link = seen.links.iter().find(|link| link.name == *name)?;
    match link.kind {
        LinkKind::WireGuard => {}
        LinkKind::WireGuardUserspace => return Some(PortWay::Userspace),
        _ => return None,
    }
    let within = |(first, last): &(u16, u16)| (*first..=*last).contains(&port);
    if let Some((first, last)) = ports.reserved(mode).filter(within) {
        return Some(PortWay::Reserved(first, last));
    }
    if let Some(why) = &ports.unreadable {
        return Some(PortWay::Unreadable(why.clone()));
    }
    Some(match ports.sockets.get(&port) {
        None => PortWay::Closed,
        Some(socket) if ports.claimed.contains(socket) => PortWay::Claimed,
        Some(_) if !settings.claim_port => PortWay::Off("[wireguard] claim-port = false"),
        Some(_) if !settings.wireguard_interfaces.covers(link) => {
            PortWay::Off("[wireguard] interfaces does not name it")
        }
        Some(socket) => PortWay::Due(PortClaim {
            name: name.clone(),
            port,
            socket: *socket,
        }),
    })
}

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    for (name, _, way) in port_ways(settings, seen) {
        match way {
            PortWay::Due(claim) => plan.actions.push(Action::ClaimPort(claim)),
            PortWay::Unreadable(_) if settings.claim_port => {
                let subject = format!("{name} port");
                plan.find(Code::WireguardPortUnclaimed, subject, way.to_string());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
