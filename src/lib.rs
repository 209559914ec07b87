//! wslmesh keeps a mesh node inside WSL2 reachable. The data's way through the
//! folders is in docs/architecture.md.

/// The loop: wait, observe, plan, apply, publish.
#[cfg(feature = "agent")]
pub mod agent;
/// Effects, one file per kind.
#[cfg(feature = "agent")]
pub mod apply;
/// The D-Bus service.
#[cfg(feature = "agent")]
pub mod bus;
/// The command line.
#[cfg(feature = "agent")]
pub mod cli;
/// From files to valid settings.
#[cfg(feature = "agent")]
pub mod config;
/// The examination of a machine.
#[cfg(feature = "agent")]
pub mod doctor;
/// The Windows side as Linux sees it.
#[cfg(feature = "agent")]
pub mod host;
/// Types that the folders hand to each other.
#[cfg(feature = "agent")]
pub mod model;
/// rtnetlink.
#[cfg(feature = "agent")]
pub mod netlink;
/// Sources, one file each.
#[cfg(feature = "agent")]
pub mod observe;
/// State and runtime directories.
#[cfg(feature = "agent")]
pub mod paths;
/// Pure decisions, one file per concern.
#[cfg(feature = "agent")]
pub mod plan;
/// The relay and what it is told.
pub mod relay;
/// Health codes, journal, status document, service manager.
#[cfg(feature = "agent")]
pub mod report;
/// Undoing the agent's changes.
#[cfg(feature = "agent")]
pub mod restore;
/// Units and hooks that follow the address.
#[cfg(feature = "agent")]
pub mod units;
/// WireGuard devices.
#[cfg(feature = "agent")]
pub mod wireguard;
