//! The largest packets that pass to a peer, and who loses bigger ones.
//!
//! Decisions alone: packets are sent behind [`Wire`], by `read::path`.

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
