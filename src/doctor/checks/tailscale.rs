//! Tailscale: its service and its interface. Its MTU is `tunnel-mtu`'s.

use std::net::IpAddr;

use super::super::{
    facts::Facts,
    verdict::{Judged, Skip, Verdict},
};
use crate::model::Link;

const UNIT: &str = "tailscaled.service";

fn link(facts: &Facts) -> Result<Option<&Link>, Skip> {
    let (_, seen) = facts.seen()?;
    let ours = |link: &&Link| link.name.as_str().starts_with("tailscale");
    Ok(seen.links.iter().find(ours))
}

pub(in crate::doctor) fn unit(facts: &Facts) -> Judged {
    let Some(unit) = facts.units()?.states.get(UNIT) else {
        return Err(Skip::Nothing("Tailscale is not installed here".to_owned()));
    };
    Ok(match (unit.active.as_str(), unit.file.as_str()) {
        ("active", "enabled") => Verdict::ok("active"),
        ("active", file) => Verdict::note(format!("it runs, and is {file}: not after a restart")),
        ("failed", _) => Verdict::failed("it has failed").remediation(
            "Look at `journalctl -b -u tailscaled`, then `sudo systemctl restart tailscaled`",
        ),
        (other, "enabled") => Verdict::warning(format!("it is {other}")),
        (other, _) => Verdict::note(format!("it is {other} and not wanted")),
    })
}

pub(in crate::doctor) fn interface(facts: &Facts) -> Judged {
    let active = facts.units().ok().is_some_and(|units| {
        let unit = units.states.get(UNIT);
        unit.is_some_and(|unit| unit.active == "active")
    });
    let Some(link) = link(facts)? else {
        return if active {
            Ok(Verdict::note(
                "tailscaled runs without an interface: in userspace mode, or /dev/net/tun is missing",
            ))
        } else {
            Err(Skip::Nothing("there is no Tailscale interface".to_owned()))
        };
    };
    let (_, seen) = facts.seen()?;
    let address = seen
        .addresses
        .iter()
        .find(|address| address.link == link.index && matches!(address.net.addr(), IpAddr::V4(_)));
    Ok(match address {
        Some(address) => Verdict::ok(format!("{} {}", link.name, address.net.addr())),
        None => Verdict::warning(format!("{} has no address: Tailscale is not up", link.name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        Check,
        testing::{address, name, table, unit as state},
    };

    fn unit_is(facts: &mut Facts, active: &str, file: &str) {
        let units = facts.systemd.units.as_mut().unwrap();
        units.states.insert(UNIT.into(), state(active, file));
    }

    fn no_link(facts: &mut Facts) {
        facts.change(|seen| seen.links.retain(|link| link.name != name("tailscale0")));
    }

    #[test]
    fn tailscale() {
        table! { Check::TailscaleUnit;
            "not installed": |f| drop(f.systemd.units.as_mut().unwrap().states.remove(UNIT)) => Skipped, "not installed";
            "failed": |f| unit_is(f, "failed", "enabled") => Failed, "failed";
            "stopped": |f| unit_is(f, "inactive", "enabled") => Warning, "inactive";
            "unwanted": |f| unit_is(f, "inactive", "disabled") => Note, "not wanted";
            "for now": |f| unit_is(f, "active", "disabled") => Note, "not after a restart";
        }
        table! { Check::TailscaleInterface;
            "userspace mode": no_link => Note, "userspace mode";
            "neither": |f| { no_link(f); unit_is(f, "inactive", "disabled") } => Skipped, "no Tailscale interface";
            "logged out": |f| f.change(|s| s.addresses.retain(|a| a.link != 4)) => Warning, "no address";
            "IPv6 alone": |f| f.change(|s| {
                s.addresses.retain(|a| a.link != 4);
                s.addresses.push(address(4, "fd7a::1/128"));
            }) => Warning, "no address";
        }
    }
}
