//! Kernel timers as files.
//!
//! tokio's interval wakes the process several times a tick; a periodic timerfd
//! wakes it exactly once. And only a timerfd reports that the wall clock was
//! set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET), which is how a resume of
//! Windows shows.

use std::{future::pending, io, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

/// A timer that can be waited for, or one that never fires.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Receiver>);

impl Timer {
    /// Fires once in each period; never without one.
    pub(super) fn every(period: Option<Duration>) -> io::Result<Self> {
        let Some(period) = period else {
            return Ok(Self(None));
        };
        let period = period.try_into().map_err(io::Error::other)?;
        let flags = TimerfdTimerFlags::empty();
        Self::start(TimerfdClockId::Monotonic, flags, period, period)
    }

    /// Fires when the wall clock is set.
    pub(super) fn clock_set() -> io::Result<Self> {
        let never = Timespec {
            tv_sec: i64::MAX >> 4,
            tv_nsec: 0,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        Self::start(TimerfdClockId::Realtime, flags, Timespec::default(), never)
    }

    fn start(
        clock: TimerfdClockId,
        flags: TimerfdTimerFlags,
        it_interval: Timespec,
        it_value: Timespec,
    ) -> io::Result<Self> {
        let timer = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let times = Itimerspec {
            it_interval,
            it_value,
        };
        timerfd_settime(&timer, flags, &times)?;
        // A timerfd is read like a pipe, and this is tokio's safe way to wait for a file
        // descriptor.
        Ok(Self(Some(Receiver::from_owned_fd_unchecked(timer)?)))
    }

    /// Waits until it fires. A set clock comes as ECANCELED.
    pub(super) async fn fired(&mut self) {
        let Some(timer) = &mut self.0 else {
            return pending().await;
        };
        timer.read_u64().await.map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fires_in_each_period() {
        let mut timer = Timer::every(Some(Duration::from_millis(2))).unwrap();
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_secs(10), timer.fired())
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn clock_timer_is_silent_until_the_clock_is_set() {
        let mut timer = Timer::clock_set().unwrap();
        let fired = tokio::time::timeout(Duration::from_millis(30), timer.fired()).await;
        assert!(fired.is_err());
    }
}
