//! What the agent and the relay say to each other: one JSON object a line,
//! orders on the relay's standard input, events on its standard output.
//!
//! The relay keeps no state of its own on disk. The agent holds the wanted
//! forwards and the client-to-port table, and gives both to a relay that it had
//! to start again.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// The version of the protocol. A relay refuses orders of another one.
pub const VERSION: u32 = 1;

/// Longest line that either side accepts, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// Most UDP sessions that an order may allow: the table of that many fits into
/// one line.
pub const MAX_UDP_SESSIONS: u32 = 8192;

/// Exit code of a relay that was started with an elevated token.
pub const EXIT_ELEVATED: u8 = 3;

/// What the agent tells the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// From now on these forwards and no others.
    Want(Want),
    /// Say the counters.
    Report,
}

/// The whole wanted state, never a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Want {
    /// Always [`VERSION`].
    pub version: u32,
    /// Comes back in [`Event::Applied`].
    pub serial: u64,
    /// The forwards. Protocol, listen address and listen port together are unique.
    pub forwards: Vec<Forward>,
    /// UDP sessions of an earlier relay, to be taken up again: those of forwards
    /// that are not wanted, and those that exist already, are passed over.
    #[serde(default)]
    pub sessions: Vec<Session>,
    /// How much the relay takes on.
    #[serde(default)]
    pub limits: Limits,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams, in sessions of one client each.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Where a forward listens: what makes it the same forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listen {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address to listen on; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The port to listen on.
    pub listen_port: NonZeroU16,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}:{}",
            self.protocol, self.listen_address, self.listen_port
        )
    }
}

impl Listen {
    /// Whether both want one port: a listener on 0.0.0.0 takes it on every
    /// address, and one on loopback stands in for another address (an
    /// unprivileged relay serves loopback only).
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let stands_for_others = |listen: &Self| {
            listen.listen_address.is_unspecified() || listen.listen_address.is_loopback()
        };
        (self.protocol, self.listen_port) == (other.protocol, other.listen_port)
            && (self.listen_address == other.listen_address
                || stands_for_others(self)
                || stands_for_others(other))
    }
}

/// One forward. A new connect address or port re-points it without closing its
/// listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forward {
    /// Where it listens.
    #[serde(flatten)]
    pub listen: Listen,
    /// The guest's address.
    pub connect_address: Ipv4Addr,
    /// The port in the guest.
    pub connect_port: NonZeroU16,
}

/// One client of a UDP forward and the port towards the guest that is its own:
/// WireGuard answers to the port it saw last, so it must outlive the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// Address that the forward listens on.
    pub listen_address: Ipv4Addr,
    /// Port that the client spoke to.
    pub listen_port: NonZeroU16,
    /// The client.
    pub client: SocketAddrV4,
    /// The relay's own port, from which the client's datagrams reach the guest.
    pub port: NonZeroU16,
}

/// How much the relay takes on, over all forwards together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// UDP sessions at one time, at most [`MAX_UDP_SESSIONS`]. A datagram of one
    /// client more is dropped.
    pub udp_sessions: u32,
    /// TCP connections at one time. One more is closed at once.
    pub tcp_connections: u32,
    /// Seconds without a datagram, in either direction, after which a UDP
    /// session ends. At least 180 in use, because WireGuard renews its keys
    /// after 180 s; tests take less.
    pub udp_idle_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            udp_sessions: 4096,
            tcp_connections: 4096,
            udp_idle_seconds: 180,
        }
    }
}

/// What the relay tells the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Event {
    /// The relay reads orders. The first line it writes.
    Ready {
        /// [`VERSION`].
        version: u32,
        /// The relay's own version, as the package has it.
        program: String,
    },
    /// A [`Want`] is in force, as far as it could be.
    Applied {
        /// The order's number.
        serial: u64,
        /// Every wanted forward and whether it listens, in the order's sequence.
        listeners: Vec<Listener>,
    },
    /// UDP sessions that came and went. Not said of sessions that the order
    /// brought and that could be taken up unchanged.
    Sessions {
        /// Whether `opened` is the whole table, after events had to be left out
        /// because nobody read them.
        complete: bool,
        /// New ones. One of a known client replaces that.
        opened: Vec<Session>,
        /// Those that ended.
        closed: Vec<Session>,
    },
    /// A limit was reached; said at most once a second with what had to be
    /// refused since.
    Refused {
        /// Where.
        listen: Listen,
        /// The limit.
        limit: u32,
        /// Connections or datagrams refused since the last such event.
        count: u64,
    },
    /// The answer to [`Order::Report`].
    Counters {
        /// One for each forward.
        forwards: Vec<Counters>,
    },
    /// An order was not understood; what was in force stays.
    Invalid {
        /// The line on standard input, from 1.
        line: u64,
        /// What is wrong, one line of printable ASCII.
        reason: String,
    },
    /// The relay was started elevated, refuses that and ends with
    /// [`EXIT_ELEVATED`]: it takes what the network sends.
    Elevated,
}

/// Whether a forward listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listener {
    /// Where.
    #[serde(flatten)]
    pub listen: Listen,
    /// Nothing when it listens, else why not.
    pub failure: Option<Failure>,
}

/// Why a forward does not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// The system's error number: on Windows 10013, 10048, 10049 and so on. The
    /// system's text is localised and not handed on.
    pub code: i32,
}

/// The kinds that a person can do different things about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Another program has the port (WSAEADDRINUSE, 10048).
    InUse,
    /// Windows keeps the port: an excluded range, or a program that does not
    /// share it (WSAEACCES, 10013).
    Forbidden,
    /// This machine has no such address (WSAEADDRNOTAVAIL, 10049).
    NoAddress,
    /// Anything else.
    Other,
}

/// What went through a forward since the relay started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counters {
    /// Which forward.
    #[serde(flatten)]
    pub listen: Listen,
    /// Connections or sessions now.
    pub active: u32,
    /// Connections or sessions since the start.
    pub opened: u64,
    /// Connections whose guest could not be reached.
    pub failed: u64,
    /// Connections or datagrams refused at a limit.
    pub refused: u64,
    /// Bytes from clients to the guest.
    pub bytes_in: u64,
    /// Bytes from the guest to clients.
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests;
