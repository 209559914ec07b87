//! The relay's program from outside: a process of its own for each test, real
//! sockets on loopback, ports that the system chose. Runs on Windows too.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, its helpers too"
)]

#[cfg(target_os = "linux")]
mod admit;
mod families;
mod harness;
mod input;
mod load;
#[cfg(target_os = "linux")]
mod network;
mod proxy;
mod sessions;
#[cfg(target_os = "linux")]
mod silence;
mod switch;
mod tcp;
mod udp;
