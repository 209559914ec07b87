//! Linux and its like.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::Socket;

mod datagrams;

pub(crate) use datagrams::{SLOTS, receive, send_segments};

/// Unix has no elevated token. Root is accepted: the agent is root, and starts
/// the relay inside the guest as it is itself.
///
/// # Errors
///
/// None here.
pub(crate) fn elevated() -> io::Result<bool> {
    Ok(false)
}

/// Lets the relay have as many sockets as it may. Each TCP connection takes two.
pub(crate) fn raise_limits() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it there are fewer connections, and accept says so.
    setrlimit(Resource::Nofile, limit).ok();
}

/// Lets a listener have its port although connections of an earlier relay are
/// not forgotten yet. It takes no port from another listener on Linux.
///
/// # Errors
///
/// The system's.
pub(crate) fn reuse(listener: &Socket) -> io::Result<()> {
    listener.set_reuse_address(true)
}

/// Nobody can take a UDP port that has an owner without the flag.
///
/// # Errors
///
/// None here.
pub(crate) fn own_port(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// An unconnected socket on Linux hears nothing of ICMP.
///
/// # Errors
///
/// None here.
pub(crate) fn keep_datagram_errors_away(_socket: &Socket) -> io::Result<()> {
    Ok(())
}
