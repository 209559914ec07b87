//! What doctor knows of the machine: plain data, filled in by `read` and made up by
//! the tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;

use super::verdict::{NOT_WSL, Verdict, skipped};
use crate::{
    config::Settings,
    interop::{
        self, Drives,
        ini::{Ini, boolean},
    },
    model::{Code, IdleTimeouts, InterfaceName, Mode, NatLook, Node, Observation, Plan, Socket},
    observe::{DnsCheck, Drift, Machine},
    plan,
    report::{ClockHistory, Document, WireguardEntry},
};

/// What came of reading a source: its content, `None` where it does not exist, or why
/// it could not be read.
pub(super) type Read<T> = Result<Option<T>, String>;

/// Everything that the checks know.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether this process runs as root.
    pub(super) root: bool,
    /// Seconds since 1970 (UTC), by this machine's clock.
    pub(super) now_unix: u64,
    /// Whether this is WSL 2.
    pub(super) wsl: bool,
    /// WSL's version, where it reports one.
    pub(super) wsl_version: Option<String>,
    /// The configuration, or what is wrong with it.
    pub(super) settings: Result<Settings, String>,
    /// What a pass of the agent would observe, or why it could not.
    pub(super) observation: Result<Observation, String>,
    /// What a look at Windows' NAT has found, in NAT mode.
    pub(super) nat: Option<NatLook>,
    /// WireGuard devices with their peers.
    pub(super) peers: Vec<WireguardEntry>,
    /// What an agent has seen of the clock.
    pub(super) clock_history: ClockHistory,
    /// The running agent's status document.
    pub(super) agent: Option<Document>,
    /// systemd's units, or why they could not be read.
    pub(super) units: Result<Units, String>,
    /// %UserProfile%\.wslconfig.
    pub(super) wslconfig: Read<Ini>,
    /// What that says of stopping an idle distribution, or why it is unknown.
    pub(super) idle: Result<IdleTimeouts, String>,
    /// Files beside it that look as if they were meant, where it does not exist.
    pub(super) wslconfig_near: Vec<String>,
    /// Whether the folder of `wslmesh host install` exists on Windows.
    pub(super) installed: bool,
    /// The file system of Windows' own drive, with where it is mounted.
    pub(super) windows_disk: Option<(String, Disk)>,
    /// The way to Windows programs, or why it could not be looked for in time.
    pub(super) interop: Result<Interop, String>,
    /// What this machine's files say, or why they could not be read in time.
    pub(super) local: Result<Local, String>,
}

/// What /proc, /sys and /etc say.
#[derive(Debug, Clone)]
pub(super) struct Local {
    /// The kernel's release.
    pub(super) release: String,
    /// Whether systemd is the init of this system (sd_booted(3)).
    pub(super) systemd: bool,
    /// /etc/wsl.conf.
    pub(super) wsl_conf: Read<Ini>,
    /// Files beside it that look as if they were meant.
    pub(super) wsl_conf_near: Vec<String>,
    /// Open sockets, or why they could not be read.
    pub(super) sockets: Result<Vec<Socket>, String>,
    /// Whether a rule may pass a port on to a container.
    pub(super) passes_on: bool,
    /// Whether iptables-legacy has a nat table; only root can see that.
    pub(super) legacy_nat: Result<bool, String>,
    /// net.ipv4.tcp_mtu_probing.
    pub(super) mtu_probing: Option<String>,
    /// fs.inotify.max_user_watches.
    pub(super) watches: Option<String>,
    /// IPv4 routes of the main table: interface and destination.
    pub(super) routes: Vec<(String, Ipv4Net)>,
    /// Name resolution.
    pub(super) dns: DnsCheck,
    /// The clock against others.
    pub(super) drift: Drift,
    /// Whether the Hyper-V driver follows Windows' clock; `None` where there is no
    /// such driver.
    pub(super) follows: Option<bool>,
    /// Windows' drives.
    pub(super) drives: Drives,
    /// Processes of this distribution.
    pub(super) processes: Vec<Process>,
    /// Files whose owner and mode matter.
    pub(super) guarded: Vec<Guarded>,
    /// Folders of private keys that this user cannot read.
    pub(super) hidden_keys: Vec<String>,
    /// Where docker keeps its images and containers.
    pub(super) data_root: Option<String>,
    /// Scheduled scripts that poll for the address.
    pub(super) pollers: Pollers,
    /// Memory and processors, where /proc/meminfo can be read.
    pub(super) memory: Option<Machine>,
    /// The file system of `/`, where statvfs works.
    pub(super) disk: Option<Disk>,
    /// How long programs wait for memory, where the kernel measures that.
    pub(super) pressure: Option<Pressure>,
    /// Processes killed for lack of memory since the kernel started.
    pub(super) oom_kills: Option<u64>,
    /// What is used of limits.
    pub(super) limits: Limits,
    /// What the kernel offers.
    pub(super) kernel: Kernel,
}

impl Facts {
    /// Skips a check that makes sense in WSL alone.
    pub(super) fn wsl(&self) -> Result<(), Verdict> {
        self.wsl.then_some(()).ok_or_else(|| skipped(NOT_WSL))
    }

    /// Whether this is WSL 2.
    #[must_use]
    pub fn is_wsl(&self) -> bool {
        self.wsl
    }

    /// Whether `[wireguard] interfaces` covers this device.
    #[must_use]
    pub fn is_covered(&self, name: &InterfaceName, settings: &Settings) -> bool {
        let links = self.observation.iter().flat_map(|seen| &seen.links);
        let mut named = links.filter(|link| link.name == *name);
        settings.wireguard_interfaces.matches(name)
            || named.any(|link| settings.wireguard_interfaces.covers(link))
    }

    /// Whether this version of WSL knows instanceIdleTimeout; `None` where the version is
    /// unknown.
    pub(super) fn knows_idle_timeout(&self) -> Option<bool> {
        interop::knows_idle_timeout(self.wsl_version.as_deref())
    }

    /// How far the clock is from others, and whether the kernel knows of a program that
    /// keeps it.
    #[must_use]
    pub fn clock(&self) -> (Option<&Drift>, Option<bool>) {
        let drift = self.local.as_ref().ok().map(|local| &local.drift);
        let kept = self.units.as_ref().ok().and_then(|units| units.clock_kept);
        (drift, kept)
    }

    /// What an agent has seen of the clock.
    #[must_use]
    pub fn clock_history(&self) -> &ClockHistory {
        &self.clock_history
    }

    /// What this machine's files say.
    pub(super) fn local(&self) -> Result<&Local, Verdict> {
        self.local.as_ref().map_err(skipped)
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

    /// Whether this node has an address of IPv6 and none of IPv4.
    #[must_use]
    pub fn has_ipv6_alone(&self) -> bool {
        self.node().is_ok_and(|node| node.address().is_ipv6())
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

    /// /etc/wsl.conf, empty where it does not exist.
    pub(super) fn wsl_conf(&self) -> Result<Ini, Verdict> {
        self.wsl()?;
        let conf = self.local()?.wsl_conf.clone();
        let conf = conf.map_err(|why| skipped(format!("/etc/wsl.conf: {why}")))?;
        Ok(conf.unwrap_or_default())
    }

    /// Windows' .wslconfig, empty where it does not exist.
    pub(super) fn wslconfig(&self) -> Result<Ini, Verdict> {
        self.wsl()?;
        let config = self.wslconfig.clone().map_err(skipped)?;
        Ok(config.unwrap_or_default())
    }

    /// The state of one of systemd's units; `None` where systemd does not know it.
    pub(super) fn unit(&self, name: &str) -> Result<Option<&UnitState>, Verdict> {
        let units = self.units.as_ref().map_err(skipped)?;
        Ok(units.states.get(name))
    }

    /// The sockets.
    pub(super) fn sockets(&self) -> Result<&[Socket], Verdict> {
        self.local()?.sockets.as_deref().map_err(skipped)
    }

    /// wslmesh's own files and folders, and whether each is a folder that must exist.
    #[must_use]
    pub fn own_files(&self) -> Vec<(String, bool)> {
        let own = self.local.iter().flat_map(|local| &local.guarded);
        own.filter(|file| file.secrecy != Secrecy::Secret)
            .map(|file| (file.path.clone(), file.secrecy == Secrecy::OwnFolder))
            .collect()
    }

    /// WSL's own file, which it links /etc/resolv.conf to when the distribution starts;
    /// `None` where /etc/wsl.conf turns that off, or this is no WSL.
    #[must_use]
    pub fn wsl_resolv_conf(&self) -> Option<PathBuf> {
        let conf = self.wsl_conf().ok()?;
        let generates = conf.get("network.generateResolvConf").and_then(boolean);
        let root = conf.get("automount.root").unwrap_or("/mnt");
        (generates != Some(false)).then(|| Path::new(root).join("wsl/resolv.conf"))
    }

    /// Names of the processes that `is_one` selects, each once.
    pub(super) fn running(&self, is_one: fn(&Process) -> bool) -> Result<Vec<String>, Verdict> {
        let found = self.local()?.processes.iter().filter(|one| is_one(one));
        let found: BTreeSet<&String> = found.map(|process| &process.name).collect();
        Ok(found.into_iter().cloned().collect())
    }
}

/// The units that matter here.
#[derive(Debug, Clone, Default)]
pub(super) struct Units {
    /// State of units by name, without those that systemd does not know.
    pub(super) states: BTreeMap<String, UnitState>,
    /// All units that have failed.
    pub(super) failed: Vec<String>,
    /// Whether the kernel knows of a program that keeps its clock, where that can be asked.
    pub(super) clock_kept: Option<bool>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitState {
    /// active, inactive, failed, activating, ...
    pub(super) active: String,
    /// enabled, disabled, static, masked, ...
    pub(super) file: String,
}

/// The way to Windows programs.
#[derive(Debug, Clone)]
pub(super) struct Interop {
    /// Whether the kernel knows Windows programs: the entry of binfmt_misc and
    /// whether it is enabled.
    pub(super) entry: Option<(String, bool)>,
    /// Whether WSL's init exists, which runs them without an entry.
    pub(super) init: bool,
    /// The way that the agent would take, or why there is none.
    pub(super) way: Result<String, (Code, String)>,
    /// What WSL_INTEROP names, and whether it exists.
    pub(super) named: Option<(String, bool)>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Process {
    /// Its name, 15 bytes at most (proc_pid_comm(5)).
    pub(super) name: String,
    /// Its arguments, joined by blanks.
    pub(super) arguments: String,
    /// Its working directory, where this user can read it, and where it is none of a container.
    pub(super) folder: Option<String>,
    /// The file that a service runs.
    pub(super) program: Option<String>,
    /// The unit of the system's service, or the container, that it belongs to.
    pub(super) service: Option<String>,
    /// What a service or a container has open on Windows' drives, if anything.
    pub(super) files: Option<DriveFiles>,
    /// The open files of a service or a container, where they can be read and are limited.
    pub(super) open: Option<OpenFiles>,
}

/// Files on Windows' drives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DriveFiles {
    /// How many.
    pub(super) count: usize,
    /// Whether one of them is open for writing.
    pub(super) written: bool,
    /// One of them, if it can be one that is written.
    pub(super) example: String,
}

impl DriveFiles {
    /// One more.
    pub(super) fn add(&mut self, path: String, is_written: bool) {
        if self.count == 0 || is_written && !self.written {
            self.example = path;
        }
        self.count += 1;
        self.written |= is_written;
    }
}

/// Open files beside their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenFiles {
    /// How many there are.
    pub(super) count: usize,
    /// How many there may be.
    pub(super) limit: usize,
}

/// What is used of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) used: u64,
    pub(super) most: u64,
}

/// Limits, where the kernel has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Limits {
    /// Open files of all programs.
    pub(super) files: Option<Used>,
    /// Processes and threads.
    pub(super) tasks: Option<Used>,
    /// Connections that the packet filter and NAT follow.
    pub(super) connections: Option<Used>,
    /// The system's services.
    pub(super) units: Vec<UnitTasks>,
}

/// Processes and threads of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitTasks {
    /// The unit.
    pub(super) name: String,
    /// How many there are and may be.
    pub(super) tasks: Used,
    /// How many were refused since it started.
    pub(super) refused: u64,
}

/// The share of time in which programs waited for memory, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pressure {
    /// At least one of them, in the last minute and in the last five.
    pub(super) some_60: f64,
    pub(super) some_300: f64,
    /// All of them, in the last minute.
    pub(super) full_60: f64,
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
    /// Where that leads, with all links followed; the same where it does not exist.
    pub(super) real: String,
    /// What it is for.
    pub(super) secrecy: Secrecy,
    /// Owner's id and mode bits; `None` where it does not exist, or does not matter.
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
    pub(super) userspace: Option<&'static str>,
    /// Whether /dev/net/tun exists.
    pub(super) tun: bool,
    /// Whether bridged packets pass the packet filter.
    pub(super) bridge_filter: bool,
    /// Whether /lib/modules has a folder for this kernel.
    pub(super) modules: bool,
}
