//! What the agent reports of itself, and its findings as verdicts of checks.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, info, warning},
    },
    model::{HealthEntry, Severity},
};

/// How to run the agent outside of WSL (docs/hardening.md).
const ELSEWHERE: &str = "Ignore this if you do not want it here. Outside of WSL a drop-in keeps it from starting: `sudo mkdir -p /etc/systemd/system/wslmesh.service.d`, `sudo ln -s /dev/null /etc/systemd/system/wslmesh.service.d/10-wsl.conf`, `sudo systemctl daemon-reload`, `sudo systemctl start wslmesh`";

pub(crate) fn health(facts: &Facts) -> Judged {
    const NONE: &str = "the agent is not running";
    Ok(match &facts.agent {
        None if facts.wsl => warning(NONE).fix("Run `sudo systemctl start wslmesh`"),
        None => info(NONE).fix(ELSEWHERE),
        Some(document) => {
            let health = document.health.iter();
            // A stranger among the agents is worth a look, though it does no harm.
            let shown = |entry: &&HealthEntry| {
                entry.severity > Severity::Info || entry.code == "leader-untrusted"
            };
            let mut own = health
                .filter(|entry| !about_windows(entry) && shown(entry))
                .peekable();
            if document.role == "standby" && own.peek().is_none() {
                return Ok(info("on standby: the agent of another distribution leads"));
            }
            all(own.map(finding), &document.role)
        }
    })
}

/// Codes of the agent about the Windows side, by prefix.
const WINDOWS: &[&str] = &[
    "forward-",
    "firewall-",
    "relay-",
    "host-",
    "guest-address-",
    "interop-",
    "drive-",
];

/// Whether the agent's finding is about Windows: `ports-windows` reports it.
pub(super) fn about_windows(entry: &HealthEntry) -> bool {
    WINDOWS.iter().any(|prefix| entry.code.starts_with(prefix))
}

/// Whether it is about Windows' firewall: `ports-firewall` reports it.
pub(super) fn about_firewall(entry: &HealthEntry) -> bool {
    entry.code == "forward-firewall" || entry.code.starts_with("firewall-")
}

/// A finding of the agent.
pub(super) fn finding(entry: &HealthEntry) -> Verdict {
    Verdict::Found(vec![entry.clone()])
}

#[cfg(test)]
mod tests {
    use crate::doctor::tests::{document, table};

    #[test]
    fn the_agent() {
        table! { "agent-health";
            "no agent": |f| f.agent = None => Warning, "not running";
            "no agent elsewhere": |f| { f.elsewhere(); f.agent = None } => Info, "not running";
            "standby": |f| f.agent.as_mut().unwrap().role = "standby".into() => Info, "on standby";
            "outdated": |f| { f.agent = Some(document(&[("leader-outdated", "warning")])); f.agent.as_mut().unwrap().role = "standby".into() } => Warning, "leader-outdated";
            "warning": |f| f.agent = Some(document(&[("contested", "warning")])) => Warning, "contested (x): it broke";
            "error": |f| { f.agent = Some(document(&[ ("contested", "warning"), ("no-address", "error"), ])) } => Error, "no-address";
            "info": |f| f.agent = Some(document(&[("wireguard-busy", "info")])) => Ok, "active";
            "stranger": |f| f.agent = Some(document(&[("leader-untrusted", "info")])) => Info, "leader-untrusted";
            "of Windows": |f| f.agent = Some(document(&[("forward-taken", "warning")])) => Ok, "active";
        }
    }
}
