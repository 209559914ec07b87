//! Other programs that do the same or use the same.

use ipnet::{IpNet, Ipv4Net};

use crate::doctor::{
    facts::{Facts, Pollers},
    verdict::{Judged, all, beside_hidden, info, list, warning},
};

/// Subnets of different interfaces that overlap.
pub(crate) fn subnets(facts: &Facts) -> Judged {
    let (_, observation) = facts.observation()?;
    let mut nets: Vec<(String, Ipv4Net)> = facts.local()?.routes.clone();
    for address in &observation.addresses {
        if let (IpNet::V4(net), Some(link)) = (address.net, observation.link(address.link)) {
            nets.push((link.name.to_string(), net.trunc()));
        }
    }
    // `lo` has 127/8 and DNS tunnelling's address, and a default route covers all.
    nets.retain(|(name, net)| name != "lo" && net.prefix_len() > 1);
    nets.sort();
    nets.dedup();
    let mut found = Vec::new();
    for (index, (a, first)) in nets.iter().enumerate() {
        for (b, second) in nets.iter().skip(index + 1) {
            let overlap = first.contains(second) || second.contains(first);
            if a != b && overlap && !(is_windows_adapter(a) && is_windows_adapter(b)) {
                found.push(warning(format!("{a} {first} and {b} {second} overlap")));
            }
        }
    }
    Ok(all(found, "none"))
}

/// In mirrored mode each adapter of Windows is an ethN here; two of them in one
/// network are configured so on Windows.
fn is_windows_adapter(name: &str) -> bool {
    name.starts_with("eth")
}

/// Programs that forward to WSL or provide its network, by name, of which the kernel
/// keeps 15 bytes. The last three are Rancher Desktop's.
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

pub(crate) fn agents(facts: &Facts) -> Judged {
    let others = facts.running(|process| AGENTS.contains(&process.name.as_str()))?;
    if !others.is_empty() {
        return Ok(warning(format!("running: {}", list(others))));
    }
    let forwards = facts.local()?.processes.iter().filter(|process| {
        let text = process.arguments.to_uppercase();
        process.name == "socat" && (text.contains("-LISTEN:") || text.contains("-RECV"))
    });
    let found = forwards.map(|process| {
        info(format!("forwards by hand: {}", process.arguments)).fix(
            "Ignore this if it is intended; else make it a forward: `sudo wslmesh forward add`",
        )
    });
    Ok(all(found, "none runs"))
}

pub(crate) fn pollers(facts: &Facts) -> Judged {
    let Pollers { found, hidden } = &facts.local()?.pollers;
    let scripts = found.iter();
    let scripts = scripts.map(|script| info(format!("{script} polls for the address")));
    let verdict = all(scripts, "none");
    Ok(beside_hidden(verdict, !found.is_empty(), hidden))
}

#[cfg(test)]
mod tests;
