//! What `wslmesh monitor` prints.

use serde::Serialize;

use crate::{
    control::Signal,
    model::{ForwardState, Severity},
    report::Document,
};

/// One event. In JSON `event` names its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(super) enum Event {
    /// How things are: at the beginning, and when an agent starts.
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
    /// The agent is not running.
    NoAgent,
    /// How things are is not known now.
    Unknown { reason: String },
    /// The agent's signal.
    #[serde(untagged)]
    Signal(Signal),
}

impl Event {
    /// How things are.
    pub(super) fn state(document: &Document) -> Self {
        let (health, served) = (document.health.iter(), document.served.iter());
        let degrading = health.filter(|entry| entry.severity > Severity::Info);
        let up = served.filter(|entry| entry.state == ForwardState::Up);
        let address = document.address.map(|address| address.to_string());
        Self::State {
            pid: document.pid,
            role: document.role.clone(),
            mode: document.mode.clone(),
            interface: document.interface.clone().unwrap_or_default(),
            address: address.unwrap_or_default(),
            forwards_up: up.count(),
            forwards: document.served.len(),
            health: degrading.map(|entry| entry.code.clone()).collect(),
        }
    }

    /// As text, on one line.
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
            Self::NoAgent => "the agent is not running; waiting for it".to_owned(),
            Self::Unknown { reason } => reason.clone(),
            Self::Signal(signal) => words(signal),
        }
    }
}

fn words(signal: &Signal) -> String {
    match signal {
        Signal::AddressChanged {
            interface,
            old,
            new,
        } => match (old.as_str(), new.as_str()) {
            ("", new) => format!("{interface} address {new}"),
            (old, "") => format!("{interface} address {old} is lost"),
            (old, new) => format!("{interface} address {old} -> {new}"),
        },
        Signal::Changed {
            changes,
            duration_us,
        } => changed(changes, *duration_us),
        Signal::HealthRaised(entry) => {
            let (title, detail, fix) = (entry.title(), &entry.detail, &entry.remediation);
            format!("{}: {title}: {detail}. {fix}", entry.severity)
        }
        Signal::HealthCleared { code, subject } if subject.is_empty() => format!("{code} cleared"),
        Signal::HealthCleared { code, subject } => format!("{code} ({subject}) cleared"),
    }
}

/// What a pass changed, and how long it took.
pub(super) fn changed(changes: &[String], duration_us: u64) -> String {
    let (ms, rest) = (duration_us / 1000, duration_us % 1000 / 100);
    format!("{} ({ms}.{rest} ms)", changes.join("; "))
}

#[cfg(test)]
mod tests;
