//! Medians, percentiles, and the table they end in.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::runner::trial_alone;

pub(super) fn trials() -> Vec<Trial> {
    vec![trial_alone("bench::percentiles", percentiles)]
}

/// Measured times, sorted.
#[derive(Debug, Clone)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that `percent` of all do not exceed (nearest rank).
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub(super) fn worst(&self) -> Duration {
        self.percentile(100)
    }

    /// How many times longer this median is than another one.
    pub(super) fn times_longer(&self, other: &Self) -> f64 {
        self.median().as_secs_f64() / other.median().as_secs_f64()
    }

    /// For the table. A 99th percentile of fewer than a hundred is the worst.
    pub(super) fn text(&self) -> String {
        let mut text = short(self.median());
        if self.count() >= 100 {
            text.push_str(&format!(", p99 {}", short(self.percentile(99))));
        }
        format!("{text}, worst {} ({})", short(self.worst()), self.count())
    }
}

/// A time with three digits.
pub(super) fn short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms >= 10_000.0 {
        format!("{:.1} s", ms / 1e3)
    } else if ms >= 100.0 {
        format!("{ms:.0} ms")
    } else if ms >= 10.0 {
        format!("{ms:.1} ms")
    } else if ms >= 0.1 {
        format!("{ms:.2} ms")
    } else {
        format!("{:.1} us", ms * 1e3)
    }
}

/// Lines for the table.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Line>);

#[derive(Debug)]
enum Line {
    Head(String),
    Figure {
        name: String,
        value: String,
        target: Option<(String, bool)>,
    },
}

impl Report {
    /// Begins a group.
    pub(super) fn head(&mut self, text: &str) {
        self.0.push(Line::Head(text.to_owned()));
    }

    /// A figure without a target: what another one is compared with.
    pub(super) fn beside(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(Line::Figure {
            name: name.to_owned(),
            value: value.into(),
            target: None,
        });
    }

    /// A figure, its target, and whether it is reached.
    pub(super) fn figure(&mut self, name: &str, value: impl Into<String>, target: &str, ok: bool) {
        self.0.push(Line::Figure {
            name: name.to_owned(),
            value: value.into(),
            target: Some((target.to_owned(), ok)),
        });
    }

    /// Prints the table, and how many targets were missed.
    pub(super) fn print(&self) {
        let (mut met, mut missed) = (0, 0);
        for line in &self.0 {
            match line {
                Line::Head(text) => println!("\n{text}"),
                Line::Figure {
                    name,
                    value,
                    target,
                } => {
                    let (target, verdict) = match target {
                        None => ("", ""),
                        Some((target, true)) => {
                            met += 1;
                            (target.as_str(), "PASS")
                        }
                        Some((target, false)) => {
                            missed += 1;
                            (target.as_str(), "MISS")
                        }
                    };
                    let text = format!("  {name:<32} {value:<44} {target:<17} {verdict}");
                    println!("{}", text.trim_end());
                }
            }
        }
        println!("\nTimes are medians, 99th percentiles and worst, with their number in brackets.");
        println!("{met} targets reached, {missed} missed");
    }
}

fn percentiles() -> Result<()> {
    let times = |ms: &[u64]| Times::new(ms.iter().copied().map(Duration::from_millis).collect());
    let hundred: Vec<u64> = (1..=100).rev().collect();
    let hundred = times(&hundred);
    for (percent, ms) in [(50, 50), (99, 99), (100, 100)] {
        let got = hundred.percentile(percent);
        ensure!(got == Duration::from_millis(ms), "{percent} %: {got:?}");
    }
    let few = times(&[7, 3, 5]);
    ensure!(few.median() == Duration::from_millis(5) && few.worst() == Duration::from_millis(7));
    ensure!(
        few.percentile(99) == few.worst(),
        "the 99th of three is the worst"
    );
    ensure!((hundred.times_longer(&few) - 10.0).abs() < 1e-9);
    Ok(())
}
