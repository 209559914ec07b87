//! The Windows side as Linux sees it.
//!
//! One way leads out: [`interop`] finds WSL's socket, interpreter and
//! powershell.exe, [`child`] runs it within bounds, [`contract`] is what is
//! said, and [`sync`] turns wanted rules into one call, for the port proxy and
//! the firewall.

pub mod child;
pub mod contract;
pub mod interop;
pub mod relay;
/// The PowerShell scripts.
pub mod scripts;
pub mod setup;
pub mod sync;
