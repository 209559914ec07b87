//! Forwards for what was discovered. They come after all that is configured, in any
//! distribution, and never take a port of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    config::{Backend, Forward, Remarks, Settings},
    model::{
        Code, DISCOVERED, Discovered, Finding, Listen, Listener, Mode, Observation, RelayLocation,
        RelayRole, counted, some_of,
    },
};

/// What the names of these forwards begin with.
const PREFIX: &str = "auto-";
/// Most of them in one distribution.
pub(super) const MOST: usize = 100;

/// The forwards of what was discovered, in its order, and how many ports are left out. What
/// listens on loopback alone counts where that is asked for, and nothing else at its port is
/// taken.
#[must_use]
pub fn discovered_forwards(
    settings: &Settings,
    discovered: &[Discovered],
    takes: impl Fn(&Listener) -> bool,
) -> (Vec<Forward>, usize) {
    if settings.backend == Backend::None {
        return (Vec::new(), 0);
    }
    let port = |at: &Listener| (at.protocol, at.port);
    let taken = discovered.iter().map(|one| &one.at).filter(|at| takes(at));
    let taken: BTreeSet<_> = taken.map(port).collect();
    let on_loopback = |at: &Listener| {
        let counts = settings.discovery.loopback && !taken.contains(&port(at));
        at.loopback().filter(|_| counts)
    };
    let (mut forwards, mut ports) = (Vec::new(), BTreeSet::new());
    for Discovered { at, by, .. } in discovered {
        let connect_address = on_loopback(at);
        if connect_address.is_none() && !takes(at) || !ports.insert(port(at)) {
            continue;
        }
        let forward = Forward {
            name: format!("{PREFIX}{}-{}", at.protocol, at.port),
            protocol: at.protocol,
            listen_address: settings.discovery.listen_address,
            listen_port: at.port.into(),
            connect_address,
            connect_port: at.port.into(),
            firewall: settings.discovery.firewall,
            backend: None,
            proxy_protocol: None,
            remarks: Remarks {
                discovered: Some(by.clone()),
                ..Remarks::default()
            },
        };
        let mut configured = settings.forwards.iter();
        if !configured.any(|one| one.name == forward.name || one.clashes_with(&forward)) {
            forwards.push(forward);
        }
    }
    let left_out = forwards.len().saturating_sub(MOST);
    forwards.truncate(MOST);
    (forwards, left_out)
}

/// Those of this distribution, and the finding of what is left out.
pub(super) fn own(
    settings: &Settings,
    discovered: &[Discovered],
    seen: &Observation,
) -> (Vec<Forward>, Option<Finding>) {
    let node = match super::node(settings, seen) {
        Ok(node) if !discovered.is_empty() => node,
        _ => return (Vec::new(), None),
    };
    let mode = seen.mode.known();
    // Clients reach this distribution itself, and by all its addresses.
    let direct = mode.is_some_and(|mode| mode.shares_ports() || mode == Mode::Bridged);
    let others = seen.addresses.iter().filter_map(|address| {
        let link = seen.link(address.link)?;
        let counts = direct && settings.discovery.interfaces.covers(link);
        let address = address.net.addr();
        let same = address.is_ipv6() == node.address().is_ipv6();
        (counts && same).then_some((address, link))
    });
    let places: Vec<_> = std::iter::once((node.address(), &node.link))
        .chain(others)
        .collect();
    let takes = |at: &Listener| {
        places
            .iter()
            .any(|(address, link)| at.takes(*address, link))
            && !is_ours(at, seen)
    };
    // A rule that leads to Windows itself would lead a forward into itself.
    let windows = seen.host.facts.windows_address.map(IpAddr::V4);
    let windows = [node.gateway, windows];
    let others = discovered.iter().filter(|one| {
        let to = one.to.map(IpAddr::V4);
        let leads = |address: &Option<IpAddr>| address.is_some() && *address == to;
        !windows.iter().any(leads)
    });
    let others: Vec<Discovered> = others.cloned().collect();
    let (forwards, left_out) = discovered_forwards(settings, &others, takes);
    (forwards, limit(left_out))
}

/// That so many are left out.
#[must_use]
pub fn limit(left_out: usize) -> Option<Finding> {
    (left_out > 0).then(|| {
        let all = counted(MOST + left_out, "port");
        let detail = format!("of {all} in the ranges of [discovery] {left_out} are left out");
        Finding::new(Code::DiscoveryLimit, "", detail)
    })
}

/// Whether it is our own relay in this distribution, which would lead into itself.
fn is_ours(at: &Listener, seen: &Observation) -> bool {
    let here = Listen {
        protocol: at.protocol,
        listen_address: at.address,
        listen_port: at.port,
    };
    RelayRole::ALL.into_iter().any(|role| {
        let relay = seen.host.relay(role);
        let wanted = relay.wanted.as_ref();
        let Some(wanted) = wanted.filter(|set| set.location == RelayLocation::Guest) else {
            return false;
        };
        // What it should serve too: it may listen and not have said so yet.
        let mut sent = wanted.forwards.iter().map(|(_, forward)| forward.listen);
        relay.listening.contains(&here)
            || sent.any(|one| one == here) && !relay.failed.contains_key(&here)
    })
}

/// Makes one finding of those with the same code about forwards that were discovered: they
/// may be many, and come and go.
pub(super) fn join(findings: &mut Vec<Finding>) {
    // As made above, after the distribution's name.
    let is_one = |name: &str| {
        let own = name
            .rsplit('/')
            .next()
            .and_then(|own| own.strip_prefix(PREFIX));
        let port = own.and_then(|own| own.strip_prefix("tcp-").or(own.strip_prefix("udp-")));
        port.is_some_and(|port| port.parse::<u16>().is_ok())
    };
    let mut joined: BTreeMap<Code, Vec<String>> = BTreeMap::new();
    findings.retain(|finding| {
        let keep = !finding.subject.split(", ").all(is_one);
        if !keep {
            let details = joined.entry(finding.code).or_default();
            details.push(finding.detail.clone());
        }
        keep
    });
    findings.extend(
        joined
            .into_iter()
            .map(|(code, details)| Finding::new(code, DISCOVERED, some_of(details.into_iter()))),
    );
}

#[cfg(test)]
mod tests;
