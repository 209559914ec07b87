//! How long the guest takes to answer, and when to send again: RFC 6298.

use std::time::{Duration, Instant};

use super::sequence::before;

/// The shortest time. A guest may delay an ACK by 200 ms (Linux, `TCP_DELACK_MAX`).
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest time.
const LONGEST: Duration = Duration::from_secs(16);

/// The estimate of a connection.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    /// A sequence number and when it was sent.
    timed: Option<(u32, Instant)>,
    /// Timeouts in a row.
    pub(super) tries: u8,
}

impl Rtt {
    /// The byte before `end` was sent for the first time.
    pub(super) fn sent(&mut self, end: u32, now: Instant) {
        self.timed.get_or_insert((end, now));
    }

    /// Something is sent again: whose ACK comes then is unknown (Karn's algorithm).
    pub(super) fn sent_again(&mut self) {
        self.timed = None;
    }

    /// The guest has acknowledged all before `una`, which is new.
    pub(super) fn acked(&mut self, una: u32, now: Instant) {
        self.tries = 0;
        let Some((_, sent)) = self.timed.take_if(|(end, _)| !before(una, *end)) else {
            return;
        };
        let sample = now.saturating_duration_since(sent);
        let Some(smoothed) = &mut self.smoothed else {
            self.smoothed = Some(sample);
            self.variation = sample / 2;
            return;
        };
        self.variation = self.variation * 3 / 4 + smoothed.abs_diff(sample) / 4;
        *smoothed = *smoothed * 7 / 8 + sample / 8;
    }

    /// How long to wait for an ACK, with the backoff of the timeouts so far.
    pub(super) fn timeout(&self) -> Duration {
        let estimate = self.smoothed.unwrap_or_default() + self.variation * 4;
        let backoff = 1_u32 << self.tries.min(8);
        (estimate.max(SHORTEST) * backoff).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_follows_the_answers() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), SHORTEST);
        rtt.sent(100, start);
        rtt.sent(200, start + second); // not timed
        rtt.acked(99, start + second);
        assert_eq!(rtt.timeout(), SHORTEST);
        rtt.acked(100, start + second);
        assert_eq!(rtt.timeout(), 3 * second);
        rtt.tries = 2;
        assert_eq!(rtt.timeout(), 12 * second);
        rtt.tries = 200;
        assert_eq!(rtt.timeout(), LONGEST);
        // An answer to what was sent twice tells nothing.
        rtt.sent(300, start);
        rtt.sent_again();
        rtt.acked(300, start + 100 * second);
        assert_eq!(rtt.timeout(), 3 * second);
    }
}
