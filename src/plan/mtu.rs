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
mod tests {
    use super::*;
    use crate::{
        config::settings,
        plan::testing::{Machine, planned},
    };

    fn outcome(machine: &Machine, config: &str) -> Vec<String> {
        let (settings, seen) = (settings(config), machine.seen());
        let plan = planned(&settings, &seen, plan);
        let actions = plan.actions.iter().map(ToString::to_string);
        actions
            .chain(
                plan.findings
                    .iter()
                    .map(|finding| format!("{} {}", finding.code, finding.subject)),
            )
            .collect()
    }

    #[test]
    fn tunnels_and_what_is_below() {
        let tunnel = |below: u32| {
            Machine::new()
                .link("eth0", LinkKind::Other, below)
                .address("eth0", "172.28.16.5/20")
                .route("eth0", "172.28.16.1", 0)
                .link("wg0", LinkKind::WireGuard, 1420)
        };
        let done = |below: u32| tunnel(below).with(|seen| seen.links[1].mtu = 1280);
        let adapter = |machine: Machine| {
            machine.with(|seen| seen.host.facts.lowest_mtu = Some(("Tailscale".into(), 1280)))
        };
        let lower = "[mtu]\nunderlay = \"lower-tunnel\"";
        let leave = "[mtu]\nunderlay = \"leave\"";
        let table: Vec<(&str, Machine, &str, Vec<&str>)> = vec![
            (
                "no tunnel: eth0 is left alone",
                Machine::nat().with(|seen| seen.links[0].mtu = 1280),
                "",
                vec![],
            ),
            (
                "a new tunnel",
                tunnel(1500),
                "",
                vec!["wg0 mtu 1420 -> 1280"],
            ),
            ("all as it should be", done(1500), "", vec![]),
            ("just enough", done(1340), "", vec![]),
            (
                "one byte short",
                done(1339),
                "",
                vec!["eth0 mtu 1339 -> 1340 (a tunnel of 1280 needs it)"],
            ),
            (
                "Tailscale on Windows",
                done(1280),
                "",
                vec!["eth0 mtu 1280 -> 1340 (a tunnel of 1280 needs it)"],
            ),
            (
                "the cause is named",
                adapter(done(1280)),
                "",
                vec![
                    "eth0 mtu 1280 -> 1340 (a tunnel of 1280 needs it; the Windows adapter \"Tailscale\" has MTU 1280)",
                ],
            ),
            (
                "IPv6 below needs 80",
                done(1340).address("eth0", "2001:db8::5/64"),
                "",
                vec!["eth0 mtu 1340 -> 1360 (a tunnel of 1280 needs it)"],
            ),
            (
                "mirrored: an adapter's MTU is not raised",
                done(1300).mode(Mode::Mirrored),
                "",
                vec!["wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)"],
            ),
            (
                "not WSL: neither",
                done(1300).mode(Mode::NotWsl),
                "",
                vec!["wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)"],
            ),
            (
                "mirrored with IPv6 in the tunnel: warn instead",
                done(1300).mode(Mode::Mirrored).address("wg0", "fd00::1/64"),
                "",
                vec!["mtu-underlay-small wg0"],
            ),
            (
                "mode not known yet: wait",
                done(1280).with(|seen| seen.mode = ModeState::Pending),
                "",
                vec![],
            ),
            (
                "asked to lower",
                done(1300),
                lower,
                vec!["wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)"],
            ),
            (
                "asked to lower, IPv6 lost",
                done(1300).address("wg0", "fd00::1/64"),
                lower,
                vec![
                    "wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)",
                    "mtu-ipv6-lost wg0",
                ],
            ),
            (
                "too small even for that",
                done(600),
                lower,
                vec!["mtu-underlay-small eth0"],
            ),
            (
                "asked to leave it",
                done(1280),
                leave,
                vec!["mtu-underlay-small eth0"],
            ),
            (
                "a jumbo tunnel cannot be carried by raising",
                tunnel(1500),
                "[mtu]\nvalue = 9000",
                vec!["wg0 mtu 1420 -> 1440 (eth0 carries no more with its MTU 1500)"],
            ),
            (
                "no underlay known: the tunnel all the same",
                Machine::new().link("tailscale0", LinkKind::Tun, 1500),
                "",
                vec!["tailscale0 mtu 1500 -> 1280"],
            ),
            (
                "other links are not tunnels",
                Machine::nat().link("docker0", LinkKind::Other, 1500),
                "",
                vec![],
            ),
            (
                "a pattern that covers the underlay does not shrink it",
                Machine::nat(),
                "[mtu]\ninterfaces = [\"*\"]",
                vec![],
            ),
        ];
        for (case, machine, config, expected) in table {
            assert_eq!(outcome(&machine, config), expected, "{case}");
        }
    }

    proptest::proptest! {
        /// Carrying a plan out leaves nothing to do, whatever the sizes.
        #[test]
        fn converges(below in 68u32..65536, tunnel in 68u32..65536, value in 576u16..=65535, raise in 0..3usize, ipv6 in proptest::bool::ANY) {
            let config = format!("[mtu]\nvalue = {value}\nunderlay = \"{}\"", ["raise", "lower-tunnel", "leave"][raise]);
            let settings = settings(&config);
            let mut machine = Machine::new().link("eth0", LinkKind::Other, below).address("eth0", "10.0.0.2/8").route("eth0", "10.0.0.1", 0).link("wg0", LinkKind::WireGuard, tunnel);
            if ipv6 {
                machine = machine.address("wg0", "fd00::1/64");
            }
            let mut seen = machine.seen();
            for _ in 0..2 {
                let actions = planned(&settings, &seen, plan).actions;
                for action in actions {
                    if let Action::SetMtu(change) = action {
                        proptest::prop_assert!((LEAST..=65535).contains(&change.to));
                        seen.links.iter_mut().filter(|link| link.index == change.index).for_each(|link| link.mtu = change.to);
                    }
                }
            }
            proptest::prop_assert!(planned(&settings, &seen, plan).actions.is_empty());
        }
    }
}
