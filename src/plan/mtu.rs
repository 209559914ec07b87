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

/// Tunnels are lowered because of the interface below.
#[derive(Clone, Copy)]
struct Lower<'a> {
    below: &'a Link,
    /// The MTU that the tunnels need it to have.
    needed: u32,
    /// The most that a tunnel can have instead.
    most: u32,
}

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    let underlay = plan.node.as_ref().map(|node| node.link.clone());
    let underlay = underlay.as_ref();
    let tunnels = settings.tunnels(&seen.links, underlay);
    // A tunnel whose peers are not known leaves by the node's interface.
    let over_node = |tunnel: &Link| {
        let carriers = carriers(seen, tunnel);
        carriers.is_empty() || carriers.iter().any(|link| Some(*link) == underlay)
    };
    let node = underlay.filter(|_| tunnels.iter().any(|tunnel| over_node(tunnel)));
    let node = node.and_then(|below| below_part(settings, seen, below, plan));
    for tunnel in tunnels {
        let carriers = carriers(seen, tunnel).into_iter();
        let others = carriers.filter(|link| Some(*link) != underlay);
        let lower = others.filter_map(|below| over_tunnel(settings, seen, below));
        let lower = lower.chain(node.filter(|_| over_node(tunnel)));
        tunnel_part(
            settings,
            seen,
            tunnel,
            lower.min_by_key(|lower| lower.most),
            plan,
        );
    }
}

/// What carries a WireGuard device's packets, as far as that is known.
fn carriers<'a>(seen: &'a Observation, tunnel: &Link) -> Vec<&'a Link> {
    let carriers = seen.carriers.get(&tunnel.name);
    let is_carrier = |link: &&Link| {
        let listed = carriers.is_some_and(|carriers| carriers.contains(&link.index));
        listed && link.index != tunnel.index && link.kind != LinkKind::Loopback
    };
    seen.links.iter().filter(is_carrier).collect()
}

/// A tunnel over another interface than the node's, such as another tunnel, is never
/// bigger than that carries.
fn over_tunnel<'a>(settings: &Settings, seen: &Observation, below: &'a Link) -> Option<Lower<'a>> {
    let overhead = overhead(seen, below);
    let needed = u32::from(settings.mtu).saturating_add(overhead);
    (below.mtu < needed).then(|| Lower {
        below,
        needed,
        most: below.mtu.saturating_sub(overhead).max(LEAST),
    })
}

/// A tunnel may use IPv6 as soon as the interface below has a global IPv6 address.
fn overhead(seen: &Observation, below: &Link) -> u32 {
    if has_ipv6(seen, below) {
        OVERHEAD_IPV6
    } else {
        OVERHEAD_IPV4
    }
}

fn set_mtu(link: &Link, to: u32, why: String) -> Action {
    Action::SetMtu(MtuChange {
        index: link.index,
        name: link.name.clone(),
        up: link.up,
        from: link.mtu,
        to,
        why,
    })
}

/// Raises the interface below where it is too small, or has the tunnels lowered.
fn below_part<'a>(
    settings: &Settings,
    seen: &Observation,
    below: &'a Link,
    plan: &mut Plan,
) -> Option<Lower<'a>> {
    let wanted = u32::from(settings.mtu);
    let overhead = overhead(seen, below);
    let needed = wanted.saturating_add(overhead);
    let most = below.mtu.saturating_sub(overhead);
    match (settings.underlay, &seen.mode) {
        _ if below.mtu >= needed => {}
        // It is not known yet whether it has to carry them.
        (Underlay::Raise, ModeState::Pending) => {}
        // Only in NAT is eth0 a virtual wire to Windows that carries 1500 bytes
        // whatever MTU was copied to it; elsewhere its MTU is an adapter's.
        (Underlay::Raise, ModeState::Known(Mode::Nat)) if needed <= 1500 => {
            let why = format!("a tunnel of {wanted} needs it{}", cause(seen, below));
            plan.actions.push(set_mtu(below, needed, why));
        }
        (Underlay::Raise | Underlay::LowerTunnel, _) if most >= LEAST => {
            return Some(Lower {
                below,
                needed,
                most,
            });
        }
        (Underlay::Raise | Underlay::LowerTunnel | Underlay::Leave, _) => {
            let detail = format!(
                "{} has MTU {} and a tunnel of {wanted} needs {needed}{}",
                below.name,
                below.mtu,
                cause(seen, below)
            );
            plan.find(Code::MtuUnderlaySmall, below.name.as_str(), detail);
        }
    }
    None
}

fn tunnel_part(
    settings: &Settings,
    seen: &Observation,
    tunnel: &Link,
    lower: Option<Lower<'_>>,
    plan: &mut Plan,
) {
    let (mut to, mut why) = (u32::from(settings.mtu), String::new());
    if let Some(Lower {
        below,
        needed,
        most,
    }) = lower
    {
        let loses_ipv6 = most < IPV6_LEAST && has_ipv6(seen, tunnel);
        // Where it costs a tunnel its IPv6, only if the user asked for it.
        let stays = match settings.underlay {
            Underlay::LowerTunnel => false,
            Underlay::Leave => true,
            Underlay::Raise => loses_ipv6,
        };
        if stays {
            let detail = format!(
                "{} has MTU {}, a tunnel of {to} needs {needed}{}{}",
                below.name,
                below.mtu,
                if loses_ipv6 {
                    format!(", and lowering {} would end its IPv6", tunnel.name)
                } else {
                    String::new()
                },
                cause(seen, below)
            );
            plan.find(Code::MtuUnderlaySmall, tunnel.name.as_str(), detail);
            to = to.min(tunnel.mtu);
        } else {
            to = most;
            why = format!("{} carries no more with its MTU {}", below.name, below.mtu);
            if loses_ipv6 {
                let detail = format!(
                    "{} gets MTU {to} because {} has {}",
                    tunnel.name, below.name, below.mtu
                );
                plan.find(Code::MtuIpv6Lost, tunnel.name.as_str(), detail);
            }
        }
    }
    if tunnel.mtu != to {
        plan.actions.push(set_mtu(tunnel, to, why));
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
