//! Linux and other Unix systems.
//!
//! Many datagrams go through one call: `recvmmsg` in, segmentation offload
//! (`UDP_SEGMENT`, Linux 4.18, udp(7)) out. A call costs more than copying a
//! datagram, and segments travel the stack as one.

#![expect(
    unsafe_code,
    reason = "recvmmsg, UDP_SEGMENT and getifaddrs have no safe interface"
)]

use std::io::{self, ErrorKind, IoSlice};
use std::iter::successors;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::ptr::{from_mut, from_ref, null_mut};
use std::slice;

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{MsgHdr, SockAddr, Socket};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::admit::Interface;
use crate::protocol::Protocol;

/// Datagrams per receive.
pub(crate) const SLOTS: usize = VECTOR as usize;
const VECTOR: u32 = 32;

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

/// The IPv4 addresses of this machine.
///
/// # Errors
///
/// The system's.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut list = null_mut();
    // SAFETY: the pointer lives; the list is freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: each pointer of the list is null or leads to a structure that lives until it
    // is freed, and an address has the structure of its family.
    let ipv4 = |at: *const libc::sockaddr| unsafe {
        let family = at.as_ref()?.sa_family;
        let is_ipv4 = i32::from(family) == libc::AF_INET;
        is_ipv4.then(|| {
            Ipv4Addr::from_bits(u32::from_be(
                at.cast::<libc::sockaddr_in>()
                    .read_unaligned()
                    .sin_addr
                    .s_addr,
            ))
        })
    };
    // SAFETY: as above.
    let entries = successors(unsafe { list.as_ref() }, |entry| unsafe {
        entry.ifa_next.as_ref()
    });
    let interfaces = entries.filter_map(|entry| {
        let mask = ipv4(entry.ifa_netmask).unwrap_or(Ipv4Addr::BROADCAST);
        let prefix = mask.to_bits().leading_ones();
        Some((ipv4(entry.ifa_addr)?, u8::try_from(prefix).ok()?))
    });
    let interfaces = interfaces.collect();
    // SAFETY: it came from getifaddrs, and nothing refers to it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(interfaces)
}

/// Lets a TCP listener take its port while connections of an earlier relay are in
/// TIME_WAIT; on Linux this takes no port from another listener. A UDP port has one
/// owner there, and ICMP errors do not reach an unconnected socket.
///
/// # Errors
///
/// The system's.
pub(crate) fn configure(socket: &Socket, protocol: Protocol) -> io::Result<()> {
    socket.set_reuse_address(protocol == Protocol::Tcp)
}

/// Receives what has arrived, a datagram in each of the buffer's [`SLOTS`] parts, and
/// pushes the sender and length of each.
///
/// # Errors
///
/// The system's; `WouldBlock` if there is no more.
pub(crate) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    received: &mut Vec<(SocketAddrV4, usize)>,
) -> io::Result<()> {
    socket.try_io(Interest::READABLE, || {
        fill(socket, buffer, received)?;
        if received.len() < SLOTS {
            // The next datagram causes an event of its own, which saves a receive
            // that finds nothing.
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(())
    })
}

fn fill(
    socket: &UdpSocket,
    buffer: &mut [u8],
    received: &mut Vec<(SocketAddrV4, usize)>,
) -> io::Result<()> {
    // SAFETY: zeros are a valid value of these plain C structures.
    let (mut names, mut parts, mut headers): (
        [libc::sockaddr_in; SLOTS],
        [libc::iovec; SLOTS],
        [libc::mmsghdr; SLOTS],
    ) = unsafe { zeroed() };
    let name_length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>());
    let name_length = name_length.map_err(io::Error::other)?;
    let slots = buffer.chunks_exact_mut(buffer.len() / SLOTS);
    let views = names.iter_mut().zip(&mut parts).zip(&mut headers);
    for (((name, part), header), slot) in views.zip(slots) {
        part.iov_base = slot.as_mut_ptr().cast();
        part.iov_len = slot.len();
        header.msg_hdr.msg_name = from_mut(name).cast();
        header.msg_hdr.msg_namelen = name_length;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the headers point at names, parts and slots that live and have no
    // other borrow; the socket is open.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            VECTOR,
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
        (SocketAddrV4::new(address, port), header.msg_len as usize)
    }));
    Ok(())
}

/// The control message that requests segments, of the length that cmsg(3) gives it.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    size: u16,
    padding: [u16; 3],
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
    let control = Control {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        },
        size,
        padding: [0; 3],
    };
    // SAFETY: these are the bytes of a structure that lives and has no gaps.
    let control =
        unsafe { slice::from_raw_parts(from_ref(&control).cast::<u8>(), size_of::<Control>()) };
    let message = MsgHdr::new().with_addr(to).with_buffers(pieces);
    let message = message.with_control(control);
    socket.sendmsg(&message, libc::MSG_DONTWAIT).map(drop)
}
