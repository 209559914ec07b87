//! `[clock]`: whether the agent sets the clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{duration, duration_text};

/// When the clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// From which distance to Windows' clock on.
    pub step_above: StepAbove,
    /// Also back.
    pub step_back: bool,
}

/// A distance from 5 s to a day, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepAbove(pub Option<Duration>);

impl TryFrom<String> for StepAbove {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let range = Duration::from_secs(5)..=Duration::from_secs(86_400);
        match duration(&text).filter(|above| range.contains(above)) {
            Some(above) => Ok(Self(Some(above))),
            None if text == "never" => Ok(Self(None)),
            None => Err(format!(
                "{text:?} is no distance from which on the clock is set: write \"never\", or \"5s\" to \"86400s\" such as \"60s\""
            )),
        }
    }
}

impl From<StepAbove> for String {
    fn from(above: StepAbove) -> Self {
        above.0.map_or_else(|| "never".to_owned(), duration_text)
    }
}

#[cfg(test)]
mod tests;
