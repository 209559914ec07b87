//! Tailscale: its service and its interface. `tunnel-mtu` checks its MTU.

use std::net::IpAddr;

use crate::doctor::{
    facts::Facts,
    verdict::{Judged, error, info, ok, skipped, warning},
};

const UNIT: &str = "tailscaled.service";

pub(crate) fn unit(facts: &Facts) -> Judged {
    let unit = facts
        .unit(UNIT)?
        .ok_or_else(|| skipped("Tailscale is not installed here"))?;
    Ok(match (unit.active.as_str(), unit.file.as_str()) {
        ("active", "enabled") => ok("active"),
        ("active", file) => info(format!(
            "tailscaled is running but {file}: it will not start after a restart"
        )),
        ("failed", _) => error("tailscaled has failed")
            .fix("See `journalctl -b -u tailscaled`, then run `sudo systemctl restart tailscaled`"),
        (state, "enabled") => warning(format!("tailscaled is {state}")),
        (state, file) => info(format!("tailscaled is {state} and {file}")),
    })
}

pub(crate) fn interface(facts: &Facts) -> Judged {
    let (_, observation) = facts.observation()?;
    let mut links = observation.links.iter();
    let Some(link) = links.find(|link| link.name.as_str().starts_with("tailscale")) else {
        let unit = facts.unit(UNIT).ok().flatten();
        return Ok(if unit.is_some_and(|unit| unit.active == "active") {
            info("tailscaled runs without an interface: in userspace mode, or without /dev/net/tun")
        } else {
            skipped("no Tailscale interface")
        });
    };
    let mut nets = observation.addresses.iter();
    let net = nets.find(|has| has.link == link.index && matches!(has.net.addr(), IpAddr::V4(_)));
    Ok(match net {
        Some(has) => ok(format!("{} {}", link.name, has.net.addr())),
        None => warning(format!("{} has no address: Tailscale is not up", link.name)),
    })
}

#[cfg(test)]
mod tests;
