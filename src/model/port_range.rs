//! Ranges of ports.

use std::{fmt, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Protocol, from_word};

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(NonZeroU16, NonZeroU16)")]
pub struct PortRange(NonZeroU16, NonZeroU16);

impl TryFrom<(NonZeroU16, NonZeroU16)> for PortRange {
    type Error = String;

    fn try_from((first, last): (NonZeroU16, NonZeroU16)) -> Result<Self, String> {
        if first <= last {
            Ok(Self(first, last))
        } else {
            Err(format!(
                "\"{first}-{last}\" is no range of ports: write the lower number first"
            ))
        }
    }
}

impl From<NonZeroU16> for PortRange {
    fn from(port: NonZeroU16) -> Self {
        Self(port, port)
    }
}

impl PortRange {
    /// So many from this one on, as far as there are ports.
    #[must_use]
    pub fn of(first: NonZeroU16, count: u16) -> Self {
        Self(first, first.saturating_add(count.saturating_sub(1)))
    }

    /// Whether the port is in it.
    #[must_use]
    pub fn has(self, port: NonZeroU16) -> bool {
        self.includes(port.into())
    }

    /// All of them.
    pub fn ports(self) -> impl DoubleEndedIterator<Item = NonZeroU16> {
        (self.0.get()..=self.1.get()).filter_map(NonZeroU16::new)
    }

    /// How many they are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it has at least one")]
    pub fn len(self) -> usize {
        usize::from(self.1.get() - self.0.get()) + 1
    }

    /// The lowest.
    #[must_use]
    pub fn first(self) -> NonZeroU16 {
        self.0
    }

    /// The highest.
    #[must_use]
    pub fn last(self) -> NonZeroU16 {
        self.1
    }

    /// Whether both have a port in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.0 <= other.1 && other.0 <= self.1
    }

    /// Whether it has each port of the other.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self.0 <= other.0 && other.1 <= self.1
    }

    /// Both as one range, where `next` begins right behind this one.
    #[must_use]
    pub fn with(self, next: Self) -> Option<Self> {
        (self.1.checked_add(1) == Some(next.0)).then_some(Self(self.0, next.1))
    }
}

/// These ports in their order, for a person: neighbours as a range, and of many the first.
#[must_use]
pub fn some_ports(ports: impl IntoIterator<Item = NonZeroU16>) -> String {
    const SHOWN: usize = 5;
    let mut ranges: Vec<PortRange> = Vec::new();
    for port in ports {
        let last = ranges.last_mut();
        match last.and_then(|last| Some((last.with(port.into())?, last))) {
            Some((longer, last)) => *last = longer,
            None => ranges.push(port.into()),
        }
    }
    let shown = ranges.iter().take(SHOWN).map(ToString::to_string);
    let mut shown = Vec::from_iter(shown);
    let more: usize = ranges.iter().skip(SHOWN).map(|range| range.len()).sum();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

/// The ports of IPv4 that Windows hands out by itself, as it says, by protocol; `None` where
/// it did not (`netsh interface ipv4 show dynamicport`: learn.microsoft.com,
/// troubleshoot/windows-server/networking/default-dynamic-port-range-tcpip-chang).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicPorts {
    /// By TCP.
    pub tcp: Option<PortRange>,
    /// By UDP.
    pub udp: Option<PortRange>,
}

impl DynamicPorts {
    /// The range of a protocol.
    #[must_use]
    pub fn of(self, protocol: Protocol) -> Option<PortRange> {
        match protocol {
            Protocol::Tcp => self.tcp,
            Protocol::Udp => self.udp,
        }
    }

    /// These, and the others where these are not known.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            tcp: self.tcp.or(other.tcp),
            udp: self.udp.or(other.udp),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, last) = self;
        if first == last {
            first.fmt(f)
        } else {
            write!(f, "{first}-{last}")
        }
    }
}

impl FromStr for PortRange {
    type Err = String;

    /// Reads `22` or `5000-5100`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::try_from((port(first)?, port(last)?))
    }
}

/// Reads `PROTO:PORTS[:CONNECT]`, ports as a number or a range.
///
/// # Errors
/// What is wrong with the text, and how to write it.
pub fn forward_ports(text: &str) -> Result<(Protocol, PortRange, Option<PortRange>), String> {
    let mut parts = text.split(':');
    let (Some(protocol), Some(listen), connect, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(format!(
            "{text:?}: write it as udp:51820, tcp:8000-8010, or tcp:2222:22 where the port in this distribution is another"
        ));
    };
    let protocol = from_word(protocol)
        .map_err(|_| format!("{protocol:?} is no protocol: write tcp or udp"))?;
    let connect = connect.map(str::parse).transpose()?;
    Ok((protocol, listen.parse()?, connect))
}

/// Reads a port as a person writes it.
///
/// # Errors
/// The text is no number from 1 to 65535.
pub fn port(text: &str) -> Result<NonZeroU16, String> {
    // u16 itself would take a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.ok_or_else(|| format!("{text:?} is no port: write a number from 1 to 65535"))
}
