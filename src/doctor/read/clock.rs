//! Compares the clock with others.

use std::{fs::File, os::fd::AsFd};

use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};

use super::{
    super::facts::{Clock, Drift, DriftSource},
    root::Root,
};

/// Most PTP devices that are tried; the Hyper-V one is named `hyperv`.
const DEVICES: usize = 8;

pub(super) fn read(root: &Root) -> Clock {
    let follows = root.line("/sys/module/hv_utils/parameters/timesync_implicit");
    Clock {
        drift: ptp(root)
            .or_else(|| rtc(root))
            .ok_or_else(|| "no other clock to compare with".to_owned()),
        follows: follows.map(|text| text == "1" || text == "Y"),
    }
}

/// Windows' clock by its PTP device, which only root can read (0600).
fn ptp(root: &Root) -> Option<Drift> {
    let device = (0..DEVICES).find(|number| {
        let name = root.line(&format!("/sys/class/ptp/ptp{number}/clock_name"));
        name.as_deref() == Some("hyperv")
    })?;
    let file = File::open(root.at(&format!("/dev/ptp{device}"))).ok()?;
    let theirs = clock_gettime_dynamic(DynamicClockId::Dynamic(file.as_fd())).ok()?;
    Some(Drift {
        source: DriftSource::Ptp,
        ahead_ms: ms(clock_gettime(ClockId::Realtime)).saturating_sub(ms(theirs)),
    })
}

/// The hardware clock, which every user can read, to the second.
fn rtc(root: &Root) -> Option<Drift> {
    let seconds: i64 = root.line("/sys/class/rtc/rtc0/since_epoch")?.parse().ok()?;
    let ours = ms(clock_gettime(ClockId::Realtime));
    Some(Drift {
        source: DriftSource::Rtc,
        ahead_ms: ours.saturating_sub(seconds.saturating_mul(1_000)),
    })
}

fn ms(time: Timespec) -> i64 {
    let sub = time.tv_nsec / 1_000_000;
    time.tv_sec.saturating_mul(1_000).saturating_add(sub)
}

/// Seconds since 1970 (UTC).
pub(super) fn now_unix() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::testing::{machine, write};

    #[test]
    fn the_hardware_clock() {
        let (_folder, root) = machine(&[]);
        assert!(read(&root).drift.is_err() && read(&root).follows.is_none());
        let ahead = format!("{}\n", now_unix() + 100);
        write(&root, "/sys/class/rtc/rtc0/since_epoch", &ahead);
        let follows = "/sys/module/hv_utils/parameters/timesync_implicit";
        write(&root, follows, "0\n");
        let clock = read(&root);
        let drift = clock.drift.unwrap();
        assert_eq!(
            (drift.source, clock.follows),
            (DriftSource::Rtc, Some(false))
        );
        assert!((-100_000..-40_000).contains(&drift.ahead_ms), "{drift:?}");
        // Where the device is not a clock, the hardware clock is read.
        write(&root, "/sys/class/ptp/ptp0/clock_name", "hyperv\n");
        write(&root, "/dev/ptp0", "");
        assert_eq!(read(&root).drift.unwrap().source, DriftSource::Rtc);
    }
}
