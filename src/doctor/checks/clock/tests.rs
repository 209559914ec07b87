use super::*;
use crate::doctor::{facts::Drift, tests::table};

fn is(facts: &mut Facts, source: DriftSource, ahead_ms: i64) {
    facts.local_mut().drift = Some(Drift { source, ahead_ms });
}

fn runs(facts: &mut Facts, names: &[&str]) {
    facts.local_mut().processes = names
        .iter()
        .map(|name| Process {
            name: (*name).into(),
            arguments: String::new(),
            folder: None,
            service: None,
        })
        .collect();
}

#[test]
fn time() {
    use DriftSource::{Ptp, Rtc};
    table! { "clock-drift";
        "unknown": |f| f.local_mut().drift = None => Skipped, "no other clock";
        "behind": |f| is(f, Ptp, -61_500) => Warning, "61 s behind Windows' clock";
        "ahead": |f| is(f, Rtc, 7_000) => Warning, "7 s ahead of the hardware clock";
        "a little": |f| is(f, Ptp, -4_999) => Ok, "4 s behind";
        "local time": |f| is(f, Rtc, -7_200_400) => Info, "local time";
        "two hours by Windows' clock": |f| is(f, Ptp, -7_200_400) => Warning, "7200 s behind";
        "a day": |f| is(f, Rtc, 86_400_000) => Warning, "86400 s";
    }
    table! { "clock-setters";
        "one in WSL": |f| runs(f, &["chronyd"]) => Info, "chronyd runs in addition";
        "one that sets nothing": |f| {
            runs(f, &["chronyd", "chronyd"]);
            for process in &mut f.local_mut().processes { process.arguments = "/usr/sbin/chronyd -F 1 -x".into() }
        } => Ok, "WSL's own";
        "one with another x": |f| {
            runs(f, &["chronyd"]);
            f.local_mut().processes[0].arguments = "chronyd -f /etc/my -xyz.conf".into();
        } => Info, "in addition";
        "two": |f| runs(f, &["chronyd", "systemd-timesyn"]) => Warning, "against each other";
        "none elsewhere": Facts::elsewhere => Info, "no program here";
        "one elsewhere": |f| { f.elsewhere(); runs(f, &["ntpd", "ntpd"]) } => Ok, "ntpd";
    }
    table! { "clock-follows";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "off": |f| f.local_mut().follows = Some(false) => Info, "timesync_implicit";
        "unreadable": |f| f.local_mut().follows = None => Skipped, "cannot be read";
    }
}
