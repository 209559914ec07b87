//! Where the port proxy's rules lead to.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::{ProxyRule, WindowsPort};

/// A rule at the port by which a connection comes back to it, by way of other rules or not.
/// WSL's own listener on loopback, where it has the target, leads to the guest.
pub(super) fn leads_back(windows: &WindowsPort, port: u16) -> Option<&ProxyRule> {
    let rules = windows.rules.as_deref().unwrap_or_default();
    let relayed = |port_of: u16| {
        let mut owners = windows.owners.iter().flatten();
        port_of == port && owners.any(|one| &*one.process == "wslrelay")
    };
    let next = |rule: &ProxyRule| {
        let (to, port) = (
            address(rule.connect_address.as_deref()?)?,
            rule.connect_port?,
        );
        let own = match to {
            IpAddr::V4(v4) => windows.addresses.contains(&v4),
            IpAddr::V6(_) => false,
        };
        if !own && !to.is_loopback() || to.is_loopback() && relayed(port) {
            return None;
        }
        windows.rules_at(port).find(|one| {
            let listens = address(&one.listen_address);
            listens.is_some_and(|at| at == to || at.is_unspecified())
        })
    };
    let comes_back = |rule: &&ProxyRule| {
        let mut at = next(rule);
        for _ in rules {
            match at {
                Some(here) if here == *rule => return true,
                Some(here) => at = next(here),
                None => return false,
            }
        }
        false
    };
    windows.rules_at(port).find(comes_back)
}

/// An address as a rule has it; `localhost` is the usual one.
fn address(text: &str) -> Option<IpAddr> {
    match text {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        text => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
