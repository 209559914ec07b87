//! Windows.

#![expect(
    unsafe_code,
    reason = "the token, two socket options and the adapters have no safe interface"
)]

use std::io::{self, ErrorKind, IoSlice};
use std::iter::successors;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use socket2::{SockAddr, Socket};
use tokio::net::UdpSocket;
use windows_sys::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_NO_DATA, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_FRIENDLY_NAME,
    GAA_FLAG_SKIP_MULTICAST, GetAdaptersAddresses, IP_ADAPTER_ADDRESSES_LH,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, SIO_UDP_CONNRESET, SO_EXCLUSIVEADDRUSE, SOCKADDR_IN, SOCKET, SOL_SOCKET, WSAIoctl,
    setsockopt,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use crate::admit::Interface;
use crate::protocol::Protocol;

/// Datagrams per receive.
pub(crate) const SLOTS: usize = 1;

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

/// The IPv4 addresses of this machine, as far as their adapters are connected.
///
/// # Errors
///
/// The system's.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let flags = GAA_FLAG_SKIP_ANYCAST
        | GAA_FLAG_SKIP_MULTICAST
        | GAA_FLAG_SKIP_DNS_SERVER
        | GAA_FLAG_SKIP_FRIENDLY_NAME;
    // As large as Microsoft recommends, and aligned for the structures.
    let mut size = 15 * 1024;
    let mut buffer = Vec::<u64>::new();
    // Adapters may be added between two calls.
    for _ in 0..3 {
        buffer.resize(
            usize::try_from(size).map_err(io::Error::other)?.div_ceil(8),
            0,
        );
        let list = buffer.as_mut_ptr().cast();
        // SAFETY: the buffer has at least that size, and both live.
        let result =
            unsafe { GetAdaptersAddresses(AF_INET.into(), flags, null(), list, &raw mut size) };
        match result {
            ERROR_SUCCESS => {
                // SAFETY: the call has filled the list.
                return Ok(unsafe { addresses(list) });
            }
            ERROR_NO_DATA => return Ok(Vec::new()),
            ERROR_BUFFER_OVERFLOW => {}
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
    Err(ErrorKind::OutOfMemory.into())
}

/// The addresses in a list of adapters.
///
/// # Safety
///
/// The list is one of `GetAdaptersAddresses` and lives.
unsafe fn addresses(list: *const IP_ADAPTER_ADDRESSES_LH) -> Vec<Interface> {
    // SAFETY: each pointer of the list is null or leads to a structure that lives.
    let adapters = successors(unsafe { list.as_ref() }, |one| unsafe { one.Next.as_ref() });
    let connected = adapters.filter(|adapter| adapter.OperStatus == IfOperStatusUp);
    let unicasts = connected.flat_map(|adapter| {
        // SAFETY: as above.
        let first = unsafe { adapter.FirstUnicastAddress.as_ref() };
        // SAFETY: as above.
        successors(first, |one| unsafe { one.Next.as_ref() })
    });
    let interfaces = unicasts.filter_map(|unicast| {
        // SAFETY: as above, and an address has the structure of its family.
        let address = unsafe {
            let address = unicast.Address.lpSockaddr;
            let is_ipv4 = address.as_ref()?.sa_family == AF_INET;
            let address = is_ipv4.then(|| address.cast::<SOCKADDR_IN>().read_unaligned())?;
            address.sin_addr.S_un.S_addr
        };
        let address = Ipv4Addr::from_bits(u32::from_be(address));
        Some((address, unicast.OnLinkPrefixLength))
    });
    interfaces.collect()
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
    let raw = SOCKET::try_from(socket.as_raw_socket()).map_err(io::Error::other)?;
    let (on, off) = (1_i32, 0_i32);
    let option_size = i32::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    let request_size = u32::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    // SAFETY: the option takes an int, which lives; the socket is open.
    let result = unsafe {
        setsockopt(
            raw,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const on).cast(),
            option_size,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut returned = 0;
    // Receiving tolerates such errors, so a failure is ignored.
    // SAFETY: the request takes a BOOL, which lives, and returns nothing but
    // the length; it is not overlapped, so nothing outlives the call.
    unsafe {
        WSAIoctl(
            raw,
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

/// Receives a datagram and pushes its sender and length.
///
/// # Errors
///
/// The system's; `WouldBlock` if there is no more.
pub(crate) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    received: &mut Vec<(SocketAddrV4, usize)>,
) -> io::Result<()> {
    if let (length, SocketAddr::V4(from)) = socket.try_recv_from(buffer)? {
        received.push((from, length));
    }
    Ok(())
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
) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
