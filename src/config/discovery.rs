//! `[discovery]`: ports that become forwards while something listens on them.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::values::Ports;
use crate::model::{Firewall, Patterns, PortRange, Protocol};

/// Which listening ports become forwards. Without ports it is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// TCP ports.
    pub tcp: PortSet,
    /// UDP ports.
    pub udp: PortSet,
    /// Ports of both protocols that never become forwards by themselves.
    pub deny: PortSet,
    /// Interfaces beside the watched one on whose addresses a service may listen, where
    /// clients reach this distribution itself.
    pub interfaces: Patterns,
    /// Whether ports count that a rule of the kernel passes on to a container.
    pub containers: bool,
    /// Whether services count that listen on loopback alone.
    pub loopback: bool,
    /// Windows' address to listen on.
    pub listen_address: IpAddr,
    /// Whom Windows' firewall should let in.
    pub firewall: Firewall,
}

/// What is meant for this machine alone: name and time services, remote procedure calls,
/// printing, databases, caches and queues, control of containers and clusters, debuggers,
/// screens.
const LOCAL_ONLY: &[(u16, u16)] = &[
    (53, 53),       // systemd-resolved, dnsmasq
    (111, 111),     // rpcbind
    (323, 323),     // chronyd
    (631, 631),     // CUPS
    (1433, 1434),   // SQL Server
    (1521, 1521),   // Oracle
    (2019, 2019),   // Caddy's administration
    (2375, 2380),   // Docker's API, swarm, etcd
    (3306, 3306),   // MySQL, MariaDB
    (4369, 4369),   // Erlang's port mapper
    (5005, 5005),   // Java's debugger
    (5037, 5037),   // adb
    (5353, 5355),   // multicast DNS, LLMNR
    (5432, 5432),   // PostgreSQL
    (5672, 5672),   // RabbitMQ
    (5984, 5984),   // CouchDB
    (6000, 6063),   // X11
    (6379, 6379),   // Redis
    (6443, 6443),   // Kubernetes' API
    (9042, 9042),   // Cassandra
    (9092, 9092),   // Kafka
    (9200, 9200),   // Elasticsearch
    (9229, 9229),   // Node.js' debugger
    (9300, 9300),   // Elasticsearch
    (10248, 10259), // Kubernetes
    (11211, 11211), // memcached
    (11434, 11434), // Ollama
    (15672, 15672), // RabbitMQ's administration
    (16379, 16379), // Redis
    (26379, 26379), // Redis
    (27017, 27019), // MongoDB
    (33060, 33060), // MySQL
];

impl Default for Discovery {
    fn default() -> Self {
        Self {
            tcp: PortSet::default(),
            udp: PortSet::default(),
            deny: PortSet::of(LOCAL_ONLY),
            interfaces: Patterns::new(&[]),
            containers: true,
            loopback: false,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            firewall: Firewall::default(),
        }
    }
}

impl Discovery {
    /// Whether any port may become a forward.
    #[must_use]
    pub fn is_on(&self) -> bool {
        [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .any(|protocol| !self.ports(protocol).is_empty())
    }

    /// The ports that may become forwards, ascending, no two ranges next to each other.
    #[must_use]
    pub fn ports(&self, protocol: Protocol) -> Vec<PortRange> {
        let wanted = match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        };
        wanted.without(&self.deny)
    }
}

/// Most ranges of a list.
const MOST: usize = 100;

/// A list of ports and ranges of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortSet(Vec<PortRange>);

impl PortSet {
    fn of(ranges: &[(u16, u16)]) -> Self {
        let range = |(first, last): &(u16, u16)| {
            let both = ((*first).try_into().ok()?, (*last).try_into().ok()?);
            PortRange::try_from(both).ok()
        };
        Self(ranges.iter().filter_map(range).collect())
    }

    /// Those of its ports that the other one has not.
    fn without(&self, other: &Self) -> Vec<PortRange> {
        let mut left: Vec<PortRange> = Vec::new();
        let mut ranges = self.0.clone();
        ranges.sort_unstable();
        let mut next = 1;
        for range in ranges {
            let mut from = range.first().get().max(next);
            let last = range.last().get();
            while let Some((first, end)) = free(from, last, other) {
                for new in Self::of(&[(first, end)]).0 {
                    match left.last_mut().and_then(|one| Some((one.with(new)?, one))) {
                        Some((both, one)) => *one = both,
                        None => left.push(new),
                    }
                }
                let Some(after) = end.checked_add(1) else {
                    return left;
                };
                from = after;
            }
            next = next.max(last.saturating_add(1));
        }
        left
    }
}

/// The first run of ports within these bounds of which the other set has none.
fn free(from: u16, last: u16, other: &PortSet) -> Option<(u16, u16)> {
    let mut from = from;
    let within = |port: u16| {
        move |range: &&PortRange| range.first().get() <= port && port <= range.last().get()
    };
    while let Some(range) = other.0.iter().find(within(from)) {
        from = range.last().get().checked_add(1)?;
    }
    let starts = other.0.iter().map(|range| range.first().get());
    let end = starts.filter(|start| *start > from).min();
    (from <= last).then(|| (from, end.map_or(last, |start| last.min(start - 1))))
}

impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|range| Ports(*range)))
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let ranges: Vec<Ports> = Vec::deserialize(from)?;
        if ranges.len() > MOST {
            let text = format!(
                "{} entries: write up to {MOST}, and neighbouring ports as a range such as \"8000-8999\"",
                ranges.len()
            );
            return Err(de::Error::custom(text));
        }
        Ok(Self(ranges.into_iter().map(|one| one.0).collect()))
    }
}

#[cfg(test)]
mod tests;
