//! Sockets that send packets which no router may fragment.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recvfrom, sendto,
        socket_with,
        sockopt::{
            Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, Timeout, set_ip_mtu_discover, set_ip_ttl,
            set_ipv6_mtu_discover, set_ipv6_unicast_hops, set_socket_timeout,
        },
    },
};
use socket2::SockRef;

use super::{
    PathError,
    icmp::{self, About},
};
use crate::doctor::path::{Answer, Kind, Probe, Wire};

/// After this time no new size is tried.
const LIMIT: Duration = Duration::from_secs(8);
/// The whole takes no longer than this, with the last sizes and the way of a lost packet.
pub(super) const MOST: Duration = Duration::from_secs(20);
/// Longest and shortest wait for answers.
const LONGEST: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(200);
/// The first port of traceroute(8), and how many are used from there.
const PORT: u16 = 33434;
const PORTS: u16 = 1024;

/// The sockets of one path.
#[derive(Debug)]
pub(super) struct Sockets {
    to: SocketAddr,
    icmp: OwnedFd,
    /// Whether the ICMP socket is raw: without root it is one for echo requests alone
    /// (icmp(7), ping_group_range), which shows no router's message.
    raw: bool,
    udp: UdpSocket,
    port: u16,
    id: u16,
    /// Probes sent so far.
    sent: u16,
    /// The longest time that an answer took.
    took: Option<Duration>,
    deadline: Instant,
}

impl Sockets {
    /// Sockets for probes to this address, which carry this mark (0 for none).
    pub(super) fn open(to: SocketAddr, mark: u32) -> Result<Self, PathError> {
        let (family, protocol, any) = match to {
            SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, "0.0.0.0:0"),
            SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, "[::]:0"),
        };
        let open = |kind| socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol));
        let (icmp, raw) = match open(SocketType::RAW) {
            Err(Errno::PERM | Errno::ACCESS) => (open(SocketType::DGRAM), false),
            opened => (opened, true),
        };
        let icmp = icmp.map_err(|error| PathError::NotAllowed(error.into()))?;
        let refused = |error| PathError::Refused(to.ip(), error);
        let udp = UdpSocket::bind(any).map_err(refused)?;
        let port = udp.local_addr().map_err(refused)?.port();
        for socket in [icmp.as_fd(), udp.as_fd()] {
            // The size is that of the interface, and no router may make fragments; what the
            // kernel remembers of the path does not count.
            let set = match to {
                SocketAddr::V4(_) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE),
                SocketAddr::V6(_) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE),
            };
            set.map_err(|error| refused(error.into()))?;
            if mark != 0 {
                SockRef::from(&socket).set_mark(mark).map_err(refused)?;
            }
        }
        Ok(Self {
            to,
            icmp,
            raw,
            udp,
            port,
            // The port is this process's alone, so this is, too.
            id: port,
            sent: 0,
            took: None,
            deadline: Instant::now() + LIMIT,
        })
    }

    fn send(&self, probe: Probe, number: u16) -> Result<About, io::Error> {
        let ipv6 = self.to.is_ipv6();
        let size = usize::try_from(probe.size).unwrap_or(usize::MAX);
        let hops = |socket| match ipv6 {
            false => set_ip_ttl(socket, probe.hops.into()),
            true => set_ipv6_unicast_hops(socket, Some(probe.hops)),
        };
        let mut to = self.to;
        match probe.kind {
            Kind::Echo => {
                hops(self.icmp.as_fd())?;
                to.set_port(0);
                let packet = icmp::request(ipv6, self.id, number, size);
                sendto(&self.icmp, &packet, SendFlags::empty(), &to)?;
                Ok(About::Echo(self.id, number))
            }
            Kind::Datagram => {
                hops(self.udp.as_fd())?;
                let port = PORT + number % PORTS;
                to.set_port(port);
                let payload = vec![0; size.saturating_sub(icmp::header(ipv6) + 8)];
                self.udp.send_to(&payload, to)?;
                Ok(About::Datagram(self.port, port))
            }
        }
    }

    /// The next answer before this time.
    fn receive(&self, until: Instant) -> Option<(About, Answer)> {
        // The longest are IPv4 headers with options around a quoted one.
        let mut buffer = [0; 256];
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            // Zero would be no timeout at all.
            let left = left.max(Duration::from_millis(1));
            set_socket_timeout(&self.icmp, Timeout::Recv, Some(left)).ok()?;
            let (length, _, from) = match recvfrom(&self.icmp, &mut buffer[..], RecvFlags::empty())
            {
                Ok(received) => received,
                Err(Errno::AGAIN) => return None,
                // An error that a message reported; it is read as a message.
                Err(_) => continue,
            };
            let message = buffer.get(..length.min(buffer.len()))?;
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            let Some(from) = from.map(|from| unzoned(from.ip())) else {
                continue;
            };
            // A raw socket of IPv4 shows the IP header.
            let message = match self.raw && from.is_ipv4() {
                true => icmp::after_header(message),
                false => Some(message),
            };
            let said = message.and_then(|message| icmp::parse(message, from, self.to.ip()));
            match said {
                // The kernel chose the number of such a socket, and shows its own alone.
                Some((About::Echo(_, number), answer)) if !self.raw => {
                    return Some((About::Echo(self.id, number), answer));
                }
                Some(said) => return Some(said),
                None => {}
            }
        }
    }

    fn wait(&self) -> Duration {
        let took = self.took.map(|took| took * 3 + SHORTEST / 2);
        took.map_or(LONGEST, |took| took.clamp(SHORTEST, LONGEST))
    }
}

fn unzoned(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(ip) => Ipv6Addr::from(ip.octets()).into(),
        address => address,
    }
}

impl Wire for Sockets {
    type Error = PathError;

    fn ask(&mut self, probes: &[Probe]) -> Result<Vec<Answer>, PathError> {
        let mut answers = vec![Answer::Lost; probes.len()];
        let begun = Instant::now();
        let mut open = Vec::new();
        for (place, probe) in probes.iter().enumerate() {
            // What answers to them is seen by root alone.
            if probe.kind == Kind::Datagram && !self.raw {
                continue;
            }
            self.sent = self.sent.wrapping_add(1);
            match self.send(*probe, self.sent) {
                Ok(about) => open.push((about, place)),
                // Larger than the interface sends, or no room at the moment.
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::MSGSIZE | Errno::NOBUFS | Errno::AGAIN) => {}
                    _ => return Err(PathError::Refused(self.to.ip(), error)),
                },
            }
        }
        let until = begun + self.wait();
        while !open.is_empty()
            && let Some((about, answer)) = self.receive(until)
        {
            let Some(at) = open.iter().position(|(of, _)| *of == about) else {
                continue;
            };
            let (_, place) = open.swap_remove(at);
            let took = begun.elapsed();
            self.took = self.took.max(Some(took));
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        Ok(answers)
    }

    fn pause(&mut self) {
        sleep(LONGEST);
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}
