//! Units and hooks that follow this node's address, told through systemd.
//!
//! Nothing here is started by the agent itself: a program of its own would
//! inherit its sandbox, and systemd knows what a unit needs.

pub(crate) mod bus;
mod hooks;
mod round;
mod systemd;
#[cfg(test)]
mod testing;
mod transient;

pub use hooks::Hook;
pub use round::{Gap, Report, Round, Verdict};
pub use systemd::{Standing, Systemd, Told, UnitsError};
pub use transient::Ran;
