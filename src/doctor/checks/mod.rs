//! The checks: facts in, a verdict out, one file per group.

pub(super) mod address;
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
pub(super) mod windows;
pub(super) mod wireguard;
