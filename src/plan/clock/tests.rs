use std::time::Duration;

use super::*;
use crate::config::StepAbove;

const HOUR: i64 = 3_600_000;
const YEARS: i64 = 10 * 365 * 24 * HOUR;

fn settings(above: u64, step_back: bool) -> Clock {
    Clock {
        step_above: StepAbove(Some(Duration::from_secs(above))),
        step_back,
    }
}

#[test]
fn wrong_is_what_stays_beyond_the_limit() {
    for (before, now, wrong) in [
        (None, Some(HOUR), false),
        (Some(HOUR), None, false),
        (Some(-HOUR), Some(1_000), false),
        (Some(1_000), Some(-HOUR), false),
        (Some(-4_999), Some(-4_999), false),
        (Some(-5_000), Some(-5_000), true),
        (Some(YEARS), Some(YEARS), true),
        (Some(i64::MIN), Some(i64::MAX), true),
    ] {
        let found = WrongClock::of(before, now, false);
        assert_eq!(found.is_some(), wrong, "{before:?} {now:?}");
    }
}

#[test]
fn a_clock_is_set_only_where_all_allows_it() {
    let on = settings(60, true);
    for (before, now, settings, why) in [
        (
            -HOUR,
            -HOUR,
            Clock::default(),
            Some("step-above is \"never\""),
        ),
        (
            -59_999,
            -59_999,
            on,
            Some("less than [clock] step-above = \"60s\""),
        ),
        (-60_000, -60_000, on, None),
        (-HOUR, -HOUR + 999, on, None),
        (-HOUR, -HOUR + 1_000, on, Some("something corrects it")),
        (HOUR, -HOUR, on, Some("something corrects it")),
        (i64::MIN, i64::MAX, on, Some("something corrects it")),
        (-YEARS, -YEARS, on, None),
        (YEARS, YEARS, on, None),
        (YEARS, YEARS, settings(60, false), Some("step-back is off")),
        (-HOUR, -HOUR, settings(60, false), None),
    ] {
        let wrong = WrongClock::of(Some(before), Some(now), true).unwrap();
        let withheld = wrong.withheld(&settings);
        match why {
            None => assert_eq!(withheld, None, "{wrong:?}"),
            Some(why) => assert!(withheld.unwrap().contains(why), "{wrong:?}: {why}"),
        }
    }
}

#[test]
fn wireguard_is_named_for_steps_back_alone() {
    for (ahead, wireguard, named) in [
        (HOUR, true, true),
        (HOUR, false, false),
        (-HOUR, true, false),
    ] {
        let wrong = WrongClock::of(Some(ahead), Some(ahead), wireguard).unwrap();
        let withheld = wrong.withheld(&settings(5, false));
        for text in [withheld.unwrap_or_default(), wrong.was_set()] {
            assert_eq!(text.contains("refuse handshakes"), named, "{text}");
        }
    }
    let wrong = WrongClock::of(Some(HOUR), Some(HOUR), false).unwrap();
    assert_eq!(
        wrong.was_set(),
        "set the clock back by 60 min (3600000 ms), to Windows' time"
    );
    let finding = wrong.finding("it rests").detail;
    assert_eq!(
        finding,
        "the clock is 60 min ahead of Windows' and is not set: it rests"
    );
}

#[test]
fn others_that_set_it_are_named() {
    let keeper = |units: &[&str], kept| {
        let units = units.iter().map(|unit| (*unit).to_owned()).collect();
        clock_keeper(&ClockKeepers { units, kept })
    };
    assert_eq!(keeper(&[], false), None);
    assert!(keeper(&[], true).unwrap().contains("WSL's own chronyd"));
    assert_eq!(
        keeper(&["ntp.service"], true).as_deref(),
        Some("ntp.service sets it")
    );
    let two = keeper(&["chrony.service", "systemd-timesyncd.service"], false);
    assert_eq!(
        two.unwrap(),
        "chrony.service and systemd-timesyncd.service set it"
    );
}
