//! How long to wait before the next try.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Delay after the given number of failures in a row (1 or more): 1 s doubling
/// to 5 min, and up to a quarter more so that several agents do not march in
/// step. `random` is any number.
pub fn delay(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let base = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let jitter = u32::try_from(random % 251).unwrap_or(0);
    base + base * jitter / 1000
}

/// A number that differs from call to call; std seeds its hashers at random.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_minutes() {
        let seconds: Vec<u64> = (0..12)
            .map(|failures| delay(failures, 0).as_secs())
            .collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX, u64::MAX).as_secs() / 60, 5);
    }

    #[test]
    fn jitter_is_at_most_a_quarter() {
        for random in [0, 1, 250, 251, u64::MAX] {
            let delay = delay(3, random);
            assert!(
                delay >= Duration::from_secs(4) && delay <= Duration::from_secs(5),
                "{delay:?}"
            );
        }
    }
}
