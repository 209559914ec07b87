//! The keys of `.wslconfig` and `/etc/wsl.conf`: one table, from which files are checked,
//! shown and edited, and docs/wsl-files.md is made (microsoft/WSL:
//! src/windows/common/WslCoreConfig.cpp and src/linux/init/WslDistributionConfig.cpp).

mod faults;

use std::{fmt, net::Ipv4Addr};

pub use self::faults::Fault;
use super::ini::{self, Entry, Ini, boolean, integer, size};
use crate::model::excerpt;

/// One of WSL's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WslFile {
    /// Windows' `.wslconfig`, for all distributions of a user of Windows.
    Config,
    /// `/etc/wsl.conf`, for this distribution.
    Conf,
}

/// What WSL takes as a value; it rejects all else and keeps its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Boolean,
    /// A number, as C writes it.
    Integer,
    /// A number of milliseconds.
    Milliseconds,
    /// A number of bytes, with a unit.
    Size,
    /// Any text.
    Text,
    /// A path of Windows.
    Path,
    /// Ports separated by commas.
    Ports,
    /// An IPv4 address.
    Address,
    /// A MAC address.
    Mac,
    /// One of these words, without regard to case.
    Word(&'static str),
}

/// A key that WSL knows.
#[derive(Debug)]
pub struct Key {
    /// Section and key, as `wsl2.memory`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value where the file has none.
    pub default: &'static str,
    /// The first version of WSL that has it; empty for one that 2.5.8 has, of which the
    /// oldest published source is.
    pub since: &'static str,
    /// What it is for.
    pub about: &'static str,
}

use Kind::{Address, Boolean, Integer, Mac, Milliseconds, Path, Ports, Size, Text, Word};

/// One key in a line: name, kind, default, version, meaning.
macro_rules! keys {
    ($($name:literal $kind:expr, $default:literal $since:literal $about:literal;)+) => {
        &[$(Key { name: $name, kind: $kind, default: $default, since: $since, about: $about }),+]
    };
}

/// Keys of `.wslconfig`.
const CONFIG: &[Key] = keys! {
    "general.distributionInstallPath" Path, "%LocalAppData%\\wsl" "" "Folder of new distributions.";
    "general.instanceIdleTimeout" Milliseconds, "15000" "2.5.10" "A distribution without a terminal is stopped after this time; a negative number keeps it running.";
    "wsl2.autoProxy" Boolean, "true" "" "Take over the HTTP proxy of Windows.";
    "wsl2.crashDumpFolder" Path, "%Temp%\\wsl-crashes" "" "Folder for dumps of crashed programs.";
    "wsl2.debugConsole" Boolean, "false" "" "Open a console with the kernel's messages.";
    "wsl2.debugConsoleLogFile" Path, "" "" "File for the kernel's messages.";
    "wsl2.defaultVhdSize" Size, "1TB" "" "Largest size of a new distribution's disk.";
    "wsl2.dhcp" Boolean, "true" "" "Bridged mode: get the address by DHCP.";
    "wsl2.dhcpTimeout" Milliseconds, "5000" "" "Bridged mode: longest wait for DHCP.";
    "wsl2.distributionStartTimeout" Milliseconds, "60000" "" "Longest wait for a distribution to start.";
    "wsl2.dnsProxy" Boolean, "true" "" "NAT mode: Windows answers DNS queries, where dnsTunneling is off.";
    "wsl2.dnsTunneling" Boolean, "true" "" "Windows resolves names, with its VPNs and its hosts file.";
    "wsl2.earlyBootLogging" Boolean, "false" "" "Show messages from before the console's start.";
    "wsl2.firewall" Boolean, "true" "" "Windows' firewall filters connections of WSL; always on in mirrored mode.";
    "wsl2.gpuSupport" Boolean, "true" "" "Make the graphics processor available.";
    "wsl2.guiApplications" Boolean, "true" "" "Run programs with windows (WSLg).";
    "wsl2.hardwarePerformanceCounters" Boolean, "true" "" "Make the processor's counters available; false on ARM.";
    "wsl2.hostFileSystemAccess" Boolean, "true" "" "Make Windows' drives available.";
    "wsl2.ipv6" Boolean, "false" "" "Bridged mode: enable IPv6.";
    "wsl2.isolateDistroCgroup" Boolean, "true" "after 2.9.4" "A tree of control groups for each distribution.";
    "wsl2.kernel" Path, "" "" "A kernel of your own.";
    "wsl2.kernelBootTimeout" Milliseconds, "30000" "" "Longest wait for the kernel to start.";
    "wsl2.kernelCommandLine" Text, "" "" "More parameters for the kernel.";
    "wsl2.kernelDebugPort" Integer, "0" "" "Port of a kernel debugger; 0 for none.";
    "wsl2.kernelModules" Path, "" "" "A disk with the modules of your own kernel.";
    "wsl2.loadDefaultKernelModules" Boolean, "true" "" "Load tun, ip_tables and br_netfilter.";
    "wsl2.loadKernelModules" Text, "" "" "More modules to load, separated by commas.";
    "wsl2.localhostForwarding" Boolean, "true" "" "NAT mode: localhost of Windows reaches ports of WSL.";
    "wsl2.macAddress" Mac, "" "" "Bridged mode: the MAC address; a random one where none is set.";
    "wsl2.maxCrashDumpCount" Integer, "10" "" "Dumps of crashed programs to keep; a negative number for none.";
    "wsl2.memory" Size, "half of Windows' memory" "" "Memory of the virtual machine, 256MB at least.";
    "wsl2.mountDeviceTimeout" Milliseconds, "5000" "" "Longest wait for a disk to be mounted.";
    "wsl2.nestedVirtualization" Boolean, "true" "" "Allow virtual machines in WSL; false on Windows 10 and ARM.";
    "wsl2.networkingMode" Word("none nat bridged mirrored consomme virtioproxy"), "nat" "" "How WSL is connected; consomme is called virtioproxy before 2.9, mirrored needs Windows 11.";
    "wsl2.processors" Integer, "all of Windows' processors" "" "Processors of the virtual machine.";
    "wsl2.safeMode" Boolean, "false" "" "Disable most features, to repair a distribution.";
    "wsl2.swap" Size, "a quarter of the memory" "" "Size of the swap file, 0 for none; the default is rounded up to whole GB.";
    "wsl2.swapFile" Path, "%Temp%\\swap.vhdx" "" "File for swap.";
    "wsl2.systemDistro" Path, "" "" "A system distribution of your own.";
    "wsl2.telemetry" Boolean, "true" "" "Send usage data to Microsoft.";
    "wsl2.virtio" Boolean, "true" "" "Use virtio devices; false on Windows 10 on ARM.";
    "wsl2.virtio9p" Boolean, "false" "" "Has no effect any more.";
    "wsl2.virtiofs" Boolean, "false" "" "Mount Windows' drives with virtiofs in place of 9p.";
    "wsl2.vmIdleTimeout" Milliseconds, "60000" "" "Without a running distribution the virtual machine is stopped after this time; a negative number keeps it.";
    "wsl2.vmSwitch" Text, "" "" "Bridged mode: name of the Hyper-V switch.";
    "experimental.autoMemoryReclaim" Word("disabled gradual dropCache"), "dropCache" "" "How unused memory goes back to Windows.";
    "experimental.bestEffortDnsParsing" Boolean, "false" "" "Answer DNS queries with records that Windows does not know.";
    "experimental.dnsTunnelingIpAddress" Address, "10.255.255.254" "" "Address of the name server where dnsTunneling is on.";
    "experimental.hostAddressLoopback" Boolean, "false" "" "Mirrored mode: Windows and WSL reach each other by Windows' own addresses.";
    "experimental.ignoredPorts" Ports, "" "" "Mirrored mode: ports that WSL may use although Windows uses them.";
    "experimental.initialAutoProxyTimeout" Milliseconds, "1000" "" "Longest wait for the proxy of Windows at the start.";
    "experimental.setVersionDebug" Boolean, "false" "" "More messages of wsl.exe --set-version.";
    "experimental.sparseVhd" Boolean, "false" "" "New disks give space back to Windows.";
    "experimental.swiotlb" Size, "" "2.8.9" "Size of the buffer for devices that cannot reach all of the memory.";
    "experimental.virtioFsAggregateShares" Boolean, "true" "after 2.9.4" "One virtiofs device for all drives.";
};

/// Keys of `/etc/wsl.conf`.
const CONF: &[Key] = keys! {
    "automount.cgroups" Word("v1 v2"), "v2" "2.6.2" "Version of control groups.";
    "automount.enabled" Boolean, "true" "" "Mount Windows' drives.";
    "automount.ldconfig" Boolean, "true" "" "Tell the linker about the libraries of WSL.";
    "automount.mountFsTab" Boolean, "true" "" "Mount what /etc/fstab names.";
    "automount.options" Text, "" "" "Mount options of Windows' drives, such as metadata,umask=22.";
    "automount.root" Text, "/mnt" "" "Folder in which Windows' drives are mounted.";
    "boot.command" Text, "" "" "Command that root runs at the start.";
    "boot.initTimeout" Milliseconds, "10000" "" "Longest wait for systemd.";
    "boot.protectBinfmt" Boolean, "true" "" "Keep systemd from removing the entry that starts Windows programs.";
    "boot.systemd" Boolean, "false" "" "Run systemd; wslmesh.service needs it.";
    "fileServer.enabled" Boolean, "true" "" "Windows reaches files of this distribution (\\\\wsl.localhost).";
    "fileServer.logFile" Text, "" "" "Log file of the file server.";
    "fileServer.logLevel" Integer, "4" "" "How much the file server logs.";
    "fileServer.logTruncate" Boolean, "true" "" "Empty the log file at each start.";
    "filesystem.umask" Integer, "022" "" "Mask of new files' modes.";
    "general.guiApplications" Boolean, "true" "" "Run programs with windows (WSLg) in this distribution.";
    "gpu.appendLibPath" Boolean, "true" "" "Add the graphics libraries to the linker's path.";
    "gpu.enabled" Boolean, "true" "" "Make the graphics processor available in this distribution.";
    "interop.appendWindowsPath" Boolean, "true" "" "Append Windows' PATH to $PATH.";
    "interop.enabled" Boolean, "true" "" "Start Windows programs; wslmesh needs it.";
    "network.generateHosts" Boolean, "true" "" "Write /etc/hosts.";
    "network.generateResolvConf" Boolean, "true" "" "Write /etc/resolv.conf.";
    "network.hostname" Text, "Windows' name" "" "Name of this distribution's host.";
    "time.useWindowsTimezone" Boolean, "true" "" "Follow Windows' time zone.";
    "user.default" Text, "" "" "User of a new terminal.";
};

/// A key that guides name and no version of WSL knows.
const INVENTED: &str = "networkingmode.excludedinterfaces";

impl Kind {
    /// What is expected instead of this value, if WSL rejects it.
    pub(crate) fn rejects(self, value: &str) -> Option<String> {
        let is_port = |port: &str| port.trim().parse().is_ok_and(|port: u16| port > 0);
        let is_right = match self {
            Self::Text | Self::Path => true,
            Self::Boolean => boolean(value).is_some(),
            Self::Integer | Self::Milliseconds => integer(value).is_some(),
            Self::Size => size(value).is_some(),
            Self::Ports => value.split(',').all(is_port),
            Self::Address => value.parse::<Ipv4Addr>().is_ok(),
            Self::Mac => is_mac(value),
            Self::Word(words) => words
                .split(' ')
                .any(|word| word.eq_ignore_ascii_case(value)),
        };
        (!is_right).then(|| self.to_string())
    }
}

/// Six pairs of hexadecimal digits with one separator (microsoft/WSL:
/// src/shared/inc/stringshared.h, ParseMacAddressNoThrow).
fn is_mac(value: &str) -> bool {
    let pairs = |mark| {
        let is_pair = |part: &str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
        value.split(mark).count() == 6 && value.split(mark).all(is_pair)
    };
    pairs('-') || pairs(':')
}

/// What is expected, for people.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "true or false",
            Self::Integer => "a number",
            Self::Milliseconds => "a number of milliseconds",
            Self::Size => {
                "a size such as 4GB: digits and KB, MB, GB or TB, in capitals and without a blank"
            }
            Self::Text => "a text",
            Self::Path => "a path of Windows",
            Self::Ports => "ports such as 80,443",
            Self::Address => "an IPv4 address",
            Self::Mac => "a MAC address such as 00-15-5d-01-02-03",
            Self::Word(words) => return write!(f, "one of {}", words.replace(' ', ", ")),
        })
    }
}

impl Key {
    /// Its section.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// Whether a version of WSL has it: assumed where the version is unknown.
    #[must_use]
    pub fn is_in(&self, version: Option<&str>) -> bool {
        fn parts(version: &str) -> impl Iterator<Item = u32> {
            let parts = version.split('.').map(|part| part.parse().unwrap_or(0));
            parts.chain([0; 3]).take(3)
        }
        let later = self.since.strip_prefix("after ");
        match (version, later) {
            (None, _) => true,
            (Some(version), Some(last)) => parts(version).gt(parts(last)),
            (Some(version), None) => parts(version).ge(parts(self.since)),
        }
    }

    /// The file's entry of it, where WSL takes the value.
    pub(crate) fn taken<'a>(&self, ini: &'a Ini) -> Option<&'a Entry> {
        let entry = ini.entry(self.name);
        entry.filter(|entry| self.kind.rejects(&entry.value).is_none())
    }

    /// Its name without the section.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, key)| key)
    }
}

/// As it is written in a file.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.section(), self.key())
    }
}

/// Why a name names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Several sections have it.
    #[error("{0} is in several sections; name one of {1}")]
    Ambiguous(String, String),
    /// It is one of the other file's.
    #[error(
        "{0} is a key of {1}, not of {other}; run `{program} set {0} VALUE`",
        other = .1.other(), program = .1.program()
    )]
    OtherFile(&'static str, WslFile),
    /// WSL does not know it.
    #[error("{} is no key of {file}{}", excerpt(name), meant(*.file, *.like))]
    Unknown {
        /// The name.
        name: String,
        /// In this file.
        file: WslFile,
        /// The likely meant one.
        like: Option<&'static str>,
    },
    /// Guides name it.
    #[error(
        "{INVENTED} is not a WSL key, although guides name it: mirrored mode cannot exclude an interface; if a VPN on Windows is the reason, set networkingMode nat"
    )]
    Invented,
}

fn meant(file: WslFile, like: Option<&str>) -> String {
    match like {
        Some(like) => format!("; perhaps {like} is meant"),
        None => format!("; `wslmesh {} show` lists all", file.command()),
    }
}

impl fmt::Display for WslFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => ".wslconfig",
            Self::Conf => "/etc/wsl.conf",
        })
    }
}

/// Whether a version of WSL knows `general.instanceIdleTimeout`; `None` where the version is
/// unknown.
#[must_use]
pub fn knows_idle_timeout(version: Option<&str>) -> Option<bool> {
    let key = WslFile::Config.key("general.instanceIdleTimeout");
    version.map(|version| key.is_some_and(|key| key.is_in(Some(version))))
}

impl WslFile {
    /// All its keys, sorted by section.
    #[must_use]
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::Config => CONFIG,
            Self::Conf => CONF,
        }
    }

    /// The command of it.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Config => "wslconfig",
            Self::Conf => "wslconf",
        }
    }

    /// Names that WSL does not read and that editors and guides make of it.
    pub(crate) fn near(self) -> &'static [&'static str] {
        match self {
            Self::Config => &[
                ".wslconfig.txt",
                "wslconfig",
                "wslconfig.txt",
                ".wslconf",
                ".wsl.conf",
            ],
            Self::Conf => &["wsl.conf.txt", "wsl.config", "wslconfig", ".wslconfig"],
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Config => Self::Conf,
            Self::Conf => Self::Config,
        }
    }

    /// How its command is called by who may change it.
    fn program(self) -> &'static str {
        match self {
            Self::Config => "wslmesh wslconfig",
            Self::Conf => "sudo wslmesh wslconf",
        }
    }

    /// Reads a file as WSL does.
    pub(crate) fn parse(self, bytes: &[u8]) -> Ini {
        match self {
            Self::Config => Ini::wslconfig(bytes),
            Self::Conf => Ini::wsl_conf(bytes),
        }
    }

    /// The key of a full name, by which [`Entry`] has it.
    pub(crate) fn key(self, name: &str) -> Option<&'static Key> {
        let mut keys = self.keys().iter();
        keys.find(|key| key.name.eq_ignore_ascii_case(name))
    }

    /// The key that a person names: `wsl2.memory`, or `memory` where one section has it.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find(self, name: &str) -> Result<&'static Key, KeyError> {
        let lower = name.to_ascii_lowercase();
        if lower.ends_with(INVENTED) {
            return Err(KeyError::Invented);
        }
        let full = ini::current_name(&lower);
        if let Some(key) = self.key(&full) {
            return Ok(key);
        }
        let bare = |file: Self| {
            let keys = file.keys().iter();
            let same = keys.filter(|key| key.key().eq_ignore_ascii_case(name));
            same.collect::<Vec<_>>()
        };
        let other = self.other();
        match (bare(self).as_slice(), bare(other).as_slice()) {
            ([key], _) => Ok(*key),
            ([], elsewhere) => {
                let elsewhere = other.key(&lower).or(elsewhere.first().copied());
                Err(match elsewhere {
                    Some(key) => KeyError::OtherFile(key.name, other),
                    None => KeyError::Unknown {
                        name: name.to_owned(),
                        file: self,
                        like: self.alike(&lower).map(|key| key.name),
                    },
                })
            }
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|key| key.name).collect();
                Err(KeyError::Ambiguous(name.to_owned(), names.join(", ")))
            }
        }
    }

    /// The key that is most like a name in lower case: at most two letters apart, or the
    /// only one with this key, in another section.
    pub(crate) fn alike(self, name: &str) -> Option<&'static Key> {
        let key_of = |name: &str| {
            let key = name.rsplit('.').next().unwrap_or_default();
            key.to_ascii_lowercase()
        };
        let whole = name.contains('.');
        let distance = |key: &&Key| {
            let known = if whole { key.name } else { key.key() };
            strsim::damerau_levenshtein(name, &known.to_ascii_lowercase())
        };
        let keys = self.keys().iter();
        let mut elsewhere = keys.clone().filter(|key| key_of(key.name) == key_of(name));
        let elsewhere = elsewhere.next().filter(|_| elsewhere.next().is_none());
        let nearest = keys.min_by_key(distance);
        nearest.filter(|key| distance(key) <= 2).or(elsewhere)
    }
}

#[cfg(test)]
mod tests;
