//! The address, and what is bound to it or names it.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, all, error, info, list, ok, warning},
    },
    model::{Action, Code, Observation},
    plan,
};

pub(crate) fn interface(facts: &Facts) -> Judged {
    let (settings, observation) = facts.observation()?;
    let node = match plan::node(settings, observation) {
        Ok(node) => node,
        Err(finding) => return Ok(error(finding.detail)),
    };
    let addresses = observation.addresses.iter();
    let others = addresses
        .filter(|address| address.link == node.link.index && address.global)
        // Of IPv6 several are usual.
        .filter(|address| matches!(address.net, IpNet::V4(_)) && node.ipv4().is_some())
        .filter(|address| address.net != node.net);
    let others = list(others.map(|address| address.net));
    let detail = format!("{} {}", node.link.name, node.net);
    let reason = node.reason.map(|reason| {
        info(format!("{detail} is used: {reason}")).fix(
            "If it is the wrong one, name the right one as interface in the section [network] of the configuration",
        )
    });
    let others = (!others.is_empty()).then(|| {
        let fix = "Ignore this if Windows knows this distribution by that address; else remove the other one (`ip addr del`)";
        info(format!("{detail} is used; the interface also has {others}")).fix(fix)
    });
    Ok(all(reason.into_iter().chain(others), detail))
}

pub(crate) fn route(facts: &Facts) -> Judged {
    let (_, observation) = facts.observation()?;
    let routes = observation.routes.iter();
    let by_ipv6 = facts.node().is_ok_and(|node| node.ipv4().is_none());
    let best = routes.min_by_key(|route| (route.ipv6 != by_ipv6, route.metric));
    let Some(best) = best else {
        return Ok(error("no default route"));
    };
    let name = |index: u32| {
        let link = observation.link(index);
        link.map_or_else(|| format!("link {index}"), |link| link.name.to_string())
    };
    let rivals = observation.routes.iter().filter(|route| {
        let equal = (route.ipv6, route.metric) == (best.ipv6, best.metric);
        equal && route.link != best.link
    });
    let mut equal: Vec<String> = rivals.map(|route| name(route.link)).collect();
    equal.dedup();
    let mut found = facts.plan()?.findings.into_iter();
    if let Some(finding) = found.find(|finding| finding.code == Code::GatewayRoute) {
        return Ok(warning(finding.detail).fix(finding.code.remediation()));
    }
    let gateway = best.gateway.map(|gateway| format!("via {gateway}"));
    let gateway = gateway.as_deref().unwrap_or("without a gateway");
    let detail = format!("{} {gateway}", name(best.link));
    Ok(match list(equal).as_str() {
        "" => ok(detail),
        equal => warning(format!("{detail}, and with the same metric: {equal}")),
    })
}

pub(crate) fn network_file(facts: &Facts) -> Judged {
    let plan = facts.plan()?;
    for finding in &plan.findings {
        let verdict = match finding.code {
            Code::NetworkFileUnreadable => error(&finding.detail),
            Code::NetworkFileName => info(&finding.detail),
            _ => continue,
        };
        return Ok(verdict.fix(finding.code.remediation()));
    }
    let path = facts.settings()?.config_file.display();
    let mut actions = plan.actions.iter();
    let change = actions.find_map(|action| match action {
        Action::WriteNetworkFile(change) => Some(change),
        _ => None,
    });
    let Some(change) = change else {
        facts.node()?;
        return Ok(ok(path.to_string()));
    };
    let Some(before) = &change.before else {
        return Ok(warning(format!("{path} does not exist")));
    };
    let before = String::from_utf8_lossy(before);
    let after = String::from_utf8_lossy(&change.after);
    let mut missing: Vec<&str> = after.lines().collect();
    missing.retain(|line| !before.lines().any(|has| has == *line));
    if missing.is_empty() {
        // A key is set twice, and one of the lines is current.
        return Ok(warning(format!("{path} has a line that is not current")));
    }
    let lacks = |line: &str| warning(format!("{path} lacks {}", line.trim()));
    Ok(all(missing.into_iter().map(lacks), ""))
}

pub(crate) fn listeners(facts: &Facts) -> Judged {
    let (_, observation) = facts.observation()?;
    let sockets = facts.sockets()?.iter();
    // An IPv6 socket may be bound to an IPv4 address, written ::ffff:A.B.C.D.
    let lost = sockets.filter(|socket| is_lost(observation, socket.address.to_canonical()));
    let lost = lost.map(|socket| format!("{socket} is bound to an address that no interface has"));
    let lost: BTreeSet<String> = lost.collect();
    Ok(all(lost.into_iter().map(warning), "none"))
}

/// Whether no interface receives packets to this address. A socket can also be bound
/// to a multicast group or to a subnet's broadcast address.
fn is_lost(observation: &Observation, address: IpAddr) -> bool {
    let elsewhere = match address {
        IpAddr::V4(ip) => ip.is_broadcast(),
        // Of which interface the socket does not say.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let of_interface = |net: &IpNet| match net {
        IpNet::V4(net) => net.addr() == address || net.broadcast() == address,
        IpNet::V6(net) => net.addr() == address,
    };
    let addresses = &observation.addresses;
    !special && !elsewhere && !addresses.iter().any(|has| of_interface(&has.net))
}

#[cfg(test)]
mod tests;
