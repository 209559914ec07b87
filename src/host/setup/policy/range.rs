//! Ranges of ports.

use std::{fmt, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Grant;
use crate::config::{Firewall, Protocol};

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "(NonZeroU16, NonZeroU16)",
    into = "(NonZeroU16, NonZeroU16)"
)]
pub struct PortRange {
    first: NonZeroU16,
    last: NonZeroU16,
}

/// The last port comes before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}-{1} is no range of ports: the lower number comes first")]
pub struct Backwards(NonZeroU16, NonZeroU16);

impl TryFrom<(NonZeroU16, NonZeroU16)> for PortRange {
    type Error = Backwards;

    fn try_from((first, last): (NonZeroU16, NonZeroU16)) -> Result<Self, Backwards> {
        if first <= last {
            Ok(Self { first, last })
        } else {
            Err(Backwards(first, last))
        }
    }
}

impl From<PortRange> for (NonZeroU16, NonZeroU16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

impl From<NonZeroU16> for PortRange {
    fn from(port: NonZeroU16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl PortRange {
    /// Whether the port is in it.
    #[must_use]
    pub fn holds(self, port: NonZeroU16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether it is one port.
    #[must_use]
    pub fn is_one(self) -> bool {
        self.first == self.last
    }

    /// Whether both have a port in common.
    pub(in crate::host::setup) fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether it has each port of the other.
    pub(super) fn includes(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Both as one range, where `next` begins right behind this one.
    pub(super) fn with(self, next: Self) -> Option<Self> {
        (self.last.checked_add(1) == Some(next.first)).then_some(Self {
            first: self.first,
            last: next.last,
        })
    }

    /// The first port.
    pub(super) fn first(self) -> NonZeroU16 {
        self.first
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for PortRange {
    type Err = String;

    /// Reads `22` or `5000-5100`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::try_from((port(first)?, port(last)?)).map_err(|error| error.to_string())
    }
}

/// Reads a port as a person writes it.
///
/// # Errors
/// It is none, in words.
pub fn port(text: &str) -> Result<NonZeroU16, String> {
    // u16 itself would take a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.ok_or_else(|| format!("{text:?} is no port: write a number from 1 to 65535"))
}

/// Ports that are named on the command line: `PROTO:FROM-TO[:CONNECT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    protocol: Protocol,
    listen: PortRange,
    connect: PortRange,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (Some(protocol), Some(listen), connect, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("write it as tcp:8000-8010, or tcp:8000:80 where the port in the distribution is another".to_owned());
        };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(format!("{other:?} is no protocol: write tcp or udp")),
        };
        let listen: PortRange = listen.parse()?;
        let connect = connect.map_or(Ok(listen), str::parse)?;
        Ok(Self {
            protocol,
            listen,
            connect,
        })
    }
}

impl Ports {
    /// The grant for these ports, with what a forward has where nothing is said.
    #[must_use]
    pub fn grant(self) -> Grant {
        Grant {
            protocol: self.protocol,
            listen_address: std::net::Ipv4Addr::UNSPECIFIED,
            listen_ports: self.listen,
            connect_ports: self.connect,
            firewall: Firewall::Local,
        }
    }

    /// The option that makes this grant; `None` where no option can.
    #[must_use]
    pub fn option(grant: &Grant) -> Option<String> {
        let usual = grant.listen_address.is_unspecified() && grant.firewall == Firewall::Local;
        let connect = if grant.connect_ports == grant.listen_ports {
            String::new()
        } else {
            format!(":{}", grant.connect_ports)
        };
        usual.then(|| format!("--ports {}:{}{connect}", grant.protocol, grant.listen_ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_as_a_person_writes_them() {
        let table = [
            ("tcp:2222:22", Ok("--ports tcp:2222:22")),
            ("tcp:8000-8010", Ok("--ports tcp:8000-8010")),
            ("udp:51820", Ok("--ports udp:51820")),
            ("udp:1-3:5-9", Ok("--ports udp:1-3:5-9")),
            ("tcp:10-10:10", Ok("--ports tcp:10")),
            ("icmp:1", Err("is no protocol")),
            ("tcp", Err("write it as")),
            ("tcp:", Err("\"\" is no port")),
            ("tcp:1:2:3", Err("write it as")),
            ("tcp:5-1", Err("the lower number comes first")),
            ("tcp:0-1", Err("\"0\" is no port")),
            ("tcp:65536", Err("is no port")),
            ("tcp:+5", Err("is no port")),
            ("tcp:1-2-3", Err("is no port")),
        ];
        for (text, expected) in table {
            match (text.parse::<Ports>(), expected) {
                (Ok(ports), Ok(option)) => {
                    assert_eq!(Ports::option(&ports.grant()).as_deref(), Some(option))
                }
                (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
