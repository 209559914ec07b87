//! MTUs: what the tunnels can carry.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, error, info, list, ok, skipped, warning},
    },
    model::{Action, Code, Finding, Link, LinkKind, MtuChange},
};

/// The tunnels whose MTU the configuration sets; skips the check where there is none.
fn tunnels_of(facts: &Facts) -> Result<Vec<&Link>, Verdict> {
    let (settings, observation) = facts.observation()?;
    let node = facts.node().ok().map(|node| node.link);
    let tunnels = settings.tunnels(&observation.links, node.as_ref());
    if tunnels.is_empty() {
        return Err(skipped("no tunnel"));
    }
    Ok(tunnels)
}

/// Tunnels that the configuration does not name: tun devices, as OpenVPN and ZeroTier
/// have, and WireGuard where it is too big for what is below.
fn unnamed(facts: &Facts) -> Result<Option<Verdict>, Verdict> {
    let (settings, observation) = facts.observation()?;
    let node = facts.node().ok().map(|node| node.link);
    let most = node.as_ref().map_or(u32::MAX, |node| node.mtu);
    let mut links: Vec<&Link> = observation.links.iter().collect();
    links.retain(|link| {
        let is_tunnel = link.kind == LinkKind::Tun || link.kind.is_wireguard() && link.mtu >= most;
        is_tunnel && !settings.mtu_interfaces.covers(link) && Some(*link) != node.as_ref()
    });
    if links.is_empty() {
        return Ok(None);
    }
    let each = links
        .iter()
        .map(|link| format!("{} {}", link.name, link.mtu));
    let named = settings.mtu_interfaces.iter().map(ToString::to_string);
    let names = links.iter().map(|link| link.name.to_string());
    let all = Vec::from_iter(named.chain(names));
    let note = info(format!(
        "tunnels that [mtu] interfaces does not name keep their MTU: {}",
        list(each)
    ));
    Ok(Some(note.fix(format!("Ignore this where the program that made them sets it; else set interfaces = {all:?} in the section [mtu] of the configuration"))))
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
    let colon = if change.why.is_empty() { "" } else { ": " };
    let (name, from, to, why) = (&change.name, change.from, change.to, &change.why);
    format!("{name} has {from} and needs {to}{colon}{why}")
}

pub(crate) fn tunnels(facts: &Facts) -> Judged {
    let unnamed = unnamed(facts)?;
    let tunnels = match tunnels_of(facts) {
        Err(_) if unnamed.is_some() => return Ok(all(unnamed, "")),
        tunnels => tunnels?,
    };
    let (mut changes, findings) = planned(facts, Code::MtuIpv6Lost)?;
    changes.retain(|change| tunnels.iter().any(|link| link.name == change.name));
    let wrong = changes.iter().map(|change| warning(detail(change)));
    let lost = findings.into_iter();
    let lost = lost.map(|finding| warning(finding.detail).fix(finding.code.remediation()));
    let each = tunnels.iter();
    let each = each.map(|link| format!("{} {}", link.name, link.mtu));
    Ok(all(wrong.chain(lost).chain(unnamed), list(each)))
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
    let value = facts.local()?.mtu_probing.as_deref();
    let value = value.ok_or_else(|| skipped(format!("this kernel has no {KEY}")))?;
    Ok(match value {
        "0" => info(format!("{KEY} is 0: TCP depends on ICMP")),
        value => ok(format!("{KEY} is {value}")),
    })
}

#[cfg(test)]
mod tests;
