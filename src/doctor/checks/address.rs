//! The address and what is told of it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::super::{
    facts::{Facts, some},
    verdict::{Judged, Verdict},
};
use crate::{
    model::{Action, Code, Observation},
    plan,
};

pub(in crate::doctor) fn interface(facts: &Facts) -> Judged {
    let (settings, seen) = facts.seen()?;
    let node = match plan::node(settings, seen) {
        Ok(node) => node,
        Err(finding) => return Ok(Verdict::failed(finding.detail)),
    };
    let detail = format!("{} {}", node.link.name, node.net);
    let others: Vec<String> = seen
        .addresses
        .iter()
        .filter(|address| address.link == node.link.index && address.global)
        .filter(|address| matches!(address.net, IpNet::V4(net) if net != node.net))
        .map(|address| address.net.to_string())
        .collect();
    Ok(if others.is_empty() {
        Verdict::ok(detail)
    } else {
        Verdict::note(format!(
            "{detail} is the one that counts; it also has {}",
            some(&others)
        ))
    })
}

pub(in crate::doctor) fn route(facts: &Facts) -> Judged {
    let (_, seen) = facts.seen()?;
    let Some(best) = seen.routes.iter().min_by_key(|route| route.metric) else {
        return Ok(Verdict::failed("there is no IPv4 default route"));
    };
    let name = |index: u32| {
        let link = seen.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("link {index}"), |link| link.name.to_string())
    };
    let mut rivals: Vec<String> = seen
        .routes
        .iter()
        .filter(|route| route.metric == best.metric && route.link != best.link)
        .map(|route| name(route.link))
        .collect();
    rivals.dedup();
    let detail = match best.gateway {
        Some(gateway) => format!("{} via {gateway}", name(best.link)),
        None => format!("{} without a gateway", name(best.link)),
    };
    Ok(if rivals.is_empty() {
        Verdict::ok(detail)
    } else {
        Verdict::warning(format!(
            "{detail}, and with the same metric: {}",
            some(&rivals)
        ))
    })
}

pub(in crate::doctor) fn network_file(facts: &Facts) -> Judged {
    let plan = facts.plan()?;
    let path = facts.settings()?.config_file.display();
    for finding in &plan.findings {
        match finding.code {
            Code::NetworkFileUnreadable => {
                return Ok(Verdict::failed(finding.detail.as_str())
                    .remediation(finding.code.remediation()));
            }
            Code::NetworkFileName => {
                return Ok(
                    Verdict::note(finding.detail.as_str()).remediation(finding.code.remediation())
                );
            }
            _ => {}
        }
    }
    let write = plan.actions.iter().find_map(|action| match action {
        Action::WriteNetworkFile(change) => Some(change),
        _ => None,
    });
    if let Some(change) = write {
        return Ok(match &change.before {
            None => Verdict::warning(format!("{path} is not there")),
            Some(before) => Verdict::warning(format!(
                "{path} does not say what is: {}",
                difference(before, &change.after)
            )),
        });
    }
    facts.node()?;
    Ok(Verdict::ok(path.to_string()))
}

/// The lines that would change, as they should be.
fn difference(before: &[u8], after: &[u8]) -> String {
    let (before, after) = (
        String::from_utf8_lossy(before),
        String::from_utf8_lossy(after),
    );
    let before: Vec<&str> = before.lines().collect();
    let new: Vec<String> = after
        .lines()
        .filter(|line| !before.contains(line))
        .map(|line| line.trim().to_owned())
        .collect();
    some(&new)
}

pub(in crate::doctor) fn listeners(facts: &Facts) -> Judged {
    let (_, seen) = facts.seen()?;
    let mut old: Vec<String> = facts
        .sockets()?
        .iter()
        // An IPv6 socket may be bound to an IPv4 address, written ::ffff:A.B.C.D.
        .filter(|socket| matches!(socket.address.to_canonical(), IpAddr::V4(address) if nobodys(seen, address)))
        .map(ToString::to_string)
        .collect();
    old.sort();
    old.dedup();
    Ok(if old.is_empty() {
        Verdict::ok("none")
    } else {
        Verdict::warning(some(&old))
    })
}

/// Whether no interface takes packets to this address. A socket may well be bound
/// to a group or to a subnet's broadcast address.
fn nobodys(seen: &Observation, address: Ipv4Addr) -> bool {
    let usual = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast();
    let of_interface = |net: &IpNet| match net {
        IpNet::V4(net) => net.addr() == address || net.broadcast() == address,
        IpNet::V6(_) => false,
    };
    !usual && !seen.addresses.iter().any(|has| of_interface(&has.net))
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
            "unseen": |f| f.seen = Err("netlink".into()) => Skipped, "netlink";
            "no route": |f| f.change(|s| s.routes.clear()) => Failed, "default route";
            "no address": |f| f.change(|s| s.addresses.clear()) => Failed, "no IPv4 address";
            "two": |f| f.change(|s| s.addresses.push(address(2, "10.1.1.1/24"))) => Note, "10.1.1.1/24";
            "IPv6 is no second one": |f| f.change(|s| s.addresses.push(address(2, "fd00::1/64"))) => Ok, "eth0";
        }
        table! { Check::DefaultRoute;
            "none": |f| f.change(|s| s.routes.clear()) => Failed, "no IPv4 default route";
            "rivals": |f| f.change(|s| s.routes.push(default(3, 0))) => Warning, "wg0";
            "a worse one": |f| f.change(|s| s.routes.push(default(3, 5))) => Ok, "eth0 via 172.28.16.1";
        }
    }

    #[test]
    fn the_file() {
        table! { Check::NetworkFile;
            "missing": |f| f.change(|s| s.network_file = NetworkFile::Missing) => Warning, "not there";
            "unreadable": |f| f.change(|s| s.network_file = NetworkFile::Unreadable("EACCES".into())) => Failed, "EACCES";
            "broken": |f| f.change(|s| s.network_file = NetworkFile::Content(b"WSL_IP=\"1\n".into())) => Failed, "wsl-network.conf";
            "stale": |f| { f.change(|s| { s.network_file = NetworkFile::Content(b"WSL_IP=\"172.28.9.9\"\n".into()) }) } => Warning, "WSL_IP=\"172.28.16.5\"";
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
