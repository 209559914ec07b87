//! The portable relay: TCP and UDP from one machine's ports to the guest's. It
//! runs on Windows as `wslmesh-relay.exe` and inside Linux, so nothing here is
//! of Unix alone but what is in `os`.
//!
//! One thread carries all data. A second one reads orders and a third one
//! writes events, because standard input and output may block and data may not.

pub mod protocol;

mod board;
mod forward;
mod orders;
mod os;
mod outbox;
mod program;
mod tally;
mod tcp;
mod udp;

pub use program::run;
