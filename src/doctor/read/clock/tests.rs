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
}
