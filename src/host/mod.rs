//! The Windows side as Linux sees it.
//!
//! One way leads out: [`interop`] finds WSL's socket, interpreter and
//! powershell.exe, [`child`] runs it within bounds, [`contract`] is what is
//! said, and [`portproxy`] turns wanted rules into one call. The elevated task,
//! the firewall and the relay will stand beside `portproxy` as further requests.

pub mod child;
pub mod contract;
pub mod interop;
pub mod portproxy;
/// The PowerShell scripts.
pub mod scripts;
