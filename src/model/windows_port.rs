//! One port as Windows sees it, and what a connection to one comes to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::{PlainText, PortRange, addresses_overlap, endpoint};

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
    /// The port proxy's rules that listen at this port, as far as they are known.
    pub fn rules_at(&self, port: u16) -> impl Iterator<Item = &ProxyRule> {
        let rules = self.rules.iter().flatten();
        rules.filter(move |rule| rule.listen_port == port)
    }

    /// The connections from Windows to this end: one, or one by each family.
    pub fn ends(&self, to: WindowsEnd) -> impl Iterator<Item = &WindowsConnect> {
        let connects = self.connects.iter().flatten();
        connects.filter(move |one| one.to == to)
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
    pub fn overlaps(&self, listen: IpAddr) -> bool {
        let (address, _) = self.address.split_once('%').unwrap_or((&*self.address, ""));
        // One on `::` may take IPv4 too.
        address.parse::<IpAddr>().is_ok_and(|address| {
            addresses_overlap(address, listen)
                && !(listen.is_unspecified() && address.is_loopback())
        })
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
        let shown = |address: &PlainText, port| match address.parse() {
            Ok(address) => endpoint(address, port),
            Err(_) => format!("{address}:{port}"),
        };
        f.write_str(&shown(&self.listen_address, self.listen_port))?;
        match (&self.connect_address, self.connect_port) {
            (Some(address), Some(port)) => write!(f, " -> {}", shown(address, port)),
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
    pub address: IpAddr,
    /// The same.
    pub port: u16,
    /// Windows' number of the failure, 0 for none.
    pub code: u32,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub milliseconds: u32,
    /// Whether the other side closed it within three seconds; only a test waits for that.
    #[serde(default)]
    pub closed: bool,
}

impl WindowsConnect {
    /// Where it leads.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// What it came to.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach::of_windows(self.code)
    }
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
            // By UDP a datagram that came back is a reset.
            10054 | 10061 => Self::Refused,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_a_port_are_in_the_way_of_their_family() {
        for (owner, listen, expected) in [
            ("0.0.0.0", "0.0.0.0", true),
            ("0.0.0.0", "::", true),
            ("::", "0.0.0.0", true),
            ("::", "192.168.1.7", true),
            ("192.168.1.7", "0.0.0.0", true),
            ("192.168.1.7", "::", true),
            ("192.168.1.7", "192.168.1.8", false),
            ("fd00::7", "::", true),
            ("fd00::7", "fd00::7", true),
            ("fd00::7", "0.0.0.0", false),
            ("fe80::7%12", "::", true),
            ("fe80::7%12", "0.0.0.0", false),
            ("127.0.0.1", "0.0.0.0", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "::", false),
            ("::1", "::1", true),
        ] {
            let owner = PortOwner {
                address: owner.into(),
                process: "nginx".into(),
                id: 7,
            };
            let found = owner.overlaps(listen.parse().unwrap());
            assert_eq!(found, expected, "{owner} {listen}");
        }
    }

    #[test]
    fn addresses_of_ipv6_are_in_brackets() {
        let shown = |listen: &str, connect: &str| {
            let rule = ProxyRule {
                listen_address: listen.into(),
                listen_port: 80,
                connect_address: Some(connect.into()),
                connect_port: Some(8080),
                ours: false,
            };
            rule.to_string()
        };
        assert_eq!(shown("::", "fd00::7"), "[::]:80 -> [fd00::7]:8080");
        assert_eq!(shown("0.0.0.0", "nas"), "0.0.0.0:80 -> nas:8080");
    }
}
