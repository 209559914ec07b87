//! Dependents: units and hooks that follow this node's address, notified through
//! systemd; and daemons that are asked for something, such as tailscaled.
//!
//! The agent itself starts none of them: a program of its own would inherit its
//! sandbox, and systemd knows what a unit needs.

mod clock;
mod hooks;
mod notify;
pub(crate) mod proxy;
mod relay;
mod resolved;
mod systemd;
mod tailscaled;
#[cfg(test)]
mod tests;
mod transient;
mod tunnel;

pub use hooks::Hook;
pub use notify::{HealthChange, Interrupted, NotifyReport, NotifyRun};
pub use relay::{Streams, relay_unit};
pub(crate) use resolved::ZoneServers;
pub use resolved::{RESOLVED, Resolved};
pub use systemd::{JobOutcome, Systemd, UnitState, UnitsError};
pub use tailscaled::{TAILSCALED, TailscaleCall, ask_tailscaled};
pub use tunnel::{TUNNEL_UNIT, TunnelMark, TunnelUnitState};
