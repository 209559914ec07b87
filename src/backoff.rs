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
            longest,
            most_jitter: 0,
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
        let base = FIRST.saturating_mul(1 << doublings).min(self.longest);
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
mod tests {
    use super::*;

    fn after(failures: u32, retry: Retry) -> Retry {
        Retry { failures, ..retry }
    }

    #[test]
    fn doubles_up_to_the_longest_delay() {
        let longest = || Retry::up_to(Duration::from_secs(60));
        let tables = [
            (
                Retry::default as fn() -> Retry,
                [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300],
            ),
            (longest, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]),
        ];
        for (retry, expected) in tables {
            let seconds = (0..12).map(|failures| after(failures, retry()).delay(0).as_secs());
            assert_eq!(seconds.collect::<Vec<_>>(), expected);
        }
        let most = after(u32::MAX, Retry::default()).delay(u64::MAX);
        assert_eq!(most.as_secs() / 60, 5);
        assert_eq!(after(u32::MAX, longest()).delay(7).as_secs(), 60);
    }

    #[test]
    fn jitter_is_at_most_a_quarter() {
        for random in [0, 1, 250, 251, u64::MAX] {
            let delay = after(3, Retry::default()).delay(random);
            assert!(
                delay >= Duration::from_secs(4) && delay <= Duration::from_secs(5),
                "{delay:?}"
            );
            let steady = after(3, Retry::up_to(LONGEST)).delay(random);
            assert_eq!(steady, Duration::from_secs(4));
        }
    }

    #[test]
    fn a_retry_is_due_once_and_reset_forgets_failures() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert!(!retry.take_due(now), "nothing has failed");
        let due = retry.failed(now);
        assert!(!retry.take_due(now) && retry.due == Some(due));
        assert!(retry.take_due(due) && !retry.take_due(due));
        assert!(retry.failed(due) >= due + Duration::from_secs(2));
        assert!(retry.postpone(due) <= due + Duration::from_millis(2500));
        assert_eq!(retry.failures, 2);
        retry.reset();
        assert_eq!(retry, Retry::default());
    }
}
