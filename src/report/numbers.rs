//! What the agent counts from its start on.
//!
//! A new process begins at zero, as those who read counters expect: Prometheus' `rate()`
//! and `increase()` go by differences and take a smaller number for a restart.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{ClockSample, RecoveryEntry};
use crate::model::{Code, HostOutcome, micros};

/// The findings that are failures on the way to Windows; those of Windows' answers are not.
pub const INTEROP_FAILURES: [Code; 11] = [
    Code::InteropMissing,
    Code::InteropPowershell,
    Code::InteropDead,
    Code::InteropScript,
    Code::InteropTimeout,
    Code::InteropFailed,
    Code::InteropOutput,
    Code::DriveDenied,
    Code::HostTaskFailed,
    Code::HostTaskTimeout,
    Code::ModeUnknown,
];

/// The clock was set where it was by more, in milliseconds.
const STEP_MS: u64 = 5;

/// Things that took time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Durations {
    /// How many ended.
    pub count: u64,
    /// Microseconds in all.
    pub total_us: u64,
    /// Microseconds of the last one; nothing before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_us: Option<u64>,
}

impl Durations {
    fn add(&mut self, took: Duration) {
        let took = micros(took);
        self.count += 1;
        self.total_us = self.total_us.saturating_add(took);
        self.last_us = Some(took);
    }
}

/// The clock against Windows' when it was looked at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockNumbers {
    /// When, in seconds since 1970 (UTC).
    pub compared_unix: i64,
    /// The clock minus Windows', in milliseconds.
    pub ahead_ms: i64,
}

/// What the agent has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Numbers {
    /// Since when, in seconds since 1970 (UTC).
    pub since_unix: u64,
    /// How often the node got another address.
    pub address_changes: u64,
    /// Times in which the node, once it had one, was without an address.
    pub outages: Durations,
    /// Passes.
    pub passes: Durations,
    /// Calls to Windows about forwards.
    pub windows_calls: Durations,
    /// Those of them that have to be made again.
    pub windows_calls_failed: u64,
    /// Failures on the way to Windows, by health code.
    pub interop_failures: BTreeMap<String, u64>,
    /// Recoveries after a sleep of Windows or a time without a network.
    pub recoveries: Durations,
    /// Those of them after which something did not work.
    pub recoveries_incomplete: u64,
    /// Seconds that the machine was asleep or without a network before them.
    pub away_s: u64,
    /// How often the clock was set, by whatever program.
    pub clock_steps: u64,
    /// The last comparison with Windows' clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockNumbers>,
    /// The address of the last pass that had one.
    #[serde(skip)]
    pub(super) last: Option<IpAddr>,
    /// When it was lost.
    #[serde(skip)]
    pub(super) lost: Option<Instant>,
}

impl Numbers {
    /// Nothing is counted yet.
    #[must_use]
    pub fn since(since_unix: u64) -> Self {
        Self {
            since_unix,
            ..Self::default()
        }
    }

    /// Takes a pass that ended now, and the node's address after it.
    pub fn passed(&mut self, took: Duration, address: Option<IpAddr>, now: Instant) {
        self.passes.add(took);
        let Some(address) = address else {
            if self.last.is_some() {
                self.lost.get_or_insert(now);
            }
            return;
        };
        self.address_changes += u64::from(self.last.is_some_and(|last| last != address));
        self.last = Some(address);
        if let Some(lost) = self.lost.take() {
            self.outages.add(now.saturating_duration_since(lost));
        }
    }

    /// Takes the outcome of a call to Windows.
    pub fn called_windows(&mut self, outcome: &HostOutcome) {
        self.windows_calls.add(outcome.took);
        self.windows_calls_failed += u64::from(!outcome.settled);
        for finding in &outcome.findings {
            self.failed(finding.code);
        }
    }

    /// Takes a failure; one that is none on the way to Windows is left out.
    pub fn failed(&mut self, code: Code) {
        if INTEROP_FAILURES.contains(&code) {
            *self.interop_failures.entry(code.to_string()).or_default() += 1;
        }
    }

    /// Takes a recovery that ended.
    pub fn recovered(&mut self, entry: &RecoveryEntry) {
        self.recoveries
            .add(Duration::from_millis(entry.duration_ms));
        self.recoveries_incomplete += u64::from(!entry.failed.is_empty());
        self.away_s = self.away_s.saturating_add(entry.away_s);
    }

    /// Takes a look at the clock.
    pub fn looked_at_clock(&mut self, sample: &ClockSample) {
        self.clock_steps += u64::from(sample.set_ms.unsigned_abs() > STEP_MS);
        let ahead_ms = sample.ahead_ms.filter(|_| !sample.by_rtc);
        self.clock = ahead_ms.map(|ahead_ms| ClockNumbers {
            compared_unix: sample.unix,
            ahead_ms,
        });
    }
}

#[cfg(test)]
mod tests;
