//! Many datagrams with one call: `recvmmsg` in, segmentation offload
//! (`UDP_SEGMENT`, Linux 4.18, udp(7)) out. A call costs more than the copy of
//! a datagram, and a segmented one travels the stack once.

#![expect(unsafe_code, reason = "neither call has a safe interface")]

use std::io::{self, ErrorKind, IoSlice};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::ptr::{from_mut, null_mut};

use socket2::SockAddr;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams that one receive takes.
pub(crate) const SLOTS: usize = 32;

/// Receives what is there, a datagram in each slot of `slot` bytes, and pushes
/// sender and length of each. Whether there may be more.
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
            // Less than there was room for: the next datagram makes an event of
            // its own, and the runtime need not ask once more for nothing.
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
    let slots = buffer.chunks_exact_mut(slot);
    let mut room: u32 = 0;
    for (((name, part), header), slot) in names
        .iter_mut()
        .zip(&mut parts)
        .zip(&mut headers)
        .zip(slots)
    {
        part.iov_base = slot.as_mut_ptr().cast();
        part.iov_len = slot.len();
        header.msg_hdr.msg_name = from_mut(name).cast();
        header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_in>()?;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        room += 1;
    }
    // SAFETY: the first `room` headers point at names, parts and slots that
    // live and are not borrowed otherwise; the socket is open.
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
    received.extend(
        names
            .iter()
            .zip(&headers)
            .take(count)
            .map(|(name, header)| {
                let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
                let port = u16::from_be(name.sin_port);
                let length = usize::try_from(header.msg_len).unwrap_or(slot);
                (SocketAddrV4::new(address, port), length.min(slot))
            }),
    );
    Ok(count)
}

/// The control message that asks for segments.
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
/// The system's, with nothing sent: an interface whose MTU is too small for
/// segments of that size, or one that cannot make checksums.
pub(crate) fn send_segments(
    socket: &UdpSocket,
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

fn length_of<T>() -> io::Result<libc::socklen_t> {
    libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)
}
