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
    "head",
    "request",
    "portproxy",
    "answer",
    "network",
    "refresh",
    "windows-caller",
    "windows-portproxy",
    "windows-network",
    "refresh-start",
);

/// All scripts by their file names.
pub const ALL: &[(&str, &str)] = &[("refresh.ps1", REFRESH)];
