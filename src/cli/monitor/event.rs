//! What `wslmesh monitor` prints.

use serde::Serialize;

use crate::{
    control::Signal,
    model::{ForwardState, HealthEntry, Severity},
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
        let degrading = document.health.iter();
        let degrading = degrading.filter(|entry| entry.severity > Severity::Info);
        let up = document
            .served
            .iter()
            .filter(|entry| entry.state == ForwardState::Up);
        Self::State {
            pid: document.pid,
            role: document.role.clone(),
            mode: document.mode.clone(),
            interface: document.interface.clone().unwrap_or_default(),
            address: document
                .address
                .map(|it| it.to_string())
                .unwrap_or_default(),
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
        } => {
            let (ms, rest) = (duration_us / 1000, duration_us % 1000 / 100);
            format!("{} ({ms}.{rest} ms)", changes.join("; "))
        }
        Signal::HealthRaised(entry) => {
            let HealthEntry {
                severity,
                detail,
                remediation,
                ..
            } = entry;
            format!("{severity}: {}: {detail}. {remediation}", entry.title())
        }
        Signal::HealthCleared { code, subject } if subject.is_empty() => format!("{code} cleared"),
        Signal::HealthCleared { code, subject } => format!("{code} ({subject}) cleared"),
    }
}

#[cfg(test)]
mod tests;
