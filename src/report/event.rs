//! The registry of journal events.
//!
//! Each log call names its event (`event = "pass"`); the journal adds the rest. A new
//! event is one entry in `EVENTS`; `report::tests` checks the sources against it.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// A kind of journal line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its name, stable across versions: WSLMESH_EVENT.
    pub name: &'static str,
    /// Its rate limit, if any.
    pub limit: Option<Limit>,
    /// What happened, in one sentence.
    pub text: &'static str,
    /// The fields it may have, as in the sources: `mode` is WSLMESH_MODE in the
    /// journal.
    pub fields: &'static [&'static str],
}

/// A rate limit: further lines of the same kind are counted and summarised in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Lines, at least 1.
    pub most: u32,
    /// Time from the first line on.
    pub within: Duration,
}

/// One line per change, unless changes never end.
const CHANGES: Limit = Limit {
    most: 60,
    within: Duration::from_secs(60),
};

/// Findings and errors that may recur.
pub(super) const PROBLEMS: Limit = Limit {
    most: 10,
    within: Duration::from_secs(600),
};

/// All events, in the order of the documentation.
#[rustfmt::skip]
pub const EVENTS: &[Event] = &[
    event("start", None,
        "The agent leads its network namespace and starts working.",
        &["version"]),
    event("stop", None,
        "The agent stopped; its changes stay until `wslmesh restore`.",
        &["duration_us"]),
    event("pass", Some(CHANGES),
        "The agent observed the system and applied the differences.",
        &["mode", "interface", "address_old", "address_new", "duration_us"]),
    event("members", Some(PROBLEMS),
        "The list of members could not be saved: after a restart of the leader their forwards are served once they register again.",
        &[]),
    event("mode", Some(CHANGES),
        "WSL's networking mode was determined.",
        &["mode"]),
    event("forwards", Some(CHANGES),
        "Windows confirmed changed port proxy or firewall rules, or that rules which it had lost are restored.",
        &["address", "restored", "duration_us"]),
    event("relay", Some(CHANGES),
        "The relay confirmed its forwards.",
        &["address", "pid"]),
    event("relay-table", Some(PROBLEMS),
        "The relay's table of UDP clients could not be read or saved: after a restart its clients get new ports.",
        &[]),
    event("discovery", Some(CHANGES),
        "A service began to listen at a port of [discovery], or ended.",
        &[]),
    event("reload", Some(CHANGES),
        "The configuration was reloaded, or rejected because of errors.",
        &["health", "subject", "duration_us"]),
    event("state", Some(PROBLEMS),
        "A file of the agent was damaged and moved aside.",
        &[]),
    event(HEALTH, Some(PROBLEMS),
        "A problem appeared.",
        &["health", "subject"]),
    event(CLEARED, Some(PROBLEMS),
        "A problem that was reported earlier cleared.",
        &["health", "subject"]),
    event("clock", Some(PROBLEMS),
        "The wall clock was set, or drifts from the elapsed time.",
        &[]),
    event("dns", Some(CHANGES),
        "The name servers of a tunnel were set or taken back, or systemd-resolved was started.",
        &["interface"]),
    event("lifetime", Some(CHANGES),
        "WSL will stop this distribution when its last terminal closes; or the agent holds it open, or no longer.",
        &[]),
    event("resume", Some(CHANGES),
        "The machine is back after a sleep of Windows or a time without a network: what was broken, what was done, how long it took.",
        &["slept_s", "sign", "broken", "repaired", "failed", "duration_us"]),
    event("endpoint", Some(CHANGES),
        "A WireGuard peer does not answer, and its name leads to another address: its packets go there now.",
        &["interface"]),
    event("tailscale", Some(PROBLEMS),
        "tailscaled was to look at the network again, and did not answer or refused.",
        &[]),
    event("mesh", Some(CHANGES),
        "A tunnel's address or port in the network file changed: it is back, has another one, or was lost.",
        &["key", "interface", "old", "new"]),
    event("dependent", Some(CHANGES),
        "A unit that depends on the address or on a tunnel was reloaded or restarted, or could not be.",
        &["unit", "action", "key", "result", "duration_us"]),
    event("hook", Some(CHANGES),
        "A hook in /etc/wslmesh/hooks.d ran after a change of the address or of a tunnel.",
        &["hook", "key", "result", "exit_status", "duration_us"]),
    event("tunnel", Some(CHANGES),
        "The tunnel to Windows was started or stopped, with the reason, or it was found stopped; or Windows' NAT broke or works again.",
        &[]),
    event("bus", Some(PROBLEMS),
        "The agent connected to the system bus, or lost it.",
        &[]),
    event(LIBRARY, Some(PROBLEMS),
        "A library in the agent reported an error.",
        &[]),
];

const fn event(
    name: &'static str,
    limit: Option<Limit>,
    text: &'static str,
    fields: &'static [&'static str],
) -> Event {
    Event {
        name,
        limit,
        text,
        fields,
    }
}

/// The event of a line that names none: a library wrote it.
pub const LIBRARY: &str = "library";

/// The events of a finding that was raised or cleared. The latter has a MESSAGE_ID of
/// its own.
pub(super) const HEALTH: &str = "health";
pub(super) const CLEARED: &str = "health-cleared";

/// The MESSAGE_ID of a line: the first 128 bits of a hash of its name, so there is no
/// table of them. A raised finding has that of its health code, so that `journalctl -x`
/// explains the code and its fix.
#[must_use]
pub fn message_id(event: &str, health: Option<&str>) -> String {
    let (kind, name) = match health {
        Some(code) if event != CLEARED => ("health", code),
        Some(_) | None => ("event", event),
    };
    let hash = Sha256::digest(format!("wslmesh {kind} {name}"));
    let start = hash.first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(start))
}

#[cfg(test)]
mod tests;
