//! Others who do the same or use the same.

use ipnet::Ipv4Net;

use super::super::{
    facts::{Facts, Pollers, beside_hidden, some},
    verdict::{Judged, Verdict},
};

/// What two subnets of different interfaces share.
pub(in crate::doctor) fn subnets(facts: &Facts) -> Judged {
    let (_, seen) = facts.seen()?;
    let mut nets: Vec<(String, Ipv4Net)> = facts.routes.clone();
    for address in &seen.addresses {
        let link = seen.links.iter().find(|link| link.index == address.link);
        if let (ipnet::IpNet::V4(net), Some(link)) = (address.net, link) {
            nets.push((link.name.to_string(), net.trunc()));
        }
    }
    // `lo` has 127/8 and DNS tunnelling's address, and a default route covers all.
    nets.retain(|(name, net)| name != "lo" && net.prefix_len() > 1);
    nets.sort();
    nets.dedup();
    let mut pairs = Vec::new();
    for (place, (a, first)) in nets.iter().enumerate() {
        for (b, second) in nets.iter().skip(place + 1) {
            let overlap = first.contains(second) || second.contains(first);
            if a != b && overlap && !(of_windows(a) && of_windows(b)) {
                pairs.push(format!("{a} {first} and {b} {second}"));
            }
        }
    }
    Ok(if pairs.is_empty() {
        Verdict::ok("none")
    } else {
        Verdict::warning(some(&pairs))
    })
}

/// In mirrored mode each adapter of Windows is an ethN here, and two of them in one
/// network are Windows' own affair.
fn of_windows(name: &str) -> bool {
    name.starts_with("eth")
}

/// Programs that forward to WSL or carry its network, by their names, of which the
/// kernel tells 15 bytes. The last three are Rancher Desktop's.
const AGENTS: &[&str] = &[
    "wslpp",
    "wsl-vpnkit",
    "wsl-gvproxy",
    "gvforwarder",
    "wsl2-forwarder",
    "vm-switch",
    "network-setup",
    "wsl-proxy",
];

pub(in crate::doctor) fn agents(facts: &Facts) -> Judged {
    let others = facts.running(AGENTS);
    if !others.is_empty() {
        return Ok(Verdict::warning(some(&others)));
    }
    let forwards = facts.processes.iter().filter(|process| {
        let text = process.arguments.to_uppercase();
        process.name == "socat" && (text.contains("-LISTEN:") || text.contains("-RECV"))
    });
    let forwards: Vec<String> = forwards.map(|process| process.arguments.clone()).collect();
    Ok(if forwards.is_empty() {
        Verdict::ok("none runs")
    } else {
        Verdict::note(format!("forwards by hand: {}", some(&forwards)))
            .remediation("Nothing to do where it is meant so; else make it a forward: `sudo wslmesh forward add`")
    })
}

pub(in crate::doctor) fn pollers(facts: &Facts) -> Judged {
    let Pollers { found, hidden } = &facts.pollers;
    let verdict = if found.is_empty() {
        Verdict::ok("none is left")
    } else {
        Verdict::note(some(found))
    };
    beside_hidden(verdict, !found.is_empty(), hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        Check,
        facts::Process,
        testing::{address, table},
    };

    fn runs(facts: &mut Facts, name: &str, arguments: &str) {
        facts.processes.push(Process {
            name: name.into(),
            arguments: arguments.into(),
            folder: None,
        });
    }

    fn route(facts: &mut Facts, name: &str, net: &str) {
        facts.routes.push((name.into(), net.parse().unwrap()));
    }

    #[test]
    fn conflicts() {
        table! { Check::ConflictsSubnets;
            "docker's": |f| f.change(|s| {
                s.links[1].name = crate::doctor::testing::name("docker0");
                s.addresses.push(address(3, "172.28.0.1/16"));
            }) => Warning, "docker0 172.28.16.0/20 and wg0 172.28.0.0/16";
            "a peer's addresses": |f| route(f, "wg0", "172.16.0.0/12") => Warning, "eth0 172.28.16.0/20 and wg0 172.16.0.0/12";
            "everything through the tunnel": |f| { route(f, "wg0", "0.0.0.0/1"); route(f, "wg0", "128.0.0.0/1") } => Ok, "none";
            "two adapters of Windows": |f| route(f, "eth1", "172.28.16.0/20") => Ok, "none";
            "its own": |f| route(f, "eth0", "172.28.16.0/24") => Ok, "none";
        }
        table! { Check::ConflictsAgents;
            "another agent": |f| runs(f, "wsl-vpnkit", "") => Warning, "wsl-vpnkit";
            "Rancher Desktop": |f| { runs(f, "vm-switch", ""); runs(f, "network-setup", ""); runs(f, "wsl-proxy", "") } => Warning, "network-setup, vm-switch, wsl-proxy";
            "socat": |f| runs(f, "socat", "socat TCP-LISTEN:80,fork TCP:10.0.0.1:80") => Note, "TCP-LISTEN:80";
            "socat that talks": |f| runs(f, "socat", "socat - TCP:10.0.0.1:80") => Ok, "none";
        }
        table! { Check::ConflictsPollers;
            "a script": |f| f.pollers.found.push("/etc/cron.d/wsl-ip".into()) => Note, "/etc/cron.d/wsl-ip";
            "hidden": |f| f.pollers.hidden.push("/var/spool/cron/crontabs".into()) => Skipped, "needs root: /var/spool/cron/crontabs";
            "hidden beside one": |f| {
                f.pollers.hidden.push("/var/spool/cron".into());
                f.pollers.found.push("/etc/crontab".into());
            } => Note, "/etc/crontab (needs root: /var/spool/cron)";
        }
    }
}
