//! The agent's D-Bus interface: its names and signals.

use serde::Serialize;
use zbus::Message;

use crate::model::{HealthEntry, MeshChange, from_word};

/// The agent's name on the bus, and its interface.
pub const NAME: &str = "org.wslmesh.Agent1";
/// Its object.
pub const PATH: &str = "/org/wslmesh/Agent1";

/// Something that happened, once. In JSON `event` names its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Signal {
    /// The address changed; empty where there was or is none.
    AddressChanged {
        /// The watched interface.
        interface: String,
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// A tunnel's address or port changed.
    MeshChanged(MeshChange),
    /// A finding was raised.
    HealthRaised(HealthEntry),
    /// A finding was cleared.
    HealthCleared {
        /// Its code.
        code: String,
        /// On what.
        subject: String,
    },
    /// A pass changed something.
    Changed {
        /// The journal's line in parts.
        changes: Vec<String>,
        /// Duration of the pass, in microseconds.
        duration_us: u64,
    },
}

impl Signal {
    /// From a message of the bus; `None` for a signal that this version does not know.
    pub(super) fn parse(message: &Message) -> Option<Self> {
        let (header, body) = (message.header(), message.body());
        Some(match header.member()?.as_str() {
            "AddressChanged" => {
                let (interface, old, new) = body.deserialize().ok()?;
                Self::AddressChanged {
                    interface,
                    old,
                    new,
                }
            }
            "MeshChanged" => {
                let (interface, key, old, new): (_, &str, _, _) = body.deserialize().ok()?;
                Self::MeshChanged(MeshChange {
                    interface,
                    key: from_word(key).ok()?,
                    old,
                    new,
                })
            }
            "HealthRaised" => {
                let (code, severity, subject, detail, remediation) = body.deserialize().ok()?;
                Self::HealthRaised(HealthEntry {
                    code,
                    severity: from_word(severity).ok()?,
                    subject,
                    detail,
                    remediation,
                })
            }
            "HealthCleared" => {
                let (code, subject) = body.deserialize().ok()?;
                Self::HealthCleared { code, subject }
            }
            "Changed" => {
                let (changes, duration_us) = body.deserialize().ok()?;
                Self::Changed {
                    changes,
                    duration_us,
                }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
