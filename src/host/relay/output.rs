//! What the relay sends: a pipe, and how much may come from it.

use std::{
    future::pending,
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use tokio::net::unix::pipe::Receiver;

/// What a relay may send at once, in bytes: a good one that reports its whole table in
/// one event for each session, twice, sends half of it.
const MAX_BURST: usize = 8 << 20;

/// What it may send for longer, in bytes a second: a good one that is flooded sends 20
/// `refused` a second, a sixth of it.
const MAX_RATE: u64 = 32 << 10;

/// What the relay may send: [`MAX_BURST`] at once, [`MAX_RATE`] for longer.
#[derive(Debug)]
pub(super) struct Allowance {
    left: usize,
    since: Instant,
}

impl Allowance {
    /// All of it.
    pub(super) const fn new(since: Instant) -> Self {
        let left = MAX_BURST;
        Self { left, since }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes).min(MAX_BURST);
    }

    /// Takes so many bytes of it; `false` when it is exceeded.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) -> bool {
        // In milliseconds, of which the rest is kept for the next time.
        let passed = now.saturating_duration_since(self.since).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        if passed > 0 {
            let earned = passed.saturating_mul(MAX_RATE) / 1000;
            self.add(usize::try_from(earned).unwrap_or(MAX_BURST));
            self.since += Duration::from_millis(passed);
        }
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or_default();
        left.is_some()
    }
}

/// A pipe from a program, and what was read from it.
#[derive(Debug)]
pub(in crate::host) struct Output {
    pipe: Receiver,
    pub(in crate::host) open: bool,
    pub(in crate::host) bytes: Vec<u8>,
}

impl Output {
    pub(in crate::host) fn new(pipe: impl Into<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            pipe: Receiver::from_owned_fd(pipe.into())?,
            open: true,
            bytes: Vec::new(),
        })
    }

    /// Waits until it is readable; forever once it is closed.
    pub(in crate::host) async fn readable(&self) -> io::Result<()> {
        if self.open {
            self.pipe.readable().await
        } else {
            pending().await
        }
    }

    /// Reads once, if there is something. Returns whether there may be more.
    pub(in crate::host) fn read(&mut self) -> io::Result<bool> {
        let mut part = [0; 16 << 10];
        match self.pipe.try_read(&mut part) {
            Ok(length) => {
                self.open = length > 0;
                let part = part.get(..length).unwrap_or_default();
                self.bytes.extend_from_slice(part);
                Ok(self.open)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wslmesh_relay::protocol::MAX_LINE;

    #[test]
    fn allowance_is_a_burst_and_a_rate() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut allowance = Allowance::new(start);
        assert!(allowance.spend(MAX_BURST, start));
        assert!(!allowance.spend(1, start));
        // 32.768 bytes a millisecond, however often it is asked.
        assert!(allowance.spend(32, at(1)) && !allowance.spend(1, at(1)));
        assert!(allowance.spend(32_000, at(1001)) && !allowance.spend(1000, at(1001)));
        // No more is saved up than the burst, and a command earns its answer.
        assert!(!allowance.spend(MAX_BURST + 1, at(1 << 40)));
        assert!(!allowance.spend(1, at(1 << 40)));
        allowance.add(MAX_LINE);
        assert!(allowance.spend(MAX_LINE, at(1 << 40)) && !allowance.spend(1, at(1 << 40)));
    }
}
