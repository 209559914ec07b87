//! The streams of the switch: standard input and output, and the socket to a guest.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::size_of;
use std::os::windows::io::AsHandle;
use std::time::Duration;

use mio::{Registry, Token};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{AF_HYPERV, setsockopt};
use windows_sys::core::GUID;

use super::raw;
use crate::link::second::Place;

/// One that is read, or one that is written.
pub(crate) enum Stream {
    File(File),
    Socket(Socket),
}

/// Protocol of sockets of Hyper-V, level of their options, and the option that bounds a
/// connect, in ms: `HV_PROTOCOL_RAW`, `HVSOCKET_CONNECT_TIMEOUT` of hvsocket.h.
const RAW: i32 = 1;
const CONNECT_TIMEOUT: i32 = 1;

/// Of the service that a port of a Linux guest is, with the port in its first group:
/// <https://learn.microsoft.com/virtualization/hyper-v-on-windows/user-guide/make-integration-service>.
const SERVICE: u128 = 0x00000000_facb_11e6_bd58_64006a7986d3;

/// `SOCKADDR_HV` of hvsocket.h.
#[repr(C)]
struct Address {
    family: u16,
    reserved: u16,
    vm: GUID,
    service: GUID,
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::File(file) => (&mut &*file).read(buffer),
            Stream::Socket(socket) => (&mut &*socket).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::File(file) => (&mut &*file).write(bytes),
            Stream::Socket(socket) => (&mut &*socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard input and output, without buffers.
///
/// # Errors
///
/// The system's: one of them is closed.
#[expect(
    clippy::disallowed_methods,
    reason = "the switch's link is its standard output"
)]
pub(crate) fn standard_files() -> io::Result<(Stream, Stream)> {
    let input = io::stdin().as_handle().try_clone_to_owned()?;
    let output = io::stdout().as_handle().try_clone_to_owned()?;
    Ok((Stream::File(input.into()), Stream::File(output.into())))
}

/// Windows has no way to wait for these and for sockets.
///
/// # Errors
///
/// Always.
pub(crate) fn wait_for(
    _registry: &Registry,
    _input: (&Stream, Token),
    _output: (&Stream, Token),
) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Connects to the guest. The virtual machine of WSL lets its user do so.
///
/// # Errors
///
/// The system's; `Unsupported` for a Unix socket.
pub(crate) fn connect(to: &Place, limit: Duration) -> io::Result<(Stream, Stream)> {
    let Place::Vsock { vm, port } = to else {
        return Err(ErrorKind::Unsupported.into());
    };
    let family = Domain::from(i32::from(AF_HYPERV));
    let socket = Socket::new(family, Type::STREAM, Some(Protocol::from(RAW)))?;
    let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    let size = i32::try_from(size_of::<u32>()).map_err(io::Error::other)?;
    // SAFETY: the option takes a ULONG, which lives; the socket is open. Without the option
    // a connect to a port that does not listen takes longer, and has a thread of its own.
    unsafe {
        setsockopt(
            raw(&socket)?,
            RAW,
            CONNECT_TIMEOUT,
            (&raw const limit).cast(),
            size,
        )
    };
    let address = Address {
        family: AF_HYPERV,
        reserved: 0,
        vm: GUID::from_u128(vm.number()),
        service: GUID::from_u128(u128::from(*port) << 96 | SERVICE),
    };
    let size = i32::try_from(size_of::<Address>()).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: it is an address of the family that it names, of that size, and smaller than
    // the storage.
    let address = unsafe {
        *storage.view_as::<Address>() = address;
        SockAddr::new(storage, size)
    };
    socket.connect(&address)?;
    Ok((Stream::Socket(socket.try_clone()?), Stream::Socket(socket)))
}
