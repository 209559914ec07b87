//! Names, and what UDP sockets are told of their datagrams.

use std::ffi::CString;
use std::fs;
use std::io;
use std::iter::successors;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};

use crate::switch::engine::dns::Failure;

/// The addresses of a name, of IPv6 or else of IPv4, by the system's resolver. It may take
/// many seconds.
///
/// # Errors
///
/// There is no such name, it has no such addresses, or it is not known whether.
pub(crate) fn lookup(name: &str, is_ipv6: bool) -> Result<Vec<IpAddr>, Failure> {
    let name = CString::new(name).map_err(|_| Failure::NoName)?;
    // SAFETY: zeros are a valid value of this plain C structure.
    let mut hints: libc::addrinfo = unsafe { zeroed() };
    hints.ai_family = if is_ipv6 {
        libc::AF_INET6
    } else {
        libc::AF_INET
    };
    // One entry an address.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = null_mut();
    // SAFETY: the name ends with a zero, and all of them live; the list is freed below.
    let result =
        unsafe { libc::getaddrinfo(name.as_ptr(), null(), &raw const hints, &raw mut list) };
    match result {
        0 => {}
        libc::EAI_NONAME => return Err(Failure::NoName),
        libc::EAI_NODATA => return Err(Failure::NoAddress),
        _ => return Err(Failure::Unknown),
    }
    // SAFETY: each pointer of the list is null or leads to a structure that lives until it
    // is freed, and an address has the structure of its family.
    let entries = successors(unsafe { list.as_ref() }, |entry| unsafe {
        entry.ai_next.as_ref()
    });
    // SAFETY: as above.
    let address = |entry: &libc::addrinfo| unsafe { super::socket_address(entry.ai_addr) };
    let addresses = entries.filter_map(address).map(|address| address.ip());
    let addresses = addresses
        .filter(|address| address.is_ipv6() == is_ipv6)
        .collect();
    // SAFETY: it came from getaddrinfo, and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(addresses)
}

/// The nameservers of this machine.
pub(crate) fn nameservers() -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let words = text.lines().map(|line| {
        let mut words = line.split_whitespace();
        (words.next(), words.next())
    });
    let servers = words.filter_map(|words| match words {
        (Some("nameserver"), Some(server)) => server.parse().ok(),
        _ => None,
    });
    servers.collect()
}

/// Makes ICMP errors known to an unconnected socket: ip(7), `IP_RECVERR`.
///
/// # Errors
///
/// The system's.
pub(crate) fn report_errors(socket: &impl AsRawFd, is_ipv6: bool) -> io::Result<()> {
    let (level, option) = if is_ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
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

/// Whom the datagram was for that caused the last error of a socket, which is forgotten.
pub(crate) fn unreachable(socket: &impl AsRawFd) -> Option<SocketAddr> {
    // SAFETY: zeros are a valid value of these plain C structures.
    let (mut name, mut message): (libc::sockaddr_in6, libc::msghdr) = unsafe { zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_in6>()).ok()?;
    // The datagram itself and the error's details are cut off.
    // SAFETY: the message points at a name that lives; the socket is open.
    let result = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut message,
            libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
        )
    };
    if result < 0 {
        return None;
    }
    // SAFETY: the system has written the structure of the socket's family, of which that of
    // IPv6 is the longest.
    unsafe { super::socket_address((&raw const name).cast()) }
}
