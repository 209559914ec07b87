//! What fits through the tunnels.

use super::super::{
    facts::Facts,
    verdict::{Judged, Skip, Verdict},
};
use crate::model::{Action, Code, Link, LinkKind, MtuChange};

/// The tunnels, or the end of a check that is about them.
fn tunnels_of(facts: &Facts) -> Result<Vec<&Link>, Skip> {
    let below = facts.node().ok().map(|node| node.link.index);
    let tunnels: Vec<&Link> = facts
        .tunnels()?
        .into_iter()
        .filter(|link| link.kind != LinkKind::Loopback && Some(link.index) != below)
        .collect();
    if tunnels.is_empty() {
        Err(Skip::Nothing("there is no tunnel".to_owned()))
    } else {
        Ok(tunnels)
    }
}

/// What a pass would do about MTUs.
fn changes(facts: &Facts) -> Result<Vec<MtuChange>, Skip> {
    let actions = facts.plan()?.actions.into_iter();
    Ok(actions
        .filter_map(|action| match action {
            Action::SetMtu(change) => Some(change),
            _ => None,
        })
        .collect())
}

fn told(change: &MtuChange) -> String {
    let why = if change.why.is_empty() {
        String::new()
    } else {
        format!(": {}", change.why)
    };
    format!(
        "{} has {} and needs {}{why}",
        change.name, change.from, change.to
    )
}

pub(in crate::doctor) fn tunnels(facts: &Facts) -> Judged {
    let tunnels = tunnels_of(facts)?;
    let wrong = changes(facts)?.into_iter().filter(|change| {
        let mut names = tunnels.iter().map(|link| &link.name);
        names.any(|name| *name == change.name)
    });
    let mut parts: Vec<Verdict> = wrong
        .map(|change| Verdict::warning(told(&change)))
        .collect();
    let lost = facts.plan()?.findings.into_iter();
    parts.extend(
        lost.filter(|finding| finding.code == Code::MtuIpv6Lost)
            .map(|finding| {
                Verdict::warning(finding.detail).remediation(finding.code.remediation())
            }),
    );
    Ok(Verdict::worst(parts, || {
        let each = tunnels
            .iter()
            .map(|link| format!("{} {}", link.name, link.mtu));
        each.collect::<Vec<_>>().join(", ")
    }))
}

pub(in crate::doctor) fn underlay(facts: &Facts) -> Judged {
    tunnels_of(facts)?;
    let node = facts.node()?;
    let small = facts
        .plan()?
        .findings
        .into_iter()
        .find(|finding| finding.code == Code::MtuUnderlaySmall);
    if let Some(finding) = small {
        return Ok(Verdict::failed(finding.detail).remediation(finding.code.remediation()));
    }
    let below = changes(facts)?;
    let below = below.iter().find(|change| change.name == node.link.name);
    Ok(match below {
        Some(change) => Verdict::failed(told(change)),
        None => Verdict::ok(format!("{} {}", node.link.name, node.link.mtu)),
    })
}

pub(in crate::doctor) fn probing(facts: &Facts) -> Judged {
    tunnels_of(facts)?;
    let Some(value) = facts.sysctls.get("net.ipv4.tcp_mtu_probing") else {
        return Err(Skip::Nothing(
            "this kernel has no net.ipv4.tcp_mtu_probing".to_owned(),
        ));
    };
    Ok(match value.as_str() {
        "0" => Verdict::note("net.ipv4.tcp_mtu_probing is 0: TCP relies on ICMP alone"),
        value => Verdict::ok(format!("net.ipv4.tcp_mtu_probing is {value}")),
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
        facts.change(|seen| {
            let ours = seen.links.iter_mut().find(|l| l.name == name(link));
            ours.unwrap().mtu = mtu;
        });
    }

    fn no_tunnel(facts: &mut Facts) {
        facts.change(|seen| seen.links.truncate(2));
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
            "too small": |f| mtu(f, "eth0", 1280) => Failed, "eth0 has 1280 and needs 1340";
            "mirrored with IPv6": |f| { mtu(f, "eth0", 1300); f.change(|s| { s.mode = ModeState::Known(Mode::Mirrored); s.addresses.push(address(3, "fd00::1/64")); }); } => Failed, "would end its IPv6";
            "just enough": |f| mtu(f, "eth0", 1340) => Ok, "eth0 1340";
        }
        table! { Check::MtuProbing;
            "no tunnel": no_tunnel => Skipped, "no tunnel";
            "off": |f| drop(f.sysctls.insert("net.ipv4.tcp_mtu_probing", "0".into())) => Note, "ICMP alone";
            "always": |f| drop(f.sysctls.insert("net.ipv4.tcp_mtu_probing", "2".into())) => Ok, "is 2";
            "unknown": |f| f.sysctls.clear() => Skipped, "no net.ipv4.tcp_mtu_probing";
        }
    }
}
