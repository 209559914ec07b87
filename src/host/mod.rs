//! The Windows side as Linux sees it.
//!
//! [`contract`] is what PowerShell is asked and answers, and [`sync`] turns wanted
//! rules into one call, for the port proxy and the firewall.

pub mod contract;
mod json;
pub mod relay;
/// The PowerShell scripts.
pub mod scripts;
pub mod setup;
pub mod sync;
