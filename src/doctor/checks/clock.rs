//! The clock, which Windows' sleep leaves behind.

use super::super::{
    facts::{DriftSource, Facts, Process, some},
    verdict::{Judged, Skip, Verdict},
};

/// What is more than this many milliseconds off breaks handshakes and
/// certificates soon; Hyper-V's driver corrects from 5 s on.
const MOST: i64 = 5_000;

/// Half an hour: the steps of time zones.
const ZONE: i64 = 1_800_000;

pub(in crate::doctor) fn drift(facts: &Facts) -> Judged {
    let drift = facts.clock.drift.as_ref();
    let drift = drift.map_err(|why| Skip::Unknown(why.clone()))?;
    let (ahead, name) = match drift.source {
        DriftSource::Ptp => (drift.ahead_ms, "Windows' clock"),
        DriftSource::Rtc => (drift.ahead_ms, "the hardware clock"),
    };
    let off = ahead.unsigned_abs();
    let detail = if off < 1_000 {
        format!("within a second of {name}")
    } else {
        let side = if ahead < 0 { "behind" } else { "ahead of" };
        format!("{} s {side} {name}", off / 1_000)
    };
    let beside = ahead.rem_euclid(ZONE);
    let by_zones = beside <= MOST || ZONE - beside <= MOST;
    Ok(match drift.source {
        _ if ahead.abs() <= MOST => Verdict::ok(detail),
        DriftSource::Rtc if by_zones && ahead.abs() < 16 * 3_600_000 => Verdict::note(format!(
            "{detail}: the hardware clock seems to be in local time, so it tells nothing"
        ))
        .remediation("Run the examination as root, which may ask Windows' clock"),
        DriftSource::Rtc | DriftSource::Ptp => Verdict::warning(detail),
    })
}

/// Programs that set the clock.
const SETTERS: &[&str] = &["chronyd", "systemd-timesyn", "ntpd", "openntpd"];

/// Whether a process sets the clock: a chronyd with `-x` does not (chronyd(8)), as
/// Ubuntu has it in WSL since 25.10.
fn sets_clock(process: &Process) -> bool {
    let without = process.name == "chronyd" && {
        let mut words = process.arguments.split_whitespace();
        words.any(|word| word == "-x")
    };
    SETTERS.contains(&process.name.as_str()) && !without
}

pub(in crate::doctor) fn setters(facts: &Facts) -> Judged {
    let sets = facts.processes.iter().filter(|process| sets_clock(process));
    let mut setters: Vec<String> = sets.map(|process| process.name.clone()).collect();
    setters.sort();
    setters.dedup();
    let names = some(&setters);
    Ok(match (setters.len(), facts.wsl.is) {
        (0, true) => Verdict::ok("WSL's own chronyd, outside of this distribution"),
        (0, false) => Verdict::note("nothing here sets the clock")
            .remediation("Run `sudo systemctl enable --now systemd-timesyncd`, or chronyd"),
        (1, true) => Verdict::note(format!("{names}, beside WSL's own chronyd")),
        (1, false) => Verdict::ok(names),
        _ => Verdict::warning(format!("several set the clock against each other: {names}")),
    })
}

pub(in crate::doctor) fn follows(facts: &Facts) -> Judged {
    facts.wsl()?;
    match facts.clock.follows {
        Some(true) => Ok(Verdict::ok("it does")),
        Some(false) => Ok(Verdict::note("hv_utils.timesync_implicit is off")),
        None => Err(Skip::Unknown(
            "the driver's parameter is not to be seen here".to_owned(),
        )),
    }
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
            "local time": |f| is(f, Rtc, -7_200_400) => Note, "local time";
            "two hours by Windows' clock": |f| is(f, Ptp, -7_200_400) => Warning, "7200 s behind";
            "a day": |f| is(f, Rtc, 86_400_000) => Warning, "86400 s";
        }
        table! { Check::ClockSetters;
            "one in WSL": |f| runs(f, &["chronyd"]) => Note, "chronyd, beside";
            "one that sets nothing": |f| {
                runs(f, &["chronyd", "chronyd"]);
                for process in &mut f.processes { process.arguments = "/usr/sbin/chronyd -F 1 -x".into() }
            } => Ok, "WSL's own";
            "one with another x": |f| {
                runs(f, &["chronyd"]);
                f.processes[0].arguments = "chronyd -f /etc/my -xyz.conf".into();
            } => Note, "beside";
            "two": |f| runs(f, &["chronyd", "systemd-timesyn"]) => Warning, "against each other";
            "none elsewhere": Facts::elsewhere => Note, "nothing here";
            "one elsewhere": |f| { f.elsewhere(); runs(f, &["ntpd", "ntpd"]) } => Ok, "ntpd";
        }
        table! { Check::ClockFollows;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "off": |f| f.clock.follows = Some(false) => Note, "timesync_implicit";
            "unseen": |f| f.clock.follows = None => Skipped, "not to be seen";
        }
    }
}
