//! The clock, which Windows' sleep leaves behind.

use crate::doctor::{
    facts::{DriftSource, Facts, Process},
    verdict::{Judged, info, ok, skipped, warning},
};

/// Milliseconds of drift that break handshakes and certificates soon; Hyper-V's
/// driver corrects from 5 s on.
const MOST: i64 = 5_000;

/// Half an hour in milliseconds: the steps of time zones.
const ZONE: i64 = 1_800_000;

pub(crate) fn drift(facts: &Facts) -> Judged {
    let drift = facts.clock.drift.as_ref().map_err(skipped)?;
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
    let setters = facts.running(sets_clock);
    let names = setters.join(", ");
    Ok(match (setters.len(), facts.wsl.is) {
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
    Ok(match facts.clock.follows {
        Some(true) => ok("yes"),
        Some(false) => info("hv_utils.timesync_implicit is off"),
        None => skipped("the driver's parameter cannot be read here"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Check, facts::Drift, testing::table};

    fn is(facts: &mut Facts, source: DriftSource, ahead_ms: i64) {
        facts.clock.drift = Ok(Drift { source, ahead_ms });
    }

    fn runs(facts: &mut Facts, names: &[&str]) {
        facts.processes = names
            .iter()
            .map(|name| Process {
                name: (*name).into(),
                arguments: String::new(),
                folder: None,
            })
            .collect();
    }

    #[test]
    fn time() {
        use DriftSource::{Ptp, Rtc};
        table! { Check::ClockDrift;
            "unknown": |f| f.clock.drift = Err("no clock".into()) => Skipped, "no clock";
            "behind": |f| is(f, Ptp, -61_500) => Warning, "61 s behind Windows' clock";
            "ahead": |f| is(f, Rtc, 7_000) => Warning, "7 s ahead of the hardware clock";
            "a little": |f| is(f, Ptp, -4_999) => Ok, "4 s behind";
            "local time": |f| is(f, Rtc, -7_200_400) => Info, "local time";
            "two hours by Windows' clock": |f| is(f, Ptp, -7_200_400) => Warning, "7200 s behind";
            "a day": |f| is(f, Rtc, 86_400_000) => Warning, "86400 s";
        }
        table! { Check::ClockSetters;
            "one in WSL": |f| runs(f, &["chronyd"]) => Info, "chronyd runs in addition";
            "one that sets nothing": |f| {
                runs(f, &["chronyd", "chronyd"]);
                for process in &mut f.processes { process.arguments = "/usr/sbin/chronyd -F 1 -x".into() }
            } => Ok, "WSL's own";
            "one with another x": |f| {
                runs(f, &["chronyd"]);
                f.processes[0].arguments = "chronyd -f /etc/my -xyz.conf".into();
            } => Info, "in addition";
            "two": |f| runs(f, &["chronyd", "systemd-timesyn"]) => Warning, "against each other";
            "none elsewhere": Facts::elsewhere => Info, "no program here";
            "one elsewhere": |f| { f.elsewhere(); runs(f, &["ntpd", "ntpd"]) } => Ok, "ntpd";
        }
        table! { Check::ClockFollows;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "off": |f| f.clock.follows = Some(false) => Info, "timesync_implicit";
            "unreadable": |f| f.clock.follows = None => Skipped, "cannot be read";
        }
    }
}
