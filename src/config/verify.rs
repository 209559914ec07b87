//! `[host] verify`: how often Windows is asked whether it still has the rules.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::duration;

/// A period of 1 min to 24 h, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Verify(pub Option<Duration>);

/// Seconds of a minute and of an hour.
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// As `90s`, `5m` and `1h`.
fn period(text: &str) -> Option<Duration> {
    let seconds = |number: &str, unit: u64| number.parse::<u64>().ok()?.checked_mul(unit);
    if let Some(seconds) = text.strip_suffix('h').map(|number| seconds(number, HOUR)) {
        return seconds.map(Duration::from_secs);
    }
    if let Some(seconds) = text.strip_suffix('m').map(|number| seconds(number, MINUTE)) {
        return seconds.map(Duration::from_secs);
    }
    duration(text)
}

impl TryFrom<String> for Verify {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let range = Duration::from_secs(MINUTE)..=Duration::from_secs(24 * HOUR);
        match period(&text).filter(|period| range.contains(period)) {
            Some(period) => Ok(Self(Some(period))),
            None if text == "off" => Ok(Self(None)),
            None => Err(format!(
                "{text:?} is no period: write \"off\", or \"1m\" to \"24h\" such as \"1h\""
            )),
        }
    }
}

impl From<Verify> for String {
    fn from(verify: Verify) -> Self {
        let Some(period) = verify.0 else {
            return "off".to_owned();
        };
        match period.as_secs() {
            seconds if seconds % HOUR == 0 => format!("{}h", seconds / HOUR),
            seconds if seconds % MINUTE == 0 => format!("{}m", seconds / MINUTE),
            seconds => format!("{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests;
