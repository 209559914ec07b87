//! What doctor knows of the machine: plain data, filled in by `read` and made up by
//! the tests.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::Ipv4Net;

use super::verdict::{NOT_WSL, Verdict, skipped};
use crate::{
    config::Settings,
    interop::ini::Ini,
    model::{Code, Link, Mode, Node, Observation, Plan, Socket},
    plan,
    report::{Document, WireguardEntry},
};

/// Everything that the checks know.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether this process runs as root.
    pub(super) root: bool,
    /// Seconds since 1970 (UTC), by this machine's clock.
    pub(super) now_unix: u64,
    /// WSL itself.
    pub(super) wsl: Wsl,
    /// The configuration, or what is wrong with it.
    pub(super) settings: Result<Settings, String>,
    /// What a pass of the agent would observe, or why it could not.
    pub(super) observation: Result<Observation, String>,
    /// WireGuard devices with their peers.
    pub(super) peers: Vec<WireguardEntry>,
    /// IPv4 routes of the main table: interface and destination.
    pub(super) routes: Vec<(String, Ipv4Net)>,
    /// The running agent's status document.
    pub(super) agent: Option<Document>,
    /// systemd.
    pub(super) systemd: Systemd,
    /// /etc/wsl.conf.
    pub(super) wsl_conf: Text<Ini>,
    /// %UserProfile%\.wslconfig.
    pub(super) wslconfig: Text<Ini>,
    /// Whether the folder of `wslmesh host install` exists on Windows.
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
    /// Files whose owner and mode matter.
    pub(super) guarded: Vec<Guarded>,
    /// Folders of private keys that this user cannot read.
    pub(super) hidden_keys: Vec<String>,
    /// Scheduled scripts that poll for the address.
    pub(super) pollers: Pollers,
    /// Memory and disk.
    pub(super) resources: Resources,
    /// What the kernel offers.
    pub(super) kernel: Kernel,
}

impl Facts {
    /// Facts of a machine of which nothing could be read, for this reason.
    pub(super) fn unread(why: &str) -> Self {
        Self {
            root: false,
            now_unix: 0,
            wsl: Wsl::default(),
            settings: Err(why.to_owned()),
            observation: Err(why.to_owned()),
            peers: Vec::new(),
            routes: Vec::new(),
            agent: None,
            systemd: Systemd {
                running: false,
                units: Err(why.to_owned()),
            },
            wsl_conf: Text::Unreadable(why.to_owned()),
            wslconfig: Text::Unreadable(why.to_owned()),
            installed: false,
            sockets: Text::Unreadable(why.to_owned()),
            sysctls: BTreeMap::new(),
            resolver: Resolver {
                text: Text::Unreadable(why.to_owned()),
                link: None,
                immutable: false,
                answer: Answer::NoServer,
            },
            clock: Clock {
                drift: Err(why.to_owned()),
                follows: None,
            },
            interop: Interop {
                entry: None,
                init: true,
                way: Way::None(Code::InteropTimeout, why.to_owned()),
                named: None,
            },
            processes: Vec::new(),
            guarded: Vec::new(),
            hidden_keys: Vec::new(),
            pollers: Pollers::default(),
            resources: Resources::default(),
            kernel: Kernel::default(),
        }
    }

    /// Skips a check that makes sense in WSL alone.
    pub(super) fn wsl(&self) -> Result<&Wsl, Verdict> {
        self.wsl
            .is
            .then_some(&self.wsl)
            .ok_or_else(|| skipped(NOT_WSL))
    }

    /// The configuration.
    pub(super) fn settings(&self) -> Result<&Settings, Verdict> {
        let settings = self.settings.as_ref();
        settings.map_err(|_| skipped("the configuration has errors"))
    }

    /// The network, with the configuration that it was observed for.
    pub(super) fn observation(&self) -> Result<(&Settings, &Observation), Verdict> {
        let settings = self.settings()?;
        let observation = self.observation.as_ref().map_err(skipped)?;
        Ok((settings, observation))
    }

    /// What a pass of the agent would do now.
    pub(super) fn plan(&self) -> Result<Plan, Verdict> {
        let (settings, observation) = self.observation()?;
        Ok(plan::plan(settings, observation))
    }

    /// This distribution's interface and address.
    pub(super) fn node(&self) -> Result<Node, Verdict> {
        let (settings, observation) = self.observation()?;
        plan::node(settings, observation).map_err(|finding| skipped(finding.detail))
    }

    /// The networking mode, where it is known.
    pub(super) fn mode(&self) -> Option<Mode> {
        self.observation.as_ref().ok()?.mode.known()
    }

    /// The tunnels whose MTU the configuration sets.
    pub(super) fn tunnels(&self) -> Result<Vec<&Link>, Verdict> {
        let (settings, observation) = self.observation()?;
        let matches = |link: &&Link| settings.mtu_interfaces.matches(&link.name);
        Ok(observation.links.iter().filter(matches).collect())
    }

    /// A section's value in /etc/wsl.conf.
    pub(super) fn wsl_conf(&self, section: &str, key: &str) -> Option<&str> {
        self.wsl_conf.content()?.get(section, key)
    }

    /// Windows' .wslconfig, empty where it does not exist.
    pub(super) fn wslconfig(&self) -> Result<Ini, Verdict> {
        self.wsl()?;
        match &self.wslconfig {
            Text::Missing => Ok(Ini::default()),
            Text::Content(ini) => Ok(ini.clone()),
            Text::Unreadable(why) => Err(skipped(why)),
        }
    }

    /// systemd's units.
    pub(super) fn units(&self) -> Result<&Units, Verdict> {
        self.systemd.units.as_ref().map_err(skipped)
    }

    /// The sockets.
    pub(super) fn sockets(&self) -> Result<&[Socket], Verdict> {
        match &self.sockets {
            Text::Content(sockets) => Ok(sockets),
            Text::Missing => Err(skipped("/proc/net does not exist")),
            Text::Unreadable(why) => Err(skipped(why)),
        }
    }

    /// wslmesh's own files and folders, and whether each is a folder that must exist.
    #[must_use]
    pub fn own_files(&self) -> Vec<(String, bool)> {
        let own = self.guarded.iter();
        own.filter(|file| file.secrecy != Secrecy::Secret)
            .map(|file| (file.path.clone(), file.secrecy == Secrecy::OwnFolder))
            .collect()
    }

    /// Names of the processes that `is_one` selects, each once.
    pub(super) fn running(&self, is_one: impl Fn(&Process) -> bool) -> Vec<String> {
        let found = self.processes.iter().filter(|process| is_one(process));
        let mut found: Vec<String> = found.map(|process| process.name.clone()).collect();
        found.sort();
        found.dedup();
        found
    }
}

/// WSL as seen from inside.
#[derive(Debug, Clone, Default)]
pub(super) struct Wsl {
    /// Whether this is WSL 2.
    pub(super) is: bool,
    /// The kernel's release.
    pub(super) release: String,
    /// WSL's version, where it reports one.
    pub(super) version: Option<String>,
}

impl Wsl {
    /// Whether this version knows instanceIdleTimeout, new in 2.5.10: assumed where
    /// the version is unknown.
    pub(super) fn knows_idle_timeout(&self) -> bool {
        let at_least = |version: &str| {
            let parts = version.split('.').map(|part| part.parse().unwrap_or(0));
            parts.chain([0; 3]).take(3).ge([2, 5, 10])
        };
        self.version.as_deref().is_none_or(at_least)
    }
}

/// A file or another source of text, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text<T> {
    /// It does not exist.
    Missing,
    /// Its content.
    Content(T),
    /// It could not be read, for this reason.
    Unreadable(String),
}

impl<T> Text<T> {
    /// The content, where there is one.
    pub(super) fn content(&self) -> Option<&T> {
        match self {
            Self::Content(content) => Some(content),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }

    /// The same with its content understood.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Text<U> {
        match self {
            Self::Missing => Text::Missing,
            Self::Content(content) => Text::Content(change(content)),
            Self::Unreadable(why) => Text::Unreadable(why),
        }
    }
}

/// systemd as it answers on the bus.
#[derive(Debug, Clone)]
pub(super) struct Systemd {
    /// Whether it is the init of this system (sd_booted(3)).
    pub(super) running: bool,
    /// Its units, or why they could not be read.
    pub(super) units: Result<Units, String>,
}

/// The units that matter here.
#[derive(Debug, Clone, Default)]
pub(super) struct Units {
    /// State of units by name, without those that systemd does not know.
    pub(super) states: BTreeMap<String, UnitState>,
    /// All units that have failed.
    pub(super) failed: Vec<String>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitState {
    /// active, inactive, failed, activating, ...
    pub(super) active: String,
    /// enabled, disabled, static, masked, ...
    pub(super) file: String,
}

/// /etc/resolv.conf and the server that it names.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    /// Its text.
    pub(super) text: Text<String>,
    /// Where it leads, if it is a link.
    pub(super) link: Option<String>,
    /// Whether it cannot be changed (`chattr +i`).
    pub(super) immutable: bool,
    /// What its first server answered.
    pub(super) answer: Answer,
}

/// What came of one question to a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// No server is configured.
    NoServer,
    /// The server is in no private network and was not queried.
    Public(IpAddr),
    /// It answered with this code (RFC 1035, section 4.1.1).
    Code(IpAddr, u8),
    /// It did not answer, for this reason.
    Silent(IpAddr, String),
}

/// The clock against another one.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// The comparison, or why there is none.
    pub(super) drift: Result<Drift, String>,
    /// Whether the Hyper-V driver follows Windows' clock; `None` where there is no
    /// such driver.
    pub(super) follows: Option<bool>,
}

/// How far this machine's clock is from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drift {
    /// The other clock.
    pub(super) source: DriftSource,
    /// This one minus the other one, in milliseconds.
    pub(super) ahead_ms: i64,
}

/// A clock to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DriftSource {
    /// Windows' own, through a PTP device that only root can read.
    Ptp,
    /// The hardware clock, to the second.
    Rtc,
}

/// The way to Windows programs.
#[derive(Debug, Clone)]
pub(super) struct Interop {
    /// Whether the kernel knows Windows programs: the entry of binfmt_misc and
    /// whether it is enabled.
    pub(super) entry: Option<(String, bool)>,
    /// Whether WSL's init exists, which runs them without an entry.
    pub(super) init: bool,
    /// The way that the agent would take.
    pub(super) way: Way,
    /// What WSL_INTEROP names, and whether it exists.
    pub(super) named: Option<(String, bool)>,
}

/// The result of looking for powershell.exe.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The way as text.
    Found(String),
    /// Why there is none.
    None(Code, String),
    /// It was not looked for.
    NotWsl,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its name, 15 bytes at most (proc_pid_comm(5)).
    pub(super) name: String,
    /// Its arguments, joined by blanks.
    pub(super) arguments: String,
    /// Its working directory, where this user can read it.
    pub(super) folder: Option<String>,
}

/// What a file is for, which decides who may read and write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// A key: its owner alone may read it.
    Secret,
    /// A file of wslmesh: owned by root, and only root may write it.
    Own,
    /// The same for a folder that must exist.
    OwnFolder,
}

/// A file with owner and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guarded {
    /// Where it is.
    pub(super) path: String,
    /// What it is for.
    pub(super) secrecy: Secrecy,
    /// Owner's id and mode bits; `None` where it does not exist.
    pub(super) state: Option<(u32, u32)>,
}

/// Scheduled scripts that poll for the address.
#[derive(Debug, Clone, Default)]
pub(super) struct Pollers {
    /// Where they are.
    pub(super) found: Vec<String>,
    /// Files and folders that this user cannot read.
    pub(super) hidden: Vec<String>,
}

/// Memory and disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Resources {
    /// /proc/meminfo, where it can be read.
    pub(super) memory: Option<Memory>,
    /// The file system of `/`, where statvfs works.
    pub(super) disk: Option<Disk>,
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// All of it.
    pub(super) total: u64,
    /// What a program could still get.
    pub(super) available: u64,
    /// Swap in all.
    pub(super) swap: u64,
    /// Swap that is free.
    pub(super) swap_free: u64,
}

/// A file system.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Disk {
    /// Size in MiB.
    pub(super) total: u64,
    /// MiB that an ordinary user may still fill.
    pub(super) available: u64,
    /// Inodes; 0 where the file system does not count them.
    pub(super) inodes: u64,
    /// Free ones.
    pub(super) inodes_free: u64,
}

/// What the kernel offers.
#[derive(Debug, Clone, Default)]
pub(super) struct Kernel {
    /// `loaded`, `built in`, `a module`, or nothing.
    pub(super) wireguard: Option<&'static str>,
    /// A userspace WireGuard that is installed.
    pub(super) userspace: Option<String>,
    /// Whether /dev/net/tun exists.
    pub(super) tun: bool,
    /// Whether bridged packets pass the packet filter.
    pub(super) bridge_filter: bool,
    /// Whether /lib/modules has a folder for this kernel.
    pub(super) modules: bool,
}
