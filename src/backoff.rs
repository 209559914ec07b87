//! How long to wait before the next attempt.

use std::{
    collections::hash_map::RandomState,
    future::pending,
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Attempts at one thing: failures in a row, and when the next attempt is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Failures in a row.
    pub failures: u32,
    /// When the next attempt is due; `None` where none is scheduled.
    pub due: Option<Instant>,
    first: Duration,
    longest: Duration,
    /// In thousandths of a delay.
    most_jitter: u32,
}

impl Default for Retry {
    /// Delays of 1 s, doubling to 5 min, and up to a quarter more so that several
    /// agents do not march in step.
    fn default() -> Self {
        Self {
            most_jitter: 250,
            ..Self::up_to(LONGEST)
        }
    }
}

impl Retry {
    /// Delays of 1 s, doubling to `longest`, for what nothing else waits for.
    #[must_use]
    pub fn up_to(longest: Duration) -> Self {
        Self {
            failures: 0,
            due: None,
            first: FIRST,
            longest,
            most_jitter: 0,
        }
    }

    /// The same as by default from another first delay on.
    #[must_use]
    pub fn starting_at(first: Duration) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// Counts a failure, schedules the next attempt and gives back its time.
    pub fn failed(&mut self, now: Instant) -> Instant {
        self.failures = self.failures.saturating_add(1);
        self.postpone(now)
    }

    /// Schedules the next attempt as after the last failure, without counting another.
    pub fn postpone(&mut self, now: Instant) -> Instant {
        let due = now + self.delay(random());
        self.due = Some(due);
        due
    }

    /// The delay after the failures so far. `random` is any number.
    fn delay(&self, random: u64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let base = self.first.saturating_mul(1 << doublings).min(self.longest);
        let jitter = u32::try_from(random % u64::from(self.most_jitter + 1)).unwrap_or(0);
        base + base * jitter / 1000
    }

    /// Whether the next attempt is due; it is not scheduled any more then.
    pub fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// Forgets the failures and schedules nothing.
    pub fn reset(&mut self) {
        (self.failures, self.due) = (0, None);
    }
}

/// Waits until then; for ever without a time.
pub async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// A number that differs from call to call; std seeds its hashers at random.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
