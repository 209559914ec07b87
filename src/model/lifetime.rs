//! Whether WSL stops this distribution when nothing on Windows uses it.

/// What `.wslconfig` says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdleTimeouts {
    /// The file, as Windows calls it.
    pub file: String,
    /// `general.instanceIdleTimeout` in ms, where it is a number; a negative one is no limit.
    pub instance_ms: Option<i32>,
    /// `wsl2.vmIdleTimeout`, the same for the virtual machine.
    pub machine_ms: Option<i32>,
    /// Whether the file changed after the virtual machine had started, which reads it once.
    pub changed: bool,
}

/// Everything that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleFacts {
    /// What the file says, or why that is unknown.
    pub timeouts: Result<IdleTimeouts, String>,
    /// Whether this version of WSL knows `instanceIdleTimeout`; `None` where the version is
    /// unknown.
    pub knows: Option<bool>,
    /// Whether a task on Windows may have started this distribution and hold it.
    pub may_be_started: bool,
    /// Sessions of Windows in it, such as terminals; `None` where they were not counted.
    pub sessions: Option<usize>,
}

/// What becomes of a distribution that nothing on Windows uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleFate {
    /// It keeps running.
    Kept,
    /// WSL stops it.
    Stopped,
    /// That cannot be known here.
    Unknown,
}

impl IdleFate {
    /// Its name in the status document.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// The same in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// What becomes of it.
    pub fate: IdleFate,
    /// Why and when, without a final dot.
    pub detail: String,
    /// What to do, where there is something to do.
    pub fix: Option<String>,
}
