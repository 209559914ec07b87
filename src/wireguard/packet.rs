//! One packet into a tunnel, at which its device begins a session where it has none.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Socket, Type};

use crate::model::InterfaceName;

/// What is sent here is thrown away (RFC 863); a machine without that service says that
/// no service listens, which is an answer too.
const DISCARD: u16 = 9;

/// Sends one byte to this address by that device, whatever the routes say. The kernel gives
/// it a port by itself: at bind(2) mirrored mode would ask Windows for one.
///
/// # Errors
/// The system's reason: the device was removed, or has no address.
pub fn send_into(device: &InterfaceName, to: IpAddr) -> io::Result<()> {
    let to = SocketAddr::new(to, DISCARD);
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(device.as_str().as_bytes()))?;
    socket.send_to(&[0], &to.into()).map(drop)
}
