//! The registry of events: what a line of the journal may be about.
//!
//! A line names its event (`event = "pass"`) and the journal adds the rest. A new
//! event is one entry in `EVENTS`; `report::tests` holds the sources to it.

use std::{fmt::Write, time::Duration};

use sha2::{Digest, Sha256};

/// A kind of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its name, stable across versions: WSLMESH_EVENT.
    pub name: &'static str,
    /// How often it is said; without one each time.
    pub limit: Option<Limit>,
    /// What has happened, one sentence.
    pub text: &'static str,
    /// The fields that such a line may have, as in the sources: `mode` is
    /// WSLMESH_MODE in the journal.
    pub fields: &'static [&'static str],
}

/// So many lines of one kind in so long a time; more are counted, and said as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Lines, at least 1.
    pub most: u32,
    /// From the first of them on.
    pub within: Duration,
}

/// What is wanted one by one, unless somebody makes changes without end.
const CHANGES: Limit = Limit {
    most: 60,
    within: Duration::from_secs(60),
};

/// What repeats itself: troubles, each with its end.
pub(super) const TROUBLES: Limit = Limit {
    most: 10,
    within: Duration::from_secs(600),
};

/// All events, in the order of the documentation.
pub const EVENTS: &[Event] = &[
    Event {
        name: "start",
        limit: None,
        text: "The agent leads its network namespace and begins its work.",
        fields: &["version"],
    },
    Event {
        name: "stop",
        limit: None,
        text: "The agent ended in order; what it changed stays until `wslmesh restore`.",
        fields: &["duration_us"],
    },
    Event {
        name: "pass",
        limit: Some(CHANGES),
        text: "The agent looked at the whole machine and changed what differed.",
        fields: &[
            "mode",
            "interface",
            "address_old",
            "address_new",
            "duration_us",
        ],
    },
    Event {
        name: "mode",
        limit: Some(CHANGES),
        text: "WSL's networking mode became known.",
        fields: &["mode"],
    },
    Event {
        name: "forwards",
        limit: Some(CHANGES),
        text: "Windows confirmed changed port proxy or firewall rules.",
        fields: &["address", "duration_us"],
    },
    Event {
        name: "relay",
        limit: Some(CHANGES),
        text: "The relay confirmed the forwards that it serves.",
        fields: &["address", "pid"],
    },
    Event {
        name: "relay-table",
        limit: Some(TROUBLES),
        text: "The relay's table of UDP clients could not be read or kept: after a restart its clients get new ports.",
        fields: &[],
    },
    Event {
        name: "counters",
        limit: Some(TROUBLES),
        text: "Somebody asked for the relay's counters.",
        fields: &[
            "forwards",
            "active",
            "opened",
            "failed",
            "refused",
            "bytes_in",
            "bytes_out",
        ],
    },
    Event {
        name: "reload",
        limit: Some(CHANGES),
        text: "The configuration was read again.",
        fields: &["health", "subject", "duration_us"],
    },
    Event {
        name: "status",
        limit: Some(TROUBLES),
        text: "The status document could not be written, so `wslmesh status` has nothing to show.",
        fields: &[],
    },
    Event {
        name: "health",
        limit: Some(TROUBLES),
        text: "Something is not as it should be.",
        fields: &["health", "subject"],
    },
    Event {
        name: "health-cleared",
        limit: Some(TROUBLES),
        text: "A trouble that was reported earlier is over.",
        fields: &["health", "subject"],
    },
    Event {
        name: "clock",
        limit: Some(TROUBLES),
        text: "The wall clock was set, or runs away from the time that passes.",
        fields: &[],
    },
    Event {
        name: "dependent",
        limit: Some(CHANGES),
        text: "A unit that depends on the address was reloaded or restarted, or could not be.",
        fields: &["unit", "action", "result", "duration_us"],
    },
    Event {
        name: "hook",
        limit: Some(CHANGES),
        text: "An executable of /etc/wslmesh/hooks.d was run after a change of the address.",
        fields: &["hook", "result", "exit_status", "duration_us"],
    },
    Event {
        name: "bus",
        limit: Some(TROUBLES),
        text: "The agent's connection to the system bus came or went.",
        fields: &[],
    },
    Event {
        name: LIBRARY,
        limit: Some(TROUBLES),
        text: "A library inside the agent reports an error.",
        fields: &[],
    },
];

/// The event of a line that names none: it is not the agent's own.
pub const LIBRARY: &str = "library";

/// The events of a finding: that it is there, and that it is over. The latter has
/// an id of its own.
pub(super) const HEALTH: &str = "health";
pub(super) const CLEARED: &str = "health-cleared";

/// The MESSAGE_ID of a line. One that reports a trouble has that of its health
/// code, so that `journalctl -x` explains the code and its fix.
#[must_use]
pub fn message_id(event: &str, health: Option<&str>) -> String {
    match health {
        Some(code) if event != CLEARED => id("health", code),
        Some(_) | None => id("event", event),
    }
}

/// The first 128 bits of a hash of the name, so that an id needs no table and
/// never changes.
fn id(kind: &str, name: &str) -> String {
    let hash = Sha256::digest(format!("wslmesh {kind} {name}"));
    let mut text = String::with_capacity(32);
    for byte in hash.iter().take(16) {
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf 'wslmesh event pass' | sha256sum` has it.
    #[test]
    fn ids_are_stable() {
        let table = [
            ("pass", None, "5ee8c9fbf4d92c8050ccf1b48e01a6dd"),
            (
                "health",
                Some("forward-taken"),
                "59702d1ecb91b1f137a328ae081ce066",
            ),
            (
                "reload",
                Some("config-rejected"),
                "fca726fb37f929968e6124c2b99a86f8",
            ),
            (
                "health-cleared",
                Some("forward-taken"),
                "fa9cf1e4b131787a0a7f79aea19a1988",
            ),
        ];
        for (event, health, id) in table {
            assert_eq!(message_id(event, health), id, "{event}");
        }
    }
}
