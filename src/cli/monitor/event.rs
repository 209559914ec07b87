//! What `wslmesh monitor` prints.

use serde::Serialize;

use crate::{
    control::Signal,
    model::{ForwardState, Severity, or_empty},
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
    State(State),
    /// The agent is not running.
    NoAgent,
    /// How things are is not known now.
    Unknown { reason: String },
    /// The agent's signal.
    #[serde(untagged)]
    Signal(Signal),
}

/// How things are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct State {
    pid: u32,
    role: String,
    mode: String,
    interface: String,
    address: String,
    forwards_up: usize,
    forwards: usize,
    /// Codes of warnings and errors.
    health: Vec<String>,
}

impl Event {
    /// How things are.
    pub(super) fn state(document: &Document) -> Self {
        let (health, served) = (document.health.iter(), document.served.iter());
        let degrading = health.filter(|entry| entry.severity > Severity::Info);
        let up = served.filter(|entry| entry.state == ForwardState::Up);
        Self::State(State {
            pid: document.pid,
            role: document.role.clone(),
            mode: document.mode.clone(),
            interface: document.interface.clone().unwrap_or_default(),
            address: or_empty(document.address),
            forwards_up: up.count(),
            forwards: document.served.len(),
            health: degrading.map(|entry| entry.code.clone()).collect(),
        })
    }

    /// As text, on one line.
    pub(super) fn words(&self) -> String {
        match self {
            Self::State(state) => state.words(),
            Self::NoAgent => "the agent is not running; waiting for it".to_owned(),
            Self::Unknown { reason } => reason.clone(),
            Self::Signal(signal) => words(signal),
        }
    }
}

impl State {
    fn words(&self) -> String {
        let health = match self.health.as_slice() {
            [] => "healthy".to_owned(),
            codes => format!("degraded: {}", codes.join(", ")),
        };
        let place = match (self.interface.as_str(), self.address.as_str()) {
            _ if self.role != "active" => self.role.clone(),
            (interface, "") => format!("{interface} no address").trim_start().to_owned(),
            (interface, address) => format!("{interface} {address}"),
        };
        let forwards = match self.forwards {
            0 => String::new(),
            all => format!(", {} of {all} forwards up", self.forwards_up),
        };
        let (pid, mode) = (self.pid, &self.mode);
        format!("agent {pid}: {place} ({mode}){forwards}, {health}")
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
        Signal::MeshChanged(change) => change.to_string(),
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
