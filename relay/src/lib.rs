//! The portable relay: forwards TCP and UDP ports of one machine to the guest's.
//! It runs on Windows as `wslmesh-relay.exe` and inside Linux, so only `os` may
//! depend on the platform.
//!
//! One thread carries all data. A second one reads commands and a third one
//! writes events, because standard input and output may block and data may not.

pub mod link;
pub mod protocol;
#[cfg(target_os = "linux")]
#[path = "os/tun.rs"]
pub mod tun;

mod admit;
mod ancillary;
mod batch;
mod commands;
mod context;
mod events;
mod forward;
#[cfg_attr(unix, path = "os/unix.rs")]
#[cfg_attr(windows, path = "os/windows.rs")]
mod os;
mod quota;
mod route;
mod server;
mod socket;
mod switch;
mod tcp;
mod udp;

pub use server::run;
pub use tcp::proxy::header as proxy_header;
