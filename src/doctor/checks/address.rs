//! The address, and what is bound to it or names it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, all, error, info, ok, warning},
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
    let others: Vec<String> = addresses
        .filter(|address| address.link == node.link.index && address.global)
        .filter(|address| matches!(address.net, IpNet::V4(net) if net != node.net))
        .map(|address| address.net.to_string())
        .collect();
    let detail = format!("{} {}", node.link.name, node.net);
    Ok(if others.is_empty() {
        ok(detail)
    } else {
        info(format!(
            "{detail} is used; the interface also has {}",
            others.join(", ")
        ))
    })
}

pub(crate) fn route(facts: &Facts) -> Judged {
    let (_, observation) = facts.observation()?;
    let routes = &observation.routes;
    let Some(best) = routes.iter().min_by_key(|route| route.metric) else {
        return Ok(error("no IPv4 default route"));
    };
    let name = |index: u32| {
        let link = observation.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("link {index}"), |link| link.name.to_string())
    };
    let equal = routes
        .iter()
        .filter(|route| route.metric == best.metric && route.link != best.link);
    let mut equal: Vec<String> = equal.map(|route| name(route.link)).collect();
    equal.dedup();
    let detail = match best.gateway {
        Some(gateway) => format!("{} via {gateway}", name(best.link)),
        None => format!("{} without a gateway", name(best.link)),
    };
    Ok(if equal.is_empty() {
        ok(detail)
    } else {
        warning(format!(
            "{detail}, and with the same metric: {}",
            equal.join(", ")
        ))
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
    for action in &plan.actions {
        if let Action::WriteNetworkFile(change) = action {
            return Ok(match &change.before {
                None => warning(format!("{path} does not exist")),
                Some(before) => {
                    let mut missing = missing_lines(before, &change.after).peekable();
                    // Where a key is set twice, one of the lines may be current.
                    if missing.peek().is_none() {
                        warning(format!("{path} has a line that is not current"))
                    } else {
                        let lacks = |line| warning(format!("{path} lacks {line}"));
                        all(missing.map(lacks), String::new)
                    }
                }
            });
        }
    }
    facts.node()?;
    Ok(ok(path.to_string()))
}

/// The lines of `after` that `before` lacks.
fn missing_lines(before: &[u8], after: &[u8]) -> impl Iterator<Item = String> {
    let (before, after) = (
        String::from_utf8_lossy(before),
        String::from_utf8_lossy(after),
    );
    let lines = after
        .lines()
        .filter(|line| !before.lines().any(|has| has == *line));
    let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    lines.into_iter()
}

pub(crate) fn listeners(facts: &Facts) -> Judged {
    let (_, observation) = facts.observation()?;
    let sockets = facts.sockets()?.iter();
    // An IPv6 socket may be bound to an IPv4 address, written ::ffff:A.B.C.D.
    let lost = sockets.filter(|socket| {
        matches!(socket.address.to_canonical(), IpAddr::V4(ip) if is_lost(observation, ip))
    });
    let lost = lost.map(|socket| format!("{socket} is bound to an address that no interface has"));
    let lost: BTreeSet<String> = lost.collect();
    Ok(all(lost.into_iter().map(warning), || "none".to_owned()))
}

/// Whether no interface receives packets to this address. A socket can also be bound
/// to a multicast group or to a subnet's broadcast address.
fn is_lost(observation: &Observation, address: Ipv4Addr) -> bool {
    let special = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast();
    let of_interface = |net: &IpNet| match net {
        IpNet::V4(net) => net.addr() == address || net.broadcast() == address,
        IpNet::V6(_) => false,
    };
    let addresses = &observation.addresses;
    !special && !addresses.iter().any(|has| of_interface(&has.net))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{
            Check,
            facts::Text,
            testing::{address, route as default, socket, table},
        },
        model::{NetworkFile, Protocol},
    };

    #[test]
    fn the_address() {
        table! { Check::Interface;
            "unreadable": |f| f.observation = Err("netlink".into()) => Skipped, "netlink";
            "no route": |f| f.change(|s| s.routes.clear()) => Error, "default route";
            "no address": |f| f.change(|s| s.addresses.clear()) => Error, "no IPv4 address";
            "two": |f| f.change(|s| s.addresses.push(address(2, "10.1.1.1/24"))) => Info, "10.1.1.1/24";
            "IPv6 is no second one": |f| f.change(|s| s.addresses.push(address(2, "fd00::1/64"))) => Ok, "eth0";
        }
        table! { Check::DefaultRoute;
            "none": |f| f.change(|s| s.routes.clear()) => Error, "no IPv4 default route";
            "rivals": |f| f.change(|s| s.routes.push(default(3, 0))) => Warning, "wg0";
            "a worse one": |f| f.change(|s| s.routes.push(default(3, 5))) => Ok, "eth0 via 172.28.16.1";
        }
    }

    #[test]
    fn the_file() {
        table! { Check::NetworkFile;
            "missing": |f| f.change(|s| s.network_file = NetworkFile::Missing) => Warning, "does not exist";
            "unreadable": |f| f.change(|s| s.network_file = NetworkFile::Unreadable("EACCES".into())) => Error, "EACCES";
            "broken": |f| f.change(|s| s.network_file = NetworkFile::Content(b"WSL_IP=\"1\n".into())) => Error, "wsl-network.conf";
            "stale": |f| { f.change(|s| { s.network_file = NetworkFile::Content(b"WSL_IP=\"172.28.9.9\"\n".into()) }) } => Warning, "WSL_IP=\"172.28.16.5\"";
            "set twice": |f| {
                let plan = f.plan().unwrap();
                let file = plan.actions.iter().find_map(|action| match action {
                    Action::WriteNetworkFile(change) => Some(change.after.clone()),
                    _ => None,
                });
                let mut file = file.unwrap_or_else(|| match &f.observation.as_ref().unwrap().network_file {
                    NetworkFile::Content(content) => content.clone(),
                    other => panic!("{other:?}"),
                });
                file.extend(b"WSL_IP=\"172.28.9.9\"\n");
                f.change(|s| s.network_file = NetworkFile::Content(file.clone()));
            } => Warning, "wsl-network.conf has a line that is not current";
            "no address": |f| f.change(|s| s.routes.clear()) => Skipped, "default route";
            "bad configuration": |f| f.settings = Err("x".into()) => Skipped, "configuration";
        }
    }

    #[test]
    fn sockets() {
        fn with(facts: &mut Facts, address: &str) {
            facts.sockets = Text::Content(vec![socket(Protocol::Tcp, address, 8080)]);
        }
        table! { Check::OldListeners;
            "the old address": |f| with(f, "172.28.9.9") => Warning, "tcp 172.28.9.9:8080";
            "the old address in an IPv6 socket": |f| with(f, "::ffff:172.28.9.9") => Warning, "172.28.9.9";
            "ours in an IPv6 socket": |f| with(f, "::ffff:172.28.16.5") => Ok, "none";
            "ours": |f| with(f, "172.28.16.5") => Ok, "none";
            "the tunnel's": |f| with(f, "10.99.0.1") => Ok, "none";
            "DNS tunnelling's": |f| with(f, "10.255.255.254") => Ok, "none";
            "all": |f| with(f, "0.0.0.0") => Ok, "none";
            "loopback": |f| with(f, "127.0.0.53") => Ok, "none";
            "a group": |f| with(f, "224.0.0.251") => Ok, "none";
            "the subnet's broadcast": |f| with(f, "172.28.31.255") => Ok, "none";
            "IPv6": |f| with(f, "fd00::9") => Ok, "none";
            "unreadable": |f| f.sockets = Text::Unreadable("EACCES".into()) => Skipped, "EACCES";
        }
    }
}
