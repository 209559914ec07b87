//! The protocol between the agent and the relay: one JSON object per line,
//! commands on the relay's standard input, events on its standard output.
//!
//! The relay keeps no state on disk. The agent holds the wanted forwards and the
//! table of UDP sessions, and gives both to a relay that it had to restart.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// The version of the protocol. A relay refuses commands of another one. Version
/// 1 had other names, version 2 accepted everyone ([`Admit`]), version 3 had no
/// [`ProxyProtocol`], version 4 had IPv4 alone, and relays that were installed on Windows
/// may speak each of them.
pub const VERSION: u32 = 5;

/// Longest line that either side accepts, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// Most UDP sessions that a command may allow: a table of that size fits into
/// one line.
pub const MAX_UDP_SESSIONS: u32 = 6144;

/// Exit code of a relay that was started with an elevated token.
pub const EXIT_ELEVATED: u8 = 3;

/// What the agent sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Serve these forwards and no others.
    SetForwards(SetForwards),
    /// Send [`Event::Counters`].
    GetCounters,
    /// Another agent sends the commands from here on: tell it what this relay is and has,
    /// as [`Event::Ready`], [`Event::Sessions`] with the whole table, and
    /// [`Event::Applied`] of the forwards in force. A line break comes before it, for the
    /// former agent may have left a line unfinished. Every version has it.
    Attach {
        /// Returned as [`Event::Ready`]'s `attached` and as the serial; higher than the
        /// serials of the former agent.
        id: u64,
    },
}

/// The whole wanted state, never a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetForwards {
    /// Always [`VERSION`].
    pub version: u32,
    /// Returned in [`Event::Applied`].
    pub serial: u64,
    /// The forwards. Protocol, listen address and listen port together are unique.
    pub forwards: Vec<Forward>,
    /// UDP sessions of an earlier relay to resume. Those of other forwards and
    /// those that exist already are ignored.
    #[serde(default)]
    pub sessions: Vec<Session>,
    /// How much the relay accepts.
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
    /// The address to listen on; 0.0.0.0 means all of IPv4, and `::` all of both families.
    pub listen_address: IpAddr,
    /// The port to listen on.
    pub listen_port: NonZeroU16,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.address())
    }
}

impl Listen {
    /// Address and port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.listen_address, self.listen_port.get())
    }

    /// Whether both want one port: their addresses overlap, or one is on 127.0.0.1 or `::1`
    /// and may be in the place of one of its family that is not on loopback (an unprivileged
    /// relay serves loopback only).
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.listen_address, other.listen_address);
        let replaces =
            |one: IpAddr, other: IpAddr| loopback_of(other) == one && !other.is_loopback();
        (self.protocol, self.listen_port) == (other.protocol, other.listen_port)
            && (addresses_overlap(ours, theirs) || replaces(ours, theirs) || replaces(theirs, ours))
    }
}

/// Whether listeners on both addresses would want one port: `::` takes it on every address of
/// IPv6 and IPv4, and 0.0.0.0 on every one of IPv4.
#[must_use]
pub fn addresses_overlap(one: IpAddr, other: IpAddr) -> bool {
    let takes = |one: IpAddr, other: IpAddr| match one {
        IpAddr::V4(one) => one.is_unspecified() && other.is_ipv4(),
        IpAddr::V6(one) => one.is_unspecified(),
    };
    one == other || takes(one, other) || takes(other, one)
}

/// The loopback address of the same family: 127.0.0.1 or `::1`.
#[must_use]
pub const fn loopback_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// Whom a forward accepts, beside the firewall.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Admit {
    /// Everyone.
    #[default]
    Any,
    /// This machine, and the subnets of its interfaces.
    Local,
    /// This machine: loopback and its own addresses.
    Host,
    /// This machine, and the one with this address: what serves the forward in front of
    /// this relay.
    Behind(IpAddr),
}

/// What a connection to the guest begins with, before the client's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    /// The PROXY protocol's header of version 2: the client's address and the one that it
    /// connected to.
    V2,
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v2")
    }
}

/// One forward. A new connect address or port re-points it without closing its
/// listener, and so does another [`Admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forward {
    /// Where it listens.
    #[serde(flatten)]
    pub listen: Listen,
    /// The guest's address.
    pub connect_address: IpAddr,
    /// The port in the guest.
    pub connect_port: NonZeroU16,
    /// Whose connections and datagrams it takes; those of others count as refused.
    #[serde(default)]
    pub admit: Admit,
    /// Of TCP: the header that new connections to the guest begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// One client of a UDP forward and its own port towards the guest. WireGuard
/// answers to the port it saw last, so the port must outlive the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// Address that the forward listens on.
    pub listen_address: IpAddr,
    /// Port that the client sends to.
    pub listen_port: NonZeroU16,
    /// The client; one of IPv4 as IPv4, also where the forward listens on `::`.
    pub client: SocketAddr,
    /// The relay's own port, from which the client's datagrams reach the guest.
    pub port: NonZeroU16,
}

/// How much the relay accepts, over all forwards together. Half of the UDP sessions
/// and half of the TCP connections are reserved for the forwards in equal shares; the
/// rest goes to those that need more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// UDP sessions at one time, at most [`MAX_UDP_SESSIONS`]. A further one takes the
    /// place of one whose client has not sent after an answer; without such its client's
    /// datagrams are dropped.
    pub udp_sessions: u32,
    /// TCP connections at one time. Further ones are reset at once.
    pub tcp_connections: u32,
    /// TCP connections at one time from one address. Further ones are reset at once.
    pub tcp_connections_per_source: u32,
    /// Seconds without a datagram after which a UDP session ends that the guest has
    /// never answered: anyone can make up the sender of a datagram. At least 1.
    pub udp_unanswered_seconds: u32,
    /// Seconds without a datagram, in either direction, after which any other UDP
    /// session ends. At least 180 in use, because WireGuard renews its keys
    /// after 180 s; tests take less.
    pub udp_idle_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            udp_sessions: 4096,
            tcp_connections: 4096,
            tcp_connections_per_source: 1024,
            udp_unanswered_seconds: 30,
            udp_idle_seconds: 180,
        }
    }
}

/// What the relay sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Event {
    /// The relay reads commands: the first line it writes, and the answer to
    /// [`Command::Attach`]. What it wrote before that was for the former agent.
    Ready {
        /// [`VERSION`].
        version: u32,
        /// The relay's own version, as the package has it.
        program: String,
        /// The id of the command that this answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attached: Option<u64>,
    },
    /// A [`SetForwards`] is in force, as far as the system allows.
    Applied {
        /// The command's number.
        serial: u64,
        /// Every wanted forward and whether it listens, in the command's sequence.
        listeners: Vec<Listener>,
    },
    /// UDP sessions that were opened and closed. A session is listed once its client has
    /// sent after an answer of the guest: before, the client may be made up. Sessions that were
    /// resumed unchanged are not listed.
    Sessions {
        /// Whether `opened` is the whole table, after events were left out because
        /// the agent did not read them.
        complete: bool,
        /// New ones. One of a known client replaces its old one.
        opened: Vec<Session>,
        /// Closed ones.
        closed: Vec<Session>,
    },
    /// A limit was reached; sent at most once a second for each forward, and 20 times
    /// a second in all, with the count since the forward's last such event.
    Refused {
        /// Where.
        listen: Listen,
        /// The limit.
        limit: u32,
        /// The address whose own limit this is; that of all clients without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<IpAddr>,
        /// Connections or datagrams refused since the last such event, and sessions
        /// that made room.
        count: u64,
    },
    /// The answer to [`Command::GetCounters`].
    Counters {
        /// One for each forward.
        forwards: Vec<Counters>,
    },
    /// A command is invalid; what was in force stays.
    Invalid {
        /// The line on standard input, from 1.
        line: u64,
        /// What is wrong, one line of printable ASCII.
        reason: String,
    },
    /// The relay was started elevated, refuses that and exits with
    /// [`EXIT_ELEVATED`]: it handles untrusted network input.
    Elevated,
}

/// Whether a forward listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listener {
    /// Where.
    #[serde(flatten)]
    pub listen: Listen,
    /// `None` when it listens.
    pub failure: Option<Failure>,
    /// It listens on `::` and takes IPv4 alone: the system has no IPv6.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv4_alone: bool,
}

/// Why a forward does not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// The system's error number: on Windows 10013, 10048, 10049 and so on. The
    /// system's text is localised and not passed on.
    pub code: i32,
}

/// The kinds of failures with different remediations.
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

/// The counters of one forward since the relay started.
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
    /// Connections that did not reach the guest.
    pub failed: u64,
    /// Connections or datagrams refused at a limit or by [`Forward::admit`], and
    /// sessions without an answer that made room.
    pub refused: u64,
    /// Bytes from clients to the guest.
    pub bytes_in: u64,
    /// Bytes from the guest to clients.
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests;
