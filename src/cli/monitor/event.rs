//! What `wslmesh monitor` tells.

use serde::Serialize;

use crate::{
    model::{HealthEntry, ServedBy, Severity},
    report::{Document, ServedEntry},
};

/// One event. In JSON `event` names its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(super) enum Event {
    /// How things are: at the beginning, and when an agent is there again.
    State {
        pid: u32,
        role: String,
        mode: String,
        interface: String,
        address: String,
        forwards_up: usize,
        forwards: usize,
        /// Codes of warnings and errors.
        health: Vec<String>,
    },
    /// The address is another one; empty where there was or is none.
    AddressChanged {
        interface: String,
        old: String,
        new: String,
    },
    /// The agent changed something, or what it serves changed.
    Changed {
        changes: Vec<String>,
        duration_us: u64,
    },
    /// Something is not as it should be.
    HealthRaised(Finding),
    /// It is over.
    HealthCleared { code: String, subject: String },
    /// There is no agent, or none any more.
    NoAgent,
    /// How things are cannot be told now.
    Unknown { reason: String },
}

/// What is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) code: String,
    pub(super) severity: String,
    pub(super) subject: String,
    pub(super) detail: String,
    pub(super) remediation: String,
}

impl From<&HealthEntry> for Finding {
    fn from(entry: &HealthEntry) -> Self {
        Self {
            code: entry.code.clone(),
            severity: entry.severity.to_string(),
            subject: entry.subject.clone(),
            detail: entry.detail.clone(),
            remediation: entry.remediation.clone(),
        }
    }
}

impl Event {
    /// How things are.
    pub(super) fn state(document: &Document) -> Self {
        let troubles = document
            .health
            .iter()
            .filter(|entry| entry.severity > Severity::Info);
        let up = document.served.iter().filter(|entry| entry.state == "up");
        Self::State {
            pid: document.pid,
            role: document.role.clone(),
            mode: document.mode.clone(),
            interface: document.interface.clone().unwrap_or_default(),
            address: address(document),
            forwards_up: up.count(),
            forwards: document.served.len(),
            health: troubles.map(|entry| entry.code.clone()).collect(),
        }
    }

    /// What happened from one document to the next of the same agent.
    pub(super) fn between(before: &Document, now: &Document) -> Vec<Self> {
        let mut events = Vec::new();
        let (old, new) = (address(before), address(now));
        if old != new {
            let interface = now.interface.as_ref().or(before.interface.as_ref());
            events.push(Self::AddressChanged {
                interface: interface.cloned().unwrap_or_default(),
                old,
                new,
            });
        }
        let changes = changes(before, now);
        if !changes.is_empty() {
            events.push(Self::Changed {
                changes,
                duration_us: now.last_pass_us,
            });
        }
        let same =
            |a: &HealthEntry, b: &HealthEntry| (&a.code, &a.subject) == (&b.code, &b.subject);
        let missing = |from: &[HealthEntry], entry: &HealthEntry| {
            !from.iter().any(|other| same(other, entry))
        };
        let raised = now.health.iter().filter(|one| missing(&before.health, one));
        events.extend(raised.map(|entry| Self::HealthRaised(entry.into())));
        let cleared = before.health.iter().filter(|one| missing(&now.health, one));
        events.extend(cleared.map(|entry| Self::HealthCleared {
            code: entry.code.clone(),
            subject: entry.subject.clone(),
        }));
        events
    }

    /// In words, on one line.
    pub(super) fn words(&self) -> String {
        match self {
            Self::State {
                pid,
                role,
                mode,
                interface,
                address,
                forwards_up,
                forwards,
                health,
            } => {
                let health = if health.is_empty() {
                    "healthy".to_owned()
                } else {
                    format!("degraded: {}", health.join(", "))
                };
                let place = match (interface.as_str(), address.as_str()) {
                    _ if role != "active" => role.clone(),
                    (interface, "") => format!("{interface} no address").trim_start().to_owned(),
                    (interface, address) => format!("{interface} {address}"),
                };
                let forwards = match forwards {
                    0 => String::new(),
                    all => format!(", {forwards_up} of {all} forwards up"),
                };
                format!("agent {pid}: {place} ({mode}){forwards}, {health}")
            }
            Self::AddressChanged {
                interface,
                old,
                new,
            } => match (old.as_str(), new.as_str()) {
                ("", new) => format!("{interface} address {new}"),
                (old, "") => format!("{interface} lost its address {old}"),
                (old, new) => format!("{interface} address {old} -> {new}"),
            },
            Self::Changed {
                changes,
                duration_us,
            } => {
                let (ms, rest) = (duration_us / 1000, duration_us % 1000 / 100);
                format!("{} ({ms}.{rest} ms)", changes.join("; "))
            }
            Self::HealthRaised(finding) => {
                let Finding {
                    code,
                    severity,
                    subject,
                    detail,
                    remediation,
                } = finding;
                format!("{severity}: {}: {detail}. {remediation}", of(code, subject))
            }
            Self::HealthCleared { code, subject } => format!("{} cleared", of(code, subject)),
            Self::NoAgent => "no agent runs here; waiting for one".to_owned(),
            Self::Unknown { reason } => reason.clone(),
        }
    }
}

fn of(code: &str, subject: &str) -> String {
    if subject.is_empty() {
        code.to_owned()
    } else {
        format!("{code} ({subject})")
    }
}

fn address(document: &Document) -> String {
    let address = document.address.map(|address| address.to_string());
    address.unwrap_or_default()
}

/// What else is other: the mode, MTUs, who serves forwards and how.
fn changes(before: &Document, now: &Document) -> Vec<String> {
    let mut changes = Vec::new();
    if before.mode != now.mode {
        changes.push(format!("mode {} -> {}", before.mode, now.mode));
    }
    for link in &now.links {
        let old = before.links.iter().find(|old| old.name == link.name);
        match old {
            Some(old) if old.mtu != link.mtu => {
                changes.push(format!("{} mtu {} -> {}", link.name, old.mtu, link.mtu));
            }
            Some(_) => {}
            None => changes.push(format!("{} is there, mtu {}", link.name, link.mtu)),
        }
    }
    let gone = before.links.iter();
    let gone = gone.filter(|old| !now.links.iter().any(|link| link.name == old.name));
    changes.extend(gone.map(|link| format!("{} is gone", link.name)));
    for entry in &now.served {
        let old = before.served.iter().find(|old| old.name == entry.name);
        if old.map(standing) != Some(standing(entry)) {
            let old = old.map_or_else(|| "new".to_owned(), standing);
            let name = &entry.name;
            changes.push(format!("forward {name}: {old} -> {}", standing(entry)));
        }
    }
    let gone = before.served.iter();
    let gone = gone.filter(|old| !now.served.iter().any(|entry| entry.name == old.name));
    changes.extend(gone.map(|entry| format!("forward {}: removed", entry.name)));
    changes
}

fn standing(entry: &ServedEntry) -> String {
    match entry.served_by {
        None | Some(ServedBy::Guest) => entry.state.clone(),
        Some(by) => format!("{} by {by}", entry.state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(more: &str) -> Document {
        let text = format!(
            r#"{{"version":1,"pid":7,"role":"active","gateway":null,"network-file":"/x","forwards":null,
            "windows-address":null,"passes":1,"last-pass-us":3250{more}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn between(before: &str, now: &str) -> Vec<String> {
        let events = Event::between(&document(before), &document(now));
        events.iter().map(Event::words).collect()
    }

    const CALM: &str = r#","mode":"nat","interface":"eth0","address":"172.28.16.5","health":[]"#;

    #[test]
    fn how_things_are() {
        let words = |more: &str| Event::state(&document(more)).words();
        assert_eq!(words(CALM), "agent 7: eth0 172.28.16.5 (nat), healthy");
        assert_eq!(
            words(
                r#","mode":"pending","interface":null,"address":null,"health":[{"code":"no-address","severity":"error","subject":"","detail":"","remediation":""},
                {"code":"note","severity":"info","subject":"","detail":"","remediation":""}],
                "served":[{"name":"x","protocol":"udp","listen-address":"0.0.0.0","listen-port":1,"connect-port":1,"served-by":"relay","state":"pending"}]"#
            ),
            "agent 7: no address (pending), 0 of 1 forwards up, degraded: no-address"
        );
        let mut standby = document(CALM);
        standby.role = "standby".to_owned();
        assert_eq!(
            Event::state(&standby).words(),
            "agent 7: standby (nat), healthy"
        );
    }

    #[test]
    fn what_happened_between_two_documents() {
        assert_eq!(between(CALM, CALM), [""; 0]);
        let before = r#","mode":"pending","interface":"eth0","address":"172.28.16.5",
            "links":[{"name":"eth0","kind":"other","mtu":1500},{"name":"wg0","kind":"wireguard","mtu":1420},{"name":"wg9","kind":"wireguard","mtu":1280}],
            "served":[{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":1,"connect-port":1,"served-by":"portproxy","state":"pending"},
              {"name":"old","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2,"connect-port":2,"served-by":null,"state":"down"}],
            "health":[{"code":"mtu-underlay-small","severity":"warning","subject":"eth0","detail":"","remediation":""},
              {"code":"standby","severity":"info","subject":"","detail":"","remediation":""}]"#;
        let now = r#","mode":"nat","interface":"eth0","address":"172.28.27.77",
            "links":[{"name":"eth0","kind":"other","mtu":1500},{"name":"wg0","kind":"wireguard","mtu":1280},{"name":"wg1","kind":"wireguard","mtu":1280}],
            "served":[{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":1,"connect-port":1,"served-by":"portproxy","state":"up"},
              {"name":"wg","protocol":"udp","listen-address":"0.0.0.0","listen-port":3,"connect-port":3,"served-by":"relay","state":"pending"}],
            "health":[{"code":"relay-failed","severity":"warning","subject":"wg","detail":"it ended","remediation":"Wait"}]"#;
        assert_eq!(
            between(before, now),
            [
                "eth0 address 172.28.16.5 -> 172.28.27.77",
                "mode pending -> nat; wg0 mtu 1420 -> 1280; wg1 is there, mtu 1280; wg9 is gone; \
                 forward ssh: pending by portproxy -> up by portproxy; forward wg: new -> pending by relay; forward old: removed (3.2 ms)",
                "warning: relay-failed (wg): it ended. Wait",
                "mtu-underlay-small (eth0) cleared",
                "standby cleared",
            ]
        );
        let lost = r#","mode":"nat","interface":null,"address":null,"health":[]"#;
        assert_eq!(between(CALM, lost), ["eth0 lost its address 172.28.16.5"]);
        assert_eq!(between(lost, CALM), ["eth0 address 172.28.16.5"]);
    }

    #[test]
    fn json_names_each_kind() {
        let json = |event: &Event| serde_json::to_string(event).unwrap();
        assert_eq!(json(&Event::NoAgent), r#"{"event":"no-agent"}"#);
        assert_eq!(
            json(&Event::Changed {
                changes: vec!["x".to_owned()],
                duration_us: 5
            }),
            r#"{"event":"changed","changes":["x"],"duration-us":5}"#
        );
        let raised = Event::HealthRaised(Finding {
            code: "c".to_owned(),
            severity: "info".to_owned(),
            subject: String::new(),
            detail: "d".to_owned(),
            remediation: "e".to_owned(),
        });
        assert_eq!(
            json(&raised),
            r#"{"event":"health-raised","code":"c","severity":"info","subject":"","detail":"d","remediation":"e"}"#
        );
    }
}
