//! Compares the clock with others.

use std::os::fd::AsFd;

use rustix::{
    fs::OFlags,
    time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic},
};

use super::{
    super::facts::{Drift, DriftSource},
    root::Root,
};
use crate::fs::open;

/// Most PTP devices that are tried; the Hyper-V one is named `hyperv`.
const DEVICES: usize = 8;

/// This machine's clock against Windows', else against the hardware clock.
pub(super) fn drift(root: &Root) -> Option<Drift> {
    let windows = ptp(root).map(|theirs| (DriftSource::Ptp, theirs));
    let (source, theirs) = windows.or_else(|| Some((DriftSource::Rtc, rtc(root)?)))?;
    Some(Drift {
        source,
        ahead_ms: ms(clock_gettime(ClockId::Realtime)).saturating_sub(theirs),
    })
}

/// Windows' clock in milliseconds by its PTP device, which only root can read (0600).
fn ptp(root: &Root) -> Option<i64> {
    let device = (0..DEVICES).find(|number| {
        let name = root.line(&format!("/sys/class/ptp/ptp{number}/clock_name"));
        name.as_deref() == Some("hyperv")
    })?;
    let path = root.at(&format!("/dev/ptp{device}"));
    let file = open(&path, OFlags::empty()).ok()?;
    clock_gettime_dynamic(DynamicClockId::Dynamic(file.as_fd()))
        .ok()
        .map(ms)
}

/// The hardware clock in milliseconds, which every user can read, to the second.
fn rtc(root: &Root) -> Option<i64> {
    let seconds: i64 = root.line("/sys/class/rtc/rtc0/since_epoch")?.parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

fn ms(time: Timespec) -> i64 {
    let sub = time.tv_nsec / 1_000_000;
    time.tv_sec.saturating_mul(1_000).saturating_add(sub)
}

/// Whether the Hyper-V driver follows Windows' clock.
pub(super) fn follows(root: &Root) -> Option<bool> {
    let text = root.line("/sys/module/hv_utils/parameters/timesync_implicit")?;
    Some(text == "1" || text == "Y")
}

/// Seconds since 1970 (UTC).
pub(super) fn now_unix() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::{machine, write};

    #[test]
    fn the_hardware_clock() {
        let (_folder, root) = machine(&[]);
        assert!(drift(&root).is_none() && follows(&root).is_none());
        let ahead = format!("{}\n", now_unix() + 100);
        write(&root, "/sys/class/rtc/rtc0/since_epoch", &ahead);
        let parameter = "/sys/module/hv_utils/parameters/timesync_implicit";
        write(&root, parameter, "0\n");
        let found = drift(&root).unwrap();
        assert_eq!(
            (found.source, follows(&root)),
            (DriftSource::Rtc, Some(false))
        );
        assert!((-100_000..-40_000).contains(&found.ahead_ms), "{found:?}");
        // Where the device is not a clock, the hardware clock is read.
        write(&root, "/sys/class/ptp/ptp0/clock_name", "hyperv\n");
        write(&root, "/dev/ptp0", "");
        assert_eq!(drift(&root).unwrap().source, DriftSource::Rtc);
        let device = root.at("/dev/ptp0");
        std::fs::remove_file(&device).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &device, 0o600.into()).unwrap();
        assert_eq!(drift(&root).unwrap().source, DriftSource::Rtc);
    }
}
