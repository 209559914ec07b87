//! Who holds a port in this distribution, and whether it answers.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{Root, observation, processes::service, within};
use crate::{
    config::{ConfigError, Forward, Settings, Source},
    doctor::port::{Holder, Owner, PortFacts, Tested, served_by, way},
    model::{ForwardStatus, HealthEntry, Observation, Protocol, Reach},
    observe::{self, BoundSocket},
    paths::Paths,
    plan,
    report::{Document, read_status},
};

/// Longest wait for a connection, or for a datagram that comes back.
const CONNECT: Duration = Duration::from_secs(4);

/// Most processes whose files are looked at.
const PROCESSES: usize = 65_536;

/// Reads what this distribution has of a port. Windows is not asked.
///
/// # Errors
/// The configuration cannot be read.
pub async fn read_port(
    source: &Source,
    paths: &Paths,
    protocol: Protocol,
    port: NonZeroU16,
) -> Result<PortFacts, ConfigError> {
    let settings = Settings::load(source)?;
    let agent = agent(paths);
    let (listen_port, connect_port, forward) = way(&settings, protocol, port);
    let status = agent.as_ref().and_then(|document| {
        let on_windows = |one: &&ForwardStatus| {
            one.listen.protocol == protocol && one.listen_ports().has(listen_port)
        };
        document.served.iter().find(on_windows).cloned()
    });
    let firewall = settings.discovery.firewall;
    let forward = forward.or_else(|| Forward::discovered(status.as_ref()?, firewall));
    let way = Way {
        protocol,
        listen_port,
        connect_port,
        forward,
        status,
    };
    Ok(read(&settings, agent.as_ref(), paths, way).await)
}

/// The document of an agent that runs.
pub(super) fn agent(paths: &Paths) -> Option<Document> {
    let document = read_status(&paths.runtime).ok().flatten();
    document.filter(Document::is_alive)
}

/// What is read: ports of a forward, or of none.
pub(super) struct Way {
    pub(super) protocol: Protocol,
    pub(super) listen_port: NonZeroU16,
    pub(super) connect_port: NonZeroU16,
    pub(super) forward: Option<Forward>,
    pub(super) status: Option<ForwardStatus>,
}

/// Reads what this distribution has of these ports.
pub(super) async fn read(
    settings: &Settings,
    agent: Option<&Document>,
    paths: &Paths,
    way: Way,
) -> PortFacts {
    let Way {
        protocol,
        listen_port,
        connect_port,
        forward,
        status,
    } = way;
    let seen = observation(Some(settings), agent, &paths.runtime).await;
    let node = seen.as_ref().map_err(Clone::clone).and_then(|seen| {
        let node = plan::node(settings, seen);
        node.map_or_else(|finding| Err(finding.detail), |node| Ok(node.address()))
    });
    let kernel = seen
        .as_ref()
        .ok()
        .and_then(|seen| in_the_kernel(seen, protocol, connect_port));
    let root = rustix::process::geteuid().is_root();
    let number = connect_port.get();
    let read = move |machine: &Root| {
        let bound = observe::bound(protocol, number).map_err(|error| error.to_string())?;
        Ok(holders(machine, &bound, root, kernel.as_deref()))
    };
    let read = move |machine: &Root| (read(machine), observe::passes_on(&machine.at("/")));
    let read = within("this machine", read).await;
    let (holders, passes_on) = read.unwrap_or_else(|why| (Err(why), false));
    let is_open = holders.as_ref().is_ok_and(|found| !found.is_empty());
    let loopback = forward.as_ref().and_then(|one| one.connect_address);
    let address = loopback.map(IpAddr::from).or(node.as_ref().ok().copied());
    let here = match address {
        Some(address) if protocol == Protocol::Tcp && (is_open || passes_on) => {
            Some(connect(protocol, (address, number).into()).await)
        }
        _ => None,
    };
    let planned = match (agent, &seen) {
        // What the configuration alone brings is known without it.
        (None, Ok(seen)) => {
            let findings = plan::plan(settings, seen).findings;
            let health = findings.iter().map(HealthEntry::from).collect();
            Some(Document {
                health,
                ..Document::default()
            })
        }
        _ => None,
    };
    let health = agent.or(planned.as_ref()).zip(forward.as_ref());
    let health = health.map_or_else(Vec::new, |(document, one)| {
        document.health_of(&one.name, one.remarks.discovered.is_some())
    });
    let mode = seen.map(|seen| seen.mode).unwrap_or_default();
    let asked = served_by(settings, forward.as_ref(), &mode);
    PortFacts {
        served_by: status.as_ref().and_then(|one| one.backend).unwrap_or(asked),
        health,
        others: others(agent),
        agent: agent.is_some(),
        windows: Err("it was not asked".to_owned()),
        protocol,
        listen_port,
        connect_port,
        forward,
        status,
        mode,
        node,
        holders,
        passes_on,
        here,
        tested: Tested::default(),
    }
}

/// The other distributions whose agents are known.
fn others(agent: Option<&Document>) -> Vec<String> {
    let Some(agent) = agent else {
        return Vec::new();
    };
    let members = agent.members.iter().map(|one| one.distribution.clone());
    members.chain(agent.leader.clone()).collect()
}

/// The interface of WireGuard in the kernel that has the port.
fn in_the_kernel(seen: &Observation, protocol: Protocol, port: NonZeroU16) -> Option<String> {
    let mut devices = seen.wireguard.iter().filter_map(|(name, reading)| {
        let device = reading.device()?;
        (device.listen_port == Some(port.get())).then(|| name.to_string())
    });
    devices.next().filter(|_| protocol == Protocol::Udp)
}

/// Each of the sockets with whose it is.
fn holders(machine: &Root, bound: &[BoundSocket], root: bool, kernel: Option<&str>) -> Vec<Holder> {
    if bound.is_empty() {
        return Vec::new();
    }
    let owners = owners(machine, bound);
    let users = machine.text_or_empty("/etc/passwd", 1 << 20);
    let of = |one: &BoundSocket| match (owners.get(&one.inode), kernel) {
        (Some(&id), _) => Owner::Process {
            name: machine
                .line(&format!("/proc/{id}/comm"))
                .unwrap_or_else(|| "?".to_owned()),
            unit: service(&machine.text_or_empty(&format!("/proc/{id}/cgroup"), 4096)),
            id,
        },
        (None, Some(interface)) => Owner::Kernel(interface.to_owned()),
        (None, None) if root => Owner::Elsewhere,
        (None, None) => Owner::Hidden,
    };
    let holder = |one: &BoundSocket| Holder {
        socket: one.socket,
        user: user(&users, one.user),
        owner: of(one),
    };
    bound.iter().map(holder).collect()
}

/// The process with the lowest number that has each socket open, by the socket's number.
fn owners(machine: &Root, bound: &[BoundSocket]) -> BTreeMap<u32, u32> {
    let names = machine.names("/proc", PROCESSES);
    let mut ids: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort_unstable();
    let mut found = BTreeMap::new();
    for id in ids {
        let folder = format!("/proc/{id}/fd");
        for file in machine.names(&folder, PROCESSES) {
            let target = machine.link(&format!("{folder}/{file}"));
            let inode = target.as_deref().and_then(|text| {
                let number = text.strip_prefix("socket:[")?.strip_suffix(']')?;
                number.parse().ok()
            });
            if let Some(inode) = inode.filter(|inode| bound.iter().any(|one| one.inode == *inode)) {
                found.entry(inode).or_insert(id);
            }
        }
    }
    found
}

/// A user's name in /etc/passwd, or the number.
fn user(users: &str, number: u32) -> String {
    let number = number.to_string();
    let mut lines = users.lines().map(|line| line.split(':'));
    let name = lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1) == Some(number.as_str())).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}

/// Connects by TCP and closes the connection, or sends an empty datagram, which a machine
/// that has nothing at the port refuses.
pub async fn connect(protocol: Protocol, to: SocketAddr) -> Reach {
    let tried = async {
        match protocol {
            Protocol::Tcp => TcpStream::connect(to).await.map(drop),
            Protocol::Udp => datagram(to).await,
        }
    };
    match (timeout(CONNECT, tried).await, protocol) {
        (Ok(Ok(())), _) => Reach::Answers,
        (Ok(Err(error)), _) => reach(&error),
        (Err(_), Protocol::Tcp) => Reach::TimedOut,
        // Silence is the answer to what is not understood.
        (Err(_), Protocol::Udp) => Reach::Unknown,
    }
}

async fn datagram(to: SocketAddr) -> io::Result<()> {
    let own: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(to).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0; 1]).await.map(drop)
}

fn reach(error: &io::Error) -> Reach {
    match error.kind() {
        // What was accepted and closed by a reset before this process had its turn; a port
        // that nothing listens on refuses.
        io::ErrorKind::ConnectionReset => Reach::Answers,
        io::ErrorKind::ConnectionRefused => Reach::Refused,
        io::ErrorKind::TimedOut => Reach::TimedOut,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable
        // An administrator's filter, as a router or this machine's own says it.
        | io::ErrorKind::PermissionDenied => Reach::Unreachable,
        _ => Reach::Unknown,
    }
}

#[cfg(test)]
mod tests;
