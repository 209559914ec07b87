//! The Windows side as Linux sees it.
//!
//! [`contract`] is what PowerShell is asked and answers, [`call`] hands a script to it,
//! and [`sync`] turns wanted rules into one call, for the port proxy and the firewall.

pub mod anchor;
mod call;
pub mod contract;
mod forbidden;
mod json;
/// What Windows knows of one port.
pub mod port;
pub mod relay;
/// The PowerShell scripts.
pub mod scripts;
pub mod setup;
pub mod sync;
