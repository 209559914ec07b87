//! The PowerShell scripts that run on Windows, put together from their parts.
//!
//! A script is one file on Windows, because what an elevated program runs must
//! be one thing with one hash; here each part holds one idea, and scripts share
//! them. They are part of this program: script and agent cannot differ in version.

/// A script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Makes Windows' forwards those that the agent asks for.
    Refresh,
    /// Makes the forwards of one Windows user those that were selected, as SYSTEM.
    Forward,
    /// Installs, removes and examines the Windows side, without rights.
    Host,
    /// What [`Script::Host`] has done with administrator rights.
    Setup,
}

impl Script {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Refresh, Self::Forward, Self::Host, Self::Setup];

    /// Its file's name on Windows.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh.ps1",
            Self::Forward => "forward.ps1",
            Self::Host => "host.ps1",
            Self::Setup => "setup.ps1",
        }
    }

    /// Its parts, each ended by an empty line.
    #[must_use]
    pub fn text(self) -> String {
        let parts = PARTS.iter().filter(|(_, of)| of.contains(&self));
        parts.flat_map(|(text, _)| [text, "\n"]).collect()
    }
}

/// Reads the parts.
macro_rules! parts {
    ($($part:literal $($script:ident)+;)+) => {
        &[$((include_str!(concat!("windows/", $part, ".ps1")), &[$(Script::$script),+])),+]
    };
}

/// The parts and the scripts that have them, in their order: decisions, order of
/// events, calls to Windows, start.
const PARTS: &[(&str, &[Script])] = parts! {
    "refresh-about" Refresh;
    "forward-about" Forward;
    "host-about" Host;
    "setup-about" Setup;
    "head" Refresh Forward Host Setup;
    "fields" Refresh Forward Host Setup;
    "guest-address" Refresh Forward Host;
    "forwards" Refresh Forward;
    "wanted" Refresh Forward Setup;
    "request" Refresh;
    "policy" Refresh Forward Host Setup;
    "order" Host Setup;
    "installed" Host Setup;
    "policy-words" Setup;
    "tasks" Host Setup;
    "task-definitions" Setup;
    "setup-order" Setup;
    "setup-rights" Setup;
    "grants" Refresh Forward;
    "agreed" Refresh;
    "selection" Forward;
    "guest" Forward Host;
    "loader-open" Host;
    "loader" Host;
    "loader-close" Host;
    "host-request" Host;
    "host-order" Host;
    "host-answer" Host;
    "portproxy" Refresh Forward Setup;
    "ports" Refresh Forward Setup;
    "firewall" Refresh Forward Setup;
    "firewall-blocks" Refresh Forward Setup;
    "task" Refresh;
    "task-wait" Refresh Host;
    "check-task" Host;
    "checks" Host;
    "answer" Refresh Forward Setup;
    "json" Refresh Forward Host Setup;
    "network" Refresh;
    "host-situation" Host;
    "sync" Refresh Forward Setup;
    "firewall-sync" Refresh Forward Setup;
    "sync-elevated" Refresh Forward Setup;
    "setup-removal" Setup;
    "refresh" Refresh;
    "forward" Forward;
    "host-checks" Host;
    "host" Host;
    "setup" Setup;
    "windows-output" Refresh Forward Host;
    "windows-setup" Setup;
    "windows-input" Refresh Host;
    "windows-caller" Refresh Host Setup;
    "windows-lock" Refresh Forward Host Setup;
    "windows-sync-lock" Refresh Forward Setup;
    "windows-registry" Refresh Forward Host Setup;
    "windows-registry-keys" Host Setup;
    "windows-ledger" Refresh Forward Setup;
    "windows-ledger-write" Refresh Forward Setup;
    "windows-registry-empty" Refresh Setup;
    "windows-portproxy" Refresh Forward Setup;
    "windows-netsh" Refresh Forward Setup;
    "windows-ports" Refresh Forward Setup;
    "windows-listeners" Refresh Forward Host Setup;
    "windows-limited" Refresh Forward Host Setup;
    "windows-firewall" Refresh Forward Setup;
    "windows-hyperv" Refresh Forward Setup;
    "windows-guest" Forward Host;
    "windows-network" Refresh Host;
    "windows-account" Host;
    "windows-host" Host;
    "windows-installed" Refresh Forward Host Setup;
    "windows-installed-relay" Refresh Forward Setup;
    "windows-policy" Refresh Forward;
    "windows-inbox" Forward Host;
    "windows-task" Refresh;
    "windows-task-run" Refresh Host;
    "windows-task-answer" Forward;
    "windows-places" Host Setup;
    "windows-bytes" Host Setup;
    "windows-clock" Host Setup;
    "windows-scheduler" Host Setup;
    "windows-tasks" Host;
    "windows-setup-tasks" Setup;
    "windows-setup-removal" Setup;
    "windows-checks" Host;
    "refresh-start" Refresh;
    "forward-start" Forward;
    "host-start" Host;
    "setup-start" Setup;
};

/// The text that `host.ps1` has run with administrator rights, before its values are
/// put in. [`Script::Host`] contains it as it is here.
pub const LOADER: &str = include_str!("windows/loader.ps1");

/// One line for `powershell.exe -Command`, for when no script file starts at all: a
/// group policy that asks for signed scripts (or for none) leaves PowerShell's own,
/// localised words and no answer. Prints `wslmesh <language mode>
/// <scope>=<policy>,...`; the scopes `MachinePolicy` and `UserPolicy` beat what
/// `-ExecutionPolicy` says unless they are `Undefined` (about_Execution_Policies).
pub const POLICIES: &str = include_str!("windows/policies.ps1");
