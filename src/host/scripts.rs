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
    "windows-sync-lock",
    "windows-registry",
    "windows-ledger",
    "windows-ledger-write",
    "windows-registry-empty",
    "windows-portproxy",
    "windows-netsh",
    "windows-ports",
    "windows-limited",
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
    "windows-sync-lock",
    "windows-registry",
    "windows-ledger",
    "windows-ledger-write",
    "windows-portproxy",
    "windows-netsh",
    "windows-ports",
    "windows-limited",
    "windows-firewall",
    "windows-hyperv",
    "windows-guest",
    "windows-installed",
    "windows-policy",
    "windows-inbox",
    "forward-start",
);

/// `host.ps1`: installs, removes and examines the Windows side, without rights.
pub const HOST: &str = script!(
    "host-about",
    "head",
    "fields",
    "policy",
    "order",
    "installed",
    "tasks",
    "loader-open",
    "loader",
    "loader-close",
    "host-request",
    "host-order",
    "host-answer",
    "json",
    "host-situation",
    "guest-address",
    "guest",
    "checks",
    "host-checks",
    "host",
    "windows-output",
    "windows-input",
    "windows-caller",
    "windows-registry",
    "windows-registry-keys",
    "windows-account",
    "windows-places",
    "windows-bytes",
    "windows-clock",
    "windows-scheduler",
    "windows-tasks",
    "windows-guest",
    "windows-network",
    "windows-host",
    "windows-limited",
    "windows-checks",
    "host-start",
);

/// `setup.ps1`: what `host.ps1` has done with administrator rights.
pub const SETUP: &str = script!(
    "setup-about",
    "head",
    "fields",
    "policy",
    "order",
    "installed",
    "policy-words",
    "tasks",
    "task-definitions",
    "setup-order",
    "setup-rights",
    "wanted",
    "portproxy",
    "ports",
    "firewall",
    "firewall-blocks",
    "answer",
    "json",
    "sync",
    "firewall-sync",
    "sync-elevated",
    "setup-removal",
    "setup",
    "windows-setup",
    "windows-caller",
    "windows-lock",
    "windows-sync-lock",
    "windows-registry",
    "windows-registry-keys",
    "windows-ledger",
    "windows-ledger-write",
    "windows-registry-empty",
    "windows-portproxy",
    "windows-netsh",
    "windows-ports",
    "windows-limited",
    "windows-firewall",
    "windows-hyperv",
    "windows-installed",
    "windows-places",
    "windows-bytes",
    "windows-clock",
    "windows-scheduler",
    "windows-setup-tasks",
    "windows-setup-removal",
    "setup-start",
);

/// The text that `host.ps1` has run with administrator rights, before its values are
/// put in. It stands in [`HOST`] as it is here.
pub const LOADER: &str = include_str!("windows/loader.ps1");

/// One line for `powershell.exe -Command`, for when no script file starts at all: a
/// group policy that asks for signed scripts (or for none) leaves PowerShell's own,
/// localised words and no answer. Prints `wslmesh <language mode>
/// <scope>=<policy>,...`; the scopes `MachinePolicy` and `UserPolicy` beat what
/// `-ExecutionPolicy` says unless they are `Undefined` (about_Execution_Policies).
pub const POLICIES: &str = include_str!("windows/policies.ps1");

/// All scripts by their file names.
pub const ALL: &[(&str, &str)] = &[
    ("refresh.ps1", REFRESH),
    ("forward.ps1", FORWARD),
    ("host.ps1", HOST),
    ("setup.ps1", SETUP),
];
