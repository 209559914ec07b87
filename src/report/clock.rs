//! How far the clock was from Windows': samples in one file in the runtime directory,
//! which ends with the boot, as what they are counted by.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::fs::{
    file::{self, FileError},
    read_bounded,
};

/// Most samples that are kept, 16 hours of those that nothing but time caused.
const MOST: usize = 96;
/// Most bytes of the file; a sample has less than 150.
const MOST_BYTES: usize = 64 << 10;
/// Version of the file's form.
const VERSION: u32 = 1;

/// Why the clock was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampleCause {
    /// The agent started.
    Start,
    /// The clock was set.
    Set,
    /// The machine is back after a sleep or without a network.
    Resume,
    /// Ten minutes are over, or half a minute where the clock was wrong; seen at a pass or
    /// when systemd's watchdog woke the agent.
    Time,
    /// The agent set the clock.
    Step,
}

/// The clock at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockSample {
    /// When, by CLOCK_BOOTTIME in milliseconds: no setting of the clock changes that.
    pub boot_ms: i64,
    /// When, in seconds since 1970 (UTC), by the clock as it was.
    pub unix: i64,
    /// The clock minus Windows', in milliseconds; nothing where that cannot be said.
    pub ahead_ms: Option<i64>,
    /// Whether it was compared with the hardware clock, for want of Windows'.
    #[serde(default)]
    pub by_rtc: bool,
    /// By how much it was set since the sample before, in milliseconds; 0 where it only ran.
    #[serde(default)]
    pub set_ms: i64,
    /// Why it was looked at.
    pub cause: SampleCause,
}

/// The samples of this boot, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClockHistory {
    version: u32,
    /// At most 96.
    pub samples: VecDeque<ClockSample>,
}

impl ClockHistory {
    /// Reads what an agent has kept. What cannot be read, or is of an earlier boot, is left
    /// out: it is worth no error.
    #[must_use]
    pub fn read(runtime: &Path, boot_ms: i64) -> Self {
        let read = read_bounded(&path(runtime), MOST_BYTES).ok();
        let kept: Option<Self> = read.and_then(|text| serde_json::from_slice(&text).ok());
        let mut kept = kept
            .filter(|kept| kept.version == VERSION)
            .unwrap_or_default();
        kept.samples
            .retain(|sample| (0..=boot_ms).contains(&sample.boot_ms));
        kept
    }

    /// Adds a sample; the oldest one goes where there are too many.
    pub fn push(&mut self, sample: ClockSample) {
        let excess = (self.samples.len() + 1).saturating_sub(MOST);
        self.samples.drain(..excess);
        self.samples.push_back(sample);
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The runtime directory is not there or not writable.
    pub fn write(&mut self, runtime: &Path) -> Result<(), FileError> {
        self.version = VERSION;
        let text = serde_json::to_vec(self).unwrap_or_default();
        file::write(&path(runtime), &text, 0o644)
    }
}

fn path(runtime: &Path) -> PathBuf {
    runtime.join("clock.json")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sample(boot_ms: i64) -> ClockSample {
        ClockSample {
            boot_ms,
            unix: 1_800_000_000,
            ahead_ms: Some(-12),
            by_rtc: false,
            set_ms: 0,
            cause: SampleCause::Time,
        }
    }

    #[test]
    fn oldest_samples_go_and_the_rest_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = ClockHistory::default();
        for number in 0..200 {
            let unix = if number % 2 == 0 { i64::MIN } else { i64::MAX };
            history.push(ClockSample {
                unix,
                ahead_ms: Some(unix),
                set_ms: unix,
                ..sample(number)
            });
        }
        history.write(folder.path()).unwrap();
        let size = fs::metadata(path(folder.path())).unwrap().len();
        assert!(size < MOST_BYTES as u64 / 2, "{size}");
        let read = ClockHistory::read(folder.path(), 199);
        assert_eq!(read, history);
        assert_eq!((read.samples.len(), read.samples[0].boot_ms), (MOST, 104));
        // Those that are later than now are of an earlier boot.
        let booted = ClockHistory::read(folder.path(), 110);
        assert_eq!(booted.samples.len(), 7);
    }

    #[test]
    fn what_cannot_be_read_is_no_history() {
        let folder = tempfile::tempdir().unwrap();
        let none = ClockHistory::default();
        assert_eq!(ClockHistory::read(folder.path(), 9), none);
        for text in ["", "{", r#"{"version":2,"samples":[]}"#, "[1]", "\u{0}"] {
            fs::write(path(folder.path()), text).unwrap();
            assert_eq!(ClockHistory::read(folder.path(), 9), none, "{text}");
        }
        fs::write(path(folder.path()), vec![b' '; MOST_BYTES + 1]).unwrap();
        assert_eq!(ClockHistory::read(folder.path(), 9), none);
        fs::remove_file(path(folder.path())).unwrap();
        fs::create_dir(path(folder.path())).unwrap();
        assert_eq!(ClockHistory::read(folder.path(), 9), none);
        ClockHistory::default().write(folder.path()).unwrap_err();
    }
}
