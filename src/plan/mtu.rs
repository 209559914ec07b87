//! MTU of the tunnels, and of the interface that has to carry them.
//!
//! WSL sets eth0 in NAT mode to the lowest MTU of all connected Windows
//! adapters; Tailscale's on Windows has 1280, and then a 1280 byte tunnel no
//! longer fits into eth0: its full packets vanish (tailscale PR #7441).

use ipnet::IpNet;

use crate::{
    config::{Settings, Underlay},
    model::{Action, Code, Link, LinkKind, Mode, ModeState, MtuChange, Observation, Plan},
};

/// What WireGuard adds to a packet inside an IPv4 packet: 20 bytes IP, 8 UDP,
/// 32 its own.
const OVERHEAD_IPV4: u32 = 60;
/// The same inside an IPv6 packet.
const OVERHEAD_IPV6: u32 = 80;
/// Least MTU that IPv6 works with (RFC 8200, section 5).
const IPV6_LEAST: u32 = 1280;
/// Least MTU set here (RFC 1122's packet that every host must take).
const LEAST: u32 = 576;

/// What becomes of the interface below.
enum Below<'a> {
    /// It carries the tunnels, or it is not known yet whether it has to.
    Fits,
    /// It is raised to this MTU.
    Raise(&'a Link, u32),
    /// Tunnels are lowered to this MTU; where that costs a tunnel its IPv6,
    /// only if the user asked for it.
    Lower {
        link: &'a Link,
        most: u32,
        at_any_cost: bool,
    },
    /// It stays too small.
    TooSmall(&'a Link, u32),
}

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    let node = plan.node.clone();
    let underlay = node.as_ref().map(|node| &node.link);
    let is_tunnel = |link: &&Link| {
        settings.mtu_interfaces.matches(&link.name)
            && link.kind != LinkKind::Loopback
            && underlay.is_none_or(|below| below.index != link.index)
    };
    let tunnels: Vec<&Link> = seen.links.iter().filter(is_tunnel).collect();
    if tunnels.is_empty() {
        return;
    }
    let wanted = u32::from(settings.mtu);
    let below = underlay.map_or(Below::Fits, |link| below(settings, seen, link, wanted));
    match below {
        Below::Fits | Below::Lower { .. } => {}
        Below::Raise(link, to) => {
            let why = format!("a tunnel of {wanted} needs it{}", cause(seen, link));
            plan.actions.push(set_mtu(link, to, why));
        }
        Below::TooSmall(link, needed) => {
            let detail = format!(
                "{} has MTU {} and a tunnel of {wanted} needs {needed}{}",
                link.name,
                link.mtu,
                cause(seen, link)
            );
            plan.find(Code::MtuUnderlaySmall, link.name.as_str(), detail);
        }
    }
    for tunnel in tunnels {
        tunnel_part(seen, tunnel, wanted, &below, plan);
    }
}

fn set_mtu(link: &Link, to: u32, why: String) -> Action {
    Action::SetMtu(MtuChange {
        index: link.index,
        name: link.name.clone(),
        from: link.mtu,
        to,
        why,
    })
}

fn tunnel_part(seen: &Observation, tunnel: &Link, wanted: u32, below: &Below, plan: &mut Plan) {
    let mut to = wanted;
    let mut why = String::new();
    if let Below::Lower {
        link,
        most,
        at_any_cost,
    } = below
    {
        let loses_ipv6 = *most < IPV6_LEAST && has_ipv6(seen, tunnel);
        if loses_ipv6 && !at_any_cost {
            let needed = wanted.saturating_add(overhead(seen, link));
            let detail = format!(
                "{} has MTU {}, a tunnel of {wanted} needs {needed}, and lowering {} would end its IPv6{}",
                link.name,
                link.mtu,
                tunnel.name,
                cause(seen, link)
            );
            plan.find(Code::MtuUnderlaySmall, tunnel.name.as_str(), detail);
        } else {
            to = (*most).min(wanted);
            why = format!("{} carries no more with its MTU {}", link.name, link.mtu);
            if loses_ipv6 {
                let detail = format!(
                    "{} gets MTU {to} because {} has {}",
                    tunnel.name, link.name, link.mtu
                );
                plan.find(Code::MtuIpv6Lost, tunnel.name.as_str(), detail);
            }
        }
    }
    if tunnel.mtu != to {
        plan.actions.push(set_mtu(tunnel, to, why));
    }
}

fn below<'a>(settings: &Settings, seen: &Observation, link: &'a Link, wanted: u32) -> Below<'a> {
    let overhead = overhead(seen, link);
    let needed = wanted.saturating_add(overhead);
    if link.mtu >= needed {
        return Below::Fits;
    }
    let most = link.mtu.saturating_sub(overhead);
    let lower = |at_any_cost| {
        if most >= LEAST {
            Below::Lower {
                link,
                most,
                at_any_cost,
            }
        } else {
            Below::TooSmall(link, needed)
        }
    };
    match (settings.underlay, &seen.mode) {
        (Underlay::Leave, _) => Below::TooSmall(link, needed),
        (Underlay::LowerTunnel, _) => lower(true),
        (Underlay::Raise, ModeState::Pending) => Below::Fits,
        // Only in NAT is eth0 a virtual wire to Windows that carries 1500 bytes
        // whatever MTU was copied to it; elsewhere its MTU is an adapter's.
        (Underlay::Raise, ModeState::Known(Mode::Nat)) if needed <= 1500 => {
            Below::Raise(link, needed)
        }
        (Underlay::Raise, ModeState::Known(_) | ModeState::Unknown(_)) => lower(false),
    }
}

/// A tunnel may use IPv6 as soon as the interface has a global IPv6 address.
fn overhead(seen: &Observation, link: &Link) -> u32 {
    if has_ipv6(seen, link) {
        OVERHEAD_IPV6
    } else {
        OVERHEAD_IPV4
    }
}

fn has_ipv6(seen: &Observation, link: &Link) -> bool {
    seen.addresses.iter().any(|address| {
        address.link == link.index && address.global && matches!(address.net, IpNet::V6(_))
    })
}

/// Names the Windows adapter whose MTU was copied, where Windows reported it.
fn cause(seen: &Observation, link: &Link) -> String {
    match &seen.host.facts.lowest_mtu {
        Some((adapter, mtu)) if *mtu == link.mtu => {
            format!("; the Windows adapter {adapter:?} has MTU {mtu}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
