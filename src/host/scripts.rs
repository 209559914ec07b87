//! The PowerShell scripts that run on Windows, put together from their parts.
//!
//! A script is one file on Windows, because what an elevated program runs must
//! be one thing with one hash; here each part holds one idea, and scripts share
//! them. They are part of this program: script and agent cannot differ in version.

/// Joins parts in this order: decisions, order of events, calls to Windows, start.
macro_rules! script {
    ($($part:literal),* $(,)?) => {
        concat!($(include_str!(concat!("windows/", $part, ".ps1")), "\n",)*)
    };
}

/// `refresh.ps1`: makes Windows' forwards those that the agent asks for.
pub const REFRESH: &str = script!(
    "refresh-about",
    "head",
    "fields",
    "guest-address",
    "forwards",
    "wanted",
    "request",
    "policy",
    "grants",
    "agreed",
    "portproxy",
    "ports",
    "firewall",
    "firewall-blocks",
    "task",
    "answer",
    "json",
    "network",
    "sync",
    "firewall-sync",
    "sync-elevated",
    "refresh",
    "windows-output",
    "windows-input",
    "windows-caller",
    "windows-lock",
    "windows-registry",
    "windows-ledger",
    "windows-ledger-write",
    "windows-portproxy",
    "windows-netsh",
    "windows-ports",
    "windows-firewall",
    "windows-hyperv",
    "windows-network",
    "windows-installed",
    "windows-policy",
    "windows-task",
    "refresh-start",
);

/// `forward.ps1`: makes the forwards of one Windows user those that were selected,
/// as SYSTEM.
pub const FORWARD: &str = script!(
    "forward-about",
    "head",
    "fields",
    "guest-address",
    "forwards",
    "wanted",
    "policy",
    "grants",
    "selection",
    "guest",
    "portproxy",
    "ports",
    "firewall",
    "firewall-blocks",
    "answer",
    "json",
    "sync",
    "firewall-sync",
    "sync-elevated",
    "forward",
    "windows-output",
    "windows-lock",
    "windows-registry",
    "windows-ledger",
    "windows-ledger-write",
    "windows-portproxy",
    "windows-netsh",
    "windows-ports",
    "windows-firewall",
    "windows-hyperv",
    "windows-guest",
    "windows-installed",
    "windows-policy",
    "windows-inbox",
    "forward-start",
);

/// All scripts by their file names.
pub const ALL: &[(&str, &str)] = &[("refresh.ps1", REFRESH), ("forward.ps1", FORWARD)];
