//! The circumstances in which Windows' programs run: who runs them, what else
//! is on the machine, and what goes wrong.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::contract::{LowestMtu, Protocol};
use crate::double::machine::ME;
use crate::topology::WINDOWS_ADDRESS;

/// What is no memory of Windows' and may change at any time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Situation {
    /// The SID that interop runs as.
    pub(crate) user: String,
    /// Whether interop's programs run elevated.
    pub(crate) elevated: bool,
    /// Whether the user is no administrator, so that another person's password
    /// is asked for.
    pub(crate) standard_account: bool,
    /// What becomes of a request for elevation.
    pub(crate) elevation: Elevation,
    /// A group policy about scripts, as Windows names it: one that keeps every
    /// script of ours from running.
    pub(crate) script_policy: Option<String>,
    /// PowerShell is in constrained language mode without administrator rights, too.
    pub(crate) constrained: bool,
    /// Another program of the user's changes the staged relay after host.ps1 has
    /// looked at it.
    pub(crate) staged_file_changes: bool,
    /// A policy of this Windows (AppLocker, Smart App Control) keeps the relay from
    /// being started.
    pub(crate) relay_forbidden: bool,
    /// Ports whose listeners Windows does not show.
    pub(crate) hidden: Vec<u16>,
    /// Whether Windows' own rules hold for guests, too; else only Hyper-V's do.
    pub(crate) host_policy_merge: bool,
    /// Whether iphlpsvc runs.
    pub(crate) service: bool,
    /// Whether the firewall can be changed.
    pub(crate) firewall: bool,
    /// Whether the machine runs on its battery.
    pub(crate) battery: bool,
    /// The profiles of the networks that Windows is in.
    pub(crate) profiles: Vec<String>,
    /// Ports that Windows does not give, by protocol and number.
    pub(crate) ports: BTreeMap<u16, Port>,
    /// First and last of the ports that Windows hands out by itself; none: netsh fails.
    pub(crate) dynamic: Option<(u16, u16)>,
    /// WSL's values in the registry; none: what WSL would write.
    pub(crate) lxss: Lxss,
    /// Windows' own address.
    pub(crate) windows_address: Option<Ipv4Addr>,
    /// See [`LowestMtu`].
    pub(crate) lowest_mtu: Option<LowestMtu>,
    /// Another program of the user's writes this over each selection, before the
    /// task reads it.
    pub(crate) inbox: Option<Inbox>,
    /// The task ends without a word after this many single changes.
    pub(crate) task_dies_after: Option<usize>,
    /// How long the task takes to start, in ms.
    pub(crate) task_start_ms: u64,
    /// How long the script waits for the task's answer, in ms. 10,000 on Windows.
    pub(crate) task_wait_ms: u64,
}

impl Situation {
    /// How a world begins: an elevated user at a mains socket, in a private network.
    pub(crate) fn new(task_wait_ms: u64) -> anyhow::Result<Self> {
        Ok(Self {
            user: ME.to_owned(),
            elevated: true,
            standard_account: false,
            elevation: Elevation::Granted,
            script_policy: None,
            constrained: false,
            staged_file_changes: false,
            relay_forbidden: false,
            hidden: Vec::new(),
            host_policy_merge: true,
            service: true,
            firewall: true,
            battery: false,
            profiles: vec!["private".to_owned()],
            ports: BTreeMap::new(),
            // Not Windows' default, which a constant could be.
            dynamic: Some((50000, 60000)),
            lxss: Lxss::default(),
            windows_address: Some(WINDOWS_ADDRESS.parse()?),
            lowest_mtu: None,
            inbox: None,
            task_dies_after: None,
            task_start_ms: 5,
            task_wait_ms,
        })
    }
}

impl Situation {
    /// For which language mode and policies no script of ours is called.
    pub(crate) fn refusal(&self) -> Option<String> {
        let policy = self.script_policy.as_deref().unwrap_or("Undefined");
        let language = if self.constrained {
            "ConstrainedLanguage"
        } else {
            "FullLanguage"
        };
        let refused = self.constrained || self.script_policy.is_some();
        refused.then(|| format!("{language} MachinePolicy={policy},UserPolicy=Undefined"))
    }
}

/// What becomes of a request for elevation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Elevation {
    /// Granted, and the person types yes.
    Granted,
    /// Declined or not answered (1223).
    Declined,
    /// Granted, and the person does not type yes.
    Refused,
    /// Not allowed by a group policy (1260).
    Forbidden,
    /// PowerShell is in Constrained Language Mode.
    Constrained,
    /// No user is logged on at the desktop.
    NoDesktop,
}

/// Why a port is not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) protocol: Protocol,
    /// An excluded range; else a program has it.
    pub(crate) forbidden: bool,
    /// As Windows reports it.
    pub(crate) owner: Option<String>,
}

/// One value of WSL's in the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// What belongs there.
    #[default]
    True,
    /// It does not exist.
    Missing,
    /// This text.
    Text(String),
}

/// WSL's values in the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lxss {
    /// `HKU\<SID>\...\Lxss\NatIpAddress`.
    pub(crate) nat_ip_address: Entry,
    /// `HKLM\...\Lxss\NatNetwork`.
    pub(crate) nat_network: Entry,
    /// `HKLM\...\Lxss\NatGatewayIpAddress`.
    pub(crate) nat_gateway_ip_address: Entry,
}

/// What lies in the selection's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Inbox {
    /// A file with this text; `TICKET` in it becomes the real one's ticket.
    Text(String),
    /// A link to this path of the world.
    Link(String),
    /// A folder.
    Folder,
    /// Nothing.
    Nothing,
}
