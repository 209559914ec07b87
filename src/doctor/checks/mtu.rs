//! MTUs: what the tunnels can carry.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, error, info, ok, skipped, warning},
    },
    model::{Action, Code, Finding, Link, LinkKind, MtuChange},
};

/// The tunnels; skips the check where there is none.
fn tunnels_of(facts: &Facts) -> Result<Vec<&Link>, Verdict> {
    let below = facts.node().ok().map(|node| node.link.index);
    let mut tunnels = facts.tunnels()?;
    tunnels.retain(|link| link.kind != LinkKind::Loopback && Some(link.index) != below);
    if tunnels.is_empty() {
        return Err(skipped("no tunnel"));
    }
    Ok(tunnels)
}

/// What a pass would change about MTUs, and its findings with this code.
fn planned(facts: &Facts, code: Code) -> Result<(Vec<MtuChange>, Vec<Finding>), Verdict> {
    let mut plan = facts.plan()?;
    plan.findings.retain(|finding| finding.code == code);
    let actions = plan.actions.into_iter();
    let changes = actions.filter_map(|action| match action {
        Action::SetMtu(change) => Some(change),
        _ => None,
    });
    Ok((changes.collect(), plan.findings))
}

fn detail(change: &MtuChange) -> String {
    let MtuChange {
        name,
        from,
        to,
        why,
        ..
    } = change;
    let colon = if why.is_empty() { "" } else { ": " };
    format!("{name} has {from} and needs {to}{colon}{why}")
}

pub(crate) fn tunnels(facts: &Facts) -> Judged {
    let tunnels = tunnels_of(facts)?;
    let (mut changes, findings) = planned(facts, Code::MtuIpv6Lost)?;
    changes.retain(|change| tunnels.iter().any(|link| link.name == change.name));
    let wrong = changes.iter().map(|change| warning(detail(change)));
    let lost = findings.into_iter();
    let lost = lost.map(|finding| warning(finding.detail).fix(finding.code.remediation()));
    Ok(all(wrong.chain(lost), || {
        let each = tunnels.iter();
        let each = each.map(|link| format!("{} {}", link.name, link.mtu));
        each.collect::<Vec<_>>().join(", ")
    }))
}

pub(crate) fn underlay(facts: &Facts) -> Judged {
    tunnels_of(facts)?;
    let node = facts.node()?;
    let (changes, findings) = planned(facts, Code::MtuUnderlaySmall)?;
    if let Some(finding) = findings.into_iter().next() {
        return Ok(error(finding.detail).fix(finding.code.remediation()));
    }
    let change = changes.iter().find(|change| change.name == node.link.name);
    Ok(match change {
        Some(change) => error(detail(change)),
        None => ok(format!("{} {}", node.link.name, node.link.mtu)),
    })
}

pub(crate) fn probing(facts: &Facts) -> Judged {
    const KEY: &str = "net.ipv4.tcp_mtu_probing";
    tunnels_of(facts)?;
    let value = facts.sysctls.get(KEY);
    let value = value.ok_or_else(|| skipped(format!("this kernel has no {KEY}")))?;
    Ok(match value.as_str() {
        "0" => info(format!("{KEY} is 0: TCP depends on ICMP")),
        value => ok(format!("{KEY} is {value}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::settings,
        doctor::{
            Check,
            testing::{address, name, table},
        },
        model::{Mode, ModeState},
    };

    fn mtu(facts: &mut Facts, link: &str, mtu: u32) {
        facts.change(|observation| {
            let ours = observation.links.iter_mut().find(|l| l.name == name(link));
            ours.unwrap().mtu = mtu;
        });
    }

    fn no_tunnel(facts: &mut Facts) {
        facts.change(|o| o.links.truncate(2));
    }

    fn lower(facts: &mut Facts) {
        facts.settings = Ok(settings("[mtu]\nunderlay = \"lower-tunnel\""));
    }

    #[test]
    fn tunnels_and_what_is_below() {
        table! { Check::TunnelMtu;
            "no tunnel": no_tunnel => Skipped, "no tunnel";
            "too large": |f| mtu(f, "wg0", 1420) => Warning, "wg0 has 1420 and needs 1280";
            "lowered": |f| { lower(f); mtu(f, "eth0", 1300) } => Warning, "needs 1240";
            "lowered below IPv6": |f| { lower(f); mtu(f, "eth0", 1300); mtu(f, "wg0", 1240); f.change(|s| s.addresses.push(address(3, "fd00::1/64"))); } => Warning, "wg0 gets MTU 1240";
            "eth0 is another check's": |f| mtu(f, "eth0", 1280) => Ok, "wg0 1280";
        }
        table! { Check::UnderlayMtu;
            "no tunnel": no_tunnel => Skipped, "no tunnel";
            "too small": |f| mtu(f, "eth0", 1280) => Error, "eth0 has 1280 and needs 1340";
            "mirrored with IPv6": |f| { mtu(f, "eth0", 1300); f.change(|s| { s.mode = ModeState::Known(Mode::Mirrored); s.addresses.push(address(3, "fd00::1/64")); }); } => Error, "would end its IPv6";
            "just enough": |f| mtu(f, "eth0", 1340) => Ok, "eth0 1340";
        }
        table! { Check::MtuProbing;
            "no tunnel": no_tunnel => Skipped, "no tunnel";
            "off": |f| drop(f.sysctls.insert("net.ipv4.tcp_mtu_probing", "0".into())) => Info, "depends on ICMP";
            "always": |f| drop(f.sysctls.insert("net.ipv4.tcp_mtu_probing", "2".into())) => Ok, "is 2";
            "unknown": |f| f.sysctls.clear() => Skipped, "no net.ipv4.tcp_mtu_probing";
        }
    }
}
