//! What the examination knows of the machine: plain data, filled in by `read`
//! and made up by the tests.

mod parts;

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

pub(super) use self::parts::{
    Answer, Clock, Disk, Drift, DriftSource, Guarded, Interop, Kernel, Memory, Pollers, Process,
    Resolver, Resources, Secrecy, Systemd, Text, UnitState, Units, Way, Wsl,
};
use super::verdict::{Skip, Verdict};
use crate::{
    config::Settings,
    interop::ini::Ini,
    model::{Link, Mode, Observation, Plan, Socket},
    plan::{self, Node},
    report::{Document, WireguardEntry},
};

/// The whole.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether this process is root's.
    pub(super) root: bool,
    /// Seconds since 1970 (UTC), as this machine has it.
    pub(super) now_unix: u64,
    /// WSL itself.
    pub(super) wsl: Wsl,
    /// The configuration, or what is wrong with it.
    pub(super) settings: Result<Settings, String>,
    /// What a pass of the agent would see, or why it could not look.
    pub(super) seen: Result<Observation, String>,
    /// WireGuard devices with their peers.
    pub(super) peers: Vec<WireguardEntry>,
    /// IPv4 routes of the main table: interface and destination.
    pub(super) routes: Vec<(String, Ipv4Net)>,
    /// What the running agent says of itself.
    pub(super) agent: Option<Document>,
    /// systemd.
    pub(super) systemd: Systemd,
    /// /etc/wsl.conf.
    pub(super) wsl_conf: Text<Ini>,
    /// %UserProfile%\.wslconfig.
    pub(super) wslconfig: Text<Ini>,
    /// Whether `wslmesh host install` has left its folder on Windows.
    pub(super) installed: bool,
    /// Open sockets.
    pub(super) sockets: Text<Vec<Socket>>,
    /// Values below /proc/sys, by dotted name.
    pub(super) sysctls: BTreeMap<&'static str, String>,
    /// Name resolution.
    pub(super) resolver: Resolver,
    /// The clock.
    pub(super) clock: Clock,
    /// The way to Windows programs.
    pub(super) interop: Interop,
    /// Processes of this distribution.
    pub(super) processes: Vec<Process>,
    /// Files that only some should read or write.
    pub(super) guarded: Vec<Guarded>,
    /// Folders of private keys that this user may not look into.
    pub(super) hidden_keys: Vec<String>,
    /// Scheduled scripts that do by polling what the agent does.
    pub(super) pollers: Pollers,
    /// Memory and disk.
    pub(super) resources: Resources,
    /// What the kernel offers.
    pub(super) kernel: Kernel,
}

impl Facts {
    /// Ends a check that is about WSL alone.
    pub(super) fn wsl(&self) -> Result<&Wsl, Skip> {
        if self.wsl.is {
            Ok(&self.wsl)
        } else {
            Err(Skip::NotWsl)
        }
    }

    /// The configuration.
    pub(super) fn settings(&self) -> Result<&Settings, Skip> {
        self.settings
            .as_ref()
            .map_err(|_| Skip::Unknown("the configuration has errors".to_owned()))
    }

    /// The network, with the configuration by which it is looked at.
    pub(super) fn seen(&self) -> Result<(&Settings, &Observation), Skip> {
        let settings = self.settings()?;
        let seen = self.seen.as_ref();
        seen.map(|seen| (settings, seen))
            .map_err(|why| Skip::Unknown(why.clone()))
    }

    /// What a pass of the agent would do now.
    pub(super) fn plan(&self) -> Result<Plan, Skip> {
        let (settings, seen) = self.seen()?;
        Ok(plan::plan(settings, seen))
    }

    /// This distribution's place in the network.
    pub(super) fn node(&self) -> Result<Node<'_>, Skip> {
        let (settings, seen) = self.seen()?;
        plan::node(settings, seen).map_err(|finding| Skip::Unknown(finding.detail))
    }

    /// The networking mode, where it is known.
    pub(super) fn mode(&self) -> Option<Mode> {
        self.seen.as_ref().ok().and_then(|seen| seen.mode.known())
    }

    /// The tunnels that the configuration keeps at an MTU.
    pub(super) fn tunnels(&self) -> Result<Vec<&Link>, Skip> {
        let (settings, seen) = self.seen()?;
        let matches = |link: &&Link| settings.mtu_interfaces.matches(&link.name);
        Ok(seen.links.iter().filter(matches).collect())
    }

    /// A section's value in /etc/wsl.conf.
    pub(super) fn wsl_conf(&self, section: &str, key: &str) -> Option<&str> {
        self.wsl_conf.content()?.get(section, key)
    }

    /// Windows' .wslconfig, empty where there is none.
    pub(super) fn wslconfig(&self) -> Result<Ini, Skip> {
        self.wsl()?;
        match &self.wslconfig {
            Text::Missing => Ok(Ini::default()),
            Text::Content(ini) => Ok(ini.clone()),
            Text::Unreadable(why) => Err(Skip::Unknown(why.clone())),
        }
    }

    /// systemd's units.
    pub(super) fn units(&self) -> Result<&Units, Skip> {
        let units = self.systemd.units.as_ref();
        units.map_err(|why| Skip::Unknown(why.clone()))
    }

    /// The sockets.
    pub(super) fn sockets(&self) -> Result<&[Socket], Skip> {
        match &self.sockets {
            Text::Content(sockets) => Ok(sockets),
            Text::Missing => Err(Skip::Unknown("/proc/net is not there".to_owned())),
            Text::Unreadable(why) => Err(Skip::Unknown(why.clone())),
        }
    }

    /// wslmesh's own files and folders, and whether each is a folder that has to be
    /// there.
    #[must_use]
    pub fn own_files(&self) -> Vec<(String, bool)> {
        let own = self.guarded.iter();
        own.filter(|file| file.secrecy != Secrecy::Secret)
            .map(|file| (file.path.clone(), file.secrecy == Secrecy::OwnFolder))
            .collect()
    }

    /// Names of the processes that are called one of these.
    pub(super) fn running(&self, names: &[&str]) -> Vec<String> {
        let of = |process: &Process| names.contains(&process.name.as_str());
        let found = self.processes.iter().filter(|process| of(process));
        let mut found: Vec<String> = found.map(|process| process.name.clone()).collect();
        found.sort();
        found.dedup();
        found
    }
}

/// What was seen, with a remark on what could not be; nothing seen and something
/// hidden is no verdict.
pub(super) fn beside_hidden(
    verdict: Verdict,
    seen: bool,
    hidden: &[String],
) -> Result<Verdict, Skip> {
    match (seen, hidden) {
        (_, []) => Ok(verdict),
        (false, hidden) => Err(Skip::NeedsRoot(some(hidden))),
        (true, hidden) => Ok(verdict.remark(&format!("needs root: {}", some(hidden)))),
    }
}

/// A list for a person: `a, b and 3 more`.
pub(super) fn some(names: &[String]) -> String {
    const MOST: usize = 4;
    let shown: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
