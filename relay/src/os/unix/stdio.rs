//! The streams of the switch, whose readiness its loop learns.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::link::second::Place;

/// One that is read, or one that is written.
pub(crate) type Stream = File;

/// Exists where the kernel has a vsock within the machine.
const LOOPBACK: &str = "/sys/module/vsock_loopback";
/// vsock(7), `VMADDR_CID_LOCAL`.
const LOCAL: u32 = 1;
/// What the kernel holds of a Unix socket's stream, in bytes.
const BUFFER: usize = 4 << 20;

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
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

/// Makes the poll tell when the first can be read and the second be written, which then do
/// not block any more.
///
/// # Errors
///
/// The system's: one of them is a file that it cannot wait for. They block as before.
pub(crate) fn wait_for(
    registry: &Registry,
    (input, input_token): (&Stream, Token),
    (output, output_token): (&Stream, Token),
) -> io::Result<()> {
    let (from, to) = (input.as_raw_fd(), output.as_raw_fd());
    registry.register(&mut SourceFd(&from), input_token, Interest::READABLE)?;
    if let Err(error) = registry.register(&mut SourceFd(&to), output_token, Interest::WRITABLE) {
        registry.deregister(&mut SourceFd(&from))?;
        return Err(error);
    }
    for file in [input, output] {
        rustix::io::ioctl_fionbio(file, true)?;
    }
    Ok(())
}

/// Connects to the guest's side, on this machine: of Linux there is no other.
///
/// # Errors
///
/// The system's, or the kernel has no such sockets.
pub(crate) fn connect(to: &Place, limit: Duration) -> io::Result<(Stream, Stream)> {
    let socket = match to {
        Place::Vsock { port, .. } => {
            // Without it the connection would be made to this machine's own host.
            if !Path::new(LOOPBACK).exists() {
                let why = "this kernel has no vsock_loopback (`sudo modprobe vsock_loopback`)";
                return Err(io::Error::new(ErrorKind::Unsupported, why));
            }
            let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
            socket.connect_timeout(&SockAddr::vsock(LOCAL, *port), limit)?;
            socket
        }
        Place::Unix { path } => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_send_buffer_size(BUFFER)?;
            socket.connect_timeout(&SockAddr::unix(path)?, limit)?;
            socket
        }
    };
    let output = OwnedFd::from(socket);
    Ok((output.try_clone()?.into(), output.into()))
}
