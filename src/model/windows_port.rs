//! One port as Windows sees it, and what a connection to one comes to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
};

use serde::{Deserialize, Serialize};

use super::{PlainText, PortRange};

/// What Windows knows of a port; a part that it did not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowsPort {
    /// The programs that listen there.
    pub owners: Option<Vec<PortOwner>>,
    /// The range with it that Windows gives to no program.
    pub excluded: Option<PortRange>,
    /// The ports that Windows hands out by itself.
    pub dynamic: Option<PortRange>,
    /// Rules of the port proxy at the port, and those of other ports that lead to Windows.
    pub rules: Option<Vec<ProxyRule>>,
    /// The firewall's rules about it.
    pub firewall: Option<PortFirewall>,
    /// Whether the policy covers it; `None` also where nothing is installed.
    pub allowed: Option<bool>,
    /// Windows' own addresses.
    #[serde(default)]
    pub addresses: Vec<Ipv4Addr>,
    /// The one by which the network knows it.
    pub windows_address: Option<Ipv4Addr>,
    /// What connections from Windows came to.
    pub connects: Option<Vec<WindowsConnect>>,
    /// Why parts are not known.
    #[serde(default)]
    pub problems: Vec<PlainText>,
}

impl WindowsPort {
    /// What a connection from Windows to this end came to, and where that is.
    #[must_use]
    pub fn connect(&self, to: WindowsEnd) -> Option<(SocketAddrV4, Reach)> {
        let mut connects = self.connects.iter().flatten();
        let found = connects.find(|one| one.to == to)?;
        let at = SocketAddrV4::new(found.address, found.port);
        Some((at, Reach::of_windows(found.code)))
    }
}

/// A program of Windows that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortOwner {
    /// Where, as Windows writes it.
    pub address: PlainText,
    /// Its name.
    pub process: PlainText,
    /// Its process number.
    pub id: u32,
}

impl PortOwner {
    /// Whether what is sent to one of these addresses may come to it: as the script judges
    /// overlaps, WSL's relay on loopback is in no one else's way.
    #[must_use]
    pub fn overlaps(&self, listen: Ipv4Addr) -> bool {
        match self.address.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => true,
            Ok(address) if listen.is_unspecified() => !address.is_loopback(),
            Ok(address) => address == listen,
            Err(_) => false,
        }
    }
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.process, self.id)
    }
}

/// A rule of the port proxy, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProxyRule {
    /// An address, or what another tool wrote.
    pub listen_address: PlainText,
    /// Its port.
    pub listen_port: u16,
    /// An address or a host name; none where the rule has no target.
    pub connect_address: Option<PlainText>,
    /// The target's port.
    pub connect_port: Option<u16>,
    /// Whether wslmesh made it for this Windows user.
    pub ours: bool,
}

impl fmt::Display for ProxyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.listen_address, self.listen_port)?;
        match (&self.connect_address, self.connect_port) {
            (Some(address), Some(port)) => write!(f, " -> {address}:{port}"),
            _ => f.write_str(" without a target"),
        }
    }
}

/// The rules of Windows' firewall about a port, in the networks that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortFirewall {
    /// Names of rules that let clients in.
    pub allows: Vec<PlainText>,
    /// Names of rules that keep them out.
    pub blocks: Vec<PlainText>,
    /// Profiles that keep everything out, in words.
    pub shut: Vec<PlainText>,
    /// Profiles of the networks.
    pub profiles: Vec<PlainText>,
    /// Whether the firewall lets in what no rule is about.
    pub open: bool,
    /// Why rules may have no effect.
    #[serde(rename = "override")]
    pub overridden: Option<PlainText>,
}

/// One connection from Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowsConnect {
    /// Which end it was for.
    pub to: WindowsEnd,
    /// Where that is.
    pub address: Ipv4Addr,
    /// The same.
    pub port: u16,
    /// Windows' number of the failure, 0 for none.
    pub code: u32,
}

/// What is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsEnd {
    /// This distribution.
    Guest,
    /// Windows' own listener.
    Listener,
    /// The address by which the network knows Windows.
    Network,
}

/// What a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Something accepted it.
    Answers,
    /// The machine has nothing there, or a filter that says so.
    Refused,
    /// No answer: a filter drops it, or the machine is off.
    TimedOut,
    /// There is no way to the machine, or a router says that it may not be taken.
    Unreachable,
    /// It could not be tried, or proves nothing.
    Unknown,
}

impl Reach {
    /// As Windows numbers the failures of sockets (winsock2.h).
    fn of_windows(code: u32) -> Self {
        match code {
            0 => Self::Answers,
            10061 => Self::Refused,
            10060 => Self::TimedOut,
            10049 | 10050 | 10051 | 10064 | 10065 => Self::Unreachable,
            _ => Self::Unknown,
        }
    }

    /// For a person, after the address.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Refused => "refuses connections",
            Self::TimedOut => "does not answer (timed out)",
            Self::Unreachable => "is unreachable",
            Self::Unknown => "could not be tried",
        }
    }
}
