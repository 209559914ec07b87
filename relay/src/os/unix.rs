//! Linux and other Unix systems.
//!
//! Many datagrams go through one call: `recvmmsg` in, segmentation offload
//! (`UDP_SEGMENT`, Linux 4.18, udp(7)) out. A call costs more than copying a
//! datagram, and segments travel the stack as one.

#![expect(
    unsafe_code,
    reason = "recvmmsg, two socket options and getifaddrs have no safe interface"
)]

#[path = "unix/names.rs"]
mod names;
#[path = "unix/stdio.rs"]
mod stdio;

use std::io::{self, ErrorKind, IoSlice};
use std::iter::successors;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr::{from_mut, from_ref, null_mut};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{MsgHdr, SockAddr, Socket};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::admit::Interface;
use crate::ancillary::{Ancillary, ROOM};
use crate::batch::Datagram;
use crate::protocol::Protocol;
use crate::socket::canonical;

pub(crate) use names::{lookup, nameservers, report_errors, unreachable};
pub(crate) use stdio::{Stream, connect, standard_files, wait_for};

/// Datagrams per receive.
pub(crate) const SLOTS: usize = VECTOR as usize;
const VECTOR: u32 = 32;

/// The error of a socket of a family that this system lacks.
pub(crate) const NO_FAMILY: i32 = libc::EAFNOSUPPORT;

/// Level and type of the messages with an address of this machine, and what is before the
/// address in that of IPv4: the interface's number. ip(7): `ipi_spec_dst`, which is a
/// datagram's destination unless that is a broadcast; ipv6(7).
pub(crate) const IPV4_INFO: (i32, i32) = (libc::IPPROTO_IP, libc::IP_PKTINFO);
pub(crate) const IPV6_INFO: (i32, i32) = (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
pub(crate) const IPV4_BEFORE: [u8; 4] = [0; 4];

/// Of a message that requests segments, udp(7).
const SEGMENTS: (i32, i32) = (libc::SOL_UDP, libc::UDP_SEGMENT);

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

/// The address that a structure of the system has, of IPv4 or IPv6.
///
/// # Safety
///
/// The pointer is null, or leads to a structure of the family that it names.
unsafe fn socket_address(at: *const libc::sockaddr) -> Option<SocketAddr> {
    // SAFETY: as the caller says.
    let family = unsafe { at.as_ref()? }.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: as the caller says.
            let found = unsafe { at.cast::<libc::sockaddr_in>().read_unaligned() };
            let address = u32::from_be(found.sin_addr.s_addr).into();
            Some(SocketAddrV4::new(address, u16::from_be(found.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as the caller says.
            let found = unsafe { at.cast::<libc::sockaddr_in6>().read_unaligned() };
            let port = u16::from_be(found.sin6_port);
            let address = found.sin6_addr.s6_addr.into();
            Some(SocketAddrV6::new(address, port, 0, found.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// The addresses of this machine.
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
    let address = |at: *const libc::sockaddr| unsafe { Some(socket_address(at)?.ip()) };
    // SAFETY: as above.
    let entries = successors(unsafe { list.as_ref() }, |entry| unsafe {
        entry.ifa_next.as_ref()
    });
    let interfaces = entries.filter_map(|entry| {
        let prefix = match address(entry.ifa_netmask) {
            Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
            Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
            None => u8::MAX.into(),
        };
        Some((address(entry.ifa_addr)?, u8::try_from(prefix).ok()?))
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

/// Lets a UDP socket say which address of this machine each datagram came to. One of IPv6
/// that takes IPv4 too says so of both.
///
/// # Errors
///
/// The system's.
pub(crate) fn report_destinations(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = if socket.local_addr()?.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        IPV4_INFO
    };
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    // SAFETY: the option takes an int, which lives; the socket is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Receives what has arrived, a datagram in each of the buffer's [`SLOTS`] parts.
///
/// # Errors
///
/// The system's; `WouldBlock` if there is no more.
pub(crate) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    received: &mut Vec<Datagram>,
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

fn fill(socket: &UdpSocket, buffer: &mut [u8], received: &mut Vec<Datagram>) -> io::Result<()> {
    // SAFETY: zeros are a valid value of these plain C structures.
    let (mut names, mut parts, mut headers): (
        [libc::sockaddr_in6; SLOTS],
        [libc::iovec; SLOTS],
        [libc::mmsghdr; SLOTS],
    ) = unsafe { zeroed() };
    let mut controls = [Ancillary::new(); SLOTS];
    let name_length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in6>());
    let name_length = name_length.map_err(io::Error::other)?;
    let slots = buffer.chunks_exact_mut(buffer.len() / SLOTS);
    let views = names.iter_mut().zip(&mut parts).zip(&mut headers);
    for ((((name, part), header), slot), control) in views.zip(slots).zip(&mut controls) {
        part.iov_base = slot.as_mut_ptr().cast();
        part.iov_len = slot.len();
        header.msg_hdr.msg_name = from_mut(name).cast();
        header.msg_hdr.msg_namelen = name_length;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.received().0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = ROOM;
    }
    // SAFETY: the headers point at names, parts, controls and slots that live and have no
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
    let filled = names.iter().zip(&headers).zip(&mut controls).take(count);
    received.extend(filled.filter_map(|((name, header), control)| {
        // SAFETY: the system has written the structure of the socket's family, of which that
        // of IPv6 is the longest.
        let from = unsafe { socket_address(from_ref(name).cast()) }?;
        *control.received().1 = header.msg_hdr.msg_controllen;
        Some(Datagram {
            from: canonical(from),
            to: control.came_to(),
            length: header.msg_len as usize,
        })
    }));
    Ok(())
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
    mut control: Ancillary,
) -> io::Result<()> {
    control.push(SEGMENTS, &[&size.to_ne_bytes()]);
    let message = MsgHdr::new().with_addr(to).with_buffers(pieces);
    let message = message.with_control(control.bytes());
    socket.sendmsg(&message, libc::MSG_DONTWAIT).map(drop)
}
