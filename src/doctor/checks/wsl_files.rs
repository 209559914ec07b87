//! WSL's configuration files: /etc/wsl.conf, and Windows' .wslconfig as the mounted
//! drive shows it.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, info, list, ok, skipped, warning},
    },
    interop::{
        ini::{Ini, boolean, integer, size},
        keys::WslFile,
    },
    model::{Mode, Severity, counted},
    observe::Machine,
};

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
    Ok(judge(facts, ini, WslFile::Conf))
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
    Ok(judge(facts, ini, WslFile::Config))
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

/// Judges what WSL can read of a file by the keys and values that it knows.
fn judge(facts: &Facts, ini: &Ini, file: WslFile) -> Verdict {
    let found = file
        .faults(ini, facts.wsl_version.as_deref())
        .into_iter()
        .map(|fault| match fault.warns {
            true => warning(fault.detail),
            false => info(fault.detail),
        });
    all(found, counted(ini.entries().len(), "key"))
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

/// Less than this many MiB of memory is too little for a few services.
const LITTLE: u64 = 1 << 10;

/// The keys that the machine's figures show in force.
const LIMITS: [&str; 3] = ["memory", "processors", "swap"];

/// The figure in force of a key of .wslconfig, where the machine shows it.
#[must_use]
pub fn in_force(key: &str, machine: &Machine) -> Option<String> {
    match key {
        "wsl2.memory" => Some(format!("{} MiB", machine.memory)),
        "wsl2.processors" => machine.processors.map(|count| count.to_string()),
        "wsl2.swap" => Some(format!("{} MiB", machine.swap)),
        _ => None,
    }
}

/// What to think of a value of such a key on this machine, by severity: whether it is
/// wise, and whether it is in force.
#[must_use]
pub fn advice(key: &str, value: &str, machine: &Machine) -> Vec<(Severity, String)> {
    let Some((_, name)) = key.split_once('.') else {
        return Vec::new();
    };
    let set = format!("{name}={value}");
    let mib = size(value).map(|bytes| bytes >> 20);
    // The kernel keeps a part of the memory for itself.
    let apart = |wanted: u64, real: u64| real > wanted || real + 128.max(wanted / 8) < wanted;
    let used = machine.memory.saturating_sub(machine.available);
    let mut found = Vec::new();
    match (key, mib, integer(value)) {
        ("wsl2.memory", Some(mib), _) => {
            if mib < LITTLE {
                found.push((Severity::Warning, format!("{set} is less than 1 GB")));
            }
            if mib < used {
                let detail = format!("{set} is less than the {used} MiB that programs use now");
                found.push((Severity::Warning, detail));
            }
            // WSL gives 256 MiB at least.
            if apart(mib.max(256), machine.memory) {
                found.push(not_in_force(
                    &set,
                    &format!("{} MiB of memory are", machine.memory),
                    machine.memory > mib,
                ));
            }
        }
        ("wsl2.processors", _, Some(count)) if count < 1 => {
            let detail = format!("{set} is not a number above 0; WSL takes all processors");
            found.push((Severity::Warning, detail));
        }
        ("wsl2.processors", _, Some(count)) => {
            let real = machine.processors;
            if let Some(real) = real.filter(|real| usize::try_from(count) != Ok(*real)) {
                found.push(not_in_force(
                    &set,
                    &format!("{} are", counted(real, "processor")),
                    usize::try_from(count).is_ok_and(|count| real > count),
                ));
            }
        }
        // A swap file has a header, and is not cut to whole MiB.
        ("wsl2.swap", Some(mib), _) if mib.abs_diff(machine.swap) > 1 => {
            found.push(not_in_force(
                &set,
                &format!("{} MiB of swap are", machine.swap),
                machine.swap > mib,
            ));
        }
        _ => {}
    }
    found
}

fn not_in_force(set: &str, real: &str, more: bool) -> (Severity, String) {
    let why = match more {
        true => "WSL was not restarted since",
        false => "WSL was not restarted since, or Windows has no more",
    };
    (
        Severity::Info,
        format!("{set} is configured, and {real} in force: {why}"),
    )
}

pub(crate) fn limits(facts: &Facts) -> Judged {
    let ini = facts.wslconfig()?;
    let machine = facts.local()?.memory;
    let (mut set, mut found) = (Vec::new(), Vec::new());
    for key in LIMITS {
        let name = format!("wsl2.{key}");
        // The check of the file reports what WSL rejects.
        let known = WslFile::Config.key(&name);
        let Some(entry) = known.and_then(|known| known.taken(&ini)) else {
            continue;
        };
        let value = &entry.value;
        set.push(format!("{key}={value}"));
        let thoughts = machine.map(|machine| advice(&name, value, &machine));
        found.extend(thoughts.into_iter().flatten().map(|(severity, detail)| match severity {
            Severity::Info => info(detail).fix("Run `wsl.exe --shutdown` on Windows, which ends all distributions; if it stays, see what Windows has"),
            _ => warning(detail),
        }));
    }
    Ok(match set.is_empty() {
        true => ok("none set: half of the memory, all processors"),
        false => all(found, list(set)),
    })
}

#[cfg(test)]
mod tests;
