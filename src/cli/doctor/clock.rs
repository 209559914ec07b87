//! The clock's history in `wslmesh doctor clock`.

use serde::Serialize;

use crate::{
    cli::table::{WIDTH, columns},
    doctor::Facts,
    model::span,
    report::{ClockHistory, ClockSample, SampleCause},
};

/// Samples that are printed, unless `--all` is given.
const MOST: usize = 12;

/// The clock in the JSON document.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry<'a> {
    /// It minus Windows', in milliseconds; nothing without a reference clock.
    ahead_ms: Option<i64>,
    /// Why there is none.
    no_reference: Option<String>,
    /// It minus the hardware clock, in milliseconds.
    ahead_of_rtc_ms: Option<i64>,
    /// Whether the kernel knows of a program that keeps its clock.
    kept: Option<bool>,
    /// What the agent has seen, the oldest first.
    samples: Vec<&'a ClockSample>,
}

pub(super) fn entry(facts: &Facts) -> Entry<'_> {
    let (drift, kept) = facts.clock();
    let host = drift.map(|drift| drift.host.clone());
    Entry {
        ahead_ms: host.clone().and_then(Result::ok),
        no_reference: host.and_then(Result::err).map(|why| why.to_string()),
        ahead_of_rtc_ms: drift.and_then(|drift| drift.rtc),
        kept,
        samples: facts.clock_history().samples.iter().collect(),
    }
}

/// The samples as a table, the newest first. They are counted by the time since the boot:
/// `now` is that in milliseconds.
pub(super) fn table(history: &ClockHistory, now: i64, all: bool) -> Vec<String> {
    if history.samples.is_empty() {
        return vec![
            "no history yet: a running agent notes each comparison with a reference clock,"
                .to_owned(),
            "and each time the clock is set".to_owned(),
        ];
    }
    let most = if all { usize::MAX } else { MOST };
    let mut rows = vec![["BEFORE", "CLOCK", "SEEN"].map(str::to_owned)];
    let newest = history.samples.iter().rev().take(most);
    rows.extend(newest.map(|sample| row(sample, now)));
    let rows = columns(rows, WIDTH, false).into_iter();
    let mut lines: Vec<String> = rows
        .map(|(_, cells)| cells.join("  ").trim_end().to_owned())
        .collect();
    let hidden = history.samples.len().saturating_sub(most);
    if hidden > 0 {
        lines.push(format!("and {hidden} more (--all shows them)"));
    }
    lines
}

fn row(sample: &ClockSample, now: i64) -> [String; 3] {
    let before = span(now.abs_diff(sample.boot_ms) / 1_000);
    let than = if sample.by_rtc {
        "the hardware clock"
    } else {
        "Windows'"
    };
    let clock = match sample.ahead_ms {
        None => "nothing to compare it with".to_owned(),
        Some(ahead) if ahead < 0 => format!("{} behind {than}", by(ahead)),
        Some(ahead) => format!("{} ahead of {than}", by(ahead)),
    };
    let seen = match sample.cause {
        SampleCause::Start => "at the agent's start",
        SampleCause::Resume => "after a sleep",
        SampleCause::Step => "set by the agent",
        SampleCause::Set | SampleCause::Time => "",
    };
    // Rounding is no setting.
    let set = match sample.set_ms {
        -5..=5 => String::new(),
        set if set < 0 => format!("set back by {}", by(set)),
        set => format!("set forward by {}", by(set)),
    };
    let parts = [seen, set.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty());
    [before, clock, Vec::from_iter(parts).join(", ")]
}

fn by(ms: i64) -> String {
    match ms.unsigned_abs() {
        ms @ ..10_000 => format!("{ms} ms"),
        ms => span(ms / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(
        samples: impl IntoIterator<Item = (i64, Option<i64>, i64, SampleCause)>,
    ) -> ClockHistory {
        let mut history = ClockHistory::default();
        for (boot_ms, ahead_ms, set_ms, cause) in samples {
            history.push(ClockSample {
                boot_ms,
                unix: 0,
                ahead_ms,
                by_rtc: false,
                set_ms,
                cause,
            });
        }
        history
    }

    #[test]
    fn newest_comes_first_in_columns() {
        use SampleCause::{Resume, Set, Start, Step, Time};
        const YEARS: i64 = 10 * 365 * 86_400_000;
        let history = history([
            (0, Some(12), 0, Start),
            (1_000, None, -YEARS, Set),
            (2_000, Some(-28_800_000), 3, Resume),
            (3_000, Some(0), 28_800_000, Step),
            (4_000, Some(i64::MIN), i64::MAX, Time),
        ]);
        let lines = table(&history, 3_604_000, false);
        assert_eq!(
            lines,
            [
                "BEFORE  CLOCK                            SEEN",
                "60 min  292471208 years behind Windows'  set forward by 292471208 years",
                "60 min  0 ms ahead of Windows'           set by the agent, set forward by 8 h",
                "60 min  8 h behind Windows'              after a sleep",
                "60 min  nothing to compare it with       set back by 10 years",
                "60 min  12 ms ahead of Windows'          at the agent's start",
            ]
        );
    }

    #[test]
    fn long_histories_are_shortened() {
        let history = history((0..50).map(|at| (at, Some(1), 0, SampleCause::Time)));
        let lines = table(&history, 100, false);
        assert_eq!(lines.len(), MOST + 2);
        assert_eq!(lines.last().unwrap(), "and 38 more (--all shows them)");
        assert_eq!(table(&history, 100, true).len(), 51);
        assert!(table(&ClockHistory::default(), 100, true)[0].starts_with("no history"));
    }
}
