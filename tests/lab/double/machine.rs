//! What Windows keeps: the registry, tasks and the firewall. Files are real
//! ones, below /mnt/c.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::contract::{Grant, Installed, MIRRORED, Policy, Protocol, Rule, ServedBy};

/// `%ProgramFiles%\wslmesh` inside the world.
pub(crate) const PROGRAM_FILES: &str = "/mnt/c/Program Files/wslmesh";
/// The same as Windows writes it.
pub(crate) const PROGRAM_FILES_WINDOWS: &str = "C:\\Program Files\\wslmesh";
/// The relay's file name there.
pub(crate) const RELAY_NAME: &str = "wslmesh-relay.exe";
/// The Windows user that a world begins with.
pub(crate) const ME: &str = "S-1-5-21-1004336348-1177238915-682003330-1001";
/// Another one.
pub(crate) const OTHER: &str = "S-1-5-21-1004336348-1177238915-682003330-1002";

/// A user's folder on the Windows drive, as Linux sees it.
pub(crate) fn local_app_data(sid: &str) -> String {
    format!("/mnt/c/Users/{}/AppData/Local", user_name(sid))
}

/// The same as Windows writes it.
pub(crate) fn local_app_data_windows(sid: &str) -> String {
    format!("C:\\Users\\{}\\AppData\\Local", user_name(sid))
}

fn user_name(sid: &str) -> &'static str {
    if sid == ME { "me" } else { "other" }
}

/// The file through which an unelevated program asks the task for what it wants.
pub(crate) fn selection_file(sid: &str) -> String {
    format!("{PROGRAM_FILES}/{sid}/inbox/selection.json")
}

/// The folder of that file.
pub(crate) fn inbox(sid: &str) -> String {
    format!("{PROGRAM_FILES}/{sid}/inbox")
}

/// The file in which the task leaves its answer.
pub(crate) fn answer_file(sid: &str) -> String {
    format!("{PROGRAM_FILES}/{sid}/answer.json")
}

/// The full name of a user's forwarding task.
pub(crate) fn forward_task(sid: &str) -> String {
    format!("\\wslmesh\\forward-{sid}")
}

/// The full name of a user's logon task.
pub(crate) fn logon_task(sid: &str) -> String {
    format!("\\wslmesh\\logon-{sid}")
}

/// Listen address and port.
pub(crate) type Name = (IpAddr, u16);
/// `connect address/connect port`, as the registry has it.
pub(crate) type Values = BTreeMap<Name, String>;

/// All that Windows keeps. Two of these are equal when nothing has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `PortProxy\v4tov4\tcp`, with its names as they are in the registry.
    pub(crate) rules: BTreeMap<String, String>,
    /// `HKLM\SOFTWARE\wslmesh`, value `installed`.
    pub(crate) installed: Option<InstalledValue>,
    /// `HKLM\SOFTWARE\wslmesh\<SID>`.
    pub(crate) users: BTreeMap<String, UserKey>,
    /// Scheduled tasks by their full names.
    pub(crate) tasks: BTreeMap<String, Task>,
    /// Firewall rules of both kinds by their names.
    pub(crate) firewall: BTreeMap<String, FirewallRule>,
}

/// What the registry says about the installed files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstalledValue {
    pub(crate) version: String,
    pub(crate) contract: u64,
    pub(crate) files: Vec<FileHash>,
}

/// A file and the SHA-256 of its bytes in 64 lower-case digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileHash {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

/// One Windows user's part of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserKey {
    pub(crate) policy: Option<Policy>,
    /// `forbidden` where Windows keeps the relay from being started.
    pub(crate) relay: Option<String>,
    /// The names and values of the key `ledger`.
    pub(crate) ledger: BTreeMap<String, String>,
}

/// A scheduled task, with what matters about its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// `SYSTEM` or a SID.
    pub(crate) principal: String,
    /// Whose programs may start it.
    pub(crate) may_start: Vec<String>,
    pub(crate) enabled: bool,
    /// Whether it starts while the machine runs on its battery.
    pub(crate) on_batteries: bool,
    /// What it runs.
    pub(crate) action: String,
}

/// Which of Windows' two firewalls a rule belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FirewallKind {
    /// Windows Defender's.
    Windows,
    /// Hyper-V's, for WSL's virtual machine.
    HyperV,
}

impl FirewallKind {
    /// As the ledger has it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::HyperV => "hyper-v",
        }
    }
}

/// An inbound firewall rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FirewallRule {
    pub(crate) kind: FirewallKind,
    pub(crate) group: Option<String>,
    pub(crate) enabled: bool,
    /// Allow, or block.
    pub(crate) allow: bool,
    /// Both where there is none.
    pub(crate) protocol: Option<Protocol>,
    /// First and last; all where there is none.
    pub(crate) ports: Option<(u16, u16)>,
    /// All where there is none.
    pub(crate) local: Option<IpAddr>,
    /// Windows path; all where there is none.
    pub(crate) program: Option<String>,
    /// Short name; all where there is none.
    pub(crate) service: Option<String>,
    /// Only from the local subnet, or from everywhere.
    pub(crate) local_only: bool,
    pub(crate) profiles: Vec<String>,
}

/// `address/port` as the registry names a rule.
fn registry_name(name: Name) -> String {
    format!("{}/{}", name.0, name.1)
}

fn read_name(text: &str) -> Option<Name> {
    let (address, port) = text.split_once('/')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}

/// A rule as it is reported.
pub(crate) fn read_rule(name: Name, target: &str) -> Rule {
    let (host, port) = target.split_once('/').unzip();
    let port = port
        .and_then(|port| port.parse().ok())
        .filter(|port| *port != 0);
    Rule {
        listen_address: name.0,
        listen_port: name.1,
        connect_address: host.filter(|_| port.is_some()).map(str::to_owned),
        connect_port: port,
    }
}

/// As rules, by port.
pub(crate) fn sorted<'a>(values: impl Iterator<Item = (&'a Name, &'a String)>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = values.map(|(name, to)| read_rule(*name, to)).collect();
    rules.sort_by_key(|rule| (rule.listen_port, rule.listen_address));
    rules
}

impl Machine {
    /// The port proxy's rules whose names can be read.
    pub(crate) fn values(&self) -> Values {
        let read = |(name, target): (&String, &String)| Some((read_name(name)?, target.clone()));
        self.rules.iter().filter_map(read).collect()
    }

    /// Makes, overwrites or deletes a rule.
    pub(crate) fn set_rule(&mut self, name: Name, target: Option<String>) {
        match target {
            Some(target) => self.rules.insert(registry_name(name), target),
            None => self.rules.remove(&registry_name(name)),
        };
    }

    /// All rules, ours and others', by port.
    pub(crate) fn table(&self) -> Vec<Rule> {
        sorted(self.values().iter())
    }

    /// One user's ledger, of the rules that are done (`tcp/`) or about to be
    /// (`pending/tcp/`).
    pub(crate) fn ledger_values(&self, sid: &str, prefix: &str) -> Values {
        let Some(user) = self.users.get(sid) else {
            return Values::new();
        };
        let read = |(name, target): (&String, &String)| {
            Some((read_name(name.strip_prefix(prefix)?)?, target.clone()))
        };
        user.ledger.iter().filter_map(read).collect()
    }

    /// One user's ledger of finished rules, in the form of rules.
    pub(crate) fn ledger(&self, sid: &str) -> Vec<Rule> {
        sorted(self.ledger_values(sid, "tcp/").iter())
    }

    /// Writes or deletes one entry of a user's ledger.
    pub(crate) fn note(&mut self, sid: &str, name: &str, value: Option<&str>) {
        let ledger = &mut self.users.entry(sid.to_owned()).or_default().ledger;
        match value {
            Some(value) => ledger.insert(name.to_owned(), value.to_owned()),
            None => ledger.remove(name),
        };
    }

    /// The policy that was agreed to for a user.
    pub(crate) fn policy(&self, sid: &str) -> Option<&Policy> {
        self.users.get(sid)?.policy.as_ref()
    }

    /// What an answer says about the installation, to users who have a policy.
    pub(crate) fn installed_for(&self, sid: &str) -> Option<Installed> {
        self.policy(sid)?;
        let installed = self.installed.as_ref()?;
        let relay = std::path::Path::new(PROGRAM_FILES).join(RELAY_NAME);
        Some(Installed {
            version: installed.version.clone(),
            contract: installed.contract,
            relay: relay
                .is_file()
                .then(|| format!("{PROGRAM_FILES_WINDOWS}\\{RELAY_NAME}")),
            relay_forbidden: self.forbidden(sid),
        })
    }

    /// Whether the relay was forbidden when this user's policy was installed.
    pub(crate) fn forbidden(&self, sid: &str) -> bool {
        let user = self.users.get(sid);
        user.is_some_and(|user| user.relay.as_deref() == Some("forbidden"))
    }

    /// What serves a grant of the user's.
    pub(crate) fn server(&self, sid: &str, grant: &Grant) -> ServedBy {
        match self.policy(sid) {
            Some(policy) if policy.mode == MIRRORED => ServedBy::Guest,
            _ => grant.server(self.forbidden(sid)),
        }
    }

    /// Whether the port proxy serves any grant of the user's.
    pub(crate) fn needs_task(&self, sid: &str) -> bool {
        let grants = self.policy(sid).map(|policy| policy.grants.iter());
        let mut grants = grants.into_iter().flatten();
        grants.any(|grant| self.server(sid, grant) == ServedBy::Portproxy)
    }
}

/// The ledger's name of a finished rule.
pub(crate) fn ledger_name(name: Name) -> String {
    format!("tcp/{}", registry_name(name))
}

/// The ledger's name of a rule that is about to change.
pub(crate) fn pending_name(name: Name) -> String {
    format!("pending/tcp/{}", registry_name(name))
}
