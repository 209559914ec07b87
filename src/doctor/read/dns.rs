//! /etc/resolv.conf, and one query to its first server.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use tokio::{net::UdpSocket, time::timeout};

use super::{
    super::facts::{Answer, Resolver},
    root::Root,
};
use crate::{
    model::{InterfaceName, Nameserver},
    observe::{RESOLV_CONF_MOST, ResolvConf},
};

/// The file, before its server is queried.
pub(super) fn resolver(root: &Root) -> Resolver {
    const PATH: &str = "/etc/resolv.conf";
    let file = root.bytes(PATH, RESOLV_CONF_MOST);
    let found = statx(CWD, root.at(PATH), AtFlags::empty(), StatxFlags::empty());
    Resolver {
        answer: Answer::NoServer,
        file: file.map(|bytes| bytes.map(|bytes| ResolvConf::parse(&bytes))),
        link: root.link(PATH),
        immutable: found
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::IMMUTABLE)),
    }
}

/// Longest wait for an answer, and how often the query is sent: a datagram may be lost.
const TIMEOUT: Duration = Duration::from_millis(700);
const TIMES: usize = 2;

/// Queries the first of these servers. One that is in no private network is queried
/// only if `public` allows it.
pub(super) async fn query_first(servers: &[Nameserver], public: bool) -> Answer {
    let Some(server) = servers.first() else {
        return Answer::NoServer;
    };
    let ip = server.address;
    if !public && !is_private(ip) {
        return Answer::Public(ip);
    }
    answer(ip, query(at(server)).await)
}

/// What a query of this server has shown.
fn answer(server: IpAddr, result: io::Result<Option<u8>>) -> Answer {
    match result {
        Ok(Some(code)) => Answer::Code(server, code),
        Ok(None) => Answer::Silent(server, "did not answer".to_owned()),
        Err(error) => Answer::Silent(server, format!("cannot be queried: {error}")),
    }
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

/// This machine, Windows, the home network, or a tunnel: Tailscale's server is in
/// 100.64.0.0/10.
fn is_private(server: IpAddr) -> bool {
    match server {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// ". NS" (RFC 1035, section 4): the shortest query, which reveals nothing about this
/// node.
const QUERY: [u8; 17] = [
    0x77, 0x6d, // the number that identifies the answer
    0x01, 0x00, // a query, recursion desired
    0, 1, 0, 0, 0, 0, 0, 0, // one question and nothing else
    0, // the root
    0, 2, // NS
    0, 1, // of the Internet
];

/// The code of a server's answer; `None` without one.
async fn query(server: SocketAddr) -> io::Result<Option<u8>> {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    for _ in 0..TIMES {
        socket.send(&QUERY).await?;
        if let Ok(answer) = timeout(TIMEOUT, receive(&socket)).await {
            return answer.map(Some);
        }
    }
    Ok(None)
}

/// The code of the answer to our query; other datagrams are ignored.
async fn receive(socket: &UdpSocket) -> io::Result<u8> {
    let mut buffer = [0; 512];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some([a, b, flags, code, ..]) = buffer.get(..length)
            && QUERY.starts_with(&[*a, *b])
            && flags & 0x80 != 0
        {
            return Ok(code & 0x0f);
        }
    }
}

#[cfg(test)]
mod tests;
