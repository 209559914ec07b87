use super::*;
use crate::doctor::tests::table;

fn host(facts: &mut Facts, ahead_ms: i64) {
    facts.local_mut().drift.host = Ok(ahead_ms);
}

fn rtc(facts: &mut Facts, ahead_ms: i64) {
    let host = Err(NoReference::Forbidden("/dev/ptp0".into()));
    facts.local_mut().drift = Drift {
        host,
        rtc: Some(ahead_ms),
    };
}

fn without_device(facts: &mut Facts) {
    facts.local_mut().drift = Drift {
        host: Err(NoReference::Absent),
        rtc: None,
    };
}

/// Processes with their units.
fn runs(facts: &mut Facts, names: &[(&str, &str)]) {
    facts.local_mut().processes = names
        .iter()
        .map(|(name, unit)| Process {
            name: (*name).into(),
            service: (!unit.is_empty()).then(|| (*unit).to_owned()),
            ..Process::default()
        })
        .collect();
}

const CHRONY: (&str, &str) = ("chronyd", "chrony.service");
const TIMESYNC: (&str, &str) = ("systemd-timesyn", "systemd-timesyncd.service");

#[test]
fn time() {
    table! { "clock-drift";
        "no device": without_device => Skipped, "no reference clock: the kernel has no PTP device of Hyper-V";
        "an error": |f| {
            without_device(f);
            f.local_mut().drift.host = Err(NoReference::Failed("/dev/ptp0".into(), "Input/output error".into()));
        } => Skipped, "/dev/ptp0 cannot be read: Input/output error";
        "year 1970": |f| {
            without_device(f);
            f.local_mut().drift.host = Err(NoReference::Implausible("/dev/ptp0".into(), 7));
        } => Skipped, "/dev/ptp0 shows 7 s since 1970";
        "behind": |f| host(f, -61_500) => Warning, "61 s behind Windows' clock";
        "ten years ahead": |f| host(f, 315_360_000_000) => Warning, "315360000 s ahead of Windows' clock; when it is set back, peers of WireGuard refuse";
        "ahead without WireGuard": |f| { f.peers.clear(); host(f, 7_000) } => Warning, "7 s ahead of Windows' clock";
        "no number": |f| host(f, i64::MIN) => Warning, "behind";
        "ahead": |f| rtc(f, 7_000) => Warning, "7 s ahead of the hardware clock (no reference clock: only root can read /dev/ptp0)";
        "a little": |f| host(f, -4_999) => Ok, "4 s behind";
        "very little": |f| host(f, 12) => Ok, "12 ms ahead of";
        "by the hardware clock": |f| rtc(f, 12) => Ok, "within a second of the hardware clock (no reference";
        "local time": |f| rtc(f, -7_200_400) => Info, "local time";
        "two hours by Windows' clock": |f| host(f, -7_200_400) => Warning, "7200 s behind";
        "no number by the hardware clock": |f| rtc(f, i64::MIN) => Warning, "behind";
        "a day": |f| rtc(f, 86_400_000) => Warning, "86400 s";
    }
    table! { "clock-setters";
        "one in WSL": |f| runs(f, &[CHRONY]) => Warning, "chronyd (chrony.service) and WSL's own chronyd set the clock against each other; keep WSL's own chronyd";
        "two in WSL": |f| runs(f, &[TIMESYNC, CHRONY]) => Warning, "systemd-timesyn (systemd-timesyncd.service) and WSL's own";
        "one in a WSL without the device": |f| { without_device(f); runs(f, &[CHRONY]) } => Ok, "chronyd";
        "none in a WSL without the device": without_device => Info, "needs the PTP device";
        "one that sets nothing": |f| {
            runs(f, &[CHRONY, CHRONY]);
            for process in &mut f.local_mut().processes { process.arguments = "/usr/sbin/chronyd -F 1 -x".into() }
        } => Ok, "WSL's own";
        "one with another x": |f| {
            runs(f, &[CHRONY]);
            f.local_mut().processes[0].arguments = "chronyd -f /etc/my -xyz.conf".into();
        } => Warning, "against each other";
        "two": |f| { f.elsewhere(); without_device(f); runs(f, &[TIMESYNC, CHRONY]) }
            => Warning, "systemd-timesyn (systemd-timesyncd.service) and chronyd set the clock against each other; keep chronyd";
        "none elsewhere": Facts::elsewhere => Info, "no program here";
        "one elsewhere": |f| { f.elsewhere(); runs(f, &[("ntpd", ""), ("ntpd", "")]) } => Ok, "ntpd";
    }
    table! { "clock-kept";
        "by none": |f| f.units.as_mut().unwrap().clock_kept = None => Skipped, "does not answer";
        "not": |f| f.units.as_mut().unwrap().clock_kept = Some(false) => Info, "no program has said so";
    }
    table! { "clock-follows";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "off": |f| f.local_mut().follows = Some(false) => Info, "timesync_implicit";
        "unreadable": |f| f.local_mut().follows = None => Skipped, "cannot be read";
    }
}

#[test]
fn the_fix_names_the_unit() {
    let fix = |unit| {
        let mut facts = crate::doctor::tests::healthy();
        runs(&mut facts, &[("ntpd", unit)]);
        setters(&facts).unwrap().findings()[0].remediation.clone()
    };
    assert_eq!(
        fix("ntpsec.service"),
        "Run `sudo systemctl disable --now ntpsec.service`"
    );
    assert!(fix("").contains("no service of systemd"));
}
