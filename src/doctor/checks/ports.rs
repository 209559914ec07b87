//! Forwards from Windows.

use crate::report::HealthEntry;

/// Codes of the agent about the Windows side, by how they begin.
const WINDOWS: &[&str] = &[
    "forward-",
    "firewall-",
    "relay-",
    "host-",
    "guest-address-",
    "interop-",
];

/// Whether the agent's finding is about Windows: it has a check of its own.
pub(in crate::doctor) fn about_windows(entry: &HealthEntry) -> bool {
    WINDOWS.iter().any(|start| entry.code.starts_with(start))
}
