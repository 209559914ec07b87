//! The clock, which Windows' sleep leaves behind.

use crate::{
    doctor::{
        facts::{Facts, Process},
        verdict::{Judged, Verdict, info, ok, skipped, warning},
    },
    observe::{Drift, NoReference},
    plan::{CLOCK_BACKWARDS, CLOCK_LIMIT_MS},
};

/// Half an hour in milliseconds: the steps of time zones.
const ZONE: i64 = 1_800_000;

pub(crate) fn drift(facts: &Facts) -> Judged {
    let Drift { host, rtc } = &facts.local()?.drift;
    let why = match host {
        Ok(ahead) => {
            let detail = beside(*ahead, "Windows' clock");
            return Ok(match ahead.unsigned_abs() {
                ..CLOCK_LIMIT_MS => ok(detail),
                _ if *ahead > 0 && !facts.peers.is_empty() => {
                    warning(format!("{detail}; when it is set back, {CLOCK_BACKWARDS}"))
                }
                _ => warning(detail),
            });
        }
        Err(why) => format!("no reference clock: {why}"),
    };
    let ahead = rtc.ok_or_else(|| skipped(&why))?;
    let detail = match ahead.unsigned_abs() {
        ..1_000 => "within a second of the hardware clock".to_owned(),
        _ => beside(ahead, "the hardware clock"),
    };
    let zone = ahead.rem_euclid(ZONE);
    let by_zones = zone.abs_diff(0) < CLOCK_LIMIT_MS || zone.abs_diff(ZONE) < CLOCK_LIMIT_MS;
    Ok(if ahead.unsigned_abs() < CLOCK_LIMIT_MS {
        ok(format!("{detail} ({why})"))
    } else if by_zones && ahead.unsigned_abs() < 16 * 3_600_000 {
        info(format!(
            "{detail}: the hardware clock seems to be in local time, so this proves nothing ({why})"
        ))
        .fix("Run `sudo wslmesh doctor clock`: root can read Windows' clock")
    } else {
        warning(format!("{detail} ({why})"))
    })
}

/// How far this clock is from another one.
fn beside(ahead_ms: i64, name: &str) -> String {
    let by = match ahead_ms.unsigned_abs() {
        ms @ ..1_000 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1_000),
    };
    let way = if ahead_ms < 0 { "behind" } else { "ahead of" };
    format!("the clock is {by} {way} {name}")
}

/// Programs that set the clock, the one to keep of several first: their names as processes
/// (ntpd is that of ntpsec and openntpd, too).
const SETTERS: &[&str] = &["chronyd", "ntpd", "openntpd", "systemd-timesyn", "phc2sys"];

/// Whether a process sets the clock: a chronyd with `-x` does not (chronyd(8)), as
/// Ubuntu starts it in WSL since 25.10.
fn sets_clock(process: &Process) -> bool {
    let mut words = process.arguments.split_whitespace();
    let reads_only = process.name == "chronyd" && words.any(|word| word == "-x");
    SETTERS.contains(&process.name.as_str()) && !reads_only
}

/// WSL starts a chronyd in a distribution of its own where the kernel has the device
/// (src/linux/init/main.cpp, `StartTimeSyncAgent`). That one is not among the processes.
fn has_wsls(facts: &Facts) -> Result<bool, Verdict> {
    let device = &facts.local()?.drift.host;
    Ok(facts.wsl && !matches!(device, Err(NoReference::Absent)))
}

pub(crate) fn setters(facts: &Facts) -> Judged {
    let mut found: Vec<(&str, Option<&str>)> = Vec::new();
    for name in SETTERS {
        let processes = facts.local()?.processes.iter();
        let one = processes
            .filter(|one| one.name == *name)
            .find(|one| sets_clock(one));
        found.extend(one.map(|one| (*name, one.service.as_deref())));
    }
    let wsls = has_wsls(facts)?;
    // Where WSL has one, all of this distribution's are too many; else the first is kept.
    let (kept, extra) = found.split_at(usize::from(!wsls && !found.is_empty()));
    let kept = kept.first().map_or("WSL's own chronyd", |(name, _)| name);
    if extra.is_empty() {
        return Ok(match (wsls, found.is_empty()) {
            (true, _) => ok(format!("{kept}, outside of this distribution")),
            (false, false) => ok(kept),
            (false, true) if facts.wsl => info(
                "no program here sets the clock, and WSL's own chronyd needs the PTP device of Hyper-V, which the kernel does not have",
            )
            .fix("Run `wsl.exe --update` on Windows, then `wsl.exe --shutdown` there"),
            (false, true) => info("no program here sets the clock")
                .fix("Run `sudo systemctl enable --now systemd-timesyncd`, or chronyd"),
        });
    }
    let findings = extra.iter().flat_map(|(name, unit)| {
        let (who, fix) = match unit {
            Some(unit) => (
                format!("{name} ({unit})"),
                format!("Run `sudo systemctl disable --now {unit}`"),
            ),
            None => (
                (*name).to_owned(),
                format!("Stop {name}, which is no service of systemd, where it is started"),
            ),
        };
        let found = warning(format!(
            "{who} and {kept} set the clock against each other; keep {kept}"
        ));
        found.fix(fix).findings().to_vec()
    });
    Ok(Verdict::Found(findings.collect()))
}

pub(crate) fn kept(facts: &Facts) -> Judged {
    let units = facts.units.as_ref().map_err(skipped)?;
    Ok(match units.clock_kept {
        Some(true) => ok("the kernel's greatest error is less than 16 s"),
        Some(false) => info("no program has said so to the kernel since the clock was set"),
        None => skipped("systemd-timedated, which knows it, does not answer"),
    })
}

pub(crate) fn follows(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match facts.local()?.follows {
        Some(true) => ok("yes"),
        Some(false) => info("hv_utils.timesync_implicit is off"),
        None => skipped("the driver's parameter cannot be read here"),
    })
}

#[cfg(test)]
mod tests;
