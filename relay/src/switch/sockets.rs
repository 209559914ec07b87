//! The sockets of this machine, for the engine.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockRef, Socket, Type};

use crate::os;
use crate::protocol::Protocol;
use crate::socket;
use crate::switch::engine::dns::Query;
use crate::switch::engine::{Datagrams, Network, Stream};
use crate::switch::resolver::{Conversation, Resolver};

/// Bytes that a UDP port keeps for us: a burst at 1 Gbit/s for 4 ms. Windows' own 64 KiB are
/// as much as one large datagram.
const UDP_BUFFER: usize = 512 * 1024;
/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Makes sockets whose readiness a poll reports.
pub(crate) struct Sockets {
    registry: Registry,
    resolver: Resolver,
}

impl Sockets {
    pub(crate) fn new(registry: Registry, resolver: Resolver) -> Self {
        Self { registry, resolver }
    }
}

/// A connection to a server, or to the resolver.
pub(crate) enum Tcp {
    Socket(TcpStream),
    Conversation(Conversation),
}

impl Network for Sockets {
    type Tcp = Tcp;
    type Udp = UdpSocket;
    type Listener = TcpListener;

    fn connect(&mut self, to: SocketAddr, token: usize) -> io::Result<Tcp> {
        let mut stream = TcpStream::connect(to)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry
            .register(&mut stream, Token(token), interest)?;
        Ok(Tcp::Socket(stream))
    }

    fn bind(&mut self, family_of: IpAddr, token: usize) -> io::Result<UdpSocket> {
        let any: IpAddr = if family_of.is_ipv6() {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let any = SocketAddr::new(any, 0);
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        if any.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Without these it works, with fewer answers and errors.
        socket.set_recv_buffer_size(UDP_BUFFER).ok();
        os::report_errors(&socket, any.is_ipv6()).ok();
        socket.bind(&any.into())?;
        let mut socket = UdpSocket::from_std(socket.into());
        self.registry
            .register(&mut socket, Token(token), Interest::READABLE)?;
        Ok(socket)
    }

    fn listen(&mut self, at: SocketAddr, token: usize) -> io::Result<(TcpListener, SocketAddr)> {
        let socket = socket::bind(at, Protocol::Tcp)?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let at = listener.local_addr()?;
        self.registry
            .register(&mut listener, Token(token), Interest::READABLE)?;
        Ok((listener, at))
    }

    fn accept(
        &mut self,
        listener: &mut TcpListener,
        token: usize,
    ) -> io::Result<(Tcp, SocketAddr)> {
        let (mut stream, client) = listener.accept()?;
        // Pieces of the guest's are sent as they come.
        stream.set_nodelay(true).ok();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry
            .register(&mut stream, Token(token), interest)?;
        Ok((Tcp::Socket(stream), client))
    }

    fn bind_to(&mut self, at: SocketAddr, token: usize) -> io::Result<(UdpSocket, SocketAddr)> {
        let socket = socket::bind(at, Protocol::Udp)?;
        // Without it it works, with fewer datagrams.
        socket.set_recv_buffer_size(UDP_BUFFER).ok();
        let mut socket = UdpSocket::from_std(socket.into());
        let at = socket.local_addr()?;
        self.registry
            .register(&mut socket, Token(token), Interest::READABLE)?;
        Ok((socket, at))
    }

    fn converse(&mut self, token: usize) -> io::Result<Tcp> {
        Ok(Tcp::Conversation(self.resolver.converse(token)))
    }

    fn ask(&mut self, number: u64, query: Query) -> bool {
        self.resolver.ask(number, query)
    }
}

impl Datagrams for UdpSocket {
    fn send_to(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        Self::send_to(self, data, to).map(drop)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    fn unreachable(&mut self) -> Option<SocketAddr> {
        os::unreachable(self)
    }

    fn port(&self) -> u16 {
        self.local_addr().map_or(0, |address| address.port())
    }
}

impl Stream for Tcp {
    fn is_connected(&mut self) -> io::Result<bool> {
        let stream = match self {
            Self::Socket(stream) => stream,
            Self::Conversation(one) => return one.is_connected(),
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => {
                // Pieces of the guest's are sent as they come.
                stream.set_nodelay(true).ok();
                Ok(true)
            }
            // Windows has several words for it.
            Err(error) if error.kind() == ErrorKind::NotConnected || cfg!(windows) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.read_vectored(buffers),
            Self::Conversation(one) => one.read(buffers),
        }
    }

    fn write(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.write_vectored(data),
            Self::Conversation(one) => one.write(data),
        }
    }

    fn finish(&mut self) {
        match self {
            // The server may have gone; reading tells.
            Self::Socket(stream) => stream.shutdown(Shutdown::Write).unwrap_or_default(),
            Self::Conversation(one) => one.finish(),
        }
    }

    fn abort(&mut self) {
        match self {
            // Otherwise the server sees an ordinary end.
            Self::Socket(stream) => {
                let linger = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                linger.unwrap_or_default();
            }
            Self::Conversation(one) => one.abort(),
        }
    }
}

#[cfg(test)]
mod tests;
