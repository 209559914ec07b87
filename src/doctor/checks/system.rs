//! WSL, systemd, the agent.

use super::super::{
    facts::{Facts, Text, UnitState, some},
    verdict::{Judged, Skip, Verdict},
};
use crate::{
    interop::ini::{Ini, boolean},
    model::{HealthEntry, Mode, ModeState, Severity},
};

/// The agent's unit.
pub(in crate::doctor) const UNIT: &str = "wslmesh.service";

/// Units whose failure takes a node off its mesh.
const MATTER: &[&str] = &[
    "wslmesh",
    "wg-quick@",
    "tailscaled",
    "nebula",
    "netbird",
    "zerotier",
    "ssh",
    "systemd-resolved",
    "systemd-networkd",
    "systemd-binfmt",
    "dbus",
];

pub(in crate::doctor) fn version(facts: &Facts) -> Judged {
    let release = &facts.wsl.release;
    // WSL 1 writes the name with a capital (microsoft/WSL: util.cpp, UtilIsUtilityVm).
    if release.contains("Microsoft") && !facts.wsl.is {
        return Ok(Verdict::failed(format!("this is WSL 1 (kernel {release})")));
    }
    let wsl = facts.wsl()?;
    let Some(version) = &wsl.version else {
        return Ok(Verdict::note(format!(
            "WSL does not tell its version (it does since 2.2.3); kernel {release}"
        )));
    };
    let detail = format!("WSL {version}, kernel {release}");
    Ok(if at_least(version, [2, 5, 10]) {
        Verdict::ok(detail)
    } else {
        Verdict::note(format!(
            "{detail}; instanceIdleTimeout, which keeps a distribution alive, came with 2.5.10"
        ))
    })
}

/// Whether a version such as `2.6.1.0` is this one or a later one.
pub(in crate::doctor) fn at_least(version: &str, least: [u32; 3]) -> bool {
    let parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    parts.chain([0; 3]).take(3).ge(least)
}

pub(in crate::doctor) fn mode(facts: &Facts) -> Judged {
    facts.wsl()?;
    let (_, seen) = facts.seen()?;
    Ok(match &seen.mode {
        ModeState::Known(Mode::None) => {
            Verdict::failed("none: this distribution has no network but lo")
        }
        ModeState::Known(Mode::Bridged) => {
            Verdict::note("bridged, which WSL has given up since 2.4.5")
        }
        ModeState::Known(mode) => Verdict::ok(mode.as_str()),
        ModeState::Pending => Verdict::warning("WSL did not answer in time"),
        ModeState::Unknown(why) => Verdict::warning(why.as_str()),
    })
}

pub(in crate::doctor) fn running(facts: &Facts) -> Judged {
    if facts.systemd.running {
        return Ok(Verdict::ok("it is"));
    }
    let verdict = Verdict::failed("another init runs here, and no service of systemd does");
    Ok(if facts.wsl.is {
        verdict
    } else {
        verdict
            .remediation("Run `wslmesh run` by the init that is there, or `wslmesh apply` by hand")
    })
}

pub(in crate::doctor) fn configured(facts: &Facts) -> Judged {
    facts.wsl()?;
    if let Text::Unreadable(why) = &facts.wsl_conf {
        return Err(Skip::Unknown(format!("/etc/wsl.conf: {why}")));
    }
    let value = facts.wsl_conf("boot", "systemd");
    Ok(match value.and_then(boolean) {
        Some(true) => Verdict::ok("it does"),
        _ if facts.systemd.running => Verdict::failed(
            "systemd runs, and [boot] systemd=true is not in the file: after the next start of WSL no service will run",
        ),
        _ => Verdict::failed("[boot] systemd=true is not in the file"),
    })
}

/// Keys that WSL knows (microsoft/WSL: src/linux/init/WslDistributionConfig.cpp).
const KEYS: &[(&str, &[&str])] = &[
    (
        "automount",
        &[
            "enabled",
            "root",
            "options",
            "mountfstab",
            "ldconfig",
            "cgroups",
        ],
    ),
    ("filesystem", &["umask"]),
    ("interop", &["enabled", "appendwindowspath"]),
    (
        "network",
        &["generatehosts", "generateresolvconf", "hostname"],
    ),
    ("time", &["usewindowstimezone"]),
    (
        "fileserver",
        &["enabled", "logfile", "loglevel", "logtruncate"],
    ),
    ("gpu", &["enabled", "appendlibpath"]),
    ("user", &["default"]),
    (
        "boot",
        &["command", "systemd", "inittimeout", "protectbinfmt"],
    ),
    ("general", &["guiapplications"]),
];

pub(in crate::doctor) fn wsl_conf(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.wsl_conf {
        Text::Missing => Verdict::note("there is none: WSL's defaults hold, without systemd"),
        Text::Unreadable(why) => Verdict::warning(format!("it cannot be read: {why}")),
        Text::Content(ini) => form(ini, KEYS),
    })
}

/// Judges an INI file by its form and by the keys that its reader knows.
pub(in crate::doctor) fn form(ini: &Ini, keys: &[(&str, &[&str])]) -> Verdict {
    let mut parts = Vec::new();
    let odd: Vec<String> = ini.odd().iter().map(ToString::to_string).collect();
    if !odd.is_empty() {
        parts.push(Verdict::warning(format!(
            "not understood: line {}",
            some(&odd)
        )));
    }
    let repeated: Vec<String> = ini.repeated().iter().map(ToString::to_string).collect();
    if !repeated.is_empty() {
        parts.push(Verdict::warning(format!(
            "written twice, and the first counts: {}",
            some(&repeated)
        )));
    }
    let known = |section: &str, key: &str| {
        let mut of_section = keys.iter().filter(|(name, _)| *name == section);
        of_section.any(|(_, keys)| keys.contains(&key))
    };
    let unknown: Vec<String> = ini
        .entries()
        .iter()
        .filter(|entry| !known(&entry.section, &entry.key))
        .map(ToString::to_string)
        .collect();
    if !unknown.is_empty() {
        parts.push(Verdict::note(format!(
            "unknown to WSL, which skips it: {}",
            some(&unknown)
        )));
    }
    Verdict::worst(parts, || match ini.entries().len() {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    })
}

pub(in crate::doctor) fn configuration(facts: &Facts) -> Judged {
    Ok(match &facts.settings {
        Ok(settings) => Verdict::ok(match settings.files.as_slice() {
            [] => "no file: the defaults hold".to_owned(),
            [file] => file.display().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
        }),
        Err(error) => Verdict::failed(error.lines().next().unwrap_or_default()),
    })
}

fn unit(facts: &Facts) -> Result<Option<&UnitState>, Skip> {
    Ok(facts.units()?.states.get(UNIT))
}

const NO_UNIT: &str = "systemd knows no wslmesh.service";
const INSTALL: &str = "Install the package (`make packages`, or `sudo make install` and `sudo systemctl daemon-reload`)";

pub(in crate::doctor) fn enabled(facts: &Facts) -> Judged {
    let Some(unit) = unit(facts)? else {
        return Ok(Verdict::warning(NO_UNIT).remediation(INSTALL));
    };
    Ok(match unit.file.as_str() {
        "enabled" | "enabled-runtime" | "static" | "alias" | "generated" | "transient" => {
            Verdict::ok(unit.file.as_str())
        }
        "masked" | "masked-runtime" => Verdict::warning("it is masked: nothing can start it")
            .remediation(
                "Run `sudo systemctl unmask wslmesh`, then `sudo systemctl enable wslmesh`",
            ),
        other => Verdict::warning(format!("it is {other}")),
    })
}

pub(in crate::doctor) fn active(facts: &Facts) -> Judged {
    let Some(unit) = unit(facts)? else {
        return Err(Skip::Nothing(NO_UNIT.to_owned()));
    };
    Ok(match unit.active.as_str() {
        "active" | "reloading" => Verdict::ok(unit.active.as_str()),
        "activating" | "deactivating" => Verdict::warning(format!("it is {}", unit.active)),
        "failed" => Verdict::failed("it has failed"),
        // A condition keeps the unit from starting elsewhere.
        other if !facts.wsl.is => Verdict::note(format!(
            "it is {other}: it starts in WSL 2 alone, unless its drop-in is masked"
        )),
        other => Verdict::failed(format!("it is {other}"))
            .remediation("Run `sudo systemctl start wslmesh`"),
    })
}

pub(in crate::doctor) fn failed_units(facts: &Facts) -> Judged {
    let matters = |name: &&String| MATTER.iter().any(|start| name.starts_with(start));
    // The agent's own unit has a check of its own.
    let failed = facts.units()?.failed.iter().filter(|name| *name != UNIT);
    let (ours, others): (Vec<_>, Vec<_>) = failed.partition(matters);
    let names = |units: Vec<&String>| some(&units.into_iter().cloned().collect::<Vec<_>>());
    Ok(if !ours.is_empty() {
        Verdict::failed(format!("failed: {}", names(ours)))
    } else if !others.is_empty() {
        Verdict::note(format!("failed, and none of the mesh's: {}", names(others)))
    } else {
        Verdict::ok("none")
    })
}

/// How the agent is run where there is no WSL (docs/hardening.md).
const ELSEWHERE: &str = "Nothing to do where none is wanted; outside of WSL its drop-in keeps it from starting: `sudo mkdir -p /etc/systemd/system/wslmesh.service.d`, `sudo ln -s /dev/null /etc/systemd/system/wslmesh.service.d/10-wsl.conf`, `sudo systemctl daemon-reload`, `sudo systemctl start wslmesh`";

pub(in crate::doctor) fn health(facts: &Facts) -> Judged {
    let Some(document) = &facts.agent else {
        const NONE: &str = "no agent runs here";
        return Ok(if facts.wsl.is {
            Verdict::warning(NONE).remediation("Start it: `sudo systemctl start wslmesh`")
        } else {
            Verdict::note(NONE).remediation(ELSEWHERE)
        });
    };
    let mine: Vec<&HealthEntry> = document
        .health
        .iter()
        .filter(|entry| !super::ports::about_windows(entry))
        .collect();
    if document.role == "standby" {
        return Ok(Verdict::note(
            "it stands by: the agent of another distribution works here",
        ));
    }
    let role = &document.role;
    Ok(troubles(&mine).unwrap_or_else(|| Verdict::ok(role.as_str())))
}

/// Troubles of the agent as one verdict; `None` where there are none.
pub(in crate::doctor) fn troubles(entries: &[&HealthEntry]) -> Option<Verdict> {
    let part = |entry: &&HealthEntry| {
        let detail = format!("{}: {}", entry.title(), entry.detail);
        match entry.severity {
            Severity::Error => Some(Verdict::failed(detail)),
            Severity::Warning => Some(Verdict::warning(detail)),
            Severity::Info => None,
        }
        .map(|verdict| verdict.remediation(entry.remediation.as_str()))
    };
    let parts: Vec<Verdict> = entries.iter().filter_map(part).collect();
    (!parts.is_empty()).then(|| Verdict::worst(parts, String::new))
}

#[cfg(test)]
mod tests;
