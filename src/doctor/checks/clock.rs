//! The clock, which Windows' sleep leaves behind.

use crate::doctor::{
    facts::{DriftSource, Facts, Process},
    verdict::{Judged, info, list, ok, skipped, warning},
};

/// Milliseconds of drift that break handshakes and certificates soon; Hyper-V's
/// driver corrects from 5 s on.
const MOST: i64 = 5_000;

/// Half an hour in milliseconds: the steps of time zones.
const ZONE: i64 = 1_800_000;

pub(crate) fn drift(facts: &Facts) -> Judged {
    let drift = facts.local()?.drift;
    let drift = drift.ok_or_else(|| skipped("no other clock to compare with"))?;
    let ahead = drift.ahead_ms;
    let name = match drift.source {
        DriftSource::Ptp => "Windows' clock",
        DriftSource::Rtc => "the hardware clock",
    };
    let seconds = ahead.unsigned_abs() / 1_000;
    let detail = match (seconds, ahead < 0) {
        (0, _) => format!("within a second of {name}"),
        (_, true) => format!("the clock is {seconds} s behind {name}"),
        (_, false) => format!("the clock is {seconds} s ahead of {name}"),
    };
    let beside = ahead.rem_euclid(ZONE);
    let by_zones = beside <= MOST || ZONE - beside <= MOST;
    Ok(match drift.source {
        _ if ahead.abs() <= MOST => ok(detail),
        DriftSource::Rtc if by_zones && ahead.abs() < 16 * 3_600_000 => info(format!(
            "{detail}: the hardware clock seems to be in local time, so this proves nothing"
        ))
        .fix("Run `sudo wslmesh doctor clock`: root can read Windows' clock"),
        DriftSource::Rtc | DriftSource::Ptp => warning(detail),
    })
}

/// Programs that set the clock.
const SETTERS: &[&str] = &["chronyd", "systemd-timesyn", "ntpd", "openntpd"];

/// Whether a process sets the clock: a chronyd with `-x` does not (chronyd(8)), as
/// Ubuntu starts it in WSL since 25.10.
fn sets_clock(process: &Process) -> bool {
    let mut words = process.arguments.split_whitespace();
    let reads_only = process.name == "chronyd" && words.any(|word| word == "-x");
    SETTERS.contains(&process.name.as_str()) && !reads_only
}

pub(crate) fn setters(facts: &Facts) -> Judged {
    let setters = facts.running(sets_clock)?;
    let names = list(&setters);
    Ok(match (setters.len(), facts.wsl) {
        (0, true) => ok("WSL's own chronyd, outside of this distribution"),
        (0, false) => info("no program here sets the clock")
            .fix("Run `sudo systemctl enable --now systemd-timesyncd`, or chronyd"),
        (1, true) => info(format!("{names} runs in addition to WSL's own chronyd")),
        (1, false) => ok(names),
        _ => warning(format!(
            "several programs set the clock against each other: {names}"
        )),
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
