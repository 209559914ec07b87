//! WSL's configuration files: /etc/wsl.conf, and Windows' .wslconfig as the mounted
//! drive shows it.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, info, list, ok, skipped, warning},
    },
    interop::ini::{Ini, Problem, boolean, integer, size},
    model::{Mode, counted, excerpt},
};

/// What WSL takes as a value; it rejects all else and keeps its default.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Integer,
    Size,
    Text,
    Ports,
    Address,
    /// One of these words, without regard to case.
    Word(&'static str),
}

impl Kind {
    /// What is expected instead of this value, if WSL rejects it.
    fn rejects(self, value: &str) -> Option<String> {
        let is_port = |port: &str| port.trim().parse().is_ok_and(|port: u16| port > 0);
        let (is_right, expected) = match self {
            Self::Text => return None,
            Self::Boolean => (boolean(value).is_some(), "true or false"),
            Self::Integer => (integer(value).is_some(), "a number"),
            Self::Size => (
                size(value).is_some(),
                "a size such as 4GB: digits and KB, MB, GB or TB, in capitals and without a blank",
            ),
            Self::Ports => (value.split(',').all(is_port), "ports such as 80,443"),
            Self::Address => (value.parse::<Ipv4Addr>().is_ok(), "an IPv4 address"),
            Self::Word(words) => {
                let mut words_of = words.split(' ');
                (words_of.any(|word| word.eq_ignore_ascii_case(value)), words)
            }
        };
        (!is_right).then(|| match self {
            Self::Word(words) => format!("one of {}", words.replace(' ', ", ")),
            _ => expected.to_owned(),
        })
    }
}

/// Keys with the same section and kind of value.
type Keys = &'static [(&'static str, Kind, &'static str)];

/// Keys that WSL knows (microsoft/WSL: src/linux/init/WslDistributionConfig.cpp).
const CONF_KEYS: Keys = &[
    ("automount", Kind::Boolean, "enabled mountFsTab ldconfig"),
    ("automount", Kind::Text, "root options"),
    ("automount", Kind::Word("v1 v2"), "cgroups"),
    ("filesystem", Kind::Integer, "umask"),
    ("interop", Kind::Boolean, "enabled appendWindowsPath"),
    ("network", Kind::Boolean, "generateHosts generateResolvConf"),
    ("network", Kind::Text, "hostname"),
    ("time", Kind::Boolean, "useWindowsTimezone"),
    ("fileServer", Kind::Boolean, "enabled logTruncate"),
    ("fileServer", Kind::Text, "logFile"),
    ("fileServer", Kind::Integer, "logLevel"),
    ("gpu", Kind::Boolean, "enabled appendLibPath"),
    ("user", Kind::Text, "default"),
    ("boot", Kind::Text, "command"),
    ("boot", Kind::Boolean, "systemd protectBinfmt"),
    ("boot", Kind::Integer, "initTimeout"),
    ("general", Kind::Boolean, "guiApplications"),
];

/// Keys that WSL knows (microsoft/WSL: src/windows/common/WslCoreConfig.cpp).
const CONFIG_KEYS: Keys = &[
    (
        "wsl2",
        Kind::Boolean,
        "localhostForwarding nestedVirtualization dhcp ipv6 dnsProxy dnsTunneling firewall autoProxy \
         loadDefaultKernelModules isolateDistroCgroup guiApplications gpuSupport debugConsole \
         earlyBootLogging telemetry safeMode virtio virtiofs virtio9p hostFileSystemAccess \
         hardwarePerformanceCounters",
    ),
    (
        "wsl2",
        Kind::Text,
        "kernel kernelModules kernelCommandLine swapFile vmSwitch macAddress loadKernelModules \
         systemDistro debugConsoleLogFile crashDumpFolder pageReporting",
    ),
    ("wsl2", Kind::Size, "memory swap defaultVhdSize"),
    (
        "wsl2",
        Kind::Integer,
        "processors dhcpTimeout vmIdleTimeout kernelDebugPort maxCrashDumpCount kernelBootTimeout \
         distributionStartTimeout mountDeviceTimeout",
    ),
    (
        "wsl2",
        Kind::Word("none nat bridged mirrored consomme virtioproxy"),
        "networkingMode",
    ),
    ("general", Kind::Integer, "instanceIdleTimeout"),
    ("general", Kind::Text, "distributionInstallPath"),
    (
        "experimental",
        Kind::Boolean,
        "sparseVhd setVersionDebug bestEffortDnsParsing hostAddressLoopback virtioFsAggregateShares",
    ),
    (
        "experimental",
        Kind::Word("disabled gradual dropCache"),
        "autoMemoryReclaim",
    ),
    ("experimental", Kind::Address, "dnsTunnelingIpAddress"),
    ("experimental", Kind::Integer, "initialAutoProxyTimeout"),
    ("experimental", Kind::Ports, "ignoredPorts"),
    ("experimental", Kind::Size, "swiotlb"),
];

/// A key that guides name and no version of WSL knows.
const INVENTED: &str = "networkingmode.excludedinterfaces";

/// The one version that ignores a wsl.conf with Windows' line ends.
const NO_CRLF: &str = "2.3.26";

pub(crate) fn wsl_conf(facts: &Facts) -> Judged {
    facts.wsl()?;
    let local = facts.local()?;
    let ini = match &local.wsl_conf {
        Ok(None) => {
            return Ok(
                near(&local.wsl_conf_near, "/etc/wsl.conf").unwrap_or_else(|| {
                    info("/etc/wsl.conf does not exist: WSL's defaults apply, without systemd")
                }),
            );
        }
        Err(why) => {
            return Ok(warning(format!("/etc/wsl.conf cannot be read: {why}")));
        }
        Ok(Some(ini)) => ini,
    };
    let version = facts.wsl_version.as_deref().unwrap_or_default();
    if ini.has_crlf()
        && version
            .strip_prefix(NO_CRLF)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Ok(warning(format!("WSL {version} ignores /etc/wsl.conf: its lines end as on Windows (CRLF)"))
            .fix("Run `sudo sed -i 's/\\r$//' /etc/wsl.conf`, or `wsl.exe --update` on Windows, then `wsl.exe --shutdown`"));
    }
    let bad = ini.bad().iter().map(|bad| {
        warning(format!(
            "WSL stops reading at line {} ({}): {}; nothing from there on counts",
            bad.line,
            excerpt(&bad.text),
            bad.problem
        ))
    });
    Ok(judge(ini, CONF_KEYS, bad.collect()))
}

pub(crate) fn wslconfig(facts: &Facts) -> Judged {
    facts.wsl()?;
    let ini = match &facts.wslconfig {
        Ok(None) => {
            return Ok(near(&facts.wslconfig_near, ".wslconfig")
                .unwrap_or_else(|| ok("it does not exist: WSL's defaults apply")));
        }
        Err(why) => return Err(skipped(why)),
        Ok(Some(ini)) => ini,
    };
    let bad = ini.bad().iter().map(|bad| {
        let line = bad.line;
        if bad.text.to_ascii_lowercase().starts_with(INVENTED) {
            warning(format!("line {line}: {INVENTED} is not a WSL key, although guides name it: mirrored mode cannot exclude an interface"))
                .fix("Remove the line; if a VPN on Windows is the reason, use networkingMode=nat")
        } else if bad.problem == Problem::Encoding {
            warning(format!("WSL cannot read the file: {}", bad.problem))
        } else {
            warning(format!("WSL skips line {line} ({}): {}", excerpt(&bad.text), bad.problem))
        }
    });
    Ok(judge(ini, CONFIG_KEYS, bad.collect()))
}

/// Files that look as if they were meant, where the right one does not exist.
fn near(found: &[String], meant: &str) -> Option<Verdict> {
    let first = found.first()?;
    let names = found.join(", ");
    Some(
        warning(format!("WSL reads {meant} alone and not {names}")).fix(format!(
            "Rename {first} to {meant}, then run `wsl.exe --shutdown` on Windows"
        )),
    )
}

/// The names of the keys that a file may have, as `section.key`.
fn names(keys: Keys) -> impl Iterator<Item = (String, Kind)> {
    keys.iter().flat_map(|(section, kind, keys)| {
        let keys = keys.split_whitespace();
        keys.map(move |key| (format!("{section}.{key}"), *kind))
    })
}

/// Judges what WSL can read of a file by the keys and values that it knows.
fn judge(ini: &Ini, keys: Keys, mut found: Vec<Verdict>) -> Verdict {
    let known: BTreeMap<String, (String, Kind)> = names(keys)
        .map(|(name, kind)| (name.to_ascii_lowercase(), (name, kind)))
        .collect();
    for entry in ini.entries() {
        let first = ini
            .entry(&entry.name)
            .map_or(entry.line, |first| first.line);
        let Some((_, kind)) = known.get(&entry.name) else {
            let detail = format!("WSL ignores {entry}, which it does not know");
            found.push(match alike(&entry.name, &known) {
                Some(name) => info(format!("{detail}; perhaps {name} is meant")),
                None => info(detail),
            });
            continue;
        };
        if first != entry.line {
            found.push(warning(format!(
                "{entry} repeats line {first}, which counts"
            )));
        } else if let Some(expected) = kind.rejects(&entry.value) {
            found.push(warning(format!(
                "WSL rejects {entry}: it expects {expected}, and \"{}\" is none",
                excerpt(&entry.value)
            )));
        }
    }
    all(found, counted(ini.entries().len(), "key"))
}

/// The known name that is most like another one, written as in a file: at most two
/// letters apart, or the only one with this key, in another section.
fn alike(name: &str, known: &BTreeMap<String, (String, Kind)>) -> Option<String> {
    let distance = |known: &&String| strsim::damerau_levenshtein(name, known);
    let key_of = |name: &str| name.split_once('.').map(|(_, key)| key.to_owned());
    let mut elsewhere = known.keys().filter(|known| key_of(known) == key_of(name));
    let elsewhere = elsewhere.next().filter(|_| elsewhere.next().is_none());
    let nearest = known.keys().min_by_key(distance);
    let nearest = nearest.filter(|nearest| distance(nearest) <= 2);
    let (written, _) = known.get(nearest.or(elsewhere)?)?;
    let (section, key) = written.split_once('.')?;
    Some(format!("[{section}] {key}"))
}

pub(crate) fn mode(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let mode = facts
        .mode()
        .ok_or_else(|| skipped("the networking mode is not known"))?;
    Ok(match ini.networking_mode() {
        Some(configured) if configured != mode => warning(format!(
            "{configured} is configured, {mode} is in force: WSL was not restarted since, or fell back"
        )),
        None if mode != Mode::Nat => warning(format!(
            "no mode is configured, which means nat, and {mode} is in force: WSL fell back, or a policy of Windows' administrator decides"
        )),
        Some(_) | None => ok(mode.to_string()),
    })
}

pub(crate) fn network(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let off = |key| ini.get(key).and_then(boolean) == Some(false);
    let localhost = ini.get("wsl2.localhostForwarding").and_then(boolean);
    let localhost = match (localhost, facts.mode()) {
        (Some(false), Some(Mode::Nat)) => Some(
            info(
                "localhostForwarding=false: localhost on Windows does not reach this distribution",
            )
            .fix("Ignore this if a forward does it; else remove localhostForwarding=false"),
        ),
        (Some(_), Some(Mode::Mirrored)) => Some(
            info("localhostForwarding has no effect in mirrored mode")
                .fix("Remove the line; localhost is shared in mirrored mode"),
        ),
        _ => None,
    };
    let found = [
        off("wsl2.firewall").then(|| {
            info("firewall=false: the Hyper-V firewall allows everything")
                .fix("Remove firewall=false; wslmesh makes the rules that its forwards need")
        }),
        off("wsl2.dnsTunneling").then(|| {
            info("dnsTunneling=false: names of Windows' VPNs and hosts file do not resolve")
                .fix("Remove dnsTunneling=false, then run `wsl.exe --shutdown` on Windows")
        }),
        localhost,
    ];
    Ok(all(found.into_iter().flatten(), "nothing is disabled"))
}

/// Less than this many bytes of memory is too little for a few services.
const LITTLE: u64 = 1 << 30;

pub(crate) fn limits(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    // The check of the file reports what WSL rejects.
    let of = |key, kind: Kind| {
        let value = ini.get(&format!("wsl2.{key}"));
        value.filter(|value| kind.rejects(value).is_none())
    };
    let little = of("memory", Kind::Size).filter(|text| size(text).is_some_and(|n| n < LITTLE));
    let none = of("processors", Kind::Integer).filter(|text| integer(text).is_some_and(|n| n < 1));
    let found = [
        little.map(|text| warning(format!("memory={text} is less than 1 GB"))),
        none.map(|text| warning(format!("processors={text:?} is not a number above 0"))),
    ];
    let keys = [
        ("memory", Kind::Size),
        ("processors", Kind::Integer),
        ("swap", Kind::Size),
    ];
    let set = keys.into_iter();
    let set = list(set.filter_map(|(key, kind)| Some(format!("{key}={}", of(key, kind)?))));
    Ok(match set.as_str() {
        "" => ok("none set: half of the memory, all processors"),
        set => all(found.into_iter().flatten(), set),
    })
}

#[cfg(test)]
mod tests;
