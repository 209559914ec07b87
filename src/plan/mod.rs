//! Pure decisions, one file per concern: settings and an observation in, a
//! [`Plan`] out. No I/O and no clock here; an equal state gives an empty plan.

mod address;
mod dependents;
mod env_file;
mod forward;
mod mtu;
mod network_file;
mod sysctl;
#[cfg(test)]
mod testing;
mod wireguard;

pub use address::Node;
pub use dependents::{Due, due as dependents_due};

use crate::{
    config::Settings,
    model::{Code, Finding, ModeState, Observation, Plan, Served},
};

/// Decides what to change so that the machine is as the settings want it.
#[must_use]
pub fn plan(settings: &Settings, seen: &Observation) -> Plan {
    let mut findings = Vec::new();
    if let ModeState::Unknown(why) = &seen.mode {
        findings.push(Finding::new(Code::ModeUnknown, "", why.as_str()));
    }
    let node = match node(settings, seen) {
        Ok(node) => Some(node),
        Err(finding) => {
            findings.push(finding);
            None
        }
    };
    let mut plan = network_file::plan(settings, seen, node.as_ref());
    plan.findings.splice(0..0, findings);
    plan.extend(mtu::plan(settings, seen, node.as_ref()));
    plan.extend(wireguard::plan(settings, seen));
    plan.extend(sysctl::plan(settings, seen));
    plan.extend(forward::plan(settings, seen, node.as_ref()));
    plan
}

/// Each forward, who serves it and how it stands; `None` while nothing can be
/// decided and they stand as they did.
#[must_use]
pub fn served(settings: &Settings, seen: &Observation) -> Option<Vec<Served>> {
    forward::served(settings, seen, node(settings, seen).ok().as_ref())
}

/// Where this distribution is on the network.
///
/// # Errors
/// The finding that says why there is no answer now.
pub fn node<'a>(settings: &Settings, seen: &'a Observation) -> Result<Node<'a>, Finding> {
    address::select(&settings.interface, seen)
}
