//! The wall clock.

use std::io;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

/// Sets the clock back by so many milliseconds, or forward where they are negative.
///
/// # Errors
/// The system's reason: without CAP_SYS_TIME EPERM, as where `ProtectClock=` is on; EINVAL
/// for a time before 1970.
pub fn set_back(by_ms: i64) -> io::Result<()> {
    Ok(clock_settime(
        ClockId::Realtime,
        earlier(clock_gettime(ClockId::Realtime), by_ms),
    )?)
}

/// The time so many milliseconds before.
fn earlier(time: Timespec, by_ms: i64) -> Timespec {
    let nanos = time.tv_nsec - by_ms.rem_euclid(1_000) * 1_000_000;
    let seconds = time.tv_sec.saturating_sub(by_ms.div_euclid(1_000));
    Timespec {
        tv_sec: seconds.saturating_add(nanos.div_euclid(1_000_000_000)),
        tv_nsec: nanos.rem_euclid(1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after() {
        let at = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        for (by_ms, then) in [
            (0, at(100, 250_000_000)),
            (250, at(100, 0)),
            (251, at(99, 999_000_000)),
            (-750, at(101, 0)),
            (-1, at(100, 251_000_000)),
            (3_600_000, at(-3_500, 250_000_000)),
            (-3_600_001, at(3_700, 251_000_000)),
        ] {
            assert_eq!(earlier(at(100, 250_000_000), by_ms), then, "{by_ms}");
        }
        let far = earlier(at(i64::MAX, 0), i64::MIN);
        assert!(far.tv_sec > 0 && (0..1_000_000_000).contains(&far.tv_nsec));
    }
}
