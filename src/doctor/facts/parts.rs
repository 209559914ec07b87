//! The parts of the facts.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::Code;

/// WSL as seen from inside.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Wsl {
    /// Whether this is WSL 2.
    pub(in crate::doctor) is: bool,
    /// The kernel's release.
    pub(in crate::doctor) release: String,
    /// WSL's version, where it says.
    pub(in crate::doctor) version: Option<String>,
}

/// A file or another source of text, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Text<T> {
    /// There is none.
    Missing,
    /// Its content.
    Content(T),
    /// It could not be read; this says why.
    Unreadable(String),
}

impl<T> Text<T> {
    /// The content, where there is one.
    pub(in crate::doctor) fn content(&self) -> Option<&T> {
        match self {
            Self::Content(content) => Some(content),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }

    /// The same with its content understood.
    pub(in crate::doctor) fn map<U>(self, change: impl FnOnce(T) -> U) -> Text<U> {
        match self {
            Self::Missing => Text::Missing,
            Self::Content(content) => Text::Content(change(content)),
            Self::Unreadable(why) => Text::Unreadable(why),
        }
    }
}

/// systemd as it answers on the bus.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Systemd {
    /// Whether it is the init of this system (sd_booted(3)).
    pub(in crate::doctor) running: bool,
    /// Its units, or why it could not be asked.
    pub(in crate::doctor) units: Result<Units, String>,
}

/// The units that matter here.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Units {
    /// State of units by name; nothing of those that systemd does not know.
    pub(in crate::doctor) states: BTreeMap<String, UnitState>,
    /// All units that have failed.
    pub(in crate::doctor) failed: Vec<String>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct UnitState {
    /// active, inactive, failed, activating, ...
    pub(in crate::doctor) active: String,
    /// enabled, disabled, static, masked, ...
    pub(in crate::doctor) file: String,
}

/// /etc/resolv.conf and the server that it names.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Resolver {
    /// Its text.
    pub(in crate::doctor) text: Text<String>,
    /// Where it leads, if it is a link.
    pub(in crate::doctor) link: Option<String>,
    /// Whether nobody can change it (`chattr +i`).
    pub(in crate::doctor) immutable: bool,
    /// What its first server said.
    pub(in crate::doctor) answer: Answer,
}

/// What came of one question to a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Answer {
    /// There is no server to ask.
    NoServer,
    /// The server is a stranger's and was not asked.
    Stranger(IpAddr),
    /// It answered with this code (RFC 1035, section 4.1.1).
    Code(IpAddr, u8),
    /// It did not answer; this says how.
    Silent(IpAddr, String),
}

/// The clock against another one.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Clock {
    /// The comparison, or why there is none.
    pub(in crate::doctor) drift: Result<Drift, String>,
    /// Whether the Hyper-V driver follows Windows' clock; `None` where there is no
    /// such driver.
    pub(in crate::doctor) follows: Option<bool>,
}

/// How far this machine's clock is from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) struct Drift {
    /// The other clock.
    pub(in crate::doctor) source: DriftSource,
    /// This one minus the other one, in milliseconds.
    pub(in crate::doctor) ahead_ms: i64,
}

/// Clocks to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum DriftSource {
    /// Windows' own, through a PTP device; root's to read.
    Ptp,
    /// The hardware clock, to the second.
    Rtc,
}

/// The way to Windows programs.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Interop {
    /// Whether the kernel knows Windows programs: the entry of binfmt_misc and
    /// whether it is enabled.
    pub(in crate::doctor) entry: Option<(String, bool)>,
    /// Whether WSL's init is there, which runs them without an entry.
    pub(in crate::doctor) init: bool,
    /// The way that the agent would take.
    pub(in crate::doctor) way: Way,
    /// What WSL_INTEROP names, and whether it is there.
    pub(in crate::doctor) named: Option<(String, bool)>,
}

/// What looking for powershell.exe gave.
#[derive(Debug, Clone)]
pub(in crate::doctor) enum Way {
    /// The way in words.
    Found(String),
    /// Why there is none.
    None(Code, String),
    /// It was not looked for.
    NotWsl,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Process {
    /// Its name, 15 bytes at most (proc_pid_comm(5)).
    pub(in crate::doctor) name: String,
    /// Its arguments, joined by blanks.
    pub(in crate::doctor) arguments: String,
    /// Its working directory, where that may be seen.
    pub(in crate::doctor) folder: Option<String>,
}

/// What a file is for, which decides who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Secrecy {
    /// A key: its owner alone may read it.
    Secret,
    /// A file of wslmesh's own: root's, and nobody else may write.
    Own,
    /// The same of a folder that has to be there.
    OwnFolder,
}

/// A file with owner and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Guarded {
    /// Where it is.
    pub(in crate::doctor) path: String,
    /// What it is for.
    pub(in crate::doctor) secrecy: Secrecy,
    /// Owner's id and mode bits; nothing where it is not there.
    pub(in crate::doctor) state: Option<(u32, u32)>,
}

/// Scheduled scripts that do by polling what the agent does.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Pollers {
    /// Where they are.
    pub(in crate::doctor) found: Vec<String>,
    /// Files and folders that this user may not look into.
    pub(in crate::doctor) hidden: Vec<String>,
}

/// Memory and disk.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Resources {
    /// /proc/meminfo, where it can be read.
    pub(in crate::doctor) memory: Option<Memory>,
    /// The file system of `/`, where it can be asked.
    pub(in crate::doctor) disk: Option<Disk>,
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::doctor) struct Memory {
    /// All of it.
    pub(in crate::doctor) total: u64,
    /// What a program could still get.
    pub(in crate::doctor) available: u64,
    /// Swap in all.
    pub(in crate::doctor) swap: u64,
    /// Swap that is free.
    pub(in crate::doctor) swap_free: u64,
}

/// A file system.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::doctor) struct Disk {
    /// Size in MiB.
    pub(in crate::doctor) total: u64,
    /// MiB that an ordinary user may still fill.
    pub(in crate::doctor) available: u64,
    /// Inodes; 0 where the file system does not count them.
    pub(in crate::doctor) inodes: u64,
    /// Free ones.
    pub(in crate::doctor) inodes_free: u64,
}

/// What the kernel offers.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Kernel {
    /// `loaded`, `built in`, `a module`, or nothing.
    pub(in crate::doctor) wireguard: Option<&'static str>,
    /// A userspace WireGuard that is installed.
    pub(in crate::doctor) userspace: Option<String>,
    /// Whether /dev/net/tun is there.
    pub(in crate::doctor) tun: bool,
    /// Whether bridged packets pass the packet filter.
    pub(in crate::doctor) bridge_filter: bool,
    /// Whether there are modules for this kernel.
    pub(in crate::doctor) modules: bool,
}
