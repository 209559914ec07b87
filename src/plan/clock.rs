//! Whether the clock is wrong, and why it is not set.

use crate::{
    config::Clock,
    model::{ClockKeepers, Code, Finding, span},
};

/// The least by which the clock is wrong, in milliseconds: from there on Hyper-V's driver
/// sets it (kernel: drivers/hv/hv_util.c).
pub const CLOCK_LIMIT_MS: u64 = 5_000;

/// What moves by more between two looks is being corrected, in milliseconds.
const STEADY_MS: u64 = 1_000;

/// What setting the clock back does to WireGuard: a handshake has the time of the node that
/// begins it, and a peer takes none that is not later than the last one
/// (drivers/net/wireguard/noise.c, `latest_timestamp`; wireguard-go alike).
pub const CLOCK_BACKWARDS: &str = "peers of WireGuard refuse handshakes that this node begins until its clock passes the time that it had, or until they remove this node and add it again; those that they begin work";

/// A clock that is wrong now, and was a while ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongClock {
    before_ms: i64,
    /// It minus Windows' clock, in milliseconds.
    pub ahead_ms: i64,
    wireguard: bool,
}

impl WrongClock {
    /// Judges it by how far it was from Windows' clock at two looks, in milliseconds.
    /// `wireguard`: whether there is a tunnel of WireGuard.
    #[must_use]
    pub fn of(before: Option<i64>, now: Option<i64>, wireguard: bool) -> Option<Self> {
        let wrong = |ahead: &i64| ahead.unsigned_abs() >= CLOCK_LIMIT_MS;
        Some(Self {
            before_ms: before.filter(wrong)?,
            ahead_ms: now.filter(wrong)?,
            wireguard,
        })
    }

    /// Why it is not to be set, as far as the configuration and the clock itself tell.
    #[must_use]
    pub fn withheld(&self, settings: &Clock) -> Option<String> {
        let by = self.ahead_ms.unsigned_abs();
        let Some(above) = settings.step_above.0 else {
            return Some("[clock] step-above is \"never\"".to_owned());
        };
        if u128::from(by) < above.as_millis() {
            let above = above.as_secs();
            return Some(format!(
                "that is less than [clock] step-above = \"{above}s\""
            ));
        }
        if self.ahead_ms > 0 && !settings.step_back {
            let off = "[clock] step-back is off";
            return Some(match self.wireguard {
                true => format!("{off}; when it is set back {CLOCK_BACKWARDS}"),
                false => off.to_owned(),
            });
        }
        let moves = self.ahead_ms.abs_diff(self.before_ms) >= STEADY_MS;
        moves.then(|| "that changes, so something corrects it".to_owned())
    }

    /// The finding, with the reason why it is not set.
    #[must_use]
    pub fn finding(&self, why: &str) -> Finding {
        let (by, way) = (
            self.by(),
            if self.ahead_ms < 0 {
                "behind"
            } else {
                "ahead of"
            },
        );
        let detail = format!("the clock is {by} {way} Windows' and is not set: {why}");
        Finding::new(Code::ClockWrong, "", detail)
    }

    /// The line of the journal once it was set.
    #[must_use]
    pub fn was_set(&self) -> String {
        let (by, ms) = (self.by(), self.ahead_ms.unsigned_abs());
        let way = if self.ahead_ms < 0 { "forward" } else { "back" };
        let line = format!("set the clock {way} by {by} ({ms} ms), to Windows' time");
        match self.ahead_ms > 0 && self.wireguard {
            true => format!("{line}: {CLOCK_BACKWARDS}"),
            false => line,
        }
    }

    fn by(&self) -> String {
        span(self.ahead_ms.unsigned_abs() / 1_000)
    }
}

/// Who sets the clock already.
#[must_use]
pub fn clock_keeper(keepers: &ClockKeepers) -> Option<String> {
    match (keepers.units.as_slice(), keepers.kept) {
        ([], false) => None,
        ([], true) => {
            Some("the kernel says that a program keeps it, as WSL's own chronyd does".to_owned())
        }
        ([unit], _) => Some(format!("{unit} sets it")),
        (units, _) => Some(format!("{} set it", units.join(" and "))),
    }
}

#[cfg(test)]
mod tests;
