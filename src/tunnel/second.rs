//! The second way of packets at the guest's end: it listens for as long as the move takes,
//! and takes the connection that shows the secret. The standard streams are copied by one
//! thread of WSL's init, 4 KiB at a time; a connection by vsock is not.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{fd::OwnedFd, unix::net},
    path::PathBuf,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustix::{
    fs::Mode,
    rand::{GetRandomFlags, getrandom},
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::UnixStream,
    select,
    time::{timeout, timeout_at},
};
use wslmesh_relay::link::{
    ToSwitch,
    second::{Place, Token},
};

use super::start::SOCKET;
use crate::{interop, model::TunnelWay};

/// Longest wait for the switch's connection.
const ARRIVAL: Duration = Duration::from_secs(1);
/// How long a connection may take to show the secret.
const SHOWING: Duration = Duration::from_millis(500);
/// Most connections that have not shown it.
const STRANGERS: usize = 32;

/// vsock(7): any machine, any port, within this machine, the host.
const ANY: u32 = u32::MAX;
const LOCAL: u32 = 1;
const HOST: u32 = 2;

/// By what packets are to go, if not by the standard streams.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    /// By vsock, which Windows connects to.
    Vsock,
    /// By a Unix socket of this path, for a switch of this machine.
    Unix(PathBuf),
    /// They stay; why.
    Stay(String),
}

impl Plan {
    /// What it leads to.
    pub(super) fn way(&self) -> TunnelWay {
        match self {
            Self::Vsock => TunnelWay::Vsock,
            Self::Unix(_) => TunnelWay::UnixSocket,
            Self::Stay(_) => TunnelWay::StandardStreams,
        }
    }
}

/// A socket that listens until this is dropped, and the secret for it.
#[derive(Debug)]
pub(super) struct Invitation {
    listener: Listener,
    to: Place,
    token: Token,
}

#[derive(Debug)]
struct Listener {
    /// Whatever its family.
    socket: UnixStream,
    /// Of a Unix socket.
    path: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            fs::remove_file(path).unwrap_or_default();
        }
    }
}

impl Invitation {
    /// Listens; or why not.
    pub(super) async fn new(plan: Plan) -> Result<Self, String> {
        let (listener, to) = match plan {
            Plan::Stay(why) => return Err(why),
            Plan::Vsock => {
                // It changes with each start of the virtual machine, and never within one.
                let vm = interop::ask_vm_id().await?;
                let (listener, port) = vsock().map_err(|error| {
                    format!("the kernel has no vsock that a program can listen at: {error}")
                })?;
                (listener, Place::Vsock { vm, port })
            }
            Plan::Unix(path) => {
                let name = path.display().to_string();
                let refused = |error| format!("cannot listen at {name}: {error}");
                let listener = unix(path.clone()).map_err(refused)?;
                (listener, Place::Unix { path: name })
            }
        };
        let mut random = [0; Token::SIZE];
        // Whole up to 256 bytes (getrandom(2)).
        getrandom(&mut random, GetRandomFlags::empty())
            .map_err(|error| format!("the kernel has no random numbers: {error}"))?;
        let token = Token::new(random);
        Ok(Self {
            listener,
            to,
            token,
        })
    }

    /// What the switch has to know, by its standard input alone.
    pub(super) fn message(&self) -> ToSwitch {
        ToSwitch::Move {
            to: self.to.clone(),
            token: self.token,
        }
    }

    /// The connection that shows the secret within 1 s; or why there is none. It blocks.
    pub(super) async fn taken(self) -> Result<OwnedFd, String> {
        let (mut strangers, mut seen) = (FuturesUnordered::new(), 0_u32);
        let deadline = tokio::time::Instant::now() + ARRIVAL;
        let arrival = async {
            loop {
                select! {
                    peer = self.listener.accept(), if strangers.len() < STRANGERS => {
                        seen += 1;
                        strangers.push(shown(peer?, self.token));
                    }
                    // Others are closed.
                    Some(shown) = strangers.next() => {
                        if let Some(socket) = shown {
                            break blocking(socket);
                        }
                    }
                }
            }
        };
        match timeout_at(deadline, arrival).await {
            Ok(arrived) => {
                arrived.map_err(|error: io::Error| format!("its connection failed: {error}"))
            }
            Err(_) if seen > 0 => Err("only strangers connected within 1 s".to_owned()),
            Err(_) => Err("the switch did not connect within 1 s".to_owned()),
        }
    }
}

impl Listener {
    fn new(socket: Socket, path: Option<PathBuf>) -> io::Result<Self> {
        socket.listen(i32::try_from(STRANGERS).unwrap_or(i32::MAX))?;
        let socket = registered(socket)?;
        Ok(Self { socket, path })
    }

    /// The next connection of this machine or its host. Cancel safe.
    async fn accept(&self) -> io::Result<Socket> {
        loop {
            let accept = || SockRef::from(&self.socket).accept();
            match self.socket.async_io(Interest::READABLE, accept).await {
                Ok((socket, from)) => {
                    let cid = from.as_vsock_address().map(|(cid, _)| cid);
                    if cid.is_none_or(|cid| [LOCAL, HOST].contains(&cid)) {
                        return Ok(socket);
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// For the event loop. tokio has no type for sockets of vsock, and of a connected Unix socket
/// it uses no more than the descriptor.
fn registered(socket: Socket) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(net::UnixStream::from(OwnedFd::from(socket)))
}

fn blocking(socket: UnixStream) -> io::Result<OwnedFd> {
    let socket = socket.into_std()?;
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// Listens at a port of the kernel's choice.
fn vsock() -> io::Result<(Listener, u32)> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.bind(&SockAddr::vsock(ANY, ANY))?;
    let address = socket.local_addr()?.as_vsock_address();
    let (_, port) = address.ok_or(ErrorKind::AddrNotAvailable)?;
    Ok((Listener::new(socket, None)?, port))
}

fn unix(path: PathBuf) -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&path)?)?;
    // From here on it is removed.
    let listener = Listener::new(socket, Some(path.clone()))?;
    rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR)?;
    Ok(listener)
}

/// The connection, if the first that it says is the secret.
async fn shown(socket: Socket, token: Token) -> Option<UnixStream> {
    let read = async {
        // What the kernel holds of a Unix socket.
        socket.set_send_buffer_size(SOCKET)?;
        let mut socket = registered(socket)?;
        let mut shown = [0; Token::SIZE];
        socket.read_exact(&mut shown).await?;
        Ok::<_, io::Error>((token.is(&shown), socket))
    };
    match timeout(SHOWING, read).await {
        Ok(Ok((true, socket))) => Some(socket),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
