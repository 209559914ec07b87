//! Datagrams one by one.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{SocketAddr, SocketAddrV4};

use socket2::SockAddr;
use tokio::net::UdpSocket;

/// Datagrams that one receive takes.
pub(crate) const SLOTS: usize = 1;

/// Receives a datagram and pushes its sender and length. Whether there may be
/// more.
///
/// # Errors
///
/// The system's; `WouldBlock` is none.
pub(crate) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    slot: usize,
    received: &mut Vec<(SocketAddrV4, usize)>,
) -> io::Result<bool> {
    match socket.try_recv_from(buffer) {
        Ok((length, from)) => {
            if let SocketAddr::V4(from) = from {
                received.push((from, length.min(slot)));
            }
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Never asked for: a batch of one has nothing to be sent together.
///
/// # Errors
///
/// Always.
pub(crate) fn send_segments(
    _socket: &UdpSocket,
    _pieces: &[IoSlice<'_>],
    _size: u16,
    _to: &SockAddr,
) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
