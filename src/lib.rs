//! wslmesh keeps a mesh node inside WSL2 reachable. The data's way through the
//! folders is in docs/architecture.md.

/// The loop: wait, observe, plan, apply, publish.
pub mod agent;
/// Effects, one file per kind.
pub mod apply;
/// Waits between two tries.
pub mod backoff;
/// Calls that may hang.
pub mod blocking;
/// The D-Bus service.
pub mod bus;
/// The command line.
pub mod cli;
/// From files to valid settings.
pub mod config;
/// The way to a running agent.
pub mod control;
/// The examination of a machine.
pub mod doctor;
/// Files that are replaced, secured and read.
pub mod fs;
/// The Windows side as Linux sees it.
pub mod host;
/// The way from Linux to Windows, and the networking mode.
pub mod interop;
/// Types that the folders hand to each other.
pub mod model;
/// rtnetlink.
pub mod netlink;
/// Sources, one file each.
pub mod observe;
/// State and runtime directories.
pub mod paths;
/// Pure decisions, one file per concern.
pub mod plan;
/// Journal, status document, service manager.
pub mod report;
/// Undoing the agent's changes.
pub mod restore;
/// The guest's side of the tunnel to Windows.
pub mod tunnel;
/// Units and hooks that follow the address.
pub mod units;
/// WireGuard devices.
pub mod wireguard;
