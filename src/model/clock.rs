//! The kernel's clocks, and who keeps the wall clock.

/// Three clocks of the kernel at one moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clocks {
    /// CLOCK_REALTIME: since 1970 (UTC), as far as it is set right.
    pub real_ms: i64,
    /// CLOCK_BOOTTIME: since the boot, with the time that the kernel was suspended.
    pub boot_ms: i64,
    /// CLOCK_MONOTONIC: the same without it.
    pub monotonic_ms: i64,
}

/// Programs that set the clock, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClockKeepers {
    /// Units of systemd that run.
    pub units: Vec<String>,
    /// Whether a program has said to the kernel that it keeps its clock, and how right it
    /// is: any one, WSL's own chronyd included.
    pub kept: bool,
}
