//! Linux and other Unix systems.
//!
//! Many datagrams go through one call: `recvmmsg` in, segmentation offload
//! (`UDP_SEGMENT`, Linux 4.18, udp(7)) out. A call costs more than copying a
//! datagram, and segments travel the stack as one.

#![expect(
    unsafe_code,
    reason = "recvmmsg and UDP_SEGMENT have no safe interface"
)]

use std::io::{self, ErrorKind, IoSlice};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::ptr::{from_mut, null_mut};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{SockAddr, Socket};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams per receive.
pub(crate) const SLOTS: usize = 32;

/// Whether this process is elevated. Unix has no such token, and root is
/// accepted: the agent is root, and so is the relay that it starts in the guest.
///
/// # Errors
///
/// None on Unix.
pub(crate) fn elevated() -> io::Result<bool> {
    Ok(false)
}

/// Raises the limit of open sockets as far as allowed. Each TCP connection takes
/// two.
pub(crate) fn raise_limits() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With the lower limit, accept fails earlier.
    setrlimit(Resource::Nofile, limit).ok();
}

/// Lets a listener take its port while connections of an earlier relay are in
/// TIME_WAIT. On Linux this takes no port from another listener.
///
/// # Errors
///
/// The system's.
pub(crate) fn configure_listener(listener: &Socket) -> io::Result<()> {
    listener.set_reuse_address(true)
}

/// Nothing: on Linux a UDP port has one owner, and ICMP errors do not reach an
/// unconnected socket.
///
/// # Errors
///
/// None on Unix.
pub(crate) fn configure_udp(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Receives what has arrived, a datagram in each slot of `slot` bytes, and pushes
/// the sender and length of each. Returns whether there may be more.
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
    let mut more = true;
    let result = socket.try_io(Interest::READABLE, || {
        let count = fill(socket, buffer, slot, received)?;
        more = count == SLOTS;
        if more {
            Ok(())
        } else {
            // Fewer than there was room for: the next datagram causes an event of
            // its own, which saves a receive that finds nothing.
            Err(ErrorKind::WouldBlock.into())
        }
    });
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        result => result.map(|()| more),
    }
}

fn fill(
    socket: &UdpSocket,
    buffer: &mut [u8],
    slot: usize,
    received: &mut Vec<(SocketAddrV4, usize)>,
) -> io::Result<usize> {
    // SAFETY: zeros are a valid value of these plain C structures.
    let (mut names, mut parts, mut headers): (
        [libc::sockaddr_in; SLOTS],
        [libc::iovec; SLOTS],
        [libc::mmsghdr; SLOTS],
    ) = unsafe { zeroed() };
    let name_length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>());
    let name_length = name_length.map_err(io::Error::other)?;
    let slots = buffer.chunks_exact_mut(slot);
    let mut room: u32 = 0;
    let views = names.iter_mut().zip(&mut parts).zip(&mut headers);
    for (((name, part), header), slot) in views.zip(slots) {
        part.iov_base = slot.as_mut_ptr().cast();
        part.iov_len = slot.len();
        header.msg_hdr.msg_name = from_mut(name).cast();
        header.msg_hdr.msg_namelen = name_length;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        room += 1;
    }
    // SAFETY: the first `room` headers point at names, parts and slots that
    // live and have no other borrow; the socket is open.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            room,
            libc::MSG_DONTWAIT,
            null_mut(),
        )
    };
    let Ok(count) = usize::try_from(count) else {
        return Err(io::Error::last_os_error());
    };
    let filled = names.iter().zip(&headers).take(count);
    received.extend(filled.map(|(name, header)| {
        let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        let port = u16::from_be(name.sin_port);
        let length = usize::try_from(header.msg_len).unwrap_or(slot);
        (SocketAddrV4::new(address, port), length.min(slot))
    }));
    Ok(count)
}

/// The control message that requests segments.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    size: u16,
}

/// Sends the pieces as one datagram each. All have the length `size`, only the
/// last one may be shorter.
///
/// # Errors
///
/// The system's, with nothing sent: the interface's MTU is too small for segments
/// of that size, or it cannot compute checksums.
pub(crate) fn send_segments(
    socket: &Socket,
    pieces: &[IoSlice<'_>],
    size: u16,
    to: &SockAddr,
) -> io::Result<()> {
    let mut control = Control {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        },
        size,
    };
    // SAFETY: zeros are a valid value of this plain C structure.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    // IoSlice is laid out as iovec on Unix, and sending does not write to it.
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len();
    message.msg_control = from_mut(&mut control).cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: everything that the message points at lives until the call ends.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
