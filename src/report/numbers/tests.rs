use super::*;
use crate::{
    model::{Finding, ResumeSign, RuleSet, SyncMode},
    report::SampleCause,
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn changes_and_outages_are_told_apart() {
    let [one, other] = [1, 2].map(|last| Some(IpAddr::from([172, 20, 0, last])));
    let mut numbers = Numbers::since(7);
    let begin = Instant::now();
    let mut pass = |address, at: u64| numbers.passed(MS, address, begin + Duration::from_secs(at));
    // Not found yet is not lost.
    for (address, at) in [(None, 0), (one, 1), (one, 2), (other, 3)] {
        pass(address, at);
    }
    for (address, at) in [(None, 10), (None, 20), (other, 40)] {
        pass(address, at);
    }
    for (address, at) in [(None, 50), (one, 51)] {
        pass(address, at);
    }
    assert_eq!(numbers.address_changes, 2);
    let outages = Durations {
        count: 2,
        total_us: 31_000_000,
        last_us: Some(1_000_000),
    };
    assert_eq!(numbers.outages, outages);
    assert_eq!((numbers.passes.count, numbers.passes.total_us), (9, 9_000));
}

#[test]
fn failures_on_the_way_to_windows_are_counted_by_code() {
    let outcome = |settled, codes: &[Code]| HostOutcome {
        wanted: RuleSet::nothing(SyncMode::Nat),
        settled,
        findings: codes
            .iter()
            .map(|code| Finding::new(*code, "", ""))
            .collect(),
        facts: None,
        changed: None,
        took: 3 * MS,
        rules_remain: None,
        restored: Vec::new(),
    };
    let mut numbers = Numbers::default();
    numbers.called_windows(&outcome(true, &[Code::ForwardConflict]));
    numbers.called_windows(&outcome(false, &[Code::InteropTimeout]));
    numbers.called_windows(&outcome(
        false,
        &[Code::InteropTimeout, Code::HostTaskFailed],
    ));
    let failures = [("host-task-failed", 1), ("interop-timeout", 2)];
    let failures = failures.map(|(code, count)| (code.to_owned(), count));
    assert_eq!(numbers.interop_failures, BTreeMap::from(failures));
    assert_eq!(numbers.windows_calls_failed, 2);
    assert_eq!(numbers.windows_calls.total_us, 9_000);
}

#[test]
fn recoveries_and_the_clock() {
    let entry = |failed: &[crate::model::RecoveryStep]| RecoveryEntry {
        ended_unix: 9,
        sign: ResumeSign::Clock,
        away_s: 3_600,
        duration_ms: 1_500,
        broken: Vec::new(),
        repaired: Vec::new(),
        failed: failed.to_vec(),
        summary: String::new(),
    };
    let mut numbers = Numbers::default();
    numbers.recovered(&entry(&[]));
    numbers.recovered(&entry(&[crate::model::RecoveryStep::Dns]));
    assert_eq!((numbers.recoveries.count, numbers.away_s), (2, 7_200));
    assert_eq!(numbers.recoveries_incomplete, 1);
    let sample = |ahead_ms, by_rtc, set_ms| ClockSample {
        boot_ms: 1,
        unix: 1_800_000_000,
        ahead_ms,
        by_rtc,
        set_ms,
        cause: SampleCause::Time,
    };
    numbers.looked_at_clock(&sample(Some(-12), false, 2));
    let clock = ClockNumbers {
        compared_unix: 1_800_000_000,
        ahead_ms: -12,
    };
    assert_eq!((numbers.clock, numbers.clock_steps), (Some(clock), 0));
    // Compared with another clock than Windows', or with none, there is nothing to say.
    numbers.looked_at_clock(&sample(Some(-12), true, -6));
    assert_eq!((numbers.clock, numbers.clock_steps), (None, 1));
    numbers.looked_at_clock(&sample(None, false, i64::MIN));
    assert_eq!((numbers.clock, numbers.clock_steps), (None, 2));
}
