//! WSL's configuration files: /etc/wsl.conf, and Windows' .wslconfig as the mounted
//! drive shows it.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, count, info, list, ok, skipped, warning},
    },
    interop::ini::{Ini, boolean},
    model::Mode,
};

/// Keys that WSL knows, by section (microsoft/WSL:
/// src/linux/init/WslDistributionConfig.cpp).
const CONF_KEYS: &[&str] = &[
    "automount: enabled root options mountfstab ldconfig cgroups",
    "filesystem: umask",
    "interop: enabled appendwindowspath",
    "network: generatehosts generateresolvconf hostname",
    "time: usewindowstimezone",
    "fileserver: enabled logfile loglevel logtruncate",
    "gpu: enabled appendlibpath",
    "user: default",
    "boot: command systemd inittimeout protectbinfmt",
    "general: guiapplications",
];

/// Keys that WSL knows, by section (microsoft/WSL: src/windows/common/WslCoreConfig.cpp).
const CONFIG_KEYS: &[&str] = &[
    "wsl2: kernel kernelmodules kernelcommandline memory processors swap swapfile \
     localhostforwarding nestedvirtualization networkingmode vmswitch macaddress \
     dhcp dhcptimeout ipv6 dnsproxy dnstunneling firewall autoproxy vmidletimeout \
     loadkernelmodules loaddefaultkernelmodules isolatedistrocgroup guiapplications \
     gpusupport systemdistro debugconsole debugconsolelogfile earlybootlogging \
     kerneldebugport telemetry safemode virtio virtiofs virtio9p \
     hostfilesystemaccess hardwareperformancecounters defaultvhdsize \
     crashdumpfolder maxcrashdumpcount kernelboottimeout distributionstarttimeout \
     mountdevicetimeout pagereporting",
    "general: instanceidletimeout distributioninstallpath",
    "experimental: automemoryreclaim sparsevhd setversiondebug besteffortdnsparsing \
     dnstunnelingipaddress initialautoproxytimeout ignoredports hostaddressloopback \
     swiotlb virtiofsaggregateshares networkingmode dnstunneling firewall autoproxy",
];

/// A key that guides name and no version of WSL knows.
const INVENTED: &str = "networkingmode.excludedinterfaces";

pub(crate) fn wsl_conf(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.local()?.wsl_conf {
        Ok(None) => info("/etc/wsl.conf does not exist: WSL's defaults apply, without systemd"),
        Err(why) => warning(format!("/etc/wsl.conf cannot be read: {why}")),
        Ok(Some(ini)) => syntax(ini, CONF_KEYS),
    })
}

pub(crate) fn wslconfig(facts: &Facts) -> Judged {
    facts.wsl()?;
    let Some(ini) = facts.wslconfig.as_ref().map_err(skipped)? else {
        return Ok(ok("it does not exist: WSL's defaults apply"));
    };
    let invented = ini.entries.iter().find(|entry| entry.key == INVENTED);
    Ok(match invented {
        Some(entry) => warning(format!(
            "{entry} is not a WSL key, although guides name it: mirrored mode cannot exclude an interface"
        ))
        .fix("Remove the line; if a VPN on Windows is the reason, use networkingMode=nat"),
        None => syntax(ini, CONFIG_KEYS),
    })
}

/// Judges an INI file by its syntax and by the keys that its reader knows.
fn syntax(ini: &Ini, keys: &[&str]) -> Verdict {
    let known = |section: &str, key: &str| {
        let mut sections = keys.iter().filter_map(|line| line.split_once(": "));
        sections.any(|(name, keys)| name == section && keys.split(' ').any(|known| known == key))
    };
    let mut found = Vec::new();
    for line in &ini.invalid {
        found.push(warning(format!(
            "line {line} is neither [section] nor key=value"
        )));
    }
    for entry in ini.repeated() {
        found.push(warning(format!(
            "{entry} repeats a key; the first one counts"
        )));
    }
    for entry in &ini.entries {
        if !known(&entry.section, &entry.key) {
            found.push(info(format!("WSL ignores {entry}, which it does not know")));
        }
    }
    all(found, count(ini.entries.len(), "key", "keys"))
}

/// A key that WSL also reads in [experimental].
fn either<'a>(ini: &'a Ini, key: &str) -> Option<&'a str> {
    ini.get("wsl2", key)
        .or_else(|| ini.get("experimental", key))
}

pub(crate) fn mode(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let mode = facts
        .mode()
        .ok_or_else(|| skipped("the networking mode is not known"))?;
    let configured = either(&ini, "networkingMode")
        .unwrap_or("nat")
        .to_lowercase();
    Ok(match Mode::parse(&configured) {
        Some(configured) if configured == mode => ok(mode.as_str()),
        Some(configured) => warning(format!(
            "{configured} is configured, {mode} is in force: WSL was not restarted since, or fell back"
        )),
        None => warning(format!(
            "networkingMode={configured:?} is not a mode of WSL"
        )),
    })
}

pub(crate) fn network(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let off = |key| either(&ini, key).and_then(boolean) == Some(false);
    let localhost = ini.get("wsl2", "localhostForwarding").and_then(boolean);
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
        off("firewall").then(|| {
            info("firewall=false: the Hyper-V firewall allows everything")
                .fix("Remove firewall=false; wslmesh makes the rules that its forwards need")
        }),
        off("dnsTunneling").then(|| {
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
    let of = |key| ini.get("wsl2", key);
    let found = ["memory", "swap", "processors"].into_iter();
    let found = found.filter_map(|key| {
        let text = of(key)?;
        let detail = match (key, size(text)) {
            ("processors", _) if text.parse().is_ok_and(|n: u32| n > 0) => return None,
            ("processors", _) => format!("processors={text:?} is not a number above 0"),
            (_, None) => {
                format!("{key}={text:?} is not a size: WSL expects a number and MB or GB")
            }
            ("memory", Some(bytes)) if bytes < LITTLE => {
                format!("memory={text} is less than 1 GB")
            }
            (_, Some(_)) => return None,
        };
        Some(warning(detail))
    });
    let set = ["memory", "processors", "swap"].into_iter();
    let set = list(set.filter_map(|key| Some(format!("{key}={}", of(key)?))));
    Ok(match set.as_str() {
        "" => ok("none set: half of the memory, all processors"),
        set => all(found, set),
    })
}

/// A size as WSL writes it: bytes, or with KB, MB, GB or TB (or one letter).
fn size(text: &str) -> Option<u64> {
    let text = text.to_uppercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text.get(digits.len()..)?.trim();
    let shift = match unit.trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
