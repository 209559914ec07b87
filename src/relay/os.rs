//! What differs between systems.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(super) use unix::{elevated, keep_datagram_errors_away, own_port, raise_limits, reuse};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(super) use windows::{elevated, keep_datagram_errors_away, own_port, raise_limits, reuse};
