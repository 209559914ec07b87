//! Whether names resolve: /etc/resolv.conf, and one query to its first server over UDP
//! and over TCP.

mod message;

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

use self::message::{Kind, Query};
use super::resolv::{RESOLV_CONF, resolver};
use crate::{
    backoff::random,
    model::{DnsAnswer, InterfaceName, Nameserver, Reply, Resolver, is_private, micros},
};

/// Longest wait for an answer where nothing else is known of the server.
pub const DNS_DEADLINE: Duration = Duration::from_millis(1400);

/// How often a query is sent over UDP within its deadline: a datagram may be lost.
const TIMES: u32 = 2;

/// The state of name resolution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsCheck {
    /// /etc/resolv.conf.
    pub resolver: Resolver,
    /// What its first server answers.
    pub answer: DnsAnswer,
}

/// Reads /etc/resolv.conf and queries its first server, within a deadline. A server that
/// is in no private network is not queried.
pub async fn check_dns(deadline: Duration) -> DnsCheck {
    let resolver = resolver(Path::new(RESOLV_CONF));
    let answer = query_first(resolver.servers(), false, deadline).await;
    DnsCheck { resolver, answer }
}

/// Queries the first of these servers. One that is in no private network is queried
/// only if `public` allows it.
pub async fn query_first(servers: &[Nameserver], public: bool, deadline: Duration) -> DnsAnswer {
    let Some(server) = servers.first() else {
        return DnsAnswer::NoServer;
    };
    if !public && !is_private(server.address) {
        return DnsAnswer::Public(server.address);
    }
    let (udp, tcp, took) = query(at(server), None, deadline).await;
    DnsAnswer::Asked {
        server: server.address,
        udp,
        tcp,
        took_us: micros(took),
    }
}

/// Whether this server answers by this link, with whatever answer, within a deadline: other
/// routes do not count.
pub(super) async fn answers_by(
    server: &Nameserver,
    link: &InterfaceName,
    deadline: Duration,
) -> bool {
    let (udp, tcp, _) = query(at(server), Some(link), deadline).await;
    matches!(udp, Reply::Code(..)) || matches!(tcp, Reply::Code(..))
}

/// Where a server listens. An interface that does not exist is left to the kernel,
/// which says so.
fn at(server: &Nameserver) -> SocketAddr {
    let index = |zone: &InterfaceName| {
        let index = fs::read_to_string(format!("/sys/class/net/{zone}/ifindex"));
        // A zone may also be written as the interface's index.
        let index = index.unwrap_or_else(|_| zone.to_string());
        index.trim().parse().ok()
    };
    match server.address {
        IpAddr::V4(_) => SocketAddr::new(server.address, 53),
        IpAddr::V6(ip) => {
            let zone = server.zone.as_ref().and_then(index).unwrap_or(0);
            SocketAddrV6::new(ip, 53, 0, zone).into()
        }
    }
}

/// Asks over both transports side by side; by this link alone, where one is named.
async fn query(
    server: SocketAddr,
    link: Option<&InterfaceName>,
    deadline: Duration,
) -> (Reply, Reply, Duration) {
    let begin = Instant::now();
    let number = u16::try_from(random() & 0xffff).unwrap_or_default();
    let query = Query::root(number, Kind::Ns);
    let ((udp, udp_took), (tcp, tcp_took)) = join!(
        async {
            (
                over_udp(server, link, &query, deadline).await,
                begin.elapsed(),
            )
        },
        async {
            (
                over_tcp(server, link, &query, deadline).await,
                begin.elapsed(),
            )
        },
    );
    let took = match udp {
        Reply::Code(..) => udp_took,
        _ => tcp_took,
    };
    (udp, tcp, took)
}

/// A UDP socket towards an address; by this link alone, where one is named.
pub(super) async fn udp_towards(
    to: SocketAddr,
    link: Option<&InterfaceName>,
) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    if let Some(link) = link {
        socket.bind_device(Some(link.as_str().as_bytes()))?;
    }
    socket.connect(to).await?;
    Ok(socket)
}

async fn over_udp(
    server: SocketAddr,
    link: Option<&InterfaceName>,
    query: &Query,
    deadline: Duration,
) -> Reply {
    let mut garbage = false;
    let asked = async {
        let socket = udp_towards(server, link).await?;
        for _ in 0..TIMES {
            socket.send(query.bytes()).await?;
            let received = receive(&socket, query, &mut garbage);
            if let Ok(answer) = timeout(deadline / TIMES, received).await {
                return answer.map(Some);
            }
        }
        Ok(None)
    };
    let asked = asked.await;
    reply(asked, garbage)
}

/// The answer to our query; other datagrams are noted and passed over.
async fn receive(socket: &UdpSocket, query: &Query, garbage: &mut bool) -> io::Result<(u8, bool)> {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match query.answered_by(buffer.get(..length).unwrap_or_default()) {
            Some(answer) => return Ok(answer),
            None => *garbage = true,
        }
    }
}

async fn tcp_towards(server: SocketAddr, link: Option<&InterfaceName>) -> io::Result<TcpStream> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(link) = link {
        socket.bind_device(Some(link.as_str().as_bytes()))?;
    }
    socket.connect(server).await
}

async fn over_tcp(
    server: SocketAddr,
    link: Option<&InterfaceName>,
    query: &Query,
    deadline: Duration,
) -> Reply {
    let mut garbage = false;
    let asked = async {
        let mut stream = tcp_towards(server, link).await?;
        stream.write_all(&query.framed()).await?;
        let length = match stream.read_u16().await {
            // A server that ends the connection has not answered.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            length => length?,
        };
        let mut message = vec![0; length.into()];
        // What is promised and does not come is no answer.
        garbage = true;
        match stream.read_exact(&mut message).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let answer = query.answered_by(&message);
        garbage = answer.is_none();
        Ok(answer)
    };
    let asked = timeout(deadline, asked).await.unwrap_or(Ok(None));
    reply(asked, garbage)
}

/// What a query has shown.
fn reply(asked: io::Result<Option<(u8, bool)>>, garbage: bool) -> Reply {
    match asked {
        Ok(Some((code, cut))) => Reply::Code(code, cut),
        _ if garbage => Reply::Garbage,
        Ok(None) => Reply::Silent,
        Err(error) => Reply::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
