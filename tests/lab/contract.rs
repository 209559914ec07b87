//! What `refresh.ps1` reads and prints, and what the elevated side keeps and
//! reads: the forms of the contract between the agent and Windows.
//!
//! Written a second time, apart from the agent and the scripts, so that the
//! three can be held against each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// The version of requests and answers.
pub(crate) const VERSION: u64 = 1;

/// The `action` of a request.
pub(crate) const SYNC: &str = "sync";
/// The same, with the question for the dynamic ports.
pub(crate) const SYNC_AND_PORTS: &str = "sync-and-ports";
/// The `mode` of a request whose rules lead to the guest's own address.
pub(crate) const NAT: &str = "nat";
/// The `mode` of a request of a guest that shares Windows' addresses.
pub(crate) const MIRRORED: &str = "mirrored";

/// What the agent sends to `refresh.ps1` on standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Sync {
    pub(crate) version: u64,
    pub(crate) action: String,
    pub(crate) mode: String,
    pub(crate) connect_address: String,
    pub(crate) forwards: Vec<Forward>,
}

/// One wanted forward, as text and numbers that are yet to be checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Forward {
    pub(crate) protocol: String,
    pub(crate) listen_address: String,
    pub(crate) listen_port: u64,
    pub(crate) connect_port: u64,
    pub(crate) served_by: String,
    pub(crate) firewall: String,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// What carries a forward's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServedBy {
    /// Windows' own port proxy.
    Portproxy,
    /// wslmesh-relay.exe on Windows.
    Relay,
    /// The guest, which has Windows' addresses.
    Guest,
}

/// Who may reach a forward.
///
/// In the order of their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Firewall {
    /// No rule is made.
    None,
    /// The local subnet.
    Local,
    /// Everybody.
    Full,
}

/// What a grant asks to be served by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backend {
    /// The relay, or the port proxy where the relay may not run.
    Auto,
    /// The relay alone.
    Relay,
    /// The port proxy alone.
    Portproxy,
}

/// The version of a policy.
pub(crate) const POLICY: u64 = 2;

/// The agreement between a Windows user and an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) version: u64,
    /// The package's version.
    pub(crate) package: String,
    /// The distribution that the logon task starts.
    pub(crate) distribution: String,
    pub(crate) logon: bool,
    /// [`NAT`] or [`MIRRORED`]: how the firewall's rules were made.
    pub(crate) mode: String,
    pub(crate) profiles: Vec<String>,
    pub(crate) grants: Vec<Grant>,
}

/// What may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Grant {
    pub(crate) protocol: Protocol,
    pub(crate) listen_address: IpAddr,
    /// First and last.
    pub(crate) listen_ports: (u16, u16),
    /// First and last.
    pub(crate) connect_ports: (u16, u16),
    pub(crate) firewall: Firewall,
    pub(crate) backend: Backend,
}

impl Grant {
    /// What serves it in NAT mode, where the relay is forbidden or not.
    pub(crate) fn server(&self, forbidden: bool) -> ServedBy {
        let can_proxy = self.protocol == Protocol::Tcp && self.listen_address.is_ipv4();
        match self.backend {
            Backend::Portproxy => ServedBy::Portproxy,
            Backend::Auto if forbidden && can_proxy => ServedBy::Portproxy,
            Backend::Auto | Backend::Relay => ServedBy::Relay,
        }
    }
}

impl Policy {
    /// The first grant of the protocol whose ranges hold both ports.
    pub(crate) fn covering(&self, protocol: Protocol, listen: u16, connect: u16) -> Option<&Grant> {
        let holds = |range: (u16, u16), port| range.0 <= port && port <= range.1;
        self.grants.iter().find(|grant| {
            grant.protocol == protocol
                && holds(grant.listen_ports, listen)
                && holds(grant.connect_ports, connect)
        })
    }
}

/// All that the unelevated side may say to the elevated one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Selection {
    pub(crate) version: u64,
    pub(crate) ticket: u64,
    pub(crate) mode: u64,
    /// IP protocol, listen port, connect port, served by.
    pub(crate) forwards: Vec<[u64; 4]>,
}

/// One portproxy rule. Another tool's rule may lead to a host name or nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Rule {
    /// Where Windows listens.
    pub(crate) listen_address: IpAddr,
    /// 1 to 65535.
    pub(crate) listen_port: u16,
    /// Where it connects to.
    pub(crate) connect_address: Option<String>,
    /// 1 to 65535.
    pub(crate) connect_port: Option<u16>,
}

impl Rule {
    /// `listen address:port` to `connect address:port`, for tests.
    pub(crate) fn new(listen: (&str, u16), connect: (&str, u16)) -> anyhow::Result<Self> {
        Ok(Self {
            listen_address: listen.0.parse()?,
            listen_port: listen.1,
            connect_address: Some(connect.0.to_owned()),
            connect_port: Some(connect.1),
        })
    }
}

/// A port that Windows does not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Taken {
    pub(crate) protocol: Protocol,
    pub(crate) listen_address: IpAddr,
    pub(crate) listen_port: u16,
    /// `in-use` or `forbidden`.
    pub(crate) kind: String,
    /// The program that has it, where Windows reports it.
    pub(crate) owner: Option<String>,
}

/// A forward that the policy does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Refused {
    pub(crate) protocol: Protocol,
    pub(crate) listen_port: u16,
    pub(crate) connect_port: u16,
    /// `outside-policy`, `listen-address`, `backend` or `firewall`.
    pub(crate) reason: String,
}

/// A forward of the relay whose own firewall is narrower than its grant's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Narrower {
    pub(crate) protocol: Protocol,
    pub(crate) listen_port: u16,
    pub(crate) connect_port: u16,
}

/// A forward of the relay on which nothing listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Silent {
    pub(crate) protocol: Protocol,
    pub(crate) listen_address: IpAddr,
    pub(crate) listen_port: u16,
}

/// A rule of the port proxy that was gone and is made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Restored {
    pub(crate) listen_address: IpAddr,
    pub(crate) listen_port: u16,
}

/// What happened to firewall rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct FirewallDone {
    /// `done`, `failed` or `unavailable`.
    pub(crate) state: String,
    pub(crate) detail: Option<String>,
    pub(crate) added: usize,
    pub(crate) removed: usize,
    pub(crate) kept: usize,
    /// Block rules that beat ours.
    pub(crate) blocks: Vec<String>,
    /// The profiles of Windows' networks now.
    pub(crate) profiles: Vec<String>,
    /// Whether the agreed profiles hold all of them.
    pub(crate) covered: bool,
    /// Rules of ours that were gone and are made again, in words.
    #[serde(default)]
    pub(crate) restored: Vec<String>,
    /// Mirrored mode: `windows` or `hyper-v`, whose rules hold for the guest.
    pub(crate) guest: Option<String>,
}

/// What is installed on Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Installed {
    pub(crate) version: String,
    pub(crate) contract: u64,
    /// Windows path; none where the file is missing.
    pub(crate) relay: Option<String>,
    /// Whether Windows kept the relay from being started at the install.
    #[serde(default)]
    pub(crate) relay_forbidden: bool,
}

/// The connected Windows interface with the lowest MTU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LowestMtu {
    /// As Windows names it.
    pub(crate) name: String,
    /// In bytes.
    pub(crate) mtu: u32,
}

/// What `refresh.ps1` prints on standard output. The elevated task leaves the
/// same, with its ticket and without what only the caller can know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Answer {
    /// [`VERSION`].
    pub(crate) version: u64,
    /// How it ended.
    pub(crate) state: String,
    /// More about the state, in words.
    pub(crate) detail: Option<String>,
    /// Whether the caller is elevated.
    pub(crate) elevated: bool,
    /// Our rules as they stand.
    pub(crate) rules: Vec<Rule>,
    /// Rules made or re-pointed by this call.
    pub(crate) added: usize,
    /// Rules removed by this call.
    pub(crate) removed: usize,
    /// Rules that were right already.
    pub(crate) kept: usize,
    /// See [`Restored`]; absent from an earlier version.
    #[serde(default)]
    pub(crate) restored: Vec<Restored>,
    /// Rules of others where we want to listen.
    pub(crate) conflicts: Vec<Rule>,
    /// Ports that Windows does not give.
    pub(crate) taken: Vec<Taken>,
    /// Forwards that the policy does not hold.
    pub(crate) refused: Vec<Refused>,
    /// See [`Narrower`].
    pub(crate) narrower: Vec<Narrower>,
    /// See [`Silent`].
    pub(crate) silent: Vec<Silent>,
    /// None where there is no policy, and the caller may not change the firewall.
    pub(crate) firewall: Option<FirewallDone>,
    /// See [`Installed`].
    pub(crate) installed: Option<Installed>,
    /// The caller's own folder.
    pub(crate) local_app_data: Option<String>,
    /// What the elevated task found by itself.
    pub(crate) guest_address: Option<Ipv4Addr>,
    /// Windows' own address.
    pub(crate) windows_address: Option<Ipv4Addr>,
    /// See [`LowestMtu`].
    pub(crate) lowest_mtu: Option<LowestMtu>,
    /// First and last of the ports that Windows hands out by itself, by protocol, where they
    /// are asked for; absent from an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dynamic: Option<BTreeMap<Protocol, (u16, u16)>>,
    /// Only in the elevated task's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ticket: Option<u64>,
}

impl Answer {
    /// One of this state that says nothing else.
    pub(crate) fn of(state: &str, detail: Option<String>) -> Self {
        Self {
            version: VERSION,
            state: state.to_owned(),
            detail,
            elevated: false,
            rules: Vec::new(),
            added: 0,
            removed: 0,
            kept: 0,
            restored: Vec::new(),
            conflicts: Vec::new(),
            taken: Vec::new(),
            refused: Vec::new(),
            narrower: Vec::new(),
            silent: Vec::new(),
            firewall: None,
            installed: None,
            local_app_data: None,
            guest_address: None,
            windows_address: None,
            lowest_mtu: None,
            dynamic: None,
            ticket: None,
        }
    }
}
