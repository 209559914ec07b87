//! The checks: facts in, a verdict out, one file per group.

pub(super) mod address;
pub(super) mod mtu;
pub(super) mod ports;
pub(super) mod sysctls;
pub(super) mod system;
