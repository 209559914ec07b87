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
mod tests;
