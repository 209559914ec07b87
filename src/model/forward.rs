//! Forwards: their backends, what Windows and the relay should serve, and what
//! both answered last.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
};

use serde::{Deserialize, Serialize};

use super::{Code, DrivePath, Finding, Listens, PortRange, Severity, display_as_serialized};
pub use wslmesh_relay::protocol::{
    Admit, Counters, Failure, FailureKind, Forward as RelayForward, Listen, Protocol,
    ProxyProtocol, addresses_overlap, loopback_of,
};

display_as_serialized!(Firewall, ForwardBackend, ForwardState, SyncMode);

/// Whom Windows' firewall should let in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// No rule is made.
    None,
    /// The local subnet.
    #[default]
    Local,
    /// All sources.
    Full,
}

/// What lets clients in to this distribution in mirrored mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestFirewall {
    /// Windows' own rules, which hold for guests while `AllowHostPolicyMerge` is on.
    Windows,
    /// Rules of the Hyper-V firewall.
    HyperV,
}

impl GuestFirewall {
    /// For a person.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Windows => "rules of Windows' firewall hold for this distribution",
            Self::HyperV => "rules of the Hyper-V firewall hold for this distribution",
        }
    }
}

/// What serves a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardBackend {
    /// Windows' port proxy (TCP only), in its service iphlpsvc.
    Portproxy,
    /// The relay: on Windows in NAT mode, in the guest else.
    Relay,
    /// The tunnel's switch on Windows, which leads to the constant address in the tunnel.
    Tunnel,
    /// None is needed: in mirrored and consomme mode Windows' ports are the guest's own.
    Guest,
}

/// Which networking mode a sync and a policy are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncMode {
    /// Windows listens and leads into the guest.
    Nat,
    /// The guest's ports are Windows' own.
    Mirrored,
}

/// The rules that Windows should have of ours: port proxy and firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleSet {
    /// Which firewall.
    pub mode: SyncMode,
    /// Where they lead: this distribution's address.
    pub connect_address: Ipv4Addr,
    /// The forwards, in the order of the configuration.
    #[serde(rename = "forwards")]
    pub rules: Vec<Rule>,
}

impl RuleSet {
    /// The contract wants an address also where no rule has it: TEST-NET-1, which no machine
    /// has (RFC 5737).
    pub const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// No rule of ours at all.
    #[must_use]
    pub fn nothing(mode: SyncMode) -> Self {
        Self {
            mode,
            connect_address: Self::NOWHERE,
            rules: Vec::new(),
        }
    }

    /// Whether both ask Windows for the same. The address is in the rules of the port proxy,
    /// and Windows is asked what it has when the relay leads elsewhere; the guest's own ports
    /// have none.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.rules == other.rules
            && (self.mode == other.mode || self.rules.is_empty())
            && (self.connect_address == other.connect_address
                || (self.rules.iter()).all(|rule| rule.backend == ForwardBackend::Guest))
    }

    /// Whether a call for them may make rules on Windows: of the relay Windows is only asked
    /// what it has.
    #[must_use]
    pub fn makes_rules(&self) -> bool {
        (self.rules.iter()).any(|rule| rule.backend != ForwardBackend::Relay)
    }

    /// Where the port proxy would listen.
    pub fn listens(&self) -> impl Iterator<Item = Listen> {
        self.rules
            .iter()
            .filter(|rule| rule.backend == ForwardBackend::Portproxy)
            .map(|rule| rule.listen)
    }
}

/// One rule on Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rule {
    /// The forward's name in the configuration, which Windows need not know.
    #[serde(skip)]
    pub name: String,
    /// Where it listens on Windows; the port proxy has TCP only.
    #[serde(flatten)]
    pub listen: Listen,
    /// Port in this distribution.
    pub connect_port: NonZeroU16,
    /// What listens; where it is not the port proxy, what Windows has is read back.
    #[serde(rename = "served-by")]
    pub backend: ForwardBackend,
    /// Whom the firewall lets in.
    pub firewall: Firewall,
}

/// Which of the agent's relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RelayRole {
    /// The one that clients reach: on Windows in NAT mode, in the guest else.
    #[default]
    Entry,
    /// In NAT mode the one in the guest, behind what serves a forward on Windows: it takes
    /// what comes to this distribution's address to a service that listens on loopback alone.
    Loopback,
}

impl RelayRole {
    /// Both. That of loopback comes first: it listens before the other one leads to it.
    pub const ALL: [Self; 2] = [Self::Loopback, Self::Entry];
}

/// Where the relay runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayLocation {
    /// On Windows, as the administrator installed it.
    Installed {
        /// The program.
        program: DrivePath,
        /// The package it is of: another one is another program in its place.
        version: String,
    },
    /// On Windows, unpacked into this folder of the user (%LOCALAPPDATA%). It
    /// listens on loopback only: a program that Windows' firewall does not know
    /// would bring up a question, and closing that makes a Block rule.
    Unpacked(DrivePath),
    /// In this distribution.
    Guest,
}

impl RelayLocation {
    /// For a person.
    #[must_use]
    pub fn in_words(&self) -> &'static str {
        match self {
            Self::Guest => "in the guest",
            Self::Installed { .. } | Self::Unpacked(_) => "on Windows",
        }
    }
}

/// What the relay should serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelaySet {
    /// Where it runs.
    pub location: RelayLocation,
    /// The forwards and their names in the configuration, in its order; not
    /// empty, and no two listen on the same port and address.
    pub forwards: Vec<(String, RelayForward)>,
}

/// What the relay was sent and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayMemory {
    /// What it should serve, as sent last; `None` where it should not run.
    pub wanted: Option<RelaySet>,
    /// Whether it has said that this is in force, as far as it can be.
    pub applied: bool,
    /// Where it listens or may listen: what it confirmed, and what it was sent since.
    pub listening: Listens,
    /// Where it could not listen, as it said last.
    pub failed: BTreeMap<Listen, Failure>,
    /// Where it should take both families and takes IPv4 alone, as it said last.
    pub ipv4_alone: BTreeSet<Listen>,
    /// UDP sessions.
    pub sessions: usize,
    /// What it counted, if it was asked and has answered since its start.
    pub counted: Option<Counted>,
    /// Signs of life that were asked for after a resume.
    pub alive: u64,
    /// Findings of the process.
    pub findings: Vec<Finding>,
}

impl RelayMemory {
    /// Whether the relay that was installed on Windows is there no more.
    #[must_use]
    pub fn not_installed(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.code == Code::RelayLoopback)
    }

    /// Whether it does not run, for a reason that its findings say.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let fails = |finding: &Finding| {
            finding.code != Code::RelayLoopback && finding.code.severity() > Severity::Info
        };
        !self.applied && self.findings.iter().any(fails)
    }
}

/// The relay's counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counted {
    /// When its answer was received, in milliseconds since 1970 (UTC).
    pub taken_unix_ms: u64,
    /// Each forward that it serves.
    pub forwards: Vec<CountedForward>,
}

/// What went through a forward since the relay began to serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CountedForward {
    /// Its name in the configuration.
    pub name: String,
    /// Where it listens, and the counters.
    #[serde(flatten)]
    pub counters: Counters,
}

/// What the Windows side may do for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostPrivilege {
    /// Windows has not answered since the start or the last reload.
    #[default]
    Unknown,
    /// Nothing: not installed, and not elevated.
    None,
    /// WSL was started by an elevated program, with whichever distribution
    /// (microsoft/WSL: LxssUserSession::_CreateVm keeps its token for all).
    Elevated,
    /// What `wslmesh host install` made is installed.
    Installed,
}

/// A port proxy rule of ours, as Windows has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstalledRule {
    /// Where it listens.
    pub listen: Listen,
    /// Where it leads.
    pub connect: SocketAddrV4,
}

/// A configured forward and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForwardStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it listens; of several ports the first. The address may be another than the
    /// configured one: a relay that is not installed listens on 127.0.0.1.
    #[serde(flatten)]
    pub listen: Listen,
    /// Port in this distribution; of several the first.
    pub connect_port: NonZeroU16,
    /// The loopback address at which the service listens, where it is asked to be reached
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_address: Option<Ipv4Addr>,
    /// How many ports it has, one behind the other on both sides.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ports: u16,
    /// Of a range, the ports on Windows whose state this is, where it is not that of all:
    /// the others are better off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_ports: Option<String>,
    /// What serves it; `None` where nothing can.
    pub backend: Option<ForwardBackend>,
    /// Whether it works.
    pub state: ForwardState,
    /// The distribution whose it is, where that is not the leader's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// The distribution that has its port instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether a service listens at the port in this distribution. Only in `wslmesh
    /// status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<bool>,
    /// Why none answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<String>,
    /// What listens at its port, where it was discovered and is in no file; empty where
    /// that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovered: Option<String>,
}

fn one() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_one(number: &u16) -> bool {
    *number == 1
}

impl ForwardStatus {
    /// Where it listens on Windows, for a person: address and port, or ports.
    #[must_use]
    pub fn listens(&self) -> String {
        endpoint(self.listen.listen_address, self.listen_ports())
    }

    /// Its ports on Windows.
    #[must_use]
    pub fn listen_ports(&self) -> PortRange {
        PortRange::of(self.listen.listen_port, self.ports)
    }

    /// Its ports in this distribution.
    #[must_use]
    pub fn connects(&self) -> PortRange {
        PortRange::of(self.connect_port, self.ports)
    }

    /// The state, and of which ports it is that.
    #[must_use]
    pub fn state_in_words(&self) -> String {
        match &self.state_ports {
            None => self.state.to_string(),
            Some(ports) => format!("{} ({ports})", self.state),
        }
    }
}

/// Address and ports as people write them, IPv6 in brackets: `[::]:8000-8010`.
#[must_use]
pub fn endpoint(address: IpAddr, ports: impl Display) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{ports}"),
        IpAddr::V6(address) => format!("[{address}]:{ports}"),
    }
}

/// For a person, that a forward's service listens on loopback alone, and what asks for it to
/// be reached.
#[must_use]
pub fn exposed_by(address: Option<Ipv4Addr>, is_discovered: bool) -> Option<String> {
    let address = address?;
    let key = match is_discovered {
        true => "[discovery] loopback",
        false => "connect-address",
    };
    Some(format!("loopback service ({address}), exposed by {key}"))
}

/// Whether a forward works, from better to worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardState {
    /// As its backend confirmed.
    Up,
    /// Being made.
    Pending,
    /// Not served; the health entries say why.
    Down,
}
