//! Windows.

#![expect(
    unsafe_code,
    reason = "the token and two socket options have no safe interface"
)]

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::windows::io::AsRawSocket;
use std::ptr::{from_mut, from_ref, null_mut};

use socket2::Socket;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::Networking::WinSock::{
    SIO_UDP_CONNRESET, SO_EXCLUSIVEADDRUSE, SOCKET, SOL_SOCKET, WSAIoctl, setsockopt,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

mod datagrams;

pub(crate) use datagrams::{SLOTS, receive, send_segments};

/// Whether this process has an administrator's rights in force.
///
/// # Errors
///
/// The system's, when it does not tell.
pub(crate) fn elevated() -> io::Result<bool> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the pseudo handle needs no closing, and `token` lives.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut elevation = TOKEN_ELEVATION { TokenIsElevated: 0 };
    let mut length = 0;
    let size = u32::try_from(size_of::<TOKEN_ELEVATION>()).map_err(io::Error::other)?;
    // SAFETY: `elevation` has the size that is said and lives, as does `length`.
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

/// Nothing: a port of connections that are not forgotten yet is free on
/// Windows, and `SO_REUSEADDR` would take it from another program there.
/// `SO_EXCLUSIVEADDRUSE` would keep the port from a restarted relay as long as
/// old connections linger, and 127.0.0.1 from wslrelay.exe.
///
/// # Errors
///
/// None here.
pub(crate) fn reuse(_listener: &Socket) -> io::Result<()> {
    Ok(())
}

/// Keeps a UDP port from programs that bind it with `SO_REUSEADDR`.
///
/// # Errors
///
/// The system's.
pub(crate) fn own_port(socket: &Socket) -> io::Result<()> {
    let on = 1_i32;
    let size = i32::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    // SAFETY: the option takes an int, which lives; the socket is open.
    let result = unsafe {
        setsockopt(
            raw(socket)?,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            from_ref(&on).cast::<u8>(),
            size,
        )
    };
    succeeded(result)
}

/// Keeps answers of ICMP ("port unreachable") from failing the next receive
/// with `WSAECONNRESET`: <https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls>.
///
/// # Errors
///
/// The system's.
pub(crate) fn keep_datagram_errors_away(socket: &Socket) -> io::Result<()> {
    let off = 0_i32;
    let size = u32::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    let mut returned = 0;
    // SAFETY: the request takes a BOOL, which lives, and returns nothing but
    // the length; it is not overlapped, so nothing outlives the call.
    let result = unsafe {
        WSAIoctl(
            raw(socket)?,
            SIO_UDP_CONNRESET,
            from_ref(&off).cast::<c_void>(),
            size,
            null_mut(),
            0,
            &raw mut returned,
            null_mut(),
            None,
        )
    };
    succeeded(result)
}

fn raw(socket: &Socket) -> io::Result<SOCKET> {
    SOCKET::try_from(socket.as_raw_socket()).map_err(io::Error::other)
}

fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
