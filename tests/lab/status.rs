//! The status document, as a monitoring system would read it.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

/// All of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Status {
    pub(crate) version: u32,
    pub(crate) pid: u32,
    pub(crate) role: String,
    /// The leader's distribution, on standby.
    #[serde(default)]
    pub(crate) leader: Option<String>,
    pub(crate) mode: String,
    pub(crate) interface: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) forwards: Option<Forwards>,
    pub(crate) served: Vec<Served>,
    pub(crate) relay: Option<Relay>,
    pub(crate) windows_address: Option<Ipv4Addr>,
    #[serde(default)]
    pub(crate) lifetime: Option<Lifetime>,
    #[serde(default)]
    pub(crate) resumed: Option<Resumed>,
    #[serde(default)]
    pub(crate) restored: Option<Restored>,
    pub(crate) passes: u64,
    pub(crate) last_pass_us: u64,
    pub(crate) health: Vec<Health>,
}

/// The last recovery after a sleep of Windows or a time without a network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Resumed {
    /// `clock`, `link` or `handshakes`.
    pub(crate) sign: String,
    pub(crate) away_s: u64,
    pub(crate) duration_ms: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) summary: String,
}

/// What Windows had lost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Restored {
    pub(crate) lost: Vec<String>,
    pub(crate) times: u32,
}

/// What becomes of the distribution when it is idle.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Lifetime {
    /// `kept`, `stopped` or `unknown`.
    pub(crate) state: String,
    pub(crate) detail: String,
    pub(crate) remediation: Option<String>,
    pub(crate) held_since_unix: Option<u64>,
}

/// Forwards that Windows confirmed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Forwards {
    pub(crate) count: usize,
    pub(crate) connect_address: Ipv4Addr,
}

/// One configured forward.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) listen_address: IpAddr,
    pub(crate) listen_port: u16,
    /// `portproxy`, `relay` or `guest`.
    pub(crate) backend: Option<String>,
    /// `up`, `pending` or `down`.
    pub(crate) state: String,
}

/// The relay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Relay {
    /// Its program or folder on Windows, or `guest`.
    pub(crate) location: String,
    pub(crate) applied: bool,
    /// UDP clients.
    pub(crate) sessions: usize,
}

/// One finding.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Health {
    pub(crate) code: String,
    pub(crate) severity: String,
    pub(crate) subject: String,
    pub(crate) detail: String,
    pub(crate) remediation: String,
}

impl Status {
    /// The first finding of this code.
    pub(crate) fn finding(&self, code: &str) -> Option<&Health> {
        self.health.iter().find(|entry| entry.code == code)
    }

    /// Whether every one of these forwards is served by that one, and up.
    pub(crate) fn serves(&self, by: &str, names: &[&str]) -> bool {
        names.iter().all(|name| {
            let mut served = self.served.iter();
            served.any(|one| {
                one.name == *name && one.backend.as_deref() == Some(by) && one.state == "up"
            })
        })
    }

    /// Warnings and errors.
    pub(crate) fn problems(&self) -> Vec<&str> {
        let problem = |entry: &&Health| entry.severity != "info";
        self.health
            .iter()
            .filter(problem)
            .map(|entry| entry.code.as_str())
            .collect()
    }
}
