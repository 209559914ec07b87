//! Examines a machine: every check of the troubleshooting lists that can be made
//! from inside a distribution.
//!
//! [`gather`] reads the machine into [`Facts`] and changes nothing; [`examine`]
//! judges these facts and reads nothing else.

/// The checks: facts in, a verdict out, one file per group.
mod checks {
    pub(super) mod address;
    pub(super) mod agent;
    pub(super) mod clock;
    pub(super) mod conflicts;
    pub(super) mod dns;
    pub(super) mod files;
    pub(super) mod interop;
    pub(super) mod kernel;
    pub(super) mod lifetime;
    pub(super) mod mtu;
    pub(super) mod ports;
    pub(super) mod resources;
    pub(super) mod sysctls;
    pub(super) mod system;
    pub(super) mod tailscale;
    pub(super) mod tunnel;
    pub(super) mod wireguard;
    pub(super) mod wsl_files;
}
mod facts;
mod found;
/// The largest packets that pass to a peer, and who loses bigger ones. Decisions alone:
/// packets are sent behind [`path::Wire`], by `read::path`.
mod path {
    mod judge;
    mod measure;
    mod target;

    pub use judge::{PathReport, Side, judge, lost_by};
    pub(super) use measure::{Answer, Kind, Probe, Wire, measure};
    pub use measure::{Ended, Loser, Measured};
    pub use target::{NamedPeer, Target, TargetError};
    pub(super) use target::{existing, target};

    /// What WireGuard adds to a packet: 20 bytes IPv4 or 40 IPv6, 8 UDP, 32 its own.
    fn overhead(endpoint: std::net::IpAddr) -> u32 {
        if endpoint.is_ipv6() { 80 } else { 60 }
    }
}
/// One port on its way from Windows to a service here. Decisions alone: `read::port` reads
/// this distribution, and whoever prints asks Windows.
mod port {
    mod cause;
    mod facts;
    mod hop;
    mod hops;
    mod judge;
    #[cfg(test)]
    pub(super) mod machine;
    mod rules;

    pub use facts::{Holder, Kept, Owner, PortFacts, Tested};
    pub(super) use facts::{served_by, way};
    pub use hop::{Hop, HopResult, Hops};
    pub use hops::judge_hops;
    pub use judge::{judge_port, port_advice};
}
mod read;
mod registry;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;

pub use checks::wsl_files::{advice, in_force};
pub use facts::Facts;
pub use found::{Tunnel, TunnelKind, lacks_systemd, services, stops_when_idle, tunnels};
pub use path::{
    Ended, Loser, Measured, NamedPeer, PathReport, Side, Target, TargetError, judge, lost_by,
};
pub use port::{
    Holder, Hop, HopResult, Hops, Kept, Owner, PortFacts, Tested, judge_hops, judge_port,
    port_advice,
};
pub use read::{
    ForwardError, PathError, connect, gather, measure_path, read_forward, read_port, test_here,
};
pub use registry::{CHECKS, Check, Fix, GROUPS};
pub use verdict::{Verdict, describe};

/// Judges the facts: the checks of these groups, or all where none is named.
#[must_use]
pub fn examine(facts: &Facts, groups: &[String]) -> Vec<(&'static Check, Verdict)> {
    let named = |check: &&Check| groups.iter().any(|group| group == check.group);
    let checks = CHECKS
        .iter()
        .filter(|check| groups.is_empty() || named(check));
    checks.map(|check| (check, check.run(facts))).collect()
}
