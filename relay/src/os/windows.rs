//! Windows.

#![expect(
    unsafe_code,
    reason = "the token and two socket options have no safe interface"
)]

use std::ffi::c_void;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::size_of;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::windows::io::AsRawSocket;
use std::ptr::{from_mut, from_ref, null_mut};

use socket2::{SockAddr, Socket};
use tokio::net::UdpSocket;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::Networking::WinSock::{
    SIO_UDP_CONNRESET, SO_EXCLUSIVEADDRUSE, SOCKET, SOL_SOCKET, WSAIoctl, setsockopt,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// Datagrams per receive.
pub(crate) const SLOTS: usize = 1;

/// Whether this process is elevated (has administrator rights in force).
///
/// # Errors
///
/// The system's.
pub(crate) fn elevated() -> io::Result<bool> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the pseudo handle needs no closing, and `token` lives.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut elevation = TOKEN_ELEVATION { TokenIsElevated: 0 };
    let mut length = 0;
    let size = u32::try_from(size_of::<TOKEN_ELEVATION>()).map_err(io::Error::other)?;
    // SAFETY: `elevation` has that size and lives, as does `length`.
    let done = unsafe {
        GetTokenInformation(
            token,
            TokenElevation,
            from_mut(&mut elevation).cast::<c_void>(),
            size,
            &raw mut length,
        )
    };
    let failure = io::Error::last_os_error();
    // SAFETY: the handle is ours and not used any more.
    unsafe { CloseHandle(token) };
    if done == 0 {
        return Err(failure);
    }
    Ok(elevation.TokenIsElevated != 0)
}

/// Windows has no limit to raise.
pub(crate) fn raise_limits() {}

/// Nothing: on Windows a port is free although connections are in TIME_WAIT, and
/// `SO_REUSEADDR` would take it from another program.
/// `SO_EXCLUSIVEADDRUSE` would keep the port from a restarted relay while old
/// connections linger, and 127.0.0.1 from wslrelay.exe.
///
/// # Errors
///
/// None on Windows.
pub(crate) fn configure_listener(_listener: &Socket) -> io::Result<()> {
    Ok(())
}

/// Keeps a UDP port from programs that bind it with `SO_REUSEADDR`, and ICMP
/// errors ("port unreachable") from failing the next receive with
/// `WSAECONNRESET`: <https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls>.
///
/// # Errors
///
/// The system refuses exclusive use of the port.
pub(crate) fn configure_udp(socket: &Socket) -> io::Result<()> {
    let raw = SOCKET::try_from(socket.as_raw_socket()).map_err(io::Error::other)?;
    let size = size_of::<i32>();
    let (on, off) = (1_i32, 0_i32);
    let option_size = i32::try_from(size).map_err(io::Error::other)?;
    let request_size = u32::try_from(size).map_err(io::Error::other)?;
    // SAFETY: the option takes an int, which lives; the socket is open.
    let result = unsafe {
        setsockopt(
            raw,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            from_ref(&on).cast::<u8>(),
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
            from_ref(&off).cast::<c_void>(),
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

/// Receives a datagram and pushes its sender and length. Returns whether there
/// may be more.
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
