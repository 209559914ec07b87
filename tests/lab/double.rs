//! The simulated Windows: what it remembers, what its elevated programs do
//! with that, and what it answers.
//!
//! A second implementation of the contract, written from its text and not from
//! the scripts that are shipped.

pub(crate) mod check;
pub(crate) mod firewall;
pub(crate) mod machine;
pub(crate) mod port;
pub(crate) mod portproxy;
pub(crate) mod refresh;
pub(crate) mod relay;
pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod situation;
pub(crate) mod sync;
pub(crate) mod task;
