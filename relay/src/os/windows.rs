//! Windows.

#![expect(
    unsafe_code,
    reason = "the token, socket options, addresses of Hyper-V, WSARecvMsg and the adapters have no safe interface"
)]

#[path = "windows/names.rs"]
mod names;
#[path = "windows/stdio.rs"]
mod stdio;

use std::io::{self, ErrorKind, IoSlice};
use std::iter::successors;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use socket2::{SockAddr, Socket};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use windows_sys::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_NO_DATA, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_FRIENDLY_NAME,
    GAA_FLAG_SKIP_MULTICAST, GET_ADAPTERS_ADDRESSES_FLAGS, GetAdaptersAddresses,
    IP_ADAPTER_ADDRESSES_LH,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, AF_UNSPEC, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO,
    LPFN_WSARECVMSG, SIO_GET_EXTENSION_FUNCTION_POINTER, SIO_UDP_CONNRESET, SO_EXCLUSIVEADDRUSE,
    SOCKADDR, SOCKADDR_IN, SOCKADDR_IN6, SOCKET, SOL_SOCKET, WSABUF, WSAEAFNOSUPPORT,
    WSAID_WSARECVMSG, WSAIoctl, WSAMSG, setsockopt,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use crate::admit::Interface;
use crate::ancillary::{Ancillary, ROOM};
use crate::batch::Datagram;
use crate::protocol::Protocol;
use crate::socket::canonical;

pub(crate) use names::{lookup, nameservers, report_errors, unreachable};
pub(crate) use stdio::{Stream, connect, standard_files, wait_for};

/// Datagrams per receive.
pub(crate) const SLOTS: usize = 1;

/// The error of a socket of a family that this system lacks.
pub(crate) const NO_FAMILY: i32 = WSAEAFNOSUPPORT;

/// Level and type of the messages with an address of this machine, and what is before the
/// address in that of IPv4:
/// <https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-in_pktinfo>.
pub(crate) const IPV4_INFO: (i32, i32) = (IPPROTO_IP, IP_PKTINFO);
pub(crate) const IPV6_INFO: (i32, i32) = (IPPROTO_IPV6, IPV6_PKTINFO);
pub(crate) const IPV4_BEFORE: [u8; 0] = [];

/// Whether this process is elevated (has administrator rights in force).
///
/// # Errors
///
/// The system's.
pub(crate) fn elevated() -> io::Result<bool> {
    let mut token = null_mut();
    // SAFETY: the pseudo handle needs no closing, and `token` lives.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is open and ours.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut elevation = TOKEN_ELEVATION { TokenIsElevated: 0 };
    let mut length = 0;
    let size = u32::try_from(size_of::<TOKEN_ELEVATION>()).map_err(io::Error::other)?;
    // SAFETY: `elevation` has that size and lives, as do `length` and the handle.
    let done = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenElevation,
            (&raw mut elevation).cast(),
            size,
            &raw mut length,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(elevation.TokenIsElevated != 0)
}

/// Windows has no limit to raise.
pub(crate) fn raise_limits() {}

/// The addresses of this machine, as far as their adapters are connected.
///
/// # Errors
///
/// The system's.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let flags = GAA_FLAG_SKIP_ANYCAST
        | GAA_FLAG_SKIP_MULTICAST
        | GAA_FLAG_SKIP_DNS_SERVER
        | GAA_FLAG_SKIP_FRIENDLY_NAME;
    adapters(flags, |adapters| {
        let connected = adapters.filter(|adapter| adapter.OperStatus == IfOperStatusUp);
        let unicasts = connected.flat_map(|adapter| {
            // SAFETY: each pointer of the list is null or leads to a structure that lives.
            let first = unsafe { adapter.FirstUnicastAddress.as_ref() };
            // SAFETY: as above.
            successors(first, |one| unsafe { one.Next.as_ref() })
        });
        let interfaces = unicasts.filter_map(|unicast| {
            // SAFETY: as above, and an address has the structure of its family.
            let address = unsafe { socket_address(unicast.Address.lpSockaddr) }?;
            Some((address.ip(), unicast.OnLinkPrefixLength))
        });
        interfaces.collect()
    })
}

/// What is found in the list of adapters, which has all but what the flags leave out.
///
/// # Errors
///
/// The system's.
fn adapters<T: Default>(
    flags: GET_ADAPTERS_ADDRESSES_FLAGS,
    read: impl FnOnce(&mut dyn Iterator<Item = &IP_ADAPTER_ADDRESSES_LH>) -> T,
) -> io::Result<T> {
    // As large as Microsoft recommends, and aligned for the structures.
    let mut size = 15 * 1024;
    let mut buffer = Vec::<u64>::new();
    // Adapters may be added between two calls.
    for _ in 0..3 {
        buffer.resize(
            usize::try_from(size).map_err(io::Error::other)?.div_ceil(8),
            0,
        );
        let list: *mut IP_ADAPTER_ADDRESSES_LH = buffer.as_mut_ptr().cast();
        // SAFETY: the buffer has at least that size, and both live.
        let result =
            unsafe { GetAdaptersAddresses(AF_UNSPEC.into(), flags, null(), list, &raw mut size) };
        match result {
            ERROR_SUCCESS => {
                // SAFETY: the call has filled the list, each pointer of which is null or
                // leads to a structure that lives.
                let mut all =
                    successors(unsafe { list.as_ref() }, |one| unsafe { one.Next.as_ref() });
                return Ok(read(&mut all));
            }
            ERROR_NO_DATA => return Ok(T::default()),
            ERROR_BUFFER_OVERFLOW => {}
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
    Err(ErrorKind::OutOfMemory.into())
}

/// The address that a structure of the system has, of IPv4 or IPv6.
///
/// # Safety
///
/// The pointer is null, or leads to a structure of the family that it names.
unsafe fn socket_address(at: *const SOCKADDR) -> Option<SocketAddr> {
    // SAFETY: as the caller says; each union is one of plain integers.
    unsafe {
        match at.as_ref()?.sa_family {
            AF_INET => {
                let found = at.cast::<SOCKADDR_IN>().read_unaligned();
                let address = Ipv4Addr::from_bits(u32::from_be(found.sin_addr.S_un.S_addr));
                Some((address, u16::from_be(found.sin_port)).into())
            }
            AF_INET6 => {
                let found = at.cast::<SOCKADDR_IN6>().read_unaligned();
                let address = Ipv6Addr::from(found.sin6_addr.u.Byte);
                let (port, scope) = (u16::from_be(found.sin6_port), found.Anonymous.sin6_scope_id);
                Some(SocketAddrV6::new(address, port, 0, scope).into())
            }
            _ => None,
        }
    }
}

/// Keeps a UDP port from programs that bind it with `SO_REUSEADDR`, and ICMP
/// errors ("port unreachable") from failing the next receive with
/// `WSAECONNRESET`: <https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls>.
///
/// TCP needs nothing: on Windows a port is free although connections are in
/// TIME_WAIT, and `SO_REUSEADDR` would take it from another program.
/// `SO_EXCLUSIVEADDRUSE` would keep the port from a restarted relay while old
/// connections linger, and 127.0.0.1 from wslrelay.exe.
///
/// # Errors
///
/// The system refuses exclusive use of the port.
pub(crate) fn configure(socket: &Socket, protocol: Protocol) -> io::Result<()> {
    if protocol == Protocol::Tcp {
        return Ok(());
    }
    set_on(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE)?;
    let off = 0_i32;
    let request_size = u32::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    let mut returned = 0;
    // Receiving tolerates such errors, so a failure is ignored.
    // SAFETY: the request takes a BOOL, which lives, and returns nothing but
    // the length; it is not overlapped, so nothing outlives the call.
    unsafe {
        WSAIoctl(
            raw(socket)?,
            SIO_UDP_CONNRESET,
            (&raw const off).cast(),
            request_size,
            null_mut(),
            0,
            &raw mut returned,
            null_mut(),
            None,
        )
    };
    Ok(())
}

fn raw(socket: &impl AsRawSocket) -> io::Result<SOCKET> {
    SOCKET::try_from(socket.as_raw_socket()).map_err(io::Error::other)
}

/// Switches an option on.
fn set_on(socket: &impl AsRawSocket, level: i32, option: i32) -> io::Result<()> {
    let on = 1_i32;
    let size = i32::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    // SAFETY: the options take an int or a DWORD, which lives; the socket is open.
    let result = unsafe { setsockopt(raw(socket)?, level, option, (&raw const on).cast(), size) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lets a UDP socket say which address of this machine each datagram came to. One of IPv6
/// that takes IPv4 too has an option for each.
///
/// # Errors
///
/// The system's.
pub(crate) fn report_destinations(socket: &UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv6() {
        set_on(socket, IPPROTO_IPV6, IPV6_PKTINFO)?;
    }
    set_on(socket, IPPROTO_IP, IP_PKTINFO)
}

/// The function that Windows gives at run time alone:
/// <https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_wsarecvmsg>.
fn receive_function(socket: &UdpSocket) -> LPFN_WSARECVMSG {
    static FOUND: OnceLock<LPFN_WSARECVMSG> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let id = WSAID_WSARECVMSG;
        let mut found: LPFN_WSARECVMSG = None;
        let mut returned = 0;
        let (id_size, found_size) = (size_of_val(&id), size_of_val(&found));
        // SAFETY: the request takes a GUID and returns a function of that type, and both
        // live, as does the length; it is not overlapped.
        let result = unsafe {
            WSAIoctl(
                raw(socket).ok()?,
                SIO_GET_EXTENSION_FUNCTION_POINTER,
                (&raw const id).cast(),
                u32::try_from(id_size).ok()?,
                (&raw mut found).cast(),
                u32::try_from(found_size).ok()?,
                &raw mut returned,
                null_mut(),
                None,
            )
        };
        if result == 0 { found } else { None }
    })
}

/// Receives a datagram.
///
/// # Errors
///
/// The system's; `WouldBlock` if there is no more.
pub(crate) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    received: &mut Vec<Datagram>,
) -> io::Result<()> {
    let Some(receive) = receive_function(socket) else {
        let (length, from) = socket.try_recv_from(buffer)?;
        let (from, to) = (canonical(from), None);
        received.push(Datagram { from, to, length });
        return Ok(());
    };
    let size = |size| u32::try_from(size).map_err(io::Error::other);
    socket.try_io(Interest::READABLE, || {
        let mut control = Ancillary::new();
        // SAFETY: zeros are a valid value of this plain C structure.
        let mut name: SOCKADDR_IN6 = unsafe { zeroed() };
        let mut part = WSABUF {
            len: size(buffer.len())?,
            buf: buffer.as_mut_ptr(),
        };
        let mut message = WSAMSG {
            name: (&raw mut name).cast(),
            namelen: size(size_of_val(&name))?.cast_signed(),
            lpBuffers: &raw mut part,
            dwBufferCount: 1,
            Control: WSABUF {
                len: size(ROOM)?,
                buf: control.received().0.as_mut_ptr(),
            },
            dwFlags: 0,
        };
        let mut length = 0;
        // SAFETY: the message points at a name, a buffer and a control that live and have no
        // other borrow; the socket is open, and the call is not overlapped.
        let result = unsafe {
            receive(
                raw(socket)?,
                &raw mut message,
                &raw mut length,
                null_mut(),
                None,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        *control.received().1 = message.Control.len as usize;
        // SAFETY: the system has written the structure of the socket's family, of which that
        // of IPv6 is the longest.
        let from = unsafe { socket_address((&raw const name).cast()) };
        received.push(Datagram {
            from: canonical(from.ok_or(ErrorKind::InvalidData)?),
            to: control.came_to(),
            length: length as usize,
        });
        Ok(())
    })
}

/// Never called: with one datagram per receive there are no groups.
///
/// # Errors
///
/// Always.
pub(crate) fn send_segments(
    _socket: &Socket,
    _pieces: &[IoSlice<'_>],
    _size: u16,
    _to: &SockAddr,
    _control: Ancillary,
) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
