//! Whether somebody listens on ports of this distribution.
//!
//! Looked up in the kernel's tables rather than tried: a connection that says
//! nothing is an attack in the eyes of sshd. UDP has nothing to try anyway, and
//! the kernel's own WireGuard has a socket there like any program.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{net::TcpStream, time::timeout};

use crate::model::Protocol;

/// Longest wait for a connection to this machine itself, which is made within
/// microseconds or refused, unless a firewall swallows it.
const DEADLINE: Duration = Duration::from_millis(10);

/// TCP's state of a socket that listens (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Who takes what comes in to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// Somebody does.
    Yes,
    /// Only what comes in to this other address is taken.
    Elsewhere(IpAddr),
    /// Nobody does.
    Nobody,
}

/// Looks who listens at each of the ports of an address of this machine; `None`
/// where the kernel does not tell.
pub async fn listening(
    address: Ipv4Addr,
    ports: &[(Protocol, NonZeroU16)],
) -> Vec<Option<Listening>> {
    let of = |protocol| ports.iter().any(|(one, _)| *one == protocol);
    let table = |protocol, four, six| of(protocol).then(|| bound(protocol, four, six).ok());
    let tcp = table(Protocol::Tcp, "/proc/net/tcp", "/proc/net/tcp6").flatten();
    let udp = table(Protocol::Udp, "/proc/net/udp", "/proc/net/udp6").flatten();
    let one = async |(protocol, port): &(Protocol, NonZeroU16)| {
        let (protocol, port) = (*protocol, port.get());
        let bound = match protocol {
            Protocol::Tcp => tcp.as_deref()?,
            Protocol::Udp => udp.as_deref()?,
        };
        let found = judge(address, port, bound);
        // A listener on :: may be for IPv6 alone, and a port without one may be a
        // container's that the kernel leads elsewhere. Both are rare.
        let open = match (protocol, found) {
            (Protocol::Tcp, Judged::OnlySix | Judged::Nobody) => connects(address, port).await,
            _ => None,
        };
        Some(match (found, open) {
            (_, Some(true)) | (Judged::Yes, _) | (Judged::OnlySix, None) => Listening::Yes,
            (Judged::OnlySix, Some(false)) => Listening::Elsewhere(Ipv6Addr::UNSPECIFIED.into()),
            (Judged::Elsewhere(other), _) => Listening::Elsewhere(other),
            (Judged::Nobody, _) => Listening::Nobody,
        })
    };
    join_all(ports.iter().map(one)).await
}

/// What the tables say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Yes,
    /// A socket on `::`, which takes IPv4 too unless it asked not to.
    OnlySix,
    Elsewhere(IpAddr),
    Nobody,
}

fn judge(address: Ipv4Addr, port: u16, bound: &[SocketAddr]) -> Judged {
    let here = bound.iter().filter(|socket| socket.port() == port);
    let mut judged = Judged::Nobody;
    for socket in here {
        match socket.ip().to_canonical() {
            IpAddr::V4(ip) if ip == address || ip.is_unspecified() => return Judged::Yes,
            IpAddr::V6(ip) if ip.is_unspecified() => judged = Judged::OnlySix,
            other if judged == Judged::Nobody => judged = Judged::Elsewhere(other),
            _ => {}
        }
    }
    judged
}

/// Whether a connection is made; `None` where it is neither made nor refused.
async fn connects(address: Ipv4Addr, port: u16) -> Option<bool> {
    let made = timeout(DEADLINE, TcpStream::connect((address, port)));
    match made.await.ok()? {
        // A port of the dynamic range may have met itself.
        Ok(stream) => Some(stream.local_addr().ok() != stream.peer_addr().ok()),
        Err(_) => Some(false),
    }
}

/// The sockets that take packets from anybody.
fn bound(protocol: Protocol, four: &str, six: &str) -> io::Result<Vec<SocketAddr>> {
    let mut found = read(protocol, BufReader::new(File::open(four)?))?;
    // A kernel without IPv6 has no such file.
    if let Ok(file) = File::open(six) {
        found.extend(read(protocol, BufReader::new(file))?);
    }
    Ok(found)
}

/// One table (proc_pid_net(5)): a heading, then a line for each socket.
fn read(protocol: Protocol, table: impl BufRead) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let line = line?;
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(remote), Some(state)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        match protocol {
            // Those that listen come first, and the others may be many.
            Protocol::Tcp if state != LISTEN => break,
            Protocol::Udp if !remote.ends_with(":0000") => {}
            Protocol::Tcp | Protocol::Udp => found.extend(socket(local)),
        }
    }
    Ok(found)
}

/// An address and a port in hexadecimal; each 32 bits of an address are in this
/// machine's order of bytes.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |place: usize| {
        let digits = address.get(place * 8..place * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => {
            let mut bytes = [0; 16];
            for (place, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(place)?);
            }
            bytes.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn sockets(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_of_ones_own_all_addresses_and_others() {
        let own: Ipv4Addr = "172.28.16.5".parse().unwrap();
        let elsewhere = |text: &str| Judged::Elsewhere(text.parse().unwrap());
        let table: [(&[&str], Judged); 9] = [
            (&[], Judged::Nobody),
            (&["0.0.0.0:23"], Judged::Nobody),
            (&["0.0.0.0:22"], Judged::Yes),
            (&["172.28.16.5:22"], Judged::Yes),
            (&["[::ffff:172.28.16.5]:22"], Judged::Yes),
            (&["[::]:22"], Judged::OnlySix),
            (&["127.0.0.1:22", "[::1]:22"], elsewhere("127.0.0.1")),
            (&["[::1]:22", "0.0.0.0:22"], Judged::Yes),
            (&["10.0.0.1:22", "[::]:22"], Judged::OnlySix),
        ];
        for (bound, expected) in table {
            assert_eq!(judge(own, 22, &sockets(bound)), expected, "{bound:?}");
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn tables_as_a_kernel_writes_them() {
        let tcp = "  sl  local_address rem_address   st tx_queue\n\
            \x20  0: 0100007F:0016 00000000:0000 0A 00000000:00000000\n\
            \x20  1: 00000000000000000000000001000000:C350 00000000000000000000000000000000:0000 0A x\n\
            \x20  2: 0510A8C0:0016 0610A8C0:0016 01 00000000:00000000\n\
            \x20  3: 00000000:0017 00000000:0000 0A 00000000:00000000\n";
        assert_eq!(
            read(Protocol::Tcp, tcp.as_bytes()).unwrap(),
            sockets(&["127.0.0.1:22", "[::1]:50000"]),
            "the listeners come first"
        );
        let udp = "heading\n 1: 00000000:CA6C 00000000:0000 07 x\n 2: 0100007F:0035 0100007F:0036 01 x\nbroken\n 3: 00:1 0:0000 07\n 4: 0100007F:0035 00000000:0000 07\n";
        assert_eq!(
            read(Protocol::Udp, udp.as_bytes()).unwrap(),
            sockets(&["0.0.0.0:51820", "127.0.0.1:53"])
        );
    }

    /// Another process takes the port that was just given back too rarely to count.
    #[tokio::test]
    async fn sockets_of_this_machine() {
        let own = Ipv4Addr::LOCALHOST;
        let tcp = TcpListener::bind((own, 0)).unwrap();
        let other = TcpListener::bind("127.0.0.2:0").unwrap();
        let udp = UdpSocket::bind((own, 0)).unwrap();
        let port = |address: SocketAddr| NonZeroU16::new(address.port()).unwrap();
        let taken = UdpSocket::bind((own, 0)).unwrap();
        let free = port(taken.local_addr().unwrap());
        drop(taken);
        let asked = [
            (Protocol::Tcp, port(tcp.local_addr().unwrap())),
            (Protocol::Tcp, port(other.local_addr().unwrap())),
            (Protocol::Udp, port(udp.local_addr().unwrap())),
            (Protocol::Udp, free),
        ];
        let second = Listening::Elsewhere("127.0.0.2".parse().unwrap());
        assert_eq!(
            listening(own, &asked).await,
            [Listening::Yes, second, Listening::Yes, Listening::Nobody].map(Some)
        );
    }

    #[tokio::test]
    async fn a_port_is_tried_where_the_table_does_not_tell() {
        let six = TcpListener::bind("[::]:0").unwrap();
        let port = NonZeroU16::new(six.local_addr().unwrap().port()).unwrap();
        let asked = [(Protocol::Tcp, port)];
        let found = listening(Ipv4Addr::LOCALHOST, &asked).await;
        assert_eq!(found, [Some(Listening::Yes)], "it takes IPv4 too");
        drop(six);
        let found = listening(Ipv4Addr::LOCALHOST, &asked).await;
        assert_eq!(found, [Some(Listening::Nobody)]);
    }
}
