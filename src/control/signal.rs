//! The agent's D-Bus interface: its names and signals.

use serde::{
    Deserialize, Serialize,
    de::IntoDeserializer,
    de::value::{Error, StrDeserializer},
};
use zbus::Message;

use crate::model::{HealthEntry, Severity};

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
            "HealthRaised" => {
                let (code, severity, subject, detail, remediation) = body.deserialize().ok()?;
                let severity: &str = severity;
                let severity: StrDeserializer<'_, Error> = severity.into_deserializer();
                Self::HealthRaised(HealthEntry {
                    code,
                    severity: Severity::deserialize(severity).ok()?,
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
mod tests {
    use super::*;

    fn parsed<B: serde::Serialize + zbus::Type>(member: &str, body: &B) -> Option<Signal> {
        let message = Message::signal(PATH, NAME, member);
        Signal::parse(&message.build(body).unwrap())
    }

    #[test]
    fn each_signal_is_parsed() {
        let text = str::to_owned;
        assert_eq!(
            parsed("AddressChanged", &("eth0", "10.0.0.1", "10.0.0.2")),
            Some(Signal::AddressChanged {
                interface: text("eth0"),
                old: text("10.0.0.1"),
                new: text("10.0.0.2")
            })
        );
        assert_eq!(
            parsed(
                "HealthRaised",
                &("code", "warning", "wg0", "why", "What to do")
            ),
            Some(Signal::HealthRaised(HealthEntry {
                code: text("code"),
                severity: Severity::Warning,
                subject: text("wg0"),
                detail: text("why"),
                remediation: text("What to do")
            }))
        );
        assert_eq!(
            parsed("HealthCleared", &("code", "wg0")),
            Some(Signal::HealthCleared {
                code: text("code"),
                subject: text("wg0")
            })
        );
        assert_eq!(
            parsed("Changed", &(["a", "b"].as_slice(), 1250_u64)),
            Some(Signal::Changed {
                changes: vec![text("a"), text("b")],
                duration_us: 1250
            })
        );
    }

    #[test]
    fn unknown_signals_and_signatures_are_ignored() {
        assert_eq!(parsed("Later", &("x",)), None);
        assert_eq!(parsed("HealthCleared", &("x",)), None, "another signature");
    }
}
