//! Windows' side of WSL's configuration, read through the mounted drive.

use super::{
    super::{
        facts::{Facts, Text},
        verdict::{Judged, Skip, Verdict},
    },
    system::form,
};
use crate::{
    interop::ini::{Ini, boolean},
    model::Mode,
};

/// Keys that WSL knows (microsoft/WSL: src/windows/common/WslCoreConfig.cpp).
const KEYS: &[(&str, &[&str])] = &[
    (
        "wsl2",
        &[
            "kernel",
            "kernelmodules",
            "kernelcommandline",
            "memory",
            "processors",
            "swap",
            "swapfile",
            "localhostforwarding",
            "nestedvirtualization",
            "networkingmode",
            "vmswitch",
            "macaddress",
            "dhcp",
            "dhcptimeout",
            "ipv6",
            "dnsproxy",
            "dnstunneling",
            "firewall",
            "autoproxy",
            "vmidletimeout",
            "loadkernelmodules",
            "loaddefaultkernelmodules",
            "isolatedistrocgroup",
            "guiapplications",
            "gpusupport",
            "systemdistro",
            "debugconsole",
            "debugconsolelogfile",
            "earlybootlogging",
            "kerneldebugport",
            "telemetry",
            "safemode",
            "virtio",
            "virtiofs",
            "virtio9p",
            "hostfilesystemaccess",
            "hardwareperformancecounters",
            "defaultvhdsize",
            "crashdumpfolder",
            "maxcrashdumpcount",
            "kernelboottimeout",
            "distributionstarttimeout",
            "mountdevicetimeout",
            "pagereporting",
        ],
    ),
    (
        "general",
        &["instanceidletimeout", "distributioninstallpath"],
    ),
    (
        "experimental",
        &[
            "automemoryreclaim",
            "sparsevhd",
            "setversiondebug",
            "besteffortdnsparsing",
            "dnstunnelingipaddress",
            "initialautoproxytimeout",
            "ignoredports",
            "hostaddressloopback",
            "swiotlb",
            "virtiofsaggregateshares",
            "networkingmode",
            "dnstunneling",
            "firewall",
            "autoproxy",
        ],
    ),
];

const NO_KEY: &str = "networkingmode.excludedinterfaces";

pub(in crate::doctor) fn wslconfig(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.wslconfig {
        Text::Missing => Verdict::ok("there is none: WSL's defaults hold"),
        Text::Unreadable(why) => return Err(Skip::Unknown(why.clone())),
        Text::Content(ini) => {
            let invented = ini.entries().iter().find(|entry| entry.key == NO_KEY);
            match invented {
                Some(entry) => Verdict::warning(format!(
                    "{entry} is no key of WSL, although guides name it: mirrored mode cannot leave an interface out"
                ))
                .remediation("Remove the line; where a VPN of Windows is in the way, use networkingMode=nat"),
                None => form(ini, KEYS),
            }
        }
    })
}

/// A key that WSL also takes in [experimental].
fn either<'a>(ini: &'a Ini, key: &str) -> Option<&'a str> {
    ini.get("wsl2", key)
        .or_else(|| ini.get("experimental", key))
}

pub(in crate::doctor) fn mode(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let Some(mode) = facts.mode() else {
        return Err(Skip::Unknown("the networking mode is not known".to_owned()));
    };
    let asked = either(&ini, "networkingMode")
        .unwrap_or("nat")
        .to_lowercase();
    let parsed = Mode::parse(&asked);
    Ok(match parsed {
        Some(asked) if asked == mode => Verdict::ok(mode.as_str()),
        Some(asked) => Verdict::warning(format!(
            "{asked} is asked for and {mode} is in force: WSL was not restarted since, or fell back"
        )),
        None => Verdict::warning(format!("networkingMode={asked:?} is no mode of WSL")),
    })
}

pub(in crate::doctor) fn network(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let off = |key| either(&ini, key).and_then(boolean) == Some(false);
    let mut parts = Vec::new();
    if off("firewall") {
        parts.push(
            Verdict::note("firewall=false: the Hyper-V firewall lets everything in").remediation(
                "Remove firewall=false; wslmesh makes the rules that its forwards need",
            ),
        );
    }
    if off("dnsTunneling") {
        parts.push(
            Verdict::note(
                "dnsTunneling=false: names of Windows' VPNs and hosts file do not resolve",
            )
            .remediation("Remove dnsTunneling=false, then `wsl.exe --shutdown` on Windows"),
        );
    }
    let localhost = ini.get("wsl2", "localhostForwarding").and_then(boolean);
    match (localhost, facts.mode()) {
        (Some(false), Some(Mode::Nat)) => parts.push(
            Verdict::note("localhostForwarding=false: localhost of Windows does not lead here")
                .remediation(
                    "Nothing to do where a forward does; else remove localhostForwarding=false",
                ),
        ),
        (Some(_), Some(Mode::Mirrored)) => parts.push(
            Verdict::note("localhostForwarding says nothing in mirrored mode")
                .remediation("Remove the line; localhost is shared in mirrored mode"),
        ),
        _ => {}
    }
    Ok(Verdict::worst(parts, || {
        "nothing is switched off".to_owned()
    }))
}

/// Less than this is too little for a distribution with a few services.
const LITTLE: u64 = 1 << 30;

pub(in crate::doctor) fn limits(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let of = |key| ini.get("wsl2", key);
    let mut parts = Vec::new();
    for key in ["memory", "swap"] {
        let Some(text) = of(key) else { continue };
        match (size(text), key) {
            (None, _) => parts.push(Verdict::warning(format!(
                "{key}={text:?} is no size: WSL wants a number with MB or GB behind it"
            ))),
            (Some(bytes), "memory") if bytes < LITTLE => {
                parts.push(Verdict::warning(format!("memory={text} is less than 1 GB")));
            }
            (Some(_), _) => {}
        }
    }
    if let Some(text) = of("processors").filter(|text| !text.parse().is_ok_and(|n: u32| n > 0)) {
        parts.push(Verdict::warning(format!(
            "processors={text:?} is no number"
        )));
    }
    Ok(Verdict::worst(parts, || {
        let shown = ["memory", "processors", "swap"]
            .into_iter()
            .filter_map(|key| Some(format!("{key}={}", of(key)?)));
        let shown: Vec<String> = shown.collect();
        if shown.is_empty() {
            "none set: half of the memory, all processors".to_owned()
        } else {
            shown.join(", ")
        }
    }))
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
mod tests {
    use super::*;
    use crate::{
        doctor::{Check, testing::table},
        model::ModeState,
    };

    fn is(facts: &mut Facts, text: &str) {
        facts.wslconfig = Text::Content(Ini::parse(text));
    }

    fn secret(facts: &mut Facts) {
        facts.wslconfig = Text::Unreadable("several users have one".into());
    }

    fn mirrored(facts: &mut Facts) {
        facts.change(|seen| seen.mode = ModeState::Known(Mode::Mirrored));
    }

    #[test]
    fn the_file() {
        table! { Check::Wslconfig;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "unknown user": secret => Skipped, "several users";
            "missing": |f| f.wslconfig = Text::Missing => Ok, "defaults";
            "invented": |f| is(f, "[wsl2]\nnetworkingMode=mirrored\nnetworkingMode.excludedInterfaces={}") => Warning, "line 3";
            "unknown": |f| is(f, "[wsl2]\nmemroy=4GB") => Note, "memroy";
            "wrong section": |f| is(f, "[wsl2]\ninstanceIdleTimeout=-1") => Note, "instanceidletimeout";
            "twice": |f| is(f, "[wsl2]\nmemory=4GB\nMemory=8GB") => Warning, "line 3";
            "all well": |f| is(f, "[wsl2]\nmemory=4GB\n[experimental]\nhostAddressLoopback=true") => Ok, "2 keys";
        }
        table! { Check::WslconfigMode;
            "unknown user": secret => Skipped, "several users";
            "unknown mode": |f| f.change(|s| s.mode = ModeState::Pending) => Skipped, "not known";
            "fallback": |f| is(f, "[wsl2]\nnetworkingMode=mirrored") => Warning, "mirrored is asked for and nat";
            "default": |f| f.wslconfig = Text::Missing => Ok, "nat";
            "no mode": |f| is(f, "[wsl2]\nnetworkingMode=miror") => Warning, "no mode";
            "old section": |f| { mirrored(f); is(f, "[experimental]\nnetworkingMode=Mirrored") } => Ok, "mirrored";
        }
    }

    #[test]
    fn what_it_says() {
        table! { Check::WslconfigNetwork;
            "unknown user": secret => Skipped, "several users";
            "firewall": |f| is(f, "[wsl2]\nfirewall=false") => Note, "firewall=false";
            "DNS": |f| is(f, "[experimental]\ndnsTunneling=FALSE") => Note, "dnsTunneling=false";
            "localhost": |f| is(f, "[wsl2]\nlocalhostForwarding=0") => Note, "does not lead here";
            "mirrored": |f| { mirrored(f); is(f, "[wsl2]\nlocalhostForwarding=1") } => Note, "mirrored mode";
        }
        table! { Check::WslconfigLimits;
            "unknown user": secret => Skipped, "several users";
            "set": |f| is(f, "[wsl2]\nmemory=4GB\nprocessors=4\nswap=0") => Ok, "memory=4GB, processors=4, swap=0";
            "little": |f| is(f, "[wsl2]\nmemory=512MB") => Warning, "less than 1 GB";
            "odd": |f| is(f, "[wsl2]\nmemory=lots") => Warning, "no size";
            "no processors": |f| is(f, "[wsl2]\nprocessors=0") => Warning, "no number";
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("4GB", Some(4 << 30)),
            ("512 mb", Some(512 << 20)),
            ("8G", Some(8 << 30)),
            ("1048576", Some(1 << 20)),
            ("0", Some(0)),
            ("", None),
            ("GB", None),
            ("4GiB", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}") {
            let _either = size(&text).is_some();
        }
    }
}
