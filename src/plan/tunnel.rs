//! Whether the tunnel to Windows is wanted, and what a row of looks at NAT says.
//!
//! One look decides nothing: Windows needs moments after a sleep or a change of its network,
//! and each change of the way out ends the connections that go there.

use std::time::Duration;

use crate::{
    config::TunnelWhen,
    model::{Mode, NatState, TunnelReason},
};

/// So many looks in a row have to fail before NAT counts as broken.
const LEAST_FAILED: u32 = 3;
/// From the end of a failed look to the next one, while NAT does not count as broken yet.
const SOON: Duration = Duration::from_secs(1);
/// So many looks in a row have to be good before it counts as working again.
const LEAST_GOOD: u32 = 3;
/// And from the first to the last of them so much time has to pass: two ticks of systemd's
/// watchdog, by which these looks are made, are a little more;
const HOLD: Duration = Duration::from_secs(55);
/// up to so many times as much, doubling, where it breaks again
const MOST_HOLDS: u32 = 16;
/// within this time.
const RELAPSE: Duration = Duration::from_secs(600);
/// While NAT is broken a look is made again after this time, a little less than a tick,
const FIRST_PAUSE: Duration = Duration::from_secs(25);
/// doubling to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why the tunnel is wanted, if it is. `broken` is what [`NatHistory`] says.
///
/// Only in NAT mode is there a NAT that can break: elsewhere eth0 is a network's own, or
/// Windows' programs make the connections anyway.
#[must_use]
pub fn tunnel_wanted(when: TunnelWhen, mode: Option<Mode>, broken: bool) -> Option<TunnelReason> {
    match when {
        TunnelWhen::Always => Some(TunnelReason::Always),
        TunnelWhen::NatBroken if broken && looks_at_nat(when, mode) => {
            Some(TunnelReason::NatBroken)
        }
        TunnelWhen::NatBroken | TunnelWhen::Never => None,
    }
}

/// Whether the state of NAT decides anything.
#[must_use]
pub fn looks_at_nat(when: TunnelWhen, mode: Option<Mode>) -> bool {
    when == TunnelWhen::NatBroken && mode == Some(Mode::Nat)
}

/// When the next look at NAT is to be made, besides those that an event causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextLook {
    /// After this time, by a timer.
    Soon(Duration),
    /// After this time, when the agent is awake anyway.
    Seldom(Duration),
}

/// What a row of looks at NAT says. Times are from any fixed moment on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatHistory {
    broken: bool,
    /// Failed looks in a row.
    failed: u32,
    /// Good looks in a row, and the first of them.
    good: u32,
    good_since: Duration,
    /// Looks since it counts as broken, as long as none was good.
    looks: u32,
    /// How often it broke again.
    relapses: u32,
    /// When it counted as working again.
    recovered: Option<Duration>,
}

impl NatHistory {
    /// That of an agent before this one, which had the tunnel up because NAT was broken.
    #[must_use]
    pub fn broken_before() -> Self {
        Self {
            broken: true,
            ..Self::default()
        }
    }

    /// Whether NAT counts as broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether it may be about to.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        !self.broken && self.failed > 0
    }

    /// Good looks in a row while it counts as broken, and since when.
    #[must_use]
    pub fn good(&self) -> Option<(u32, Duration)> {
        (self.broken && self.good > 0).then_some((self.good, self.good_since))
    }

    /// Takes a look. Says whether what NAT counts as changed.
    pub fn take(&mut self, look: NatState, now: Duration) -> bool {
        match look {
            NatState::Works if !self.broken => self.failed = 0,
            NatState::Works => {
                if self.good == 0 {
                    self.good_since = now;
                }
                self.good += 1;
                let held = now.saturating_sub(self.good_since);
                if self.good >= LEAST_GOOD && held >= self.hold() {
                    (self.broken, self.recovered) = (false, Some(now));
                    (self.good, self.looks) = (0, 0);
                    return true;
                }
            }
            NatState::Broken if self.broken => {
                self.good = 0;
                self.looks = self.looks.saturating_add(1);
            }
            NatState::Broken => {
                self.failed += 1;
                if self.failed >= LEAST_FAILED {
                    let again = self.recovered.take();
                    let again = again.is_some_and(|at| now.saturating_sub(at) < RELAPSE);
                    self.relapses = if again { self.relapses + 1 } else { 0 };
                    (self.broken, self.failed, self.good) = (true, 0, 0);
                    return true;
                }
            }
            // What is uncertain neither breaks it nor mends it.
            NatState::Unclear => (self.failed, self.good) = (0, 0),
        }
        false
    }

    /// When to look again, from the end of the last look on.
    #[must_use]
    pub fn next(&self) -> Option<NextLook> {
        match (self.broken, self.failed, self.good) {
            (false, 0, _) => None,
            (false, ..) => Some(NextLook::Soon(SOON)),
            (true, _, 0) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.looks.min(8));
                Some(NextLook::Seldom(pause.min(LONGEST_PAUSE)))
            }
            (true, ..) => Some(NextLook::Seldom(FIRST_PAUSE)),
        }
    }

    /// How long it has to be good.
    fn hold(&self) -> Duration {
        HOLD.saturating_mul((1 << self.relapses.min(8)).min(MOST_HOLDS))
    }
}

#[cfg(test)]
mod tests;
