//! The portable relay: TCP and UDP from one machine's ports to the guest's. It
//! runs on Windows as `wslmesh-relay.exe` and inside Linux, so nothing here is
//! of Unix alone.

pub mod protocol;
