//! Pure decisions, one file per concern: settings and an observation in, a
//! [`Plan`] out. No I/O and no clock here; an equal state gives an empty plan.

mod address;
mod clock;
mod dependents;
mod discovery;
mod dns;
mod endpoint;
mod env_file;
mod forward;
mod lifetime;
mod members;
mod mode;
mod mtu;
mod network_file;
mod online;
mod port_claim;
mod resume;
mod sysctl;
mod tunnel;
mod wireguard;

pub use clock::{CLOCK_BACKWARDS, CLOCK_LIMIT_MS, WrongClock, clock_keeper};
pub use dependents::{Due, due as dependents_due};
pub use discovery::{discovered_forwards, limit as discovery_limit};
pub use dns::{ZoneStep, dns_finding, tunnel_on_lo, zone_step};
pub use endpoint::{moved_to, next_stale, silent_names};
pub use lifetime::idle;
pub use members::{Group, Member, plan_group, settings_of_all};
pub use online::{Online, online, silent_peers};
pub use port_claim::{PortWay, port_way, port_ways};
pub use resume::{
    ClockChange, Handshakes, LEAST_STEP_MS, clock_change, expected_peers, last_step, link_back,
    unrecovered,
};
pub use tunnel::{NatHistory, NextLook, looks_at_nat, tunnel_wanted};

use crate::{
    config::Settings,
    model::{Finding, Node, Observation, Plan},
};

/// Decides what to change so that the machine is as the settings want it.
#[must_use]
pub fn plan(settings: &Settings, seen: &Observation) -> Plan {
    plan_group(settings, &Group::default(), seen)
}

/// The same for settings whose forwards have one port each.
fn plan_singles(settings: &Settings, seen: &Observation) -> Plan {
    let mut plan = Plan::default();
    mode::plan(seen, &mut plan);
    let node = node(settings, seen).map_err(|finding| plan.findings.push(finding));
    plan.node = node.ok();
    address::plan(seen, &mut plan);
    network_file::plan(settings, seen, &mut plan);
    mtu::plan(settings, seen, &mut plan);
    wireguard::plan(settings, seen, &mut plan);
    port_claim::plan(settings, seen, &mut plan);
    sysctl::plan(settings, seen, &mut plan);
    dns::plan(settings, seen, &mut plan);
    forward::plan(settings, seen, &mut plan);
    plan
}

/// Where this distribution is on the network.
///
/// # Errors
/// The finding that says why there is no answer now.
pub fn node(settings: &Settings, seen: &Observation) -> Result<Node, Finding> {
    address::select(&settings.interface, seen)
}

#[cfg(test)]
mod tests {
    pub(super) mod machine;
}
